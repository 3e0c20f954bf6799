package storetest

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFixturesAreFull: a field that is zero in every fixture would be a field
// that the suite does not look at, such as one that a record got later.
func TestFixturesAreFull(t *testing.T) {
	owner := userID(1)
	for _, fixture := range []any{
		newUser(1), newDevice(owner, 1), newSession(owner, 1), newPurchase(owner, 1), newTransaction(owner, 1), newDayUsage(1), newEvent(owner, 1),
		newSegment(1),
	} {
		requireFull(t, reflect.TypeOf(fixture).Name(), reflect.ValueOf(fixture))
	}
}

// requireFull demands that no exported field of a struct is zero, but for those
// that no store keeps.
func requireFull(t *testing.T, path string, value reflect.Value) {
	t.Helper()
	for i := range value.NumField() {
		field := value.Type().Field(i)
		name := path + "." + field.Name
		switch name {
		case "DeviceRecord.Device.AccessToken", "Event.Cursor":
			require.True(t, value.Field(i).IsZero(), name)
			continue
		}
		if !field.IsExported() {
			continue
		}
		require.False(t, value.Field(i).IsZero(), "%s is zero", name)
		if field.Type.Kind() == reflect.Struct && field.Type.PkgPath() == value.Type().PkgPath() {
			requireFull(t, name, value.Field(i))
		}
	}
}
