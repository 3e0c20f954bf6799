package postgres

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// server is one of the servers that a DSN names.
type server struct {
	network, address string
	name             string // that its certificate has to have
}

// connectionSettings are what a DSN says.
type connectionSettings struct {
	servers  []server
	random   bool   // begin with any of them
	wanted   string // target_session_attrs
	user     string
	password string
	database string
	// parameters go into the start-up message: settings of the session that the server
	// has from the beginning, so that no statement has to set them.
	parameters map[string]string

	sslMode string
	tls     *tls.Config // without the name of a server; nil with sslmode=disable

	connectTimeout time.Duration
	readTimeout    time.Duration
	writeTimeout   time.Duration
	keepAlive      net.KeepAliveConfig
}

// The defaults of a DSN that says nothing else.
const (
	defaultConnectTimeout = 5 * time.Second
	defaultWriteTimeout   = 5 * time.Second
)

// dsnError is the error for a DSN. It never holds the DSN, which may hold a password.
func dsnError(format string, args ...any) error {
	return userkit.NewError(userkit.CodeInvalidOption, "dsn", format, args...)
}

// environment are the parameters whose defaults libpq takes from the environment.
var environment = map[string]string{
	"host": "PGHOST", "hostaddr": "PGHOSTADDR", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD",
	"application_name": "PGAPPNAME", "options": "PGOPTIONS", "connect_timeout": "PGCONNECT_TIMEOUT", "target_session_attrs": "PGTARGETSESSIONATTRS",
	"sslmode": "PGSSLMODE", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslrootcert": "PGSSLROOTCERT",
}

// unsupported are the parameters of libpq that are refused, with what to do instead.
var unsupported = map[string]string{
	"service":                  "write the parameters of the service into the DSN",
	"servicefile":              "write the parameters of the service into the DSN",
	"passfile":                 "write the password into the DSN, or into PGPASSWORD",
	"sslpassword":              "give a key without a password in sslkey",
	"sslcrl":                   "connect through a *bun.DB of your own, with New",
	"sslcrldir":                "connect through a *bun.DB of your own, with New",
	"sslnegotiation":           "leave it out: TLS is asked for",
	"sslcompression":           "leave it out: TLS does not compress",
	"sslsni":                   "leave it out: the name of the server is sent",
	"ssl_min_protocol_version": "leave it out: TLS 1.2 is the least",
	"ssl_max_protocol_version": "leave it out",
	"sslcertmode":              "leave it out: a certificate is sent where sslcert is given",
	"requirepeer":              "connect through a *bun.DB of your own, with New",
	"require_auth":             "connect through a *bun.DB of your own, with New",
	"krbsrvname":               "connect through a *bun.DB of your own, with New",
	"gsslib":                   "connect through a *bun.DB of your own, with New",
	"gssdelegation":            "connect through a *bun.DB of your own, with New",
	"replication":              "leave it out",
	"tcp_user_timeout":         "set keepalives_idle, keepalives_interval and keepalives_count",
}

// parseDSN reads a DSN as libpq does: a URL of the scheme postgres or postgresql, or
// "keyword=value" pairs. It knows the timeouts of pgdriver as well, and its scheme unix.
func parseDSN(dsn string) (*connectionSettings, error) {
	given := map[string]string{}
	var err error
	switch scheme, rest, found := strings.Cut(dsn, "://"); {
	case found && (scheme == "postgres" || scheme == "postgresql"):
		err = parseAddress(rest, given)
	case found && scheme == "unix":
		err = parseSocket(dsn, given)
	case found && !strings.ContainsAny(scheme, "= '"):
		err = dsnError("the scheme is %.20q, not postgres", scheme)
	default:
		err = parsePairs(dsn, given)
	}
	if err != nil {
		return nil, err
	}
	for name, variable := range environment {
		if value := os.Getenv(variable); value != "" && given[name] == "" {
			given[name] = value
		}
	}
	return settle(given)
}

