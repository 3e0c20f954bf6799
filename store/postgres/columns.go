package postgres

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// column says how one column of a table holds a part of a record. Inserts,
// updates and reads all come from these tables, so none can forget a column.
type column[R any] struct {
	name string
	kind string                         // the SQL type
	put  func(values *array, record *R) // adds the record's value
	// get returns where to read the value to; nil for columns that are only
	// written, such as sort keys.
	get func(record *R) any
	// read, where set, is the expression to read instead of the column, with $
	// for the alias of the table.
	read string
	// assign, where set, is the expression that an update sets the column to, over
	// the row t and the record n.
	assign string
	// optional means that the column holds NULL for the zero value.
	optional bool
}

// The columns of each type. at gives the part of the record. Those named
// optional hold NULL for the zero value.

func textColumn[R any](name string, at func(*R) *string) column[R] {
	return column[R]{name: name, kind: "text",
		put: func(values *array, record *R) { values.text(*at(record)) },
		get: func(record *R) any { return (*text)(at(record)) }}
}

// foldedColumn holds what a text sorts by.
func foldedColumn[R any](name string, at func(*R) *string) column[R] {
	return column[R]{name: name, kind: "text",
		put: func(values *array, record *R) { values.text(userkit.SortKey(*at(record))) }}
}

// foldColumn holds the version of userkit.Fold that made the folded texts of a row.
func foldColumn[R any]() column[R] {
	return column[R]{name: "fold", kind: "smallint",
		put: func(values *array, _ *R) { values.integer(userkit.FoldVersion) }}
}

// identityColumn holds the key by which a text of another column is told apart. It
// stays empty where it is so for a text that stays: see Conflicts.
func identityColumn[R any](name, of string, key func(*R) string) column[R] {
	return column[R]{name: name, kind: "text",
		put:    func(values *array, record *R) { values.text(key(record)) },
		assign: "CASE WHEN t." + name + " = '' AND t." + of + " = n." + of + " THEN '' ELSE n." + name + " END"}
}

// optionalFoldedColumn holds what a text sorts by where that is another text.
func optionalFoldedColumn[R any](name string, at func(*R) *string) column[R] {
	return column[R]{name: name, kind: "text",
		put: func(values *array, record *R) { values.sortKey(*at(record)) }}
}

func integerColumn[R any](name string, at func(*R) *int64) column[R] {
	return column[R]{name: name, kind: "bigint",
		put: func(values *array, record *R) { values.integer(*at(record)) },
		get: func(record *R) any { return (*integer)(at(record)) }}
}

func countColumn[R any](name string, at func(*R) *int) column[R] {
	return column[R]{name: name, kind: "bigint",
		put: func(values *array, record *R) { values.integer(int64(*at(record))) },
		get: func(record *R) any { return (*count)(at(record)) }}
}

func realColumn[R any](name string, at func(*R) *float64) column[R] {
	return column[R]{name: name, kind: "double precision", read: realRead(name),
		put: func(values *array, record *R) { values.real(*at(record)) },
		get: func(record *R) any { return (*real)(at(record)) }}
}

func flagColumn[R any](name string, at func(*R) *bool) column[R] {
	return column[R]{name: name, kind: "boolean",
		put: func(values *array, record *R) { values.flag(*at(record)) },
		get: func(record *R) any { return (*flag)(at(record)) }}
}

func idColumn[R any](name string, at func(*R) *[16]byte) column[R] {
	return column[R]{name: name, kind: "uuid",
		put: func(values *array, record *R) { values.id(*at(record)) },
		get: func(record *R) any { return (*identifier)(at(record)) }}
}

func optionalIDColumn[R any](name string, at func(*R) *[16]byte) column[R] {
	return column[R]{name: name, kind: "uuid", optional: true,
		put: func(values *array, record *R) { optional(values, *at(record) != [16]byte{}, values.id, *at(record)) },
		get: func(record *R) any { return (*identifier)(at(record)) }}
}

// Roles, databases and poolers set how the server spells times, bytes and numbers.
// So those are read in a spelling that no setting changes: a time as microseconds
// since 1970, bytes in hexadecimal, and a number as its bytes.

func timeRead(name string) string {
	return "(extract(epoch FROM $." + name + ") * 1000000)::bigint"
}

func bytesRead(name string) string { return "encode($." + name + ", 'hex')" }

func realRead(name string) string { return "encode(float8send($." + name + "), 'hex')" }

func timeColumn[R any](name string, at func(*R) *time.Time) column[R] {
	return column[R]{name: name, kind: "timestamptz", read: timeRead(name),
		put: func(values *array, record *R) { values.time(*at(record)) },
		get: func(record *R) any { return (*instant)(at(record)) }}
}

func optionalTimeColumn[R any](name string, at func(*R) *time.Time) column[R] {
	return column[R]{name: name, kind: "timestamptz", read: timeRead(name),
		put: func(values *array, record *R) { optional(values, !at(record).IsZero(), values.time, *at(record)) },
		get: func(record *R) any { return (*instant)(at(record)) }}
}

