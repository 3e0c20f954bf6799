-- The parts of a purchase that have ends of their own, and which purchases it has replaced.
--
-- What the first file says of itself holds here as well. Both are lists as JSON; NULL: none.

ALTER TABLE purchases
    ADD COLUMN items text,
    ADD COLUMN supersedes text;

INSERT INTO migrations (name) VALUES ('0021_purchase_items');
