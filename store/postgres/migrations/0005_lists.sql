-- What lists and feeds go by: whose feed it is, who acted, when an end was recorded.
--
-- What the first file says of itself and 0004_keys.sql of indexes holds here as well.

-- feed_id tells the feed of a project from others. Migrate makes it, at random.
ALTER TABLE projects ADD COLUMN feed_id uuid;

CREATE INDEX events_by_actor ON events (actor_id, project, at, id) WHERE actor_id <> '';

-- closed_at is when the end of a session was recorded, for a stale one some time after
-- ended_at. It is NULL for sessions that ended before the column was there.
ALTER TABLE sessions ADD COLUMN closed_at timestamptz;
CREATE INDEX sessions_by_close ON sessions (project, closed_at, id) WHERE closed_at > '-infinity'::timestamptz;

INSERT INTO migrations (name) VALUES ('0005_lists');