func optionalDayColumn[R any](name string, at func(*R) *userkit.Day) column[R] {
	return column[R]{name: name, kind: "date", read: "$." + name + " - date '2000-01-01'",
		put: func(values *array, record *R) { optional(values, !at(record).IsZero(), values.day, *at(record)) },
		get: func(record *R) any { return (*date)(at(record)) }}
}

func optionalAddressColumn[R any](name string, at func(*R) *netip.Addr) column[R] {
	return column[R]{name: name, kind: "inet", read: "host($." + name + ")",
		put: func(values *array, record *R) { optional(values, at(record).IsValid(), values.address, *at(record)) },
		get: func(record *R) any { return (*address)(at(record)) }}
}

func optionalBytesColumn[R any](name string, at func(*R) *[]byte) column[R] {
	return column[R]{name: name, kind: "bytea", read: bytesRead(name),
		put: func(values *array, record *R) { optional(values, len(*at(record)) > 0, values.bytes, *at(record)) },
		get: func(record *R) any { return (*octets)(at(record)) }}
}

func optionalJSONColumn[R any](name string, at func(*R) *json.RawMessage) column[R] {
	return column[R]{name: name, kind: "jsonb",
		put: func(values *array, record *R) {
			optional(values, len(*at(record)) > 0, values.text, string(*at(record)))
		},
		get: func(record *R) any { return (*blob)(at(record)) }}
}

// columns is a table's columns without project and, for accounts, without the
// user's id.
type columns[R any] []column[R]

// names lists the columns, each after a prefix such as "n.".
func (c columns[R]) names(prefix string) string {
	return c.list(func(column column[R]) string { return prefix + column.name })
}

// assignments lists "name = n.name" for the SET of an update.
func (c columns[R]) assignments() string {
	return c.list(func(column column[R]) string {
		if column.assign != "" {
			return column.name + " = " + column.assign
		}
		return column.name + " = n." + column.name
	})
}

// reads lists the expressions to select, with the alias of the table.
func (c columns[R]) reads(alias string) string {
	return c.list(func(column column[R]) string {
		switch {
		case column.get == nil:
			return ""
		case column.read == "":
			return alias + "." + column.name
		default:
			return strings.ReplaceAll(column.read, "$", alias)
		}
	})
}

func (c columns[R]) list(item func(column[R]) string) string {
	var items []string
	for _, column := range c {
		if text := item(column); text != "" {
			items = append(items, text)
		}
	}
	return strings.Join(items, ", ")
}

// only returns the columns with some names.
func (c columns[R]) only(names ...string) columns[R] {
	return slices.DeleteFunc(slices.Clone(c), func(column column[R]) bool { return !slices.Contains(names, column.name) })
}

// targets appends where the columns are read to.
func (c columns[R]) targets(to []any, record *R) []any {
	for _, column := range c {
		if column.get != nil {
			to = append(to, column.get(record))
		}
	}
	return to
}

// fewRecords is up to how many records a statement holds their values one by one.
// That is cheaper to run than arrays; but each number of records makes another
// text, which has to be parsed and planned.
const fewRecords = 4

// unnest adds a table n of records to a statement, with a column for each of
// theirs: of arrays, or of the values themselves for a few records. It returns
// false when PostgreSQL cannot keep one of the values.
//
// The planner is not to see how long the arrays are: it is to take n for one row,
// and so to look each of its rows up in an index, in their order; where it can
// count, it may find it cheaper to read the whole of the other table. A scalar
// sub-select hides the length, and the condition on an id holds for every row and
// is taken for a rare one. No item of FROM holds the arrays themselves: an UPDATE
// or DELETE carries a copy of each item along with every joined row.
func unnest[R any](q *statement, table columns[R], records []*R) bool {
	ok := true
	if len(records) <= fewRecords {
		begin := "(VALUES ("
		for _, record := range records {
			for i, column := range table {
				value := array{scalar: true}
				table[i].put(&value, record)
				ok = ok && !value.broken
				q.add(begin+"?", value.of(column.kind))
				begin = ", "
			}
			begin = "), ("
		}
		q.add(")) AS n(" + table.names("") + ")")
		return ok
	}
	begin := "(SELECT n.* FROM unnest("
	for i, column := range table {
		values := array{room: len(records)}
		for _, record := range records {
			table[i].put(&values, record)
		}
		ok = ok && !values.broken
		q.add(begin+"(SELECT ?)", values.of(column.kind))
		begin = ", "
	}
	q.add(") AS n(" + table.names("") + ") WHERE " + rareCondition(table) + ") AS n")
	return ok
}

// rareCondition is a condition that holds for every row of n, and that the planner
// takes to hold for one in two hundred: a range of an id.
func rareCondition[R any](table columns[R]) string {
	for _, column := range table {
		if column.kind == "uuid" && !column.optional {
			return "n." + column.name + " BETWEEN " + noID + " AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid"
		}
	}
	panic("postgres: a table of records without an id")
}

