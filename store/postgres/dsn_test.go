package postgres

import (
	"cmp"
	"crypto/tls"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// clearEnvironment takes the variables of libpq out of the environment.
func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, variable := range environment {
		t.Setenv(variable, "")
	}
	t.Setenv("PGSERVICEFILE", os.DevNull)
	t.Setenv("PGPASSFILE", os.DevNull)
}

// A DSN means what it means to libpq. pgx, which follows libpq, is what it is held
// against.
func TestDSNsMeanWhatTheyMeanToLibpq(t *testing.T) {
	clearEnvironment(t)
	for _, dsn := range []string{
		"postgres://ada:secret@db.example.org:6432/shop?sslmode=disable",
		"postgresql://ada@db.example.org?sslmode=disable",
		"postgres://ada:p%40ss%3Aw%2Ford@db/shop%20two?sslmode=disable&application_name=shop+a%20b",
		"postgres://ada@one:1,two:2,three:3/shop?sslmode=disable&target_session_attrs=read-write",
		"postgres://ada@one,two:2/shop?sslmode=disable&target_session_attrs=prefer-standby",
		"postgres://ada@[::1]:5433,[2001:db8::1]/shop?sslmode=disable",
		"postgres://ada@/shop?host=/var/run/postgresql&sslmode=disable",
		"postgres://ada@/shop?host=/tmp&port=6432",
		"postgres://ada@%2Fvar%2Frun%2Fpostgresql/shop?sslmode=disable",
		"postgres://ada@/shop?host=one,two&port=7000&sslmode=disable",
		"postgres://ada@db/shop?options=-c%20statement_timeout%3D5s&sslmode=disable",
		"postgres://ada@db/shop?statement_timeout=5000&search_path=a,b&sslmode=disable&my.setting=1",
		"postgres://db/shop?user=ada&password=secret&sslmode=disable",
		"postgres://ada@db/?dbname=shop&sslmode=disable",
		"host=db port=6432 user=ada password='it''s' dbname=shop sslmode=disable",
		`host = 'db' user=ada password='a b\'c\\d' dbname=shop sslmode=disable`,
		"user=ada dbname=shop host=/run/postgresql",
		"host=one,two port=1,2 user=ada dbname=shop sslmode=disable connect_timeout=7",
		"postgres://ada@db/shop?sslmode=prefer", "postgres://ada@db/shop?sslmode=allow",
		"postgres://ada@db/shop?sslmode=require", "postgres://ada@db/shop?sslmode=verify-full",
	} {
		want, wrong := pgconn.ParseConfig(dsn)
		got, err := parseDSN(dsn)
		if wrong != nil {
			requireRefused(t, err, dsn)
			continue
		}
		require.NoError(t, err, dsn)
		require.Equal(t, []string{want.User, want.Password, cmp.Or(want.Database, want.User)}, []string{got.user, got.password, got.database}, dsn)
		require.Equal(t, want.RuntimeParams, got.parameters, dsn)
		if want.ConnectTimeout > 0 && want.ConnectTimeout != 2*time.Minute {
			require.Equal(t, want.ConnectTimeout, got.connectTimeout, dsn)
		}
		require.Equal(t, want.ValidateConnect == nil, got.wanted == "any", dsn)
		type way struct {
			network, address string
			encrypted        bool
		}
		ways := []way{}
		add := func(host string, port uint16, config *tls.Config) {
			network, address := pgconn.NetworkAddress(host, port)
			ways = append(ways, way{network, address, config != nil})
		}
		add(want.Host, want.Port, want.TLSConfig)
		for _, fallback := range want.Fallbacks {
			add(fallback.Host, fallback.Port, fallback.TLSConfig)
		}
		tried := []way{}
		for _, to := range got.servers {
			for _, encrypted := range got.encryptions(to) {
				tried = append(tried, way{to.network, to.address, encrypted})
			}
		}
		require.Equal(t, ways, tried, dsn)
		if got.sslMode == "verify-full" {
			require.False(t, got.tls.InsecureSkipVerify)
			require.Equal(t, want.TLSConfig.ServerName, got.servers[0].name)
		}
	}
}

func requireRefused(t *testing.T, err error, dsn string) {
	t.Helper()
	require.Error(t, err, dsn)
	require.Equal(t, userkit.CodeInvalidOption, userkit.ErrorCode(err), dsn)
	require.NotContains(t, err.Error(), "secret")
}

