-- The connections of administrators to users.
--
-- What the first file says of itself holds here as well, and what the fourth says of
-- indexes.

-- ended_at is NULL for a connection that nobody ended; it is over at expires_at.
CREATE TABLE connections (
    project          text COLLATE "C" NOT NULL,
    id               uuid NOT NULL,
    user_id          uuid NOT NULL,
    actor_kind       text COLLATE "C" NOT NULL,
    actor_id         text COLLATE "C" NOT NULL,
    actor_name       text COLLATE "C" NOT NULL,
    on_behalf_of     uuid,
    reason           text COLLATE "C" NOT NULL,
    started_at       timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    ended_at         timestamptz,
    ended_by_kind    text COLLATE "C" NOT NULL,
    ended_by_id      text COLLATE "C" NOT NULL,
    ended_by_name    text COLLATE "C" NOT NULL,
    ended_by_behalf  uuid,
    CONSTRAINT connections_pkey PRIMARY KEY (id, project)
);
CREATE INDEX connections_by_user ON connections (user_id, project, started_at, id);
CREATE INDEX connections_by_started_at ON connections (project, started_at, id) WHERE started_at > '-infinity'::timestamptz;

INSERT INTO migrations (name) VALUES ('0008_connections');
