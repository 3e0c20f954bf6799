package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"net/netip"
	"strconv"
	"time"

	"github.com/userkit/userkit"
)

// sorting says how the records of a table sort by a field: by an expression
// that is never NULL, compared with parameters that are made from keys. What
// filters need to know of a field of users is beside it.
type sorting struct {
	expression string
	parameter  func(key userkit.OrderKey) (parameter, bool)

	// operand is what filters compare: of a text its whole folded form, which the
	// key is only the beginning of; of a time the column. Empty: expression.
	operand string
	keyed   bool // the key is a column with an index

	// through is the condition of the index that goes through the project in this
	// order; empty where there is none. It holds for every row. See 0004_keys.sql.
	through string
}

// indexed reports whether lists of the project in this order have an index.
func (s sorting) indexed() bool { return s.through != "" }

// compared is the SQL of what filters compare.
func (s sorting) compared() string { return cmp.Or(s.operand, s.expression) }

// The aliases of the tables in all expressions: u users, a accounts, d devices,
// s sessions, p purchases, m messages, t transactions, e events, g segments.

func byText(expression string) sorting {
	return sorting{expression: expression, parameter: func(key userkit.OrderKey) (parameter, bool) {
		text, ok := key.(string)
		return textParameter(text), ok && storable(text)
	}}
}

// byFolded sorts by a text whose folded form is in another column where it
// differs.
func byFolded(key, original string) sorting {
	return byText("coalesce(" + key + ", " + original + `) COLLATE "C"`)
}

// byUserText sorts by one of the texts of foldedTexts without a column for its key.
func byUserText(column string) sorting {
	key := "u.folded ->> '" + column + "'"
	field := byFolded(key, "u."+column)
	field.operand = "coalesce(u.folded ->> '" + wholeOf(column) + "', " + key + ", u." + column + `) COLLATE "C"`
	return field
}

// keyOf is the column of the key of a text of users.
func keyOf(column string) string { return "u." + column + "_key" }

// byUserKey sorts by one of the texts of foldedTexts with a column for its key.
func byUserKey(column string) sorting {
	key := keyOf(column)
	field := byText(key)
	field.operand = "coalesce(u.folded ->> '" + wholeOf(column) + "', " + key + `) COLLATE "C"`
	return field
}

// byIndexedUserKey is byUserKey for keys with an index.
func byIndexedUserKey(column string) sorting {
	field := byUserKey(column)
	field.keyed = true
	return field.withIndex(keyOf(column) + " >= ''")
}

func byInteger(expression string) sorting {
	return sorting{expression: expression, parameter: func(key userkit.OrderKey) (parameter, bool) {
		number, ok := key.(int64)
		return integerParameter(number), ok
	}}
}

func byTime(column string) sorting {
	return sorting{expression: column, parameter: func(key userkit.OrderKey) (parameter, bool) {
		t, ok := key.(time.Time)
		return timeParameter(t), ok
	}}
}

// byOptionalTime sorts by a time that is NULL for none, which comes first.
func byOptionalTime(column string) sorting {
	return sorting{expression: "coalesce(" + column + ", " + noTime + ")", operand: column, parameter: func(key userkit.OrderKey) (parameter, bool) {
		t, ok := key.(time.Time)
		if ok && t.IsZero() {
			return parameter{text: []byte("-infinity"), kind: "timestamptz"}, true
		}
		return timeParameter(t), ok
	}}
}

func byID(column string) sorting {
	return sorting{expression: column, parameter: idKey}
}

// byOptionalID sorts by an id that is NULL for none, which comes first.
func byOptionalID(column string) sorting {
	return sorting{expression: "coalesce(" + column + ", " + noID + ")", parameter: idKey}
}

func idKey(key userkit.OrderKey) (parameter, bool) {
	text, ok := key.(string)
	if ok && text == "" {
		return idParameter([16]byte{}), true
	}
	id, err := userkit.ParseID[userkit.User](text)
	return idParameter(id), ok && err == nil
}

// byAddress sorts by an address that is NULL for none, which comes first.
func byAddress(column string) sorting {
	return sorting{expression: "coalesce(" + column + ", " + noAddress + ")", parameter: func(key userkit.OrderKey) (parameter, bool) {
		address, ok := key.(netip.Addr)
		if ok && !address.IsValid() {
			return parameter{text: []byte("0.0.0.0/0"), kind: "inet"}, true
		}
		return parameter{text: []byte(address.String()), kind: "inet"}, ok && address.Zone() == ""
	}}
}

