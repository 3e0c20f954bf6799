-- What logins look like, where the host has a check for logins that look alike.
--
-- What the first file says of itself holds here as well. Only the host knows what a login
-- looks like, so that CheckLogins fills the column in.

ALTER TABLE users ADD COLUMN login_skeleton text COLLATE "C" NOT NULL DEFAULT '';
CREATE UNIQUE INDEX users_login_skeleton_key ON users (login_skeleton, project) WHERE login_skeleton <> '';

INSERT INTO migrations (name) VALUES ('0023_login_skeletons');
