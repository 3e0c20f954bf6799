package userkit_test

import (
	"database/sql"
	"database/sql/driver"
	"html/template"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

var (
	_ sql.Scanner   = (*userkit.UserID)(nil)
	_ driver.Valuer = userkit.UserID{}
	_ sql.Scanner   = (*userkit.Money)(nil)
	_ driver.Valuer = userkit.Money{}
	_ sql.Scanner   = (*userkit.Day)(nil)
	_ driver.Valuer = userkit.Day{}
	_ sql.Scanner   = (*userkit.Optional[string])(nil)
	_ driver.Valuer = userkit.Optional[string]{}
)

// scanned reads back what a value wrote, as a driver returns it.
func scanned[T any](t *testing.T, source any) T {
	t.Helper()
	var value T
	require.NoError(t, any(&value).(sql.Scanner).Scan(source))
	return value
}

func TestValuesGoThroughColumns(t *testing.T) {
	id := userkit.NewID[userkit.User]()
	day := userkit.Day{Year: 2026, Month: time.March, Day: 29}
	money := userkit.Money{Amount: -1250, Currency: "EUR"}
	value := func(from driver.Valuer) driver.Value {
		value, err := from.Value()
		require.NoError(t, err)
		require.True(t, driver.IsValue(value), "%T", value)
		return value
	}
	require.Equal(t, id, scanned[userkit.UserID](t, value(id)))
	require.Equal(t, id, scanned[userkit.UserID](t, []byte(id.String())))
	require.Equal(t, id, scanned[userkit.UserID](t, id[:]))
	require.Equal(t, id, scanned[userkit.UserID](t, [16]byte(id)))
	require.Nil(t, value(userkit.UserID{}))
	require.Zero(t, scanned[userkit.UserID](t, nil))

	require.Equal(t, money, scanned[userkit.Money](t, value(money)))
	require.Equal(t, money, scanned[userkit.Money](t, []byte("-12.50 EUR")))
	require.Equal(t, userkit.Money{Currency: "JPY"}, scanned[userkit.Money](t, value(userkit.Money{Currency: "JPY"})))
	require.Nil(t, value(userkit.Money{}))
	require.Zero(t, scanned[userkit.Money](t, nil))
	_, err := userkit.Money{Amount: 5}.Value()
	require.Equal(t, userkit.CodeUnknownValue, userkit.ErrorCode(err))

	require.Equal(t, day, scanned[userkit.Day](t, value(day)))
	require.Equal(t, day, scanned[userkit.Day](t, time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)))
	require.Nil(t, value(userkit.Day{}))
	require.Zero(t, scanned[userkit.Day](t, nil))

	require.Equal(t, userkit.Set(id), scanned[userkit.Optional[userkit.UserID]](t, value(userkit.Set(id))))
	require.Equal(t, userkit.Set(day), scanned[userkit.Optional[userkit.Day]](t, value(userkit.Set(day))))
	require.Equal(t, userkit.Set(userkit.StatusActive), scanned[userkit.Optional[userkit.Status]](t, value(userkit.Set(userkit.StatusActive))))
	require.Equal(t, userkit.Set(7), scanned[userkit.Optional[int]](t, value(userkit.Set(7))))
	require.Equal(t, userkit.Set(uint8(7)), scanned[userkit.Optional[uint8]](t, []byte("7")))
	require.Equal(t, userkit.Set(0.5), scanned[userkit.Optional[float64]](t, value(userkit.Set(0.5))))
	require.Equal(t, userkit.Set(true), scanned[userkit.Optional[bool]](t, value(userkit.Set(true))))
	require.Equal(t, userkit.Set(""), scanned[userkit.Optional[string]](t, value(userkit.Set(""))))
	require.Equal(t, userkit.Set([]byte{1}), scanned[userkit.Optional[[]byte]](t, []byte{1}))
	require.Equal(t, userkit.Set(netip.MustParseAddr("10.0.0.7")), scanned[userkit.Optional[netip.Addr]](t, "10.0.0.7"))
	now := time.Now().UTC()
	require.Equal(t, userkit.Set(now), scanned[userkit.Optional[time.Time]](t, value(userkit.Set(now))))
	require.Nil(t, value(userkit.Optional[string]{}))
	require.Zero(t, scanned[userkit.Optional[string]](t, nil))
}

func TestColumnsOfOtherTypesAreRefused(t *testing.T) {
	for name, err := range map[string]error{
		"a number as an id":        new(userkit.UserID).Scan(int64(1)),
		"another text as an id":    new(userkit.UserID).Scan("ada"),
		"an amount of no currency": new(userkit.Money).Scan("12.50"),
		"a number as money":        new(userkit.Money).Scan(int64(1250)),
		"a month":                  new(userkit.Day).Scan("2026-03"),
		"a number too large":       new(userkit.Optional[int8]).Scan(int64(128)),
		"a text as a number":       new(userkit.Optional[int]).Scan("seven"),
		"a time as a number":       new(userkit.Optional[int]).Scan(time.Now()),
		"a struct":                 new(userkit.Optional[struct{ X int }]).Scan("x"),
	} {
		require.Equal(t, userkit.CodeBadFormat, userkit.ErrorCode(err), name)
	}
}

func TestZeroIDInATemplate(t *testing.T) {
	page := template.Must(template.New("").Parse(
		`[{{.DeviceID}}]{{if .DeviceID.String}} on {{.DeviceID}}{{end}}{{if .DeviceID.IsZero}} without a device{{end}}{{with .DeviceID.String}} {{.}}{{end}}`))
	show := func(session userkit.Session) string {
		var text strings.Builder
		require.NoError(t, page.Execute(&text, session))
		return text.String()
	}
	require.Equal(t, "[] without a device", show(userkit.Session{}))
	device := userkit.NewID[userkit.Device]()
	require.Equal(t, "["+device.String()+"] on "+device.String()+" "+device.String(), show(userkit.Session{DeviceID: device}))
}
