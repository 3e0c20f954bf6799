package postgres_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// A location of a version that had no places gets the one that Go gives it.
func TestMigrateWorksOutPlaces(t *testing.T) {
	dsn := migrated.Create(t)
	db := openDB(t, dsn)
	store := openStore(t, dsn)
	users := crowd(t, store, 200)
	file, err := os.ReadFile("migrations/0014_locations.sql")
	require.NoError(t, err)
	for _, statement := range []string{
		"SET search_path = userkit", "DROP INDEX devices_by_place", "ALTER TABLE devices DROP COLUMN place, DROP COLUMN location_consent_at",
		"UPDATE devices SET latitude = latitude + 1.0 / 3, longitude = longitude + 1.0 / 7 WHERE located_at IS NOT NULL AND longitude < 179",
		"DELETE FROM migrations WHERE name = '0014_locations'", string(file), "RESET search_path",
	} {
		_, err := db.DB.Exec(statement)
		require.NoError(t, err, "%.80s", strings.TrimSpace(statement))
	}
	located, err := store.Locations(t.Context(), userkit.LocationFilter{}, userkit.ListRange{Order: userkit.Order{Field: "place"}, Limit: len(users) + 1})
	require.NoError(t, err)
	require.Len(t, located, len(users))
	var last int64
	for _, device := range located {
		var place int64
		require.NoError(t, db.DB.QueryRow("SELECT place FROM userkit.devices WHERE id = $1", device.ID.String()).Scan(&place))
		require.Equal(t, device.Location.Place(), place, "%+v", device.Location)
		require.GreaterOrEqual(t, place, last)
		last = place
		require.Equal(t, device.Location.At, device.LocationConsentAt)
	}
}
