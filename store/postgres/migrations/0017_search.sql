-- The search for short terms, and folded texts of another version.
--
-- Trigrams are no help to a term without three letters or digits in a row, such as a
-- name in Chinese. search_parts has the pairs of neighbouring characters and those that
-- begin a word, with line breaks between them; see userkit.SearchParts.
--
-- fold is the version of userkit.Fold that made the folded texts of a row. Migrate makes
-- them anew after this file, batch by batch; see refold.go. Processes of the version
-- before write what the default says.

ALTER TABLE users ADD COLUMN search_parts text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN fold smallint NOT NULL DEFAULT 1;
ALTER TABLE segments ADD COLUMN fold smallint NOT NULL DEFAULT 1;

CREATE INDEX users_by_search_part ON users USING gin (string_to_array(search_parts, E'\n')) WHERE search_parts <> '';
CREATE INDEX users_folded_long_ago ON users (id, project) WHERE fold < 2;
CREATE INDEX segments_folded_long_ago ON segments (id, project) WHERE fold < 2;

INSERT INTO migrations (name) VALUES ('0017_search');