// keyed is the condition that a column has a value of n, in a form that only a
// look-up for each row of n can serve: no hash table and no merging of sorted
// inputs, which would read the whole table.
func keyed(column, value string) string { return column + " = ANY (ARRAY[" + value + "])" }

// lookUp adds, to each row before it, the rows of another table that meet a
// condition. OFFSET 0 holds the planner to look into an index for each of them,
// whatever it knows of the table.
func (q *statement) lookUp(s *Store, table, alias, condition string) {
	q.add("\nCROSS JOIN LATERAL (SELECT * FROM ? AS "+alias+" WHERE "+alias+".project = ? AND "+condition+" OFFSET 0) AS "+alias,
		s.table(table), quoted(s.project))
}

// part makes columns of a part of a record columns of the record.
func part[R, P any](of columns[P], find func(*R) *P) columns[R] {
	var adapted columns[R]
	for _, c := range of {
		made := column[R]{name: c.name, kind: c.kind, read: c.read, optional: c.optional}
		made.put = func(values *array, record *R) { c.put(values, find(record)) }
		if c.get != nil {
			made.get = func(record *R) any { return c.get(find(record)) }
		}
		adapted = append(adapted, made)
	}
	return adapted
}

// userColumns are the columns of users.
var userColumns = columns[userkit.User]{
	idColumn("id", func(u *userkit.User) *[16]byte { return (*[16]byte)(&u.ID) }),
	timeColumn("registered_at", func(u *userkit.User) *time.Time { return &u.RegisteredAt }),
	timeColumn("updated_at", func(u *userkit.User) *time.Time { return &u.UpdatedAt }),
	integerColumn("revision", func(u *userkit.User) *int64 { return &u.Revision }),
	flagColumn("email_verified", func(u *userkit.User) *bool { return &u.EmailVerified }),
	textColumn("login", func(u *userkit.User) *string { return &u.Login }),
	foldedColumn("login_key", func(u *userkit.User) *string { return &u.Login }),
	textColumn("name", func(u *userkit.User) *string { return &u.Name }),
	foldedColumn("name_key", func(u *userkit.User) *string { return &u.Name }),
	textColumn("email", func(u *userkit.User) *string { return &u.Email }),
	foldedColumn("email_key", func(u *userkit.User) *string { return &u.Email }),
	identityColumn("login_identity", "login", func(u *userkit.User) string { return userkit.LoginKey(u.Login) }),
	textColumn("login_skeleton", func(u *userkit.User) *string { return &u.LoginSkeleton }),
	identityColumn("login_email", "login", func(u *userkit.User) string { return userkit.LoginEmailKey(u.Login) }),
	identityColumn("email_identity", "email", func(u *userkit.User) string { return userkit.EmailKey(u.Email) }),
	textColumn("phone", func(u *userkit.User) *string { return &u.Phone }),
	textColumn("extref", func(u *userkit.User) *string { return &u.ExtRef }),
	foldedColumn("extref_key", func(u *userkit.User) *string { return &u.ExtRef }),
	textColumn("auth_method", func(u *userkit.User) *string { return &u.AuthMethod }),
	textColumn("status", func(u *userkit.User) *string { return (*string)(&u.Status) }),
	textColumn("license", func(u *userkit.User) *string { return &u.License }),
	textColumn("kind", func(u *userkit.User) *string { return (*string)(&u.Kind) }),
	textColumn("payer_account_number", func(u *userkit.User) *string { return &u.Payer.AccountNumber }),
	textColumn("legal_address", func(u *userkit.User) *string { return &u.Payer.LegalAddress }),
	textColumn("postal_address", func(u *userkit.User) *string { return &u.Payer.PostalAddress }),
	textColumn("bank", func(u *userkit.User) *string { return &u.Payer.Bank }),
	textColumn("bank_account", func(u *userkit.User) *string { return &u.Payer.BankAccount }),
	textColumn("description", func(u *userkit.User) *string { return &u.Description }),
	textColumn("country", func(u *userkit.User) *string { return &u.Country }),
	textColumn("preferred_map", func(u *userkit.User) *string { return &u.PreferredMap }),
	textColumn("additional_info", func(u *userkit.User) *string { return &u.AdditionalInfo }),
	{name: "attributes", kind: "jsonb",
		put: func(values *array, u *userkit.User) { values.attributes(u.Attributes) },
		get: func(u *userkit.User) any { return (*attributes)(&u.Attributes) }},
	{name: "folded_attributes", kind: "jsonb",
		put: func(values *array, u *userkit.User) {
			folded, changed := foldedJSON(map[string]any(u.Attributes))
			if changed {
				values.attributes(folded.(map[string]any))
			} else {
				values.null()
			}
		}},
	{name: "folded", kind: "jsonb",
		put: func(values *array, u *userkit.User) {
			folded := foldedTexts(u)
			optional(values, folded != "", values.text, folded)
		}},
	{name: "search", kind: "text",
		put: func(values *array, u *userkit.User) { values.text(userkit.SearchText(u)) }},
	{name: "search_parts", kind: "text",
		put: func(values *array, u *userkit.User) { values.text(strings.Join(userkit.SearchParts(u), "\n")) }},
	foldColumn[userkit.User](),
}