// parseAddress reads what follows the scheme of a URL. net/url knows no lists of hosts.
func parseAddress(rest string, given map[string]string) error {
	rest, query, _ := strings.Cut(rest, "?")
	authority, database, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		name, password, hasPassword := strings.Cut(authority[:at], ":")
		authority = authority[at+1:]
		for key, escaped := range map[string]string{"user": name, "password": password} {
			value, err := url.PathUnescape(escaped)
			if err != nil {
				return dsnError("the %s is not escaped as a URL asks for", key)
			}
			if key == "user" || hasPassword {
				given[key] = value
			}
		}
	}
	var hosts, ports []string
	for part := range strings.SplitSeq(authority, ",") {
		host, port := part, ""
		if colon := strings.LastIndexByte(part, ':'); colon > strings.LastIndexByte(part, ']') {
			host, port = part[:colon], part[colon+1:]
		}
		host, err := url.PathUnescape(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
		if err != nil {
			return dsnError("a host is not escaped as a URL asks for")
		}
		hosts, ports = append(hosts, host), append(ports, port)
	}
	given["host"] = strings.Join(hosts, ",")
	if joined := strings.Join(ports, ","); strings.Trim(joined, ",") != "" {
		given["port"] = joined
	}
	database, err := url.PathUnescape(database)
	if err != nil {
		return dsnError("the database is not escaped as a URL asks for")
	}
	given["dbname"] = database
	return parseQuery(query, given)
}

// parseQuery reads the parameters of a URL. A plus sign is itself, as in libpq.
func parseQuery(query string, given map[string]string) error {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		name, errName := url.PathUnescape(name)
		value, errValue := url.PathUnescape(value)
		if !found || errName != nil || errValue != nil {
			return dsnError("a parameter is not name=value, escaped as a URL asks for")
		}
		given[name] = value
	}
	return nil
}

// parseSocket reads unix://user:password@database/path/to/socket, which is pgdriver's.
func parseSocket(dsn string, given map[string]string) error {
	address, err := url.Parse(dsn)
	if err != nil || address.Path == "" {
		return dsnError("not unix://user:password@database/path/to/socket")
	}
	given["socket"], given["dbname"], given["user"] = address.Path, address.Host, address.User.Username()
	given["password"], _ = address.User.Password()
	return parseQuery(address.RawQuery, given)
}

// parsePairs reads "keyword=value" pairs. Values may stand in apostrophes, and a
// backslash keeps what follows from meaning anything.
func parsePairs(dsn string, given map[string]string) error {
	rest := strings.TrimLeft(dsn, " \t\r\n")
	for rest != "" {
		name, after, found := strings.Cut(rest, "=")
		name = strings.TrimRight(name, " \t\r\n")
		if !found || name == "" || strings.ContainsAny(name, " \t\r\n'\\") {
			return dsnError("neither a URL of the scheme postgres nor keyword=value pairs")
		}
		after = strings.TrimLeft(after, " \t\r\n")
		quoted := strings.HasPrefix(after, "'")
		after = strings.TrimPrefix(after, "'")
		var value strings.Builder
		i := 0
		for ; i < len(after); i++ {
			c := after[i]
			if quoted && c == '\'' || !quoted && strings.IndexByte(" \t\r\n", c) >= 0 {
				break
			}
			if c == '\\' {
				if i++; i == len(after) {
					return dsnError("%s ends with a backslash", name)
				}
				c = after[i]
			}
			value.WriteByte(c)
		}
		if quoted {
			if i == len(after) {
				return dsnError("%s has no closing apostrophe", name)
			}
			i++
		}
		given[name] = value.String()
		rest = strings.TrimLeft(after[i:], " \t\r\n")
	}
	return nil
}