// byFlag sorts by a bool.
func byFlag(column string) sorting {
	field := byInteger(column + "::integer")
	field.operand = column
	return field
}

// withIndex says that lists of the project in the order have an index, and what its
// condition is.
func (s sorting) withIndex(through string) sorting {
	s.through = through
	return s
}

// userSortings is where the fields of userkit.UserFields are, except those that
// lists cannot be sorted by.
var userSortings = map[string]sorting{
	"id":                   byID("u.id").withIndex("u.registered_at > " + noTime),
	"login":                byIndexedUserKey("login"),
	"name":                 byIndexedUserKey("name"),
	"email":                byIndexedUserKey("email"),
	"email_verified":       byFlag("u.email_verified"),
	"phone":                byText("u.phone"),
	"status":               byText("u.status"),
	"license":              byUserText("license"),
	"auth_method":          byText("u.auth_method"),
	"extref":               byUserKey("extref"),
	"description":          byUserText("description"),
	"country":              byText("u.country"),
	"registered_at":        byTime("u.registered_at").withIndex("u.registered_at > " + noTime),
	"updated_at":           byTime("u.updated_at"),
	"last_seen_at":         byOptionalTime("a.last_seen_at"),
	"expires_at":           byOptionalTime("a.expires_at"),
	"valid_for":            byInteger("a.valid_for"),
	"balance":              byInteger("a.balance"),
	"currency":             byText("a.currency"),
	"devices":              byInteger("a.devices"),
	"open_sessions":        byInteger("a.open_sessions"),
	"active_purchases":     byInteger("a.active_purchases"),
	"purchases_end_at":     byOptionalTime("a.purchases_end_at"),
	"traffic_limit":        byInteger("a.traffic_limit"),
	"traffic_reset":        byText("a.traffic_reset"),
	"traffic_anchor_day":   byInteger("a.traffic_anchor_day"),
	"preferred_map":        byUserText("preferred_map"),
	"additional_info":      byUserText("additional_info"),
	"kind":                 byText("u.kind"),
	"payer_account_number": byUserText("payer_account_number"),
	"legal_address":        byUserText("legal_address"),
	"postal_address":       byUserText("postal_address"),
	"bank":                 byUserText("bank"),
	"bank_account":         byUserText("bank_account"),
	"revision":             byInteger("u.revision"),
}

// wholeOf is the name in foldedTexts of the whole folded form of a text.
func wholeOf(column string) string { return column + " whole" }

// foldedTexts gives, as a JSON object by column, what the folded forms of texts
// have no column for: the key of a text that has no column for its key, where it
// differs from the text; and the whole folded form of any text, where it is too
// long for a key. It is "" when there is nothing to keep, as for most users.
func foldedTexts(u *userkit.User) string {
	var kept map[string]string
	keep := func(name, text string) {
		if kept == nil {
			kept = map[string]string{}
		}
		kept[name] = text
	}
	for _, of := range [...]struct {
		column, text string
		keyed        bool
	}{
		{"login", u.Login, true},
		{"name", u.Name, true},
		{"email", u.Email, true},
		{"extref", u.ExtRef, true},
		{"license", u.License, false},
		{"description", u.Description, false},
		{"preferred_map", u.PreferredMap, false},
		{"additional_info", u.AdditionalInfo, false},
		{"payer_account_number", u.Payer.AccountNumber, false},
		{"legal_address", u.Payer.LegalAddress, false},
		{"postal_address", u.Payer.PostalAddress, false},
		{"bank", u.Payer.Bank, false},
		{"bank_account", u.Payer.BankAccount, false},
	} {
		if of.text == "" {
			continue
		}
		folded := userkit.Fold(of.text)
		key := folded
		if len(folded) > userkit.SortKeyBytes {
			key = userkit.SortKey(folded)
			keep(wholeOf(of.column), folded)
		}
		if !of.keyed && key != of.text {
			keep(of.column, key)
		}
	}
	if kept == nil {
		return ""
	}
	data, err := json.Marshal(kept)
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(data)
}

