-- Who has a push token, which belongs to one device at a time.
--
-- What the first file says of itself holds here as well. A push token may be longer than
-- an entry of an index, so that its digest is in it.

CREATE INDEX devices_by_push_token ON devices (md5(push_token), project) WHERE push_token <> '';

INSERT INTO migrations (name) VALUES ('0020_push_tokens');
