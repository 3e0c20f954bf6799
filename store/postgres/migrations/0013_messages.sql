-- The messages of users.
--
-- What the first file says of itself holds here as well, and what the fourth says of
-- indexes.

-- data and mail are JSON that no statement looks into: what goes to the application, and
-- what is known of a mail that became the message.
CREATE TABLE messages (
    project      text COLLATE "C" NOT NULL,
    id           uuid NOT NULL,
    user_id      uuid NOT NULL,
    subject      text COLLATE "C" NOT NULL,
    body         text COLLATE "C" NOT NULL,
    format       text COLLATE "C" NOT NULL,
    data         text COLLATE "C",
    source       text COLLATE "C" NOT NULL,
    actor_kind   text COLLATE "C" NOT NULL,
    actor_id     text COLLATE "C" NOT NULL,
    actor_name   text COLLATE "C" NOT NULL,
    on_behalf_of uuid,
    mail         text COLLATE "C",
    key          text COLLATE "C" NOT NULL,
    sent_at      timestamptz NOT NULL,
    expires_at   timestamptz,
    read_at      timestamptz,
    CONSTRAINT messages_pkey PRIMARY KEY (id, project)
);

CREATE UNIQUE INDEX messages_key_key ON messages (user_id, project, key) WHERE key <> '';
CREATE INDEX messages_by_user ON messages (user_id, project, sent_at, id);
CREATE INDEX messages_unread_by_user ON messages (user_id, project, sent_at, id) WHERE read_at IS NULL;
CREATE INDEX messages_by_sent_at ON messages (project, sent_at, id) WHERE sent_at > '-infinity'::timestamptz;

INSERT INTO migrations (name) VALUES ('0013_messages');
