-- The keys that users and segments are told apart by.
--
-- They were those of the search, where accents count for nothing, so that an address
-- at another domain was the same user. Now they have columns of their own. SQL cannot
-- work them out: Migrate fills them in after this file, batch by batch, where they
-- are NULL; see identity.go. A key that would be that of somebody else stays empty.

ALTER TABLE users ADD COLUMN login_identity text COLLATE "C";
ALTER TABLE users ADD COLUMN email_identity text COLLATE "C";
DROP INDEX users_login_key, users_email_key;
CREATE UNIQUE INDEX users_login_key ON users (login_identity, project) WHERE login_identity <> '';
CREATE UNIQUE INDEX users_email_key ON users (email_identity, project) WHERE email_identity <> '';

-- What is left to fill in, in the order of registration, and what was found to be
-- in conflict.
CREATE INDEX users_without_identity ON users (registered_at, id, project) WHERE login_identity IS NULL;
CREATE INDEX users_in_conflict ON users (project, id)
    WHERE login_identity = '' AND login <> '' OR email_identity = '' AND email <> '';

ALTER TABLE segments ADD COLUMN name_identity text COLLATE "C";
ALTER TABLE segments DROP CONSTRAINT segments_name_key;
ALTER TABLE segments ADD CONSTRAINT segments_name_key UNIQUE (name_identity, project);
CREATE INDEX segments_without_identity ON segments (created_at, id, project) WHERE name_identity IS NULL;

INSERT INTO migrations (name) VALUES ('0012_identity');
