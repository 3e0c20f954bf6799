-- The locations of devices, and that they agreed to them.
--
-- What the first file says of itself holds here as well, and what the fourth says of
-- indexes.

-- place is the number of the place on a curve that keeps neighbours together
-- (Location.Place); NULL: no location.
ALTER TABLE devices
    ADD COLUMN place bigint,
    ADD COLUMN location_consent_at timestamptz;

-- A location that a device was registered with was given for it to be kept. Its place is
-- worked out as in Go: 31 bits of the longitude, each followed by one of the latitude.
UPDATE devices AS d SET location_consent_at = d.located_at, place = (
    SELECT bit_or(((s.longitude >> b & 1) << (2 * b)) | ((s.latitude >> b & 1) << (2 * b + 1)))
    FROM (SELECT least(greatest(trunc((d.longitude + 180) / 360 * 2147483648), 0), 2147483647)::bigint AS longitude,
                 least(greatest(trunc((d.latitude + 90) / 180 * 2147483648), 0), 2147483647)::bigint AS latitude) AS s,
         generate_series(0, 30) AS b
) WHERE d.located_at IS NOT NULL;

CREATE INDEX devices_by_place ON devices (project, place, id) WHERE place IS NOT NULL;

INSERT INTO migrations (name) VALUES ('0014_locations');