// What is not supported is refused, with what to do instead, and what is wrong as well.
// No error tells the password.
func TestDSNsAreRefused(t *testing.T) {
	clearEnvironment(t)
	for dsn, says := range map[string]string{
		"mysql://ada:secret@db/shop":                                       "scheme",
		"shop":                                                             "keyword=value",
		"host=db password='secret":                                         "apostrophe",
		`host=db password=secret\`:                                         "backslash",
		"postgres://ada:secret%zz@db/shop":                                 "escaped",
		"postgres://ada:secret@db:port/shop":                               "port",
		"postgres://ada:secret@db:0/shop":                                  "port",
		"postgres://ada:secret@one,two,three/shop?port=1,2":                "3 hosts and 2 ports",
		"postgres://ada:secret@db/shop?sslmode=sometimes":                  "sslmode",
		"postgres://ada:secret@db/shop?sslrootcert=/nowhere":               "sslrootcert",
		"postgres://ada:secret@db/shop?sslcert=/nowhere":                   "sslkey",
		"postgres://ada:secret@db/shop?sslrootcert=system&sslmode=require": "verify-full",
		"postgres://ada:secret@db/shop?target_session_attrs=fast":          "read-write",
		"postgres://ada:secret@db/shop?load_balance_hosts=round":           "random",
		"postgres://ada:secret@db/shop?connect_timeout=soon":               "connect_timeout",
		"postgres://ada:secret@db/shop?timeout=soon":                       "timeout",
		"postgres://ada:secret@db/shop?channel_binding=require":            "channel_binding",
		"postgres://ada:secret@db/shop?gssencmode=require":                 "gssencmode",
		"postgres://ada:secret@db/shop?client_encoding=LATIN1":             "UTF8",
		"postgres://ada:secret@db/shop?service=shop":                       "parameters of the service",
		"postgres://ada:secret@db/shop?passfile=/home/ada/.pgpass":         "PGPASSWORD",
		"postgres://ada:secret@db/shop?sslcrl=x":                           "New",
		"postgres://ada:secret@db/shop?search%20path=x":                    "unknown parameter",
		"postgres://ada:secret@db/shop?hostaddr=db.example.org":            "numbers",
		"postgres://ada:secret@one,two/shop?hostaddr=10.0.0.1":             "host has 2 parts",
		"unix://ada:secret@shop":                                           "path/to/socket",
		"postgres://ada:secret@db/shop?keepalives_count=many":              "keepalives_count",
		"postgres://ada:secret@db/shop?search_path=%00":                    "unknown parameter",
	} {
		_, err := parseDSN(dsn)
		requireRefused(t, err, dsn)
		require.ErrorContains(t, err, says, dsn)
	}
}

// The rest of what a DSN can say, and the variables of the environment.
func TestDSNParameters(t *testing.T) {
	clearEnvironment(t)
	s, err := parseDSN("postgres://ada@db/shop?timeout=9&read_timeout=2s&keepalives_idle=30&keepalives_interval=7&keepalives_count=4&load_balance_hosts=random")
	require.NoError(t, err)
	require.Equal(t, []time.Duration{9 * time.Second, 2 * time.Second, 9 * time.Second}, []time.Duration{s.connectTimeout, s.readTimeout, s.writeTimeout})
	require.Equal(t, net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 7 * time.Second, Count: 4}, s.keepAlive)
	require.True(t, s.random)
	require.Empty(t, s.parameters)
	require.Equal(t, "require", s.sslMode)

	s, err = parseDSN("unix://ada:secret@shop/tmp/.s.PGSQL.5432?search_path=a")
	require.NoError(t, err)
	require.Equal(t, []server{{network: "unix", address: "/tmp/.s.PGSQL.5432"}}, s.servers)
	require.Equal(t, []string{"ada", "secret", "shop", "a"}, []string{s.user, s.password, s.database, s.parameters["search_path"]})

	t.Setenv("PGHOST", "one,two")
	t.Setenv("PGUSER", "eve")
	t.Setenv("PGSSLMODE", "disable")
	s, err = parseDSN("postgres:///shop")
	require.NoError(t, err)
	require.Equal(t, "eve", s.user)
	require.Equal(t, []string{"one:5432", "two:5432"}, []string{s.servers[0].address, s.servers[1].address})
	require.Equal(t, []bool{false}, s.encryptions(s.servers[0]))
	require.True(t, slices.Contains([]string{"shop"}, s.database))
}

// FuzzDSN demands that no text is more than refused, and that no error tells it.
func FuzzDSN(f *testing.F) {
	f.Add("postgres://ada:secret@one:1,two:2/shop?sslmode=disable&a=b")
	f.Add("host='db' user=ada password='a b' dbname=shop")
	f.Fuzz(func(t *testing.T, dsn string) {
		if s, err := parseDSN(dsn); err == nil {
			require.NotEmpty(t, s.servers)
			require.NotEmpty(t, s.user)
		} else {
			require.Equal(t, userkit.CodeInvalidOption, userkit.ErrorCode(err))
		}
	})
}
