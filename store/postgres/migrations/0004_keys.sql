-- Indexes that leave the planner no choice.
--
-- What the first file says of itself holds here as well, but for one thing: the
-- project is no longer the first column of every index. A statement that looks
-- records up by a key has to find each of them in an index, whatever the
-- statistics say. Where they know nothing of a project, or knew it when it was
-- small, the planner takes it for empty; reading all of its rows then looks as
-- cheap as one look-up, and costs minutes when the project has grown.
--
-- So an index of keys begins with the key, and the project follows: no search for
-- the project alone can use it. An index that begins with the project serves the
-- statements that go through a project, and has a condition that holds for every
-- row. Only statements that state the condition can use it.

ALTER TABLE memberships DROP CONSTRAINT memberships_user_fkey;
ALTER TABLE memberships DROP CONSTRAINT memberships_segment_fkey;

-- Users. The index by id has a condition on another column, since one on the id would
-- follow from any id that is looked up.
ALTER TABLE users DROP CONSTRAINT users_pkey;
ALTER TABLE users ADD CONSTRAINT users_pkey PRIMARY KEY (id, project);
DROP INDEX users_by_login, users_by_name, users_by_email, users_by_registered_at;
CREATE INDEX users_by_id ON users (project, id) WHERE registered_at > '-infinity'::timestamptz;
CREATE INDEX users_by_login ON users (project, login_key, id) WHERE login_key >= '';
CREATE INDEX users_by_name ON users (project, name_key, id) WHERE name_key >= '';
CREATE INDEX users_by_email ON users (project, email_key, id) WHERE email_key >= '';
CREATE INDEX users_by_registered_at ON users (project, registered_at, id) WHERE registered_at > '-infinity'::timestamptz;

ALTER TABLE accounts DROP CONSTRAINT accounts_pkey;
ALTER TABLE accounts ADD CONSTRAINT accounts_pkey PRIMARY KEY (user_id, project);

-- Devices. The index by id is for SealedDevices.
ALTER TABLE devices DROP CONSTRAINT devices_pkey;
ALTER TABLE devices ADD CONSTRAINT devices_pkey PRIMARY KEY (id, project);
ALTER TABLE devices DROP CONSTRAINT devices_token_key;
ALTER TABLE devices ADD CONSTRAINT devices_token_key UNIQUE (token_digest, project);
DROP INDEX devices_hardware_key, devices_by_user, devices_by_registered_at;
CREATE UNIQUE INDEX devices_hardware_key ON devices (user_id, project, hardware_id) WHERE hardware_id <> '';
CREATE INDEX devices_by_user ON devices (user_id, project, registered_at, id);
CREATE INDEX devices_by_registered_at ON devices (project, registered_at, id) WHERE registered_at > '-infinity'::timestamptz;
CREATE INDEX devices_sealed_by_id ON devices (project, id) WHERE sealed_token IS NOT NULL;

-- Sessions.
ALTER TABLE sessions DROP CONSTRAINT sessions_pkey;
ALTER TABLE sessions ADD CONSTRAINT sessions_pkey PRIMARY KEY (id, project);
DROP INDEX sessions_by_user, sessions_by_started_at, sessions_open_by_user;
CREATE INDEX sessions_by_user ON sessions (user_id, project, started_at, id);
CREATE INDEX sessions_by_started_at ON sessions (project, started_at, id) WHERE started_at > '-infinity'::timestamptz;
CREATE INDEX sessions_open_by_user ON sessions (user_id, project, started_at, id) WHERE ended_at IS NULL;

ALTER TABLE usage_days DROP CONSTRAINT usage_days_pkey;
ALTER TABLE usage_days ADD CONSTRAINT usage_days_pkey PRIMARY KEY (user_id, project, day);

-- The ledger.
ALTER TABLE transactions DROP CONSTRAINT transactions_pkey;
ALTER TABLE transactions ADD CONSTRAINT transactions_pkey PRIMARY KEY (id, project);
ALTER TABLE transactions DROP CONSTRAINT transactions_key_key;
ALTER TABLE transactions ADD CONSTRAINT transactions_key_key UNIQUE (user_id, project, key);
DROP INDEX transactions_sequence_key, transactions_by_at;
-- The condition keeps searches that say nothing of the sequence off this index, so
-- that a key is found by transactions_key_key, at once.
CREATE UNIQUE INDEX transactions_sequence_key ON transactions (user_id, project, sequence) WHERE sequence > 0;
CREATE INDEX transactions_by_at ON transactions (project, at, id) WHERE at > '-infinity'::timestamptz;

-- Activity.
ALTER TABLE events DROP CONSTRAINT events_pkey;
ALTER TABLE events ADD CONSTRAINT events_pkey PRIMARY KEY (id, project);
DROP INDEX events_by_user, events_by_at, events_by_position;
CREATE INDEX events_by_user ON events (user_id, project, at, id);
CREATE INDEX events_by_at ON events (project, at, id) WHERE at > '-infinity'::timestamptz;
CREATE INDEX events_by_position ON events (project, position, id) WHERE position > -9223372036854775808;

-- Purchases.
ALTER TABLE purchases DROP CONSTRAINT purchases_pkey;
ALTER TABLE purchases ADD CONSTRAINT purchases_pkey PRIMARY KEY (id, project);
DROP INDEX purchases_stable_key, purchases_user_key, purchases_by_user, purchases_by_purchased_at;
CREATE UNIQUE INDEX purchases_stable_key ON purchases (stable_id, store, project) WHERE NOT family_shared;
CREATE UNIQUE INDEX purchases_user_key ON purchases (stable_id, store, project, user_id);
CREATE INDEX purchases_by_user ON purchases (user_id, project, purchased_at, id);
CREATE INDEX purchases_by_purchased_at ON purchases (project, purchased_at, id) WHERE purchased_at > '-infinity'::timestamptz;

-- Segments.
ALTER TABLE segments DROP CONSTRAINT segments_pkey;
ALTER TABLE segments ADD CONSTRAINT segments_pkey PRIMARY KEY (id, project);
ALTER TABLE segments DROP CONSTRAINT segments_name_key;
ALTER TABLE segments ADD CONSTRAINT segments_name_key UNIQUE (name_key, project);
CREATE INDEX segments_by_name ON segments (project, name_key, id) WHERE name_key >= '';
ALTER TABLE memberships DROP CONSTRAINT memberships_pkey;
ALTER TABLE memberships ADD CONSTRAINT memberships_pkey PRIMARY KEY (user_id, project, segment_id);
DROP INDEX memberships_by_segment;
CREATE INDEX memberships_by_segment ON memberships (segment_id, project, user_id);
ALTER TABLE memberships ADD CONSTRAINT memberships_user_fkey FOREIGN KEY (project, user_id)
    REFERENCES accounts (project, user_id) ON DELETE CASCADE;
ALTER TABLE memberships ADD CONSTRAINT memberships_segment_fkey FOREIGN KEY (project, segment_id)
    REFERENCES segments (project, id) ON DELETE CASCADE;

INSERT INTO migrations (name) VALUES ('0004_keys');