// accountColumns are the columns of accounts.
var accountColumns = columns[userkit.Account]{
	integerColumn("version", func(a *userkit.Account) *int64 { return &a.Version }),
	integerColumn("balance", func(a *userkit.Account) *int64 { return &a.Balance.Amount }),
	integerColumn("transaction_sequence", func(a *userkit.Account) *int64 { return &a.TransactionSequence }),
	countColumn("devices", func(a *userkit.Account) *int { return &a.Devices }),
	countColumn("open_sessions", func(a *userkit.Account) *int { return &a.OpenSessions }),
	countColumn("active_purchases", func(a *userkit.Account) *int { return &a.ActivePurchases }),
	integerColumn("traffic_limit", func(a *userkit.Account) *int64 { return &a.Traffic.Limit.Bytes }),
	integerColumn("traffic_used", func(a *userkit.Account) *int64 { return &a.Traffic.Used }),
	integerColumn("valid_for", func(a *userkit.Account) *int64 { return (*int64)(&a.ValidFor) }),
	optionalTimeColumn("expires_at", func(a *userkit.Account) *time.Time { return &a.ExpiresAt }),
	optionalTimeColumn("last_seen_at", func(a *userkit.Account) *time.Time { return &a.LastSeenAt }),
	optionalDayColumn("traffic_period", func(a *userkit.Account) *userkit.Day { return &a.Traffic.Period }),
	countColumn("traffic_anchor_day", func(a *userkit.Account) *int { return &a.Traffic.Limit.AnchorDay }),
	textColumn("traffic_reset", func(a *userkit.Account) *string { return (*string)(&a.Traffic.Limit.Reset) }),
	textColumn("currency", func(a *userkit.Account) *string { return &a.Balance.Currency }),
	optionalIDColumn("last_transaction", func(a *userkit.Account) *[16]byte { return (*[16]byte)(&a.LastTransaction) }),
	optionalTimeColumn("purchases_end_at", func(a *userkit.Account) *time.Time { return &a.PurchasesEndAt }),
}

// userAccountColumns are accountColumns as a part of a user.
var userAccountColumns = part(accountColumns, func(u *userkit.User) *userkit.Account { return &u.Account })

// deviceColumns are the columns of devices.
var deviceColumns = columns[userkit.DeviceRecord]{
	idColumn("id", func(d *userkit.DeviceRecord) *[16]byte { return (*[16]byte)(&d.ID) }),
	idColumn("user_id", func(d *userkit.DeviceRecord) *[16]byte { return (*[16]byte)(&d.UserID) }),
	timeColumn("registered_at", func(d *userkit.DeviceRecord) *time.Time { return &d.RegisteredAt }),
	optionalTimeColumn("last_seen_at", func(d *userkit.DeviceRecord) *time.Time { return &d.LastSeenAt }),
	optionalTimeColumn("located_at", func(d *userkit.DeviceRecord) *time.Time { return &d.Location.At }),
	realColumn("latitude", func(d *userkit.DeviceRecord) *float64 { return &d.Location.Latitude }),
	realColumn("longitude", func(d *userkit.DeviceRecord) *float64 { return &d.Location.Longitude }),
	realColumn("accuracy", func(d *userkit.DeviceRecord) *float64 { return &d.Location.Accuracy }),
	{name: "place", kind: "bigint", optional: true,
		put: func(values *array, d *userkit.DeviceRecord) {
			optional(values, !d.Location.At.IsZero(), values.integer, d.Location.Place())
		}},
	optionalTimeColumn("location_consent_at", func(d *userkit.DeviceRecord) *time.Time { return &d.LocationConsentAt }),
	optionalTimeColumn("location_forgotten_at", func(d *userkit.DeviceRecord) *time.Time { return &d.LocationForgottenAt }),
	{name: "token_digest", kind: "bytea", read: bytesRead("token_digest"),
		put: func(values *array, d *userkit.DeviceRecord) { values.bytes(d.TokenDigest[:]) },
		get: func(d *userkit.DeviceRecord) any { return (*digest)(&d.TokenDigest) }},
	optionalBytesColumn("sealed_token", func(d *userkit.DeviceRecord) *[]byte { return &d.SealedToken }),
	textColumn("token_hint", func(d *userkit.DeviceRecord) *string { return &d.TokenHint }),
	textColumn("name", func(d *userkit.DeviceRecord) *string { return &d.Name }),
	optionalFoldedColumn("name_key", func(d *userkit.DeviceRecord) *string { return &d.Name }),
	textColumn("type", func(d *userkit.DeviceRecord) *string { return (*string)(&d.Type) }),
	textColumn("hardware_id", func(d *userkit.DeviceRecord) *string { return &d.HardwareID }),
	textColumn("push_token", func(d *userkit.DeviceRecord) *string { return &d.PushToken }),
	optionalTimeColumn("push_token_set_at", func(d *userkit.DeviceRecord) *time.Time { return &d.PushTokenSetAt }),
}

