-- Who has an email address, be it as the email address or as the login.
--
-- What the first file says of itself holds here as well. Whoever logs in by an address that is
-- the login of one user and the email address of another would be taken for the other, and no index of
-- users holds the values of two columns. Migrate fills the column in where it is NULL, as
-- 0012_identity says of its own, and writes the holders of those rows; where two users have an
-- address already, the one who was first is its holder.

CREATE TABLE email_holders (
    project text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    user_id uuid NOT NULL,
    PRIMARY KEY (key, project)
);
ALTER TABLE users ADD COLUMN login_email text COLLATE "C";
DROP INDEX users_without_identity;
CREATE INDEX users_without_identity ON users (registered_at, id, project) WHERE login_email IS NULL;

INSERT INTO migrations (name) VALUES ('0026_email_holders');
