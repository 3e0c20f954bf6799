-- On which node, and with which address, sessions run.
--
-- What the first file says of itself holds here as well, and what the fourth says of
-- indexes.

-- other_… is the last node beside that of the session which reported on it, with its
-- newest reading; other_at is NULL where there is none.
ALTER TABLE sessions
    ADD COLUMN other_node text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN other_received bigint NOT NULL DEFAULT 0,
    ADD COLUMN other_sent bigint NOT NULL DEFAULT 0,
    ADD COLUMN other_at timestamptz;

CREATE INDEX sessions_by_node ON sessions (node, project, started_at, id);
CREATE INDEX sessions_open_by_node ON sessions (node, project, started_at, id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_internal_ip ON sessions (internal_ip, project, started_at, id) WHERE internal_ip IS NOT NULL;

INSERT INTO migrations (name) VALUES ('0015_nodes');
