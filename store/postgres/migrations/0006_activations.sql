-- The confirmation of email addresses.
--
-- What the first file says of itself holds here as well, and what the fourth says of
-- indexes.

-- One row for a user whose address waits to be confirmed. token_digest is the SHA-256 of
-- the token in the newest mail.
CREATE TABLE activations (
    project      text COLLATE "C" NOT NULL,
    user_id      uuid NOT NULL,
    email        text COLLATE "C" NOT NULL,
    token_digest bytea NOT NULL,
    sent_at      timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    mails        bigint NOT NULL,
    counted_from timestamptz NOT NULL,
    CONSTRAINT activations_pkey PRIMARY KEY (user_id, project)
);

INSERT INTO migrations (name) VALUES ('0006_activations');
