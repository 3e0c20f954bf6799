-- Folded texts of version 3.
--
-- What the first file says of itself holds here as well. userkit.Fold leaves out the points of
-- Hebrew and Arabic now. Migrate folds the rows of earlier versions anew after this file, as
-- 0017_search says. The keys of email addresses, which are finer now, follow with what
-- 0026_email_holders fills in.

DROP INDEX users_folded_long_ago;
DROP INDEX segments_folded_long_ago;
CREATE INDEX users_folded_long_ago ON users (id, project) WHERE fold < 3;
CREATE INDEX segments_folded_long_ago ON segments (id, project) WHERE fold < 3;

INSERT INTO migrations (name) VALUES ('0027_fold');
