-- Up to when what a device measured is not kept, whenever it is reported.
--
-- What the first file says of itself holds here as well.

ALTER TABLE devices ADD COLUMN location_forgotten_at timestamptz;

INSERT INTO migrations (name) VALUES ('0022_forgotten_locations');