// settle makes settings of the parameters that are given. What is no parameter of a
// connection is one of the session.
func settle(given map[string]string) (*connectionSettings, error) {
	take := func(names ...string) (value string) {
		for _, name := range names {
			value = cmp.Or(value, given[name])
			delete(given, name)
		}
		return value
	}
	for name, instead := range unsupported {
		if given[name] != "" {
			return nil, dsnError("%s is not supported: %s", name, instead)
		}
		delete(given, name)
	}
	s := &connectionSettings{user: take("user"), password: take("password"), database: take("dbname", "database"), parameters: map[string]string{}}
	if s.user == "" {
		current, err := user.Current()
		if err != nil {
			return nil, dsnError("no user")
		}
		s.user = current.Username
	}
	s.database = cmp.Or(s.database, s.user)
	for name, allowed := range map[string]string{
		"gssencmode": "disable prefer", "channel_binding": "disable prefer", "client_encoding": "UTF8 utf8 UTF-8 utf-8 auto",
	} {
		if value := take(name); value != "" && !strings.Contains(" "+allowed+" ", " "+value+" ") {
			return nil, dsnError("%s=%s is not supported, only %s", name, value, strings.ReplaceAll(allowed, " ", ", "))
		}
	}
	if err := errors.Join(s.settleServers(take), s.settleTLS(take), s.settleTimes(take)); err != nil {
		return nil, err
	}
	if name := cmp.Or(take("application_name"), given["fallback_application_name"]); name != "" {
		s.parameters["application_name"] = name
	}
	delete(given, "fallback_application_name")
	for name, value := range given {
		if value == "" {
			continue
		}
		if !isParameter(name) || strings.IndexByte(value, 0) >= 0 {
			return nil, dsnError("unknown parameter %.40q", name)
		}
		s.parameters[name] = value
	}
	return s, nil
}

// isParameter reports whether a name can be one of a setting of PostgreSQL's, or of an
// extension's, which has a dot.
func isParameter(name string) bool {
	for part := range strings.SplitSeq(name, ".") {
		if !isIdentifier(strings.ToLower(part)) {
			return false
		}
	}
	return true
}

// settleServers reads which servers there are, and which of them is wanted.
func (s *connectionSettings) settleServers(take func(...string) string) error {
	const standard = "5432"
	socket, hosts, addresses, ports := take("socket"), strings.Split(take("host"), ","), take("hostaddr"), strings.Split(take("port"), ",")
	if addresses != "" {
		listed := strings.Split(addresses, ",")
		if len(hosts) == 1 && hosts[0] == "" {
			hosts = make([]string, len(listed))
		}
		if len(listed) != len(hosts) {
			return dsnError("host has %d parts, hostaddr %d", len(hosts), len(listed))
		}
		for i := range listed {
			if net.ParseIP(listed[i]) == nil && listed[i] != "" {
				return dsnError("hostaddr has to hold addresses in numbers")
			}
		}
	}
	if len(ports) != 1 && len(ports) != len(hosts) {
		return dsnError("%d hosts and %d ports", len(hosts), len(ports))
	}
	for i, host := range hosts {
		port := cmp.Or(ports[min(i, len(ports)-1)], standard)
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return dsnError("a port is not a number from 1 to 65535")
		}
		reached := host
		if addresses != "" {
			reached = cmp.Or(strings.Split(addresses, ",")[i], host)
		}
		switch {
		case socket != "":
			s.servers = append(s.servers, server{network: "unix", address: socket})
		case strings.HasPrefix(reached, "/"): // the directory of the socket, or pgdriver's: the socket
			address := reached
			if !strings.HasPrefix(filepath.Base(reached), ".s.PGSQL.") {
				address = filepath.Join(reached, ".s.PGSQL."+port)
			}
			s.servers = append(s.servers, server{network: "unix", address: address})
		case strings.HasPrefix(reached, "@"):
			s.servers = append(s.servers, server{network: "unix", address: reached + "/.s.PGSQL." + port})
		default:
			s.servers = append(s.servers, server{"tcp", net.JoinHostPort(cmp.Or(reached, "localhost"), port), cmp.Or(host, reached, "localhost")})
		}
	}
	switch balance := take("load_balance_hosts"); balance {
	case "", "disable":
	case "random":
		s.random = true
	default:
		return dsnError("load_balance_hosts=%.20s is neither disable nor random", balance)
	}
	s.wanted = cmp.Or(take("target_session_attrs"), "any")
	switch s.wanted {
	case "any", "read-write", "read-only", "primary", "standby", "prefer-standby":
		return nil
	}
	return dsnError("target_session_attrs=%.20s is not one of any, read-write, read-only, primary, standby, prefer-standby", s.wanted)
}

