-- Keys of logins that no one may have any more.
--
-- What the first file says of itself holds here as well. The keys of logins that RFC 8265 refuses
-- are in lower case now, where their case was folded. Migrate fills in what is NULL, as
-- 0026_email_holders says.

DELETE FROM email_holders AS h USING users AS u
WHERE h.project = u.project AND h.user_id = u.id AND u.login ~ '[^ -~]' AND h.key = u.login_email AND h.key IS DISTINCT FROM u.email_identity;

UPDATE users SET login_email = NULL WHERE login ~ '[^ -~]';

INSERT INTO migrations (name) VALUES ('0029_login_keys');
