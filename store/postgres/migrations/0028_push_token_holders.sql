-- A push token is that of one device.
--
-- What the first file says of itself holds here as well. Where several devices have one, the
-- device for which it was set last keeps it, and the others stay without.

-- It takes the lock on the table that keeps others from writing meanwhile.
DROP INDEX devices_by_push_token;

CREATE TEMPORARY TABLE surplus ON COMMIT DROP AS
SELECT project, id, user_id FROM (
    SELECT project, id, user_id, row_number() OVER (PARTITION BY project, md5(push_token) ORDER BY push_token_set_at DESC NULLS LAST, registered_at DESC, id DESC) AS place
    FROM devices WHERE push_token <> ''
) AS d WHERE place > 1;

UPDATE accounts AS a SET version = a.version + 1
WHERE EXISTS (SELECT FROM surplus AS s WHERE s.project = a.project AND s.user_id = a.user_id);

UPDATE devices AS d SET push_token = '', push_token_set_at = NULL
FROM surplus AS s WHERE d.project = s.project AND d.id = s.id;

INSERT INTO events (project, position, id, user_id, at, name, actor_kind, actor_id, actor_name, device_id)
SELECT s.project, p.feed_offset + pg_current_xact_id()::text::bigint, gen_random_uuid(), s.user_id, now(), 'device.push_token_moved', 'system', '', '', s.id
FROM surplus AS s JOIN projects AS p ON p.project = s.project;

CREATE UNIQUE INDEX devices_push_token_key ON devices (md5(push_token), project) WHERE push_token <> '';

INSERT INTO migrations (name) VALUES ('0028_push_token_holders');