// deviceSortings is where the fields of userkit.DeviceFields are.
var deviceSortings = map[string]sorting{
	"id":            byID("d.id"),
	"user_id":       byID("d.user_id"),
	"name":          byFolded("d.name_key", "d.name"),
	"type":          byText("d.type"),
	"hardware_id":   byText("d.hardware_id"),
	"registered_at": byTime("d.registered_at").withIndex("d.registered_at > " + noTime),
	"last_seen_at":  byOptionalTime("d.last_seen_at"),
}

// locationSortings is where the one order of locations is.
var locationSortings = map[string]sorting{
	"place": byInteger("d.place").withIndex("d.place IS NOT NULL"),
}

// sessionSortings is where the fields of userkit.SessionFields are.
var sessionSortings = map[string]sorting{
	"id":            byID("s.id"),
	"user_id":       byID("s.user_id"),
	"device_id":     byOptionalID("s.device_id"),
	"device_name":   byFolded("s.device_name_key", "s.device_name"),
	"node":          byText("s.node"),
	"node_location": byFolded("s.node_location_key", "s.node_location"),
	"internal_ip":   byAddress("s.internal_ip"),
	"started_at":    byTime("s.started_at").withIndex("s.started_at > " + noTime),
	"ended_at":      byOptionalTime("s.ended_at"),
	"end_reason":    byText("s.end_reason"),
	"received":      byInteger("s.received"),
	"sent":          byInteger("s.sent"),
}

// purchaseSortings is where the fields of userkit.PurchaseFields are.
var purchaseSortings = map[string]sorting{
	"id":             byID("p.id"),
	"user_id":        byID("p.user_id"),
	"store":          byText("p.store"),
	"stable_id":      byText("p.stable_id"),
	"transaction_id": byText("p.transaction_id"),
	"product_id":     byText("p.product_id"),
	"environment":    byText("p.environment"),
	"purchased_at":   byTime("p.purchased_at").withIndex("p.purchased_at > " + noTime),
	"expires_at":     byOptionalTime("p.expires_at"),
	"trial":          byFlag("p.trial"),
	"active":         byFlag("p.active"),
	"reason":         byText("p.reason"),
	"created_at":     byTime("p.created_at"),
	"verified_at":    byOptionalTime("p.verified_at"),
	"due_at":         byOptionalTime("p.due_at"),
}

// messageSortings is where the fields of userkit.MessageFields are.
var messageSortings = map[string]sorting{
	"id":         byID("m.id"),
	"user_id":    byID("m.user_id"),
	"source":     byText("m.source"),
	"sent_at":    byTime("m.sent_at").withIndex("m.sent_at > " + noTime),
	"expires_at": byOptionalTime("m.expires_at"),
	"read_at":    byOptionalTime("m.read_at"),
}

// transactionSortings is where the fields of userkit.TransactionFields are.
var transactionSortings = map[string]sorting{
	"at":       byTime("t.at").withIndex("t.at > " + noTime),
	"sequence": byInteger("t.sequence"),
}

// deliverySortings is where the fields of userkit.DeliveryFields are.
var deliverySortings = map[string]sorting{
	"id":           byID("d.id"),
	"user_id":      byID("d.user_id"),
	"message_id":   byID("d.message_id"),
	"device_id":    byID("d.device_id"),
	"device_type":  byText("d.device_type"),
	"state":        byText("d.state"),
	"attempts":     byInteger("d.attempts"),
	"created_at":   byTime("d.created_at").withIndex("d.created_at > " + noTime),
	"attempted_at": byOptionalTime("d.attempted_at"),
	"due_at":       byOptionalTime("d.due_at"),
}

// connectionSortings is where the one order of connections is.
var connectionSortings = map[string]sorting{
	"started_at": byTime("c.started_at").withIndex("c.started_at > " + noTime),
}

// segmentSortings is where the fields of userkit.SegmentFields are.
var segmentSortings = map[string]sorting{
	"id":         byID("g.id"),
	"name":       byText("g.name_key").withIndex("g.name_key >= ''"),
	"created_at": byTime("g.created_at"),
	"updated_at": byTime("g.updated_at"),
}

// eventSortings is where the fields of userkit.EventFields are.
var eventSortings = map[string]sorting{
	"at": byTime("e.at").withIndex("e.at > " + noTime),
}

// uncut is the list of all records in no order, which is what a count is of.
var uncut userkit.ListRange

// listing makes the statement of a list, or of all that is uncut. It is nil where no
// record can meet the filter.
type listing[F any] func(filter F, list userkit.ListRange) (*statement, error)

