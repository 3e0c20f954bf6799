-- Which sessions ran in a span of time.
--
-- What the first file says of itself holds here as well, and what the fourth says of
-- indexes.

-- Of the sessions that ran at a moment, those of one class of length ended within that
-- length from then on: so few others are looked at, however long ago that was.
CREATE INDEX sessions_by_length ON sessions (project,
    width_bucket(ended_at - started_at, ARRAY['1 minutes', '4 minutes', '16 minutes', '64 minutes', '256 minutes', '1024 minutes', '4096 minutes', '16384 minutes', '65536 minutes', '262144 minutes', '1048576 minutes', '4194304 minutes', '16777216 minutes']::interval[]),
    ended_at, id) WHERE ended_at > '-infinity'::timestamptz;

INSERT INTO migrations (name) VALUES ('0019_spans');
