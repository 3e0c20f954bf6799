-- What a deletion finds the name of the user by in records of others.
--
-- What the first file says of itself and 0004_keys.sql of indexes holds here as well.

-- mentions are the ids of other users that data are about, with spaces between them.
ALTER TABLE events ADD COLUMN mentions text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX events_by_mention ON events USING gin (string_to_array(mentions, ' ')) WHERE mentions <> '';
CREATE INDEX events_by_behalf ON events (on_behalf_of, project) WHERE on_behalf_of IS NOT NULL;

CREATE INDEX transactions_by_actor ON transactions (actor_id, project) WHERE actor_id <> '';
CREATE INDEX transactions_by_behalf ON transactions (on_behalf_of, project) WHERE on_behalf_of IS NOT NULL;
CREATE INDEX transactions_by_canceller ON transactions (cancelled_by_id, project) WHERE cancelled_by_id <> '';
CREATE INDEX transactions_by_cancelled_behalf ON transactions (cancelled_by_behalf, project) WHERE cancelled_by_behalf IS NOT NULL;

INSERT INTO migrations (name) VALUES ('0010_names');