// sessionColumns are the columns of sessions.
var sessionColumns = columns[userkit.Session]{
	idColumn("id", func(s *userkit.Session) *[16]byte { return (*[16]byte)(&s.ID) }),
	idColumn("user_id", func(s *userkit.Session) *[16]byte { return (*[16]byte)(&s.UserID) }),
	optionalIDColumn("device_id", func(s *userkit.Session) *[16]byte { return (*[16]byte)(&s.DeviceID) }),
	timeColumn("started_at", func(s *userkit.Session) *time.Time { return &s.StartedAt }),
	optionalTimeColumn("ended_at", func(s *userkit.Session) *time.Time { return &s.EndedAt }),
	optionalTimeColumn("closed_at", func(s *userkit.Session) *time.Time { return &s.ClosedAt }),
	timeColumn("reported_at", func(s *userkit.Session) *time.Time { return &s.ReportedAt }),
	{name: "reported_slot", kind: "bigint",
		put: func(values *array, s *userkit.Session) { values.integer(reportedSlot(s.ReportedAt)) }},
	integerColumn("received", func(s *userkit.Session) *int64 { return &s.Received }),
	integerColumn("sent", func(s *userkit.Session) *int64 { return &s.Sent }),
	integerColumn("counter_received", func(s *userkit.Session) *int64 { return &s.Counter.Received }),
	integerColumn("counter_sent", func(s *userkit.Session) *int64 { return &s.Counter.Sent }),
	optionalTimeColumn("counter_at", func(s *userkit.Session) *time.Time { return &s.Counter.At }),
	integerColumn("aside_received", func(s *userkit.Session) *int64 { return &s.Aside.Received }),
	integerColumn("aside_sent", func(s *userkit.Session) *int64 { return &s.Aside.Sent }),
	optionalTimeColumn("aside_at", func(s *userkit.Session) *time.Time { return &s.Aside.At }),
	textColumn("other_node", func(s *userkit.Session) *string { return &s.OtherNode }),
	integerColumn("other_received", func(s *userkit.Session) *int64 { return &s.OtherCounter.Received }),
	integerColumn("other_sent", func(s *userkit.Session) *int64 { return &s.OtherCounter.Sent }),
	optionalTimeColumn("other_at", func(s *userkit.Session) *time.Time { return &s.OtherCounter.At }),
	textColumn("device_name", func(s *userkit.Session) *string { return &s.DeviceName }),
	optionalFoldedColumn("device_name_key", func(s *userkit.Session) *string { return &s.DeviceName }),
	textColumn("node", func(s *userkit.Session) *string { return &s.Node }),
	textColumn("node_location", func(s *userkit.Session) *string { return &s.NodeLocation }),
	optionalFoldedColumn("node_location_key", func(s *userkit.Session) *string { return &s.NodeLocation }),
	optionalAddressColumn("internal_ip", func(s *userkit.Session) *netip.Addr { return &s.InternalIP }),
	textColumn("end_reason", func(s *userkit.Session) *string { return (*string)(&s.EndReason) }),
}

// userDay is the use of one user on one day.
type userDay struct {
	user userkit.UserID
	userkit.DayUsage
}

// usageColumns are the columns of usage_days.
var usageColumns = columns[userDay]{
	idColumn("user_id", func(d *userDay) *[16]byte { return (*[16]byte)(&d.user) }),
	optionalDayColumn("day", func(d *userDay) *userkit.Day { return &d.Day }),
	integerColumn("received", func(d *userDay) *int64 { return &d.Received }),
	integerColumn("sent", func(d *userDay) *int64 { return &d.Sent }),
	integerColumn("forgiven", func(d *userDay) *int64 { return &d.Forgiven }),
}

// userActivation is an activation with its user.
type userActivation struct {
	user userkit.UserID
	userkit.Activation
}

// activationColumns are the columns of activations.
var activationColumns = columns[userActivation]{
	idColumn("user_id", func(a *userActivation) *[16]byte { return (*[16]byte)(&a.user) }),
	textColumn("email", func(a *userActivation) *string { return &a.Email }),
	{name: "token_digest", kind: "bytea", read: bytesRead("token_digest"),
		put: func(values *array, a *userActivation) { values.bytes(a.TokenDigest[:]) },
		get: func(a *userActivation) any { return (*digest)(&a.TokenDigest) }},
	timeColumn("sent_at", func(a *userActivation) *time.Time { return &a.SentAt }),
	timeColumn("expires_at", func(a *userActivation) *time.Time { return &a.ExpiresAt }),
	countColumn("mails", func(a *userActivation) *int { return &a.Mails }),
	timeColumn("counted_from", func(a *userActivation) *time.Time { return &a.CountedFrom }),
}

// userPushMail is a push mail with its user.
type userPushMail struct {
	user userkit.UserID
	userkit.PushMail
}

