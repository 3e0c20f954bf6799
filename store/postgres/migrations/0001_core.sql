-- The core of userkit: users, devices, sessions, traffic, balance, events.
--
-- The file runs in one transaction, with the schema first in search_path, and
-- records itself at its end. It must hold no question mark and no apostrophe
-- outside of a text: both mislead the drivers that run it.
--
-- Every table begins with the project, and so does every key and every index that
-- can: no statement touches two projects. All text compares byte by byte, whatever
-- the collation of the database; columns named *_key hold the folded text that
-- userkit sorts and searches by.

CREATE TABLE migrations (
    name       text COLLATE "C" NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT migrations_pkey PRIMARY KEY (name)
);

-- feed_offset is what the positions of events add to the transaction ids of the
-- cluster; it grows when the database moves to a cluster that counts lower.
CREATE TABLE projects (
    project     text COLLATE "C" NOT NULL,
    feed_offset bigint NOT NULL DEFAULT 0,
    CONSTRAINT projects_pkey PRIMARY KEY (project)
);

-- The wide row of a user: the profile, which people edit.
CREATE TABLE users (
    project              text COLLATE "C" NOT NULL,
    id                   uuid NOT NULL,
    registered_at        timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    revision             bigint NOT NULL,
    email_verified       boolean NOT NULL,
    login                text COLLATE "C" NOT NULL,
    login_key            text COLLATE "C" NOT NULL,
    name                 text COLLATE "C" NOT NULL,
    name_key             text COLLATE "C" NOT NULL,
    email                text COLLATE "C" NOT NULL,
    email_key            text COLLATE "C" NOT NULL,
    phone                text COLLATE "C" NOT NULL,
    extref               text COLLATE "C" NOT NULL,
    extref_key           text COLLATE "C" NOT NULL,
    auth_method          text COLLATE "C" NOT NULL,
    status               text COLLATE "C" NOT NULL,
    license              text COLLATE "C" NOT NULL,
    kind                 text COLLATE "C" NOT NULL,
    payer_account_number text COLLATE "C" NOT NULL,
    legal_address        text COLLATE "C" NOT NULL,
    postal_address       text COLLATE "C" NOT NULL,
    bank                 text COLLATE "C" NOT NULL,
    bank_account         text COLLATE "C" NOT NULL,
    description          text COLLATE "C" NOT NULL,
    country              text COLLATE "C" NOT NULL,
    preferred_map        text COLLATE "C" NOT NULL,
    additional_info      text COLLATE "C" NOT NULL,
    attributes           jsonb,
    folded_attributes    jsonb, -- the attributes with their texts folded, where folding changes one
    folded               jsonb, -- folded texts of the other columns; see foldedTexts in the code
    search               text COLLATE "C" NOT NULL, -- what the search box looks at
    CONSTRAINT users_pkey PRIMARY KEY (project, id)
);
CREATE UNIQUE INDEX users_login_key ON users (project, login_key) WHERE login_key <> '';
CREATE UNIQUE INDEX users_email_key ON users (project, email_key) WHERE email_key <> '';
CREATE UNIQUE INDEX users_extref_key ON users (project, extref) WHERE extref <> '';
CREATE INDEX users_by_login ON users (project, login_key, id);
CREATE INDEX users_by_name ON users (project, name_key, id);
CREATE INDEX users_by_email ON users (project, email_key, id);
CREATE INDEX users_by_registered_at ON users (project, registered_at, id);

-- The narrow row of a user: what use changes. It has no index but its key and
-- room to spare on each page, so that updates stay on their page.
--
-- It is also what holds a user together: it comes and goes with the wide row, and
-- whatever writes a record of a user writes this row in the same statement and
-- writes nothing when it is gone. Foreign keys could say no more than that, and
-- would lock the wide row for every record.
CREATE TABLE accounts (
    project              text COLLATE "C" NOT NULL,
    user_id              uuid NOT NULL,
    version              bigint NOT NULL,
    balance              bigint NOT NULL,
    transaction_sequence bigint NOT NULL,
    devices              bigint NOT NULL,
    open_sessions        bigint NOT NULL,
    active_purchases     bigint NOT NULL,
    traffic_limit        bigint NOT NULL,
    traffic_used         bigint NOT NULL,
    valid_for            bigint NOT NULL, -- nanoseconds
    expires_at           timestamptz,
    last_seen_at         timestamptz,
    traffic_period       date,
    traffic_anchor_day   bigint NOT NULL,
    traffic_reset        text COLLATE "C" NOT NULL,
    currency             text COLLATE "C" NOT NULL,
    last_transaction     uuid,
    CONSTRAINT accounts_pkey PRIMARY KEY (project, user_id)
) WITH (fillfactor = 50);

CREATE TABLE devices (
    project       text COLLATE "C" NOT NULL,
    id            uuid NOT NULL,
    user_id       uuid NOT NULL,
    registered_at timestamptz NOT NULL,
    last_seen_at  timestamptz,
    located_at    timestamptz,
    latitude      double precision NOT NULL,
    longitude     double precision NOT NULL,
    accuracy      double precision NOT NULL,
    token_digest  bytea NOT NULL,
    sealed_token  bytea,
    token_hint    text COLLATE "C" NOT NULL,
    name          text COLLATE "C" NOT NULL,
    name_key      text COLLATE "C", -- where folding changes the name
    type          text COLLATE "C" NOT NULL,
    hardware_id   text COLLATE "C" NOT NULL,
    push_token    text COLLATE "C" NOT NULL,
    CONSTRAINT devices_pkey PRIMARY KEY (project, id),
    CONSTRAINT devices_token_key UNIQUE (project, token_digest)
);
CREATE UNIQUE INDEX devices_hardware_key ON devices (project, user_id, hardware_id) WHERE hardware_id <> '';
CREATE INDEX devices_by_user ON devices (project, user_id, registered_at, id);
CREATE INDEX devices_by_registered_at ON devices (project, registered_at, id);