// settleTLS reads whether and how the connection is secured.
func (s *connectionSettings) settleTLS(take func(...string) string) error {
	root, certificate, key := take("sslrootcert"), take("sslcert"), take("sslkey")
	s.sslMode = take("sslmode")
	switch {
	case s.sslMode == "" && root == "system":
		s.sslMode = "verify-full"
	case s.sslMode == "":
		// Stricter than libpq, which asks for TLS and goes without it where the server
		// has none: whoever stands in between could say so in its name.
		s.sslMode = "require"
	case root == "system" && s.sslMode != "verify-full":
		return dsnError("sslrootcert=system needs sslmode=verify-full")
	}
	switch s.sslMode {
	case "disable":
		return nil
	case "allow", "prefer", "require", "verify-ca", "verify-full":
	default:
		return dsnError("sslmode=%.20s is not one of disable, allow, prefer, require, verify-ca, verify-full", s.sslMode)
	}
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	if root != "" && root != "system" {
		text, err := os.ReadFile(root)
		if err != nil {
			return fmt.Errorf("%w: %w", dsnError("sslrootcert cannot be read"), err)
		}
		s.tls.RootCAs = x509.NewCertPool()
		if !s.tls.RootCAs.AppendCertsFromPEM(text) {
			return dsnError("sslrootcert holds no certificate")
		}
		if s.sslMode == "require" {
			s.sslMode = "verify-ca" // as libpq has it
		}
	}
	if (certificate == "") != (key == "") {
		return dsnError("sslcert and sslkey go together")
	}
	if certificate != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return fmt.Errorf("%w: %w", dsnError("sslcert and sslkey cannot be used"), err)
		}
		s.tls.Certificates = []tls.Certificate{pair}
	}
	if s.sslMode != "verify-full" {
		s.tls.InsecureSkipVerify = true // what verify-ca looks at instead follows
	}
	if s.sslMode == "verify-ca" {
		roots := s.tls.RootCAs
		s.tls.VerifyConnection = func(state tls.ConnectionState) error {
			options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
			for _, intermediate := range state.PeerCertificates[1:] {
				options.Intermediates.AddCert(intermediate)
			}
			_, err := state.PeerCertificates[0].Verify(options)
			return err
		}
	}
	return nil
}

// settleTimes reads timeouts and keep-alive probes. Times are whole seconds, or
// durations as Go writes them; 0 and less mean no bound.
func (s *connectionSettings) settleTimes(take func(...string) string) error {
	read := func(standard time.Duration, names ...string) (time.Duration, error) {
		given := take(names...)
		if given == "" {
			return standard, nil
		}
		if seconds, err := strconv.Atoi(given); err == nil {
			return max(0, time.Duration(seconds)*time.Second), nil
		}
		duration, err := time.ParseDuration(given)
		if err != nil {
			return 0, dsnError("%s is not a duration", names[0])
		}
		return max(0, duration), nil
	}
	var errs [6]error
	connect, reads, writes := defaultConnectTimeout, time.Duration(0), defaultWriteTimeout
	const unset = time.Duration(-1)
	all, err := read(unset, "timeout") // of everything, in pgdriver
	if errs[0] = err; all != unset {
		connect, reads, writes = all, all, all
	}
	s.connectTimeout, errs[1] = read(connect, "connect_timeout", "dial_timeout")
	s.readTimeout, errs[2] = read(reads, "read_timeout")
	s.writeTimeout, errs[3] = read(writes, "write_timeout")
	s.keepAlive = net.KeepAliveConfig{Enable: take("keepalives") != "0", Count: 3}
	s.keepAlive.Idle, errs[4] = read(15*time.Second, "keepalives_idle")
	s.keepAlive.Interval, errs[5] = read(5*time.Second, "keepalives_interval")
	if given := take("keepalives_count"); given != "" {
		number, err := strconv.Atoi(given)
		if err != nil {
			return dsnError("keepalives_count is not a number")
		}
		s.keepAlive.Count = max(0, number)
	}
	return errors.Join(errs[:]...)
}
