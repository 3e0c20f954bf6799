-- What a notifier answered last of a delivery that it did not make.
--
-- What the first file says of itself holds here as well.

ALTER TABLE deliveries ADD COLUMN detail text NOT NULL DEFAULT '';

INSERT INTO migrations (name) VALUES ('0024_delivery_details');