-- A session keeps the id of its device after the device was deleted.
-- reported_slot is reported_at cut to ten minutes: what the search for stale
-- sessions goes by, so that most reports leave every index alone.
CREATE TABLE sessions (
    project             text COLLATE "C" NOT NULL,
    id                  uuid NOT NULL,
    user_id             uuid NOT NULL,
    device_id           uuid,
    started_at          timestamptz NOT NULL,
    ended_at            timestamptz,
    reported_at         timestamptz NOT NULL,
    reported_slot       bigint NOT NULL,
    received            bigint NOT NULL,
    sent                bigint NOT NULL,
    counter_received    bigint NOT NULL,
    counter_sent        bigint NOT NULL,
    counter_at          timestamptz,
    device_name         text COLLATE "C" NOT NULL,
    device_name_key     text COLLATE "C", -- where folding changes the name
    node                text COLLATE "C" NOT NULL,
    node_location       text COLLATE "C" NOT NULL,
    node_location_key   text COLLATE "C", -- where folding changes the location
    internal_ip         inet,
    end_reason          text COLLATE "C" NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (project, id)
) WITH (fillfactor = 70);
CREATE INDEX sessions_by_user ON sessions (project, user_id, started_at, id);
CREATE INDEX sessions_by_started_at ON sessions (project, started_at, id);
CREATE INDEX sessions_open_by_user ON sessions (project, user_id, started_at, id) WHERE ended_at IS NULL;
-- The second conditions hold for every row. They keep searches for the open
-- sessions of a user, which do not state them, on the index before.
CREATE INDEX sessions_open_by_started_at ON sessions (project, started_at, id)
    WHERE ended_at IS NULL AND started_at > '-infinity'::timestamptz;
CREATE INDEX sessions_open_by_report ON sessions (project, reported_slot)
    WHERE ended_at IS NULL AND reported_slot > -9223372036854775808;

CREATE TABLE usage_days (
    project  text COLLATE "C" NOT NULL,
    user_id  uuid NOT NULL,
    day      date NOT NULL,
    received bigint NOT NULL,
    sent     bigint NOT NULL,
    forgiven bigint NOT NULL,
    CONSTRAINT usage_days_pkey PRIMARY KEY (project, user_id, day)
) WITH (fillfactor = 70);

CREATE TABLE transactions (
    project             text COLLATE "C" NOT NULL,
    id                  uuid NOT NULL,
    user_id             uuid NOT NULL,
    sequence            bigint NOT NULL,
    amount              bigint NOT NULL,
    balance             bigint NOT NULL, -- after the transaction
    at                  timestamptz NOT NULL,
    previous            uuid,
    kind                text COLLATE "C" NOT NULL,
    currency            text COLLATE "C" NOT NULL,
    balance_currency    text COLLATE "C" NOT NULL,
    key                 text COLLATE "C" NOT NULL,
    note                text COLLATE "C" NOT NULL,
    reference           text COLLATE "C" NOT NULL,
    actor_kind          text COLLATE "C" NOT NULL,
    actor_id            text COLLATE "C" NOT NULL,
    actor_name          text COLLATE "C" NOT NULL,
    on_behalf_of        uuid,
    cancelled_at        timestamptz,
    cancelled_by_kind   text COLLATE "C" NOT NULL DEFAULT '',
    cancelled_by_id     text COLLATE "C" NOT NULL DEFAULT '',
    cancelled_by_name   text COLLATE "C" NOT NULL DEFAULT '',
    cancelled_by_behalf uuid,
    CONSTRAINT transactions_pkey PRIMARY KEY (project, id),
    CONSTRAINT transactions_key_key UNIQUE (project, user_id, key)
);
-- The condition holds for every row. It keeps searches that say nothing of the
-- sequence off this index: a key is found by transactions_key_key, at once, also
-- for a user with very many transactions.
CREATE UNIQUE INDEX transactions_sequence_key ON transactions (project, user_id, sequence) WHERE sequence > 0;
CREATE INDEX transactions_by_at ON transactions (project, at, id);

-- Events outlive their user: the receipt of a deletion stays. The user of an event
-- of no user is the zero id. position is projects.feed_offset plus the id of the
-- transaction that wrote the event.
CREATE TABLE events (
    project      text COLLATE "C" NOT NULL,
    id           uuid NOT NULL,
    user_id      uuid NOT NULL,
    position     bigint NOT NULL,
    at           timestamptz NOT NULL,
    device_id    uuid,
    name         text COLLATE "C" NOT NULL,
    actor_kind   text COLLATE "C" NOT NULL,
    actor_id     text COLLATE "C" NOT NULL,
    actor_name   text COLLATE "C" NOT NULL,
    on_behalf_of uuid,
    data         jsonb,
    CONSTRAINT events_pkey PRIMARY KEY (project, id)
);
CREATE INDEX events_by_user ON events (project, user_id, at, id);
CREATE INDEX events_by_at ON events (project, at, id);
CREATE INDEX events_by_position ON events (project, position, id);

INSERT INTO migrations (name) VALUES ('0001_core');
