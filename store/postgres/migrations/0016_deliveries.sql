-- What becomes of telling devices of messages.
--
-- What the first file says of itself holds here as well, and what the fourth says of
-- indexes. A lease changes no index; rows keep room for it on their pages.

-- When the push token of a device was set; NULL: before this file, or it has none.
ALTER TABLE devices ADD COLUMN push_token_set_at timestamptz;

CREATE TABLE deliveries (
    project      text COLLATE "C" NOT NULL,
    id           uuid NOT NULL,
    user_id      uuid NOT NULL,
    message_id   uuid NOT NULL,
    device_id    uuid NOT NULL,
    state        text COLLATE "C" NOT NULL,
    attempts     bigint NOT NULL,
    created_at   timestamptz NOT NULL,
    attempted_at timestamptz,
    due_at       timestamptz,
    leased_until timestamptz,
    CONSTRAINT deliveries_pkey PRIMARY KEY (id, project)
) WITH (fillfactor = 80);

CREATE INDEX deliveries_by_message ON deliveries (message_id, project, created_at, id);
CREATE INDEX deliveries_by_user ON deliveries (user_id, project, created_at, id);
CREATE INDEX deliveries_by_created_at ON deliveries (project, created_at, id) WHERE created_at > '-infinity'::timestamptz;
CREATE INDEX deliveries_failed ON deliveries (project, created_at, id) WHERE state IN ('gone', 'refused', 'expired');
CREATE INDEX deliveries_by_due_at ON deliveries (project, due_at, id) WHERE due_at IS NOT NULL;

INSERT INTO migrations (name) VALUES ('0016_deliveries');
