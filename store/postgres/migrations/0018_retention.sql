-- What deleting old records needs.
--
-- What the first file says of itself holds here as well, and what the fourth says of
-- indexes.

-- Until when a process does a duty that all processes share.
CREATE TABLE duties (
    project      text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    leased_until timestamptz NOT NULL,
    CONSTRAINT duties_pkey PRIMARY KEY (name, project)
);

-- The place of the last event in the feed that was deleted for its age; NULL: none was.
ALTER TABLE projects
    ADD COLUMN feed_floor bigint,
    ADD COLUMN feed_floor_event uuid;

-- Events by name, but for those that are kept: of money and of purchases.
CREATE INDEX events_by_name ON events (project, name, at, id)
    WHERE (name < 'balance.' OR name >= 'balance/') AND (name < 'purchase.' OR name >= 'purchase/');
CREATE INDEX usage_days_by_day ON usage_days (project, day, user_id) WHERE day > '0001-01-01'::date;
CREATE INDEX activations_by_expiry ON activations (project, expires_at, user_id) WHERE expires_at > '-infinity'::timestamptz;

INSERT INTO migrations (name) VALUES ('0018_retention');