// pushMailColumns are the columns of push_mails.
var pushMailColumns = columns[userPushMail]{
	idColumn("user_id", func(p *userPushMail) *[16]byte { return (*[16]byte)(&p.user) }),
	textColumn("address", func(p *userPushMail) *string { return &p.Address }),
	timeColumn("created_at", func(p *userPushMail) *time.Time { return &p.CreatedAt }),
	optionalTimeColumn("revoked_at", func(p *userPushMail) *time.Time { return &p.RevokedAt }),
	countColumn("generated", func(p *userPushMail) *int { return &p.Generated }),
	timeColumn("counted_from", func(p *userPushMail) *time.Time { return &p.CountedFrom }),
}

// purchaseColumns are the columns of purchases.
var purchaseColumns = columns[userkit.Purchase]{
	idColumn("id", func(p *userkit.Purchase) *[16]byte { return (*[16]byte)(&p.ID) }),
	idColumn("user_id", func(p *userkit.Purchase) *[16]byte { return (*[16]byte)(&p.UserID) }),
	textColumn("store", func(p *userkit.Purchase) *string { return &p.Store }),
	textColumn("stable_id", func(p *userkit.Purchase) *string { return &p.StableID }),
	textColumn("transaction_id", func(p *userkit.Purchase) *string { return &p.TransactionID }),
	textColumn("product_id", func(p *userkit.Purchase) *string { return &p.ProductID }),
	textColumn("environment", func(p *userkit.Purchase) *string { return (*string)(&p.Environment) }),
	timeColumn("purchased_at", func(p *userkit.Purchase) *time.Time { return &p.PurchasedAt }),
	optionalTimeColumn("expires_at", func(p *userkit.Purchase) *time.Time { return &p.ExpiresAt }),
	flagColumn("trial", func(p *userkit.Purchase) *bool { return &p.Trial }),
	flagColumn("family_shared", func(p *userkit.Purchase) *bool { return &p.FamilyShared }),
	documentColumn("items", func(p *userkit.Purchase) *[]userkit.PurchaseItem { return &p.Items },
		func(items *[]userkit.PurchaseItem) bool { return len(*items) == 0 }),
	documentColumn("supersedes", func(p *userkit.Purchase) *[]string { return &p.Supersedes },
		func(ids *[]string) bool { return len(*ids) == 0 }),
	flagColumn("active", func(p *userkit.Purchase) *bool { return &p.Active }),
	textColumn("reason", func(p *userkit.Purchase) *string { return (*string)(&p.Reason) }),
	optionalJSONColumn("raw", func(p *userkit.Purchase) *json.RawMessage { return &p.Raw }),
	timeColumn("created_at", func(p *userkit.Purchase) *time.Time { return &p.CreatedAt }),
	timeColumn("updated_at", func(p *userkit.Purchase) *time.Time { return &p.UpdatedAt }),
	optionalTimeColumn("facts_at", func(p *userkit.Purchase) *time.Time { return &p.FactsAt }),
	optionalTimeColumn("verified_at", func(p *userkit.Purchase) *time.Time { return &p.VerifiedAt }),
	optionalTimeColumn("due_at", func(p *userkit.Purchase) *time.Time { return &p.DueAt }),
	textColumn("token", func(p *userkit.Purchase) *string { return &p.Token }),
	optionalTimeColumn("leased_until", func(p *userkit.Purchase) *time.Time { return &p.LeasedUntil }),
	countColumn("undecided", func(p *userkit.Purchase) *int { return &p.Undecided }),
	flagColumn("acknowledged", func(p *userkit.Purchase) *bool { return &p.Acknowledged }),
}

// messageColumns are the columns of messages.
var messageColumns = columns[userkit.Message]{
	idColumn("id", func(m *userkit.Message) *[16]byte { return (*[16]byte)(&m.ID) }),
	idColumn("user_id", func(m *userkit.Message) *[16]byte { return (*[16]byte)(&m.UserID) }),
	textColumn("subject", func(m *userkit.Message) *string { return &m.Subject }),
	textColumn("body", func(m *userkit.Message) *string { return &m.Body }),
	textColumn("format", func(m *userkit.Message) *string { return (*string)(&m.Format) }),
	documentColumn("data", func(m *userkit.Message) *map[string]string { return &m.Data },
		func(data *map[string]string) bool { return len(*data) == 0 }),
	textColumn("source", func(m *userkit.Message) *string { return (*string)(&m.Origin.Source) }),
	textColumn("actor_kind", func(m *userkit.Message) *string { return (*string)(&m.Origin.Actor.Kind) }),
	textColumn("actor_id", func(m *userkit.Message) *string { return &m.Origin.Actor.ID }),
	textColumn("actor_name", func(m *userkit.Message) *string { return &m.Origin.Actor.Name }),
	optionalIDColumn("on_behalf_of", func(m *userkit.Message) *[16]byte { return (*[16]byte)(&m.Origin.Actor.OnBehalfOf) }),
	documentColumn("mail", func(m *userkit.Message) *userkit.MailOrigin { return &m.Origin.Mail },
		func(mail *userkit.MailOrigin) bool { return mail.IsZero() }),
	textColumn("key", func(m *userkit.Message) *string { return &m.Key }),
	timeColumn("sent_at", func(m *userkit.Message) *time.Time { return &m.SentAt }),
	optionalTimeColumn("expires_at", func(m *userkit.Message) *time.Time { return &m.ExpiresAt }),
	optionalTimeColumn("read_at", func(m *userkit.Message) *time.Time { return &m.ReadAt }),
}

