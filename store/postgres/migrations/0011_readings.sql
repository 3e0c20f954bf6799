-- What tells the clock of a node that was set back from readings that come late.
--
-- What the first file says of itself holds here as well.

-- aside_… is the newest reading of a session that was out of order; aside_at is NULL
-- where there is none.
ALTER TABLE sessions
    ADD COLUMN aside_received bigint NOT NULL DEFAULT 0,
    ADD COLUMN aside_sent bigint NOT NULL DEFAULT 0,
    ADD COLUMN aside_at timestamptz;

INSERT INTO migrations (name) VALUES ('0011_readings');
