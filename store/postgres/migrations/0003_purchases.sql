-- The purchases of userkit.
--
-- What the first file says of itself holds here as well.

-- When the last of the active purchases stops counting; NULL with active purchases:
-- never.
ALTER TABLE accounts ADD COLUMN purchases_end_at timestamptz;

-- One row for all renewals of a purchase. A lease changes leased_until, which no
-- index has: where its page has room for the row, it touches no index. token is a
-- secret.
CREATE TABLE purchases (
    project        text COLLATE "C" NOT NULL,
    id             uuid NOT NULL,
    user_id        uuid NOT NULL,
    store          text COLLATE "C" NOT NULL,
    stable_id      text COLLATE "C" NOT NULL,
    transaction_id text COLLATE "C" NOT NULL,
    product_id     text COLLATE "C" NOT NULL,
    environment    text COLLATE "C" NOT NULL,
    purchased_at   timestamptz NOT NULL,
    expires_at     timestamptz,
    trial          boolean NOT NULL,
    family_shared  boolean NOT NULL,
    active         boolean NOT NULL,
    reason         text COLLATE "C" NOT NULL,
    raw            jsonb,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    facts_at       timestamptz,
    verified_at    timestamptz,
    due_at         timestamptz,
    token          text COLLATE "C" NOT NULL,
    leased_until   timestamptz,
    undecided      bigint NOT NULL,
    acknowledged   boolean NOT NULL,
    CONSTRAINT purchases_pkey PRIMARY KEY (project, id)
) WITH (fillfactor = 80);
-- A purchase is of one user, unless it is shared in a family; a user has it once in
-- any case.
CREATE UNIQUE INDEX purchases_stable_key ON purchases (project, store, stable_id) WHERE NOT family_shared;
CREATE UNIQUE INDEX purchases_user_key ON purchases (project, store, stable_id, user_id);
CREATE INDEX purchases_by_user ON purchases (project, user_id, purchased_at, id);
CREATE INDEX purchases_by_purchased_at ON purchases (project, purchased_at, id);
CREATE INDEX purchases_by_due_at ON purchases (project, due_at, id) WHERE due_at IS NOT NULL;

INSERT INTO migrations (name) VALUES ('0003_purchases');