// deliveryColumns are the columns of deliveries.
var deliveryColumns = columns[userkit.Delivery]{
	idColumn("id", func(d *userkit.Delivery) *[16]byte { return (*[16]byte)(&d.ID) }),
	idColumn("user_id", func(d *userkit.Delivery) *[16]byte { return (*[16]byte)(&d.UserID) }),
	idColumn("message_id", func(d *userkit.Delivery) *[16]byte { return (*[16]byte)(&d.MessageID) }),
	idColumn("device_id", func(d *userkit.Delivery) *[16]byte { return (*[16]byte)(&d.DeviceID) }),
	textColumn("device_type", func(d *userkit.Delivery) *string { return (*string)(&d.DeviceType) }),
	textColumn("state", func(d *userkit.Delivery) *string { return (*string)(&d.State) }),
	countColumn("attempts", func(d *userkit.Delivery) *int { return &d.Attempts }),
	textColumn("detail", func(d *userkit.Delivery) *string { return &d.Detail }),
	timeColumn("created_at", func(d *userkit.Delivery) *time.Time { return &d.CreatedAt }),
	optionalTimeColumn("attempted_at", func(d *userkit.Delivery) *time.Time { return &d.AttemptedAt }),
	optionalTimeColumn("due_at", func(d *userkit.Delivery) *time.Time { return &d.DueAt }),
	optionalTimeColumn("leased_until", func(d *userkit.Delivery) *time.Time { return &d.LeasedUntil }),
}

// newTransactionColumns are the columns of a transaction that is not cancelled;
// the defaults of the others say so.
var newTransactionColumns = columns[userkit.Transaction]{
	idColumn("id", func(t *userkit.Transaction) *[16]byte { return (*[16]byte)(&t.ID) }),
	idColumn("user_id", func(t *userkit.Transaction) *[16]byte { return (*[16]byte)(&t.UserID) }),
	integerColumn("sequence", func(t *userkit.Transaction) *int64 { return &t.Sequence }),
	integerColumn("amount", func(t *userkit.Transaction) *int64 { return &t.Amount.Amount }),
	integerColumn("balance", func(t *userkit.Transaction) *int64 { return &t.Balance.Amount }),
	timeColumn("at", func(t *userkit.Transaction) *time.Time { return &t.At }),
	optionalIDColumn("previous", func(t *userkit.Transaction) *[16]byte { return (*[16]byte)(&t.Previous) }),
	textColumn("kind", func(t *userkit.Transaction) *string { return (*string)(&t.Kind) }),
	textColumn("currency", func(t *userkit.Transaction) *string { return &t.Amount.Currency }),
	textColumn("balance_currency", func(t *userkit.Transaction) *string { return &t.Balance.Currency }),
	textColumn("key", func(t *userkit.Transaction) *string { return &t.Key }),
	textColumn("note", func(t *userkit.Transaction) *string { return &t.Note }),
	textColumn("reference", func(t *userkit.Transaction) *string { return &t.Reference }),
	textColumn("actor_kind", func(t *userkit.Transaction) *string { return (*string)(&t.Actor.Kind) }),
	textColumn("actor_id", func(t *userkit.Transaction) *string { return &t.Actor.ID }),
	textColumn("actor_name", func(t *userkit.Transaction) *string { return &t.Actor.Name }),
	optionalIDColumn("on_behalf_of", func(t *userkit.Transaction) *[16]byte { return (*[16]byte)(&t.Actor.OnBehalfOf) }),
}

// transactionColumns are all columns of transactions.
var transactionColumns = append(slices.Clip(newTransactionColumns), columns[userkit.Transaction]{
	optionalTimeColumn("cancelled_at", func(t *userkit.Transaction) *time.Time { return &t.CancelledAt }),
	textColumn("cancelled_by_kind", func(t *userkit.Transaction) *string { return (*string)(&t.CancelledBy.Kind) }),
	textColumn("cancelled_by_id", func(t *userkit.Transaction) *string { return &t.CancelledBy.ID }),
	textColumn("cancelled_by_name", func(t *userkit.Transaction) *string { return &t.CancelledBy.Name }),
	optionalIDColumn("cancelled_by_behalf", func(t *userkit.Transaction) *[16]byte { return (*[16]byte)(&t.CancelledBy.OnBehalfOf) }),
}...)

