-- Leases of one service: of purchases of a store, and of deliveries to a type of device.
--
-- What the first file says of itself holds here as well, and what the fourth says of
-- indexes. A delivery whose type is wrong gets the right one when it is attempted; that is
-- what the default is for, which processes of the previous version rely on.

ALTER TABLE deliveries ADD COLUMN device_type text COLLATE "C" NOT NULL DEFAULT 'other';
UPDATE deliveries AS t SET device_type = d.type
FROM devices AS d
WHERE t.due_at IS NOT NULL AND d.project = t.project AND d.id = t.device_id;

DROP INDEX deliveries_by_due_at, purchases_by_due_at;
CREATE INDEX deliveries_by_due_at ON deliveries (project, device_type, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX purchases_by_due_at ON purchases (project, store, due_at, id) WHERE due_at IS NOT NULL;

INSERT INTO migrations (name) VALUES ('0025_leases');