// readList returns the records of a list.
func readList[F, R any](ctx context.Context, s *Store, of listing[F], filter F, list userkit.ListRange, targets func(to []any, record *R) []any) ([]R, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	q, err := of(filter, list)
	if err != nil {
		return nil, err
	}
	if q == nil {
		return []R{}, nil
	}
	return selectRecords(ctx, s, q, targets)
}

// countList counts the records that a list has on all of its pages together.
func countList[F any](ctx context.Context, s *Store, of listing[F], filter F) (int64, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	records, err := of(filter, uncut)
	if err != nil || records == nil {
		return 0, err
	}
	q := &statement{}
	q.add("SELECT count(*)\nFROM ("+records.text.String()+") AS r", records.args...)
	return s.count(ctx, q)
}

// count returns the number that a statement selects.
func (s *Store) count(ctx context.Context, q *statement) (int64, error) {
	var number integer
	err := s.steadily(ctx, func() error {
		return s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&number) })
	})
	return int64(number), err
}

// page adds the order of a list and its place in it to a statement that ends
// with a condition. Rows of equal key are ordered by id.
func (q *statement) page(list userkit.ListRange, sortings map[string]sorting, id string) error {
	if list == uncut {
		return nil
	}
	field, err := sortingOf(list, sortings)
	if err != nil {
		return err
	}
	if err := q.after(list, field, field.expression, id); err != nil {
		return err
	}
	q.order(list, field.expression, id)
	return nil
}

// through adds, to a statement that goes through the project, the condition of the
// index that it is to use: the one of the list's order, or else that of another
// order.
func (q *statement) through(sortings map[string]sorting, list userkit.ListRange, otherwise string) {
	through := sortings[list.Order.Field].through
	if through == "" {
		through = sortings[otherwise].through
	}
	q.add(" AND " + through)
}

// within adds that the records of the table with an alias are those of a user; of the
// zero user, it adds what through adds.
func (q *statement) within(alias string, user userkit.UserID, sortings map[string]sorting, list userkit.ListRange, otherwise string) {
	if user.IsZero() {
		q.through(sortings, list, otherwise)
		return
	}
	q.add(" AND "+alias+".user_id = ?", quotedID(user))
}

// sortingOf finds the field that a list is sorted by.
func sortingOf(list userkit.ListRange, sortings map[string]sorting) (sorting, error) {
	field, ok := sortings[list.Order.Field]
	if !ok {
		return sorting{}, userkit.NewError(userkit.CodeUnknownField, "sort", "cannot sort by %q", list.Order.Field)
	}
	return field, nil
}

// after adds the condition that a record comes after the place of the list. key
// is what gives the sort key.
func (q *statement) after(list userkit.ListRange, field sorting, key, id string) error {
	if list.After == nil {
		return nil
	}
	beyond := ">"
	if list.Order.Descending {
		beyond = "<"
	}
	value, ok := field.parameter(list.After.Key)
	if !ok {
		return userkit.NewError(userkit.CodeInvalidCursor, "cursor", "a position by %q cannot have this key", list.Order.Field)
	}
	if key == id {
		q.add(" AND "+id+" "+beyond+" ?", idParameter(list.After.ID))
	} else {
		q.add(" AND ("+key+", "+id+") "+beyond+" (?, ?)", value, idParameter(list.After.ID))
	}
	return nil
}

// order adds the order of a list and its limit.
func (q *statement) order(list userkit.ListRange, key, id string) {
	q.sort(list, key, id)
	q.limit(list.Limit)
}

// limit bounds the rows of a statement. The bound is a part of the text: the
// planner has to know it.
func (q *statement) limit(limit int) {
	q.add("\nLIMIT " + strconv.Itoa(limit))
	q.expected = min(limit, userkit.MaxPageLimit+1)
}

// sort adds the order of a list.
func (q *statement) sort(list userkit.ListRange, key, id string) {
	direction := ""
	if list.Order.Descending {
		direction = " DESC"
	}
	q.add("\nORDER BY " + key + direction)
	if key != id {
		q.add(", " + id + direction)
	}
}

// between adds the bounds of a time span; a zero time is no bound.
func (q *statement) between(column string, from, to time.Time) {
	if !from.IsZero() {
		q.add(" AND "+column+" >= ?", quotedTime(from))
	}
	if !to.IsZero() {
		q.add(" AND "+column+" < ?", quotedTime(to))
	}
}