// connectionColumns are the columns of connections.
var connectionColumns = columns[userkit.Connection]{
	idColumn("id", func(c *userkit.Connection) *[16]byte { return (*[16]byte)(&c.ID) }),
	idColumn("user_id", func(c *userkit.Connection) *[16]byte { return (*[16]byte)(&c.UserID) }),
	textColumn("actor_kind", func(c *userkit.Connection) *string { return (*string)(&c.Actor.Kind) }),
	textColumn("actor_id", func(c *userkit.Connection) *string { return &c.Actor.ID }),
	textColumn("actor_name", func(c *userkit.Connection) *string { return &c.Actor.Name }),
	optionalIDColumn("on_behalf_of", func(c *userkit.Connection) *[16]byte { return (*[16]byte)(&c.Actor.OnBehalfOf) }),
	textColumn("reason", func(c *userkit.Connection) *string { return &c.Reason }),
	timeColumn("started_at", func(c *userkit.Connection) *time.Time { return &c.StartedAt }),
	timeColumn("expires_at", func(c *userkit.Connection) *time.Time { return &c.ExpiresAt }),
	optionalTimeColumn("ended_at", func(c *userkit.Connection) *time.Time { return &c.EndedAt }),
	textColumn("ended_by_kind", func(c *userkit.Connection) *string { return (*string)(&c.EndedBy.Kind) }),
	textColumn("ended_by_id", func(c *userkit.Connection) *string { return &c.EndedBy.ID }),
	textColumn("ended_by_name", func(c *userkit.Connection) *string { return &c.EndedBy.Name }),
	optionalIDColumn("ended_by_behalf", func(c *userkit.Connection) *[16]byte { return (*[16]byte)(&c.EndedBy.OnBehalfOf) }),
}

// eventColumns are the columns of events, without the position.
var eventColumns = columns[userkit.Event]{
	idColumn("id", func(e *userkit.Event) *[16]byte { return (*[16]byte)(&e.ID) }),
	idColumn("user_id", func(e *userkit.Event) *[16]byte { return (*[16]byte)(&e.UserID) }),
	timeColumn("at", func(e *userkit.Event) *time.Time { return &e.At }),
	optionalIDColumn("device_id", func(e *userkit.Event) *[16]byte { return (*[16]byte)(&e.DeviceID) }),
	textColumn("name", func(e *userkit.Event) *string { return (*string)(&e.Name) }),
	textColumn("actor_kind", func(e *userkit.Event) *string { return (*string)(&e.Actor.Kind) }),
	textColumn("actor_id", func(e *userkit.Event) *string { return &e.Actor.ID }),
	textColumn("actor_name", func(e *userkit.Event) *string { return &e.Actor.Name }),
	optionalIDColumn("on_behalf_of", func(e *userkit.Event) *[16]byte { return (*[16]byte)(&e.Actor.OnBehalfOf) }),
	optionalJSONColumn("data", func(e *userkit.Event) *json.RawMessage { return &e.Data }),
	{name: "mentions", kind: "text",
		put: func(values *array, e *userkit.Event) { values.text(mentionsOf(e.Mentions)) },
		get: func(e *userkit.Event) any { return (*mentions)(&e.Mentions) }},
}

// mentions are ids as a text with spaces between them.
type mentions []userkit.UserID

func mentionsOf(ids []userkit.UserID) string {
	if len(ids) == 0 {
		return ""
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return strings.Join(texts, " ")
}

// Scan reads the text of a database.
func (m *mentions) Scan(from any) error {
	var whole text
	if err := whole.Scan(from); err != nil {
		return err
	}
	*m = nil
	for one := range strings.FieldsSeq(string(whole)) {
		id, err := userkit.ParseID[userkit.User](one)
		if err != nil {
			return err
		}
		*m = append(*m, id)
	}
	return nil
}

// segmentColumns are the columns of segments.
var segmentColumns = columns[userkit.Segment]{
	idColumn("id", func(s *userkit.Segment) *[16]byte { return (*[16]byte)(&s.ID) }),
	textColumn("name", func(s *userkit.Segment) *string { return &s.Name }),
	foldedColumn("name_key", func(s *userkit.Segment) *string { return &s.Name }),
	identityColumn("name_identity", "name", func(s *userkit.Segment) string { return userkit.SegmentNameKey(s.Name) }),
	{name: "rule", kind: "text",
		put: func(values *array, s *userkit.Segment) { values.text(s.Rule.String()) },
		get: func(s *userkit.Segment) any { return (*rule)(&s.Rule) }},
	timeColumn("created_at", func(s *userkit.Segment) *time.Time { return &s.CreatedAt }),
	timeColumn("updated_at", func(s *userkit.Segment) *time.Time { return &s.UpdatedAt }),
	integerColumn("revision", func(s *userkit.Segment) *int64 { return &s.Revision }),
	foldColumn[userkit.Segment](),
}

// membershipColumns are the columns of memberships, without the project.
var membershipColumns = columns[ownedID]{
	idColumn("segment_id", func(o *ownedID) *[16]byte { return &o.id }),
	idColumn("user_id", func(o *ownedID) *[16]byte { return (*[16]byte)(&o.user) }),
}
