-- The private mail addresses of users.
--
-- What the first file says of itself holds here as well, and what the fourth says of
-- indexes.

-- One row for a user who has, or had, an address. An address names its user, so that it is
-- found by the key; of one that was revoked, the row is left with an empty address.
CREATE TABLE push_mails (
    project      text COLLATE "C" NOT NULL,
    user_id      uuid NOT NULL,
    address      text COLLATE "C" NOT NULL,
    created_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    generated    bigint NOT NULL,
    counted_from timestamptz NOT NULL,
    CONSTRAINT push_mails_pkey PRIMARY KEY (user_id, project)
);

INSERT INTO migrations (name) VALUES ('0009_push_mails');
