package postgres

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"time"

	"github.com/userkit/userkit"
)

// sorting says how the records of a table sort by a field: by an expression
// that is never NULL, compared with literals that are made from keys.
type sorting struct {
	expression string
	literal    func(key userkit.Key) (literal, bool)
}

// The aliases of the tables in all expressions: u users, a accounts, d devices,
// s sessions, t transactions, e events.

func byText(expression string) sorting {
	return sorting{expression, func(key userkit.Key) (literal, bool) {
		text, ok := key.(string)
		return quoted(text), ok && storable(text)
	}}
}

// byFolded sorts by a text whose folded form is in another column where it
// differs.
func byFolded(key, original string) sorting {
	return byText("coalesce(" + key + ", " + original + `) COLLATE "C"`)
}

// byUserText sorts by one of the texts of foldedTexts.
func byUserText(column string) sorting {
	return byFolded("u.sort_keys ->> '"+column+"'", "u."+column)
}

func byInteger(expression string) sorting {
	return sorting{expression, func(key userkit.Key) (literal, bool) {
		number, ok := key.(int64)
		return literal("'" + strconv.FormatInt(number, 10) + "'::bigint"), ok
	}}
}

func byTime(column string) sorting {
	return sorting{column, func(key userkit.Key) (literal, bool) {
		t, ok := key.(time.Time)
		return quotedTime(t), ok
	}}
}

// byOptionalTime sorts by a time that is NULL for none, which comes first.
func byOptionalTime(column string) sorting {
	return sorting{"coalesce(" + column + ", " + noTime + ")", func(key userkit.Key) (literal, bool) {
		t, ok := key.(time.Time)
		if ok && t.IsZero() {
			return literal(noTime), true
		}
		return quotedTime(t), ok
	}}
}

func byID(column string) sorting {
	return sorting{column, idLiteral}
}

// byOptionalID sorts by an id that is NULL for none, which comes first.
func byOptionalID(column string) sorting {
	return sorting{"coalesce(" + column + ", " + noID + ")", idLiteral}
}

func idLiteral(key userkit.Key) (literal, bool) {
	text, ok := key.(string)
	if ok && text == "" {
		return literal(noID), true
	}
	id, err := userkit.ParseID[userkit.User](text)
	return quotedID(id), ok && err == nil
}

// byAddress sorts by an address that is NULL for none, which comes first.
func byAddress(column string) sorting {
	return sorting{"coalesce(" + column + ", " + noAddress + ")", func(key userkit.Key) (literal, bool) {
		address, ok := key.(netip.Addr)
		return quotedAddress(address), ok && address.Zone() == ""
	}}
}

// userSortings is where the fields of userkit.UserFields are, except those that
// lists cannot be sorted by.
var userSortings = map[string]sorting{
	"id":                   byID("u.id"),
	"login":                byText("u.login_key"),
	"name":                 byText("u.name_key"),
	"email":                byText("u.email_key"),
	"email_verified":       byInteger("u.email_verified::integer"),
	"phone":                byText("u.phone"),
	"status":               byText("u.status"),
	"license":              byUserText("license"),
	"auth_method":          byText("u.auth_method"),
	"extref":               byText("u.extref_key"),
	"description":          byUserText("description"),
	"country":              byText("u.country"),
	"registered_at":        byTime("u.registered_at"),
	"updated_at":           byTime("u.updated_at"),
	"last_seen_at":         byOptionalTime("a.last_seen_at"),
	"expires_at":           byOptionalTime("a.expires_at"),
	"valid_for":            byInteger("a.valid_for"),
	"balance":              byInteger("a.balance"),
	"devices":              byInteger("a.devices"),
	"open_sessions":        byInteger("a.open_sessions"),
	"traffic_limit":        byInteger("a.traffic_limit"),
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

// foldedTexts gives the folded forms of the texts that have no column of their
// own for it, by column, where folding changes them: a JSON object, or "" when it
// changes none.
func foldedTexts(u *userkit.User) string {
	var folded map[string]string
	for column, text := range map[string]string{
		"license":              u.License,
		"description":          u.Description,
		"preferred_map":        u.PreferredMap,
		"additional_info":      u.AdditionalInfo,
		"payer_account_number": u.Payer.AccountNumber,
		"legal_address":        u.Payer.LegalAddress,
		"postal_address":       u.Payer.PostalAddress,
		"bank":                 u.Payer.Bank,
		"bank_account":         u.Payer.BankAccount,
	} {
		if key := userkit.SortKey(text); key != text {
			if folded == nil {
				folded = map[string]string{}
			}
			folded[column] = key
		}
	}
	if folded == nil {
		return ""
	}
	data, err := json.Marshal(folded)
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
	"registered_at": byTime("d.registered_at"),
	"last_seen_at":  byOptionalTime("d.last_seen_at"),
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
	"started_at":    byTime("s.started_at"),
	"ended_at":      byOptionalTime("s.ended_at"),
	"end_reason":    byText("s.end_reason"),
	"received":      byInteger("s.received"),
	"sent":          byInteger("s.sent"),
}

// transactionSortings is where the fields of userkit.TransactionFields are.
var transactionSortings = map[string]sorting{
	"at":       byTime("t.at"),
	"sequence": byInteger("t.sequence"),
}

// eventSortings is where the fields of userkit.EventFields are.
var eventSortings = map[string]sorting{
	"at": byTime("e.at"),
}

// page adds the order of a list and its place in it to a statement that ends
// with a condition. Rows of equal key are ordered by id.
func (q *statement) page(list userkit.List, sortings map[string]sorting, id string) error {
	field, ok := sortings[list.Order.Field]
	if !ok {
		return userkit.NewError(userkit.CodeUnknownField, "sort", "cannot sort by %q", list.Order.Field)
	}
	beyond, direction := ">", ""
	if list.Order.Descending {
		beyond, direction = "<", " DESC"
	}
	if list.After != nil {
		key, ok := field.literal(list.After.Key)
		if !ok {
			return userkit.NewError(userkit.CodeInvalidCursor, "cursor", "a position by %q cannot have this key", list.Order.Field)
		}
		if field.expression == id {
			q.add(" AND "+id+" "+beyond+" ?", quotedID(list.After.ID))
		} else {
			q.add(" AND ("+field.expression+", "+id+") "+beyond+" (?, ?)", key, quotedID(list.After.ID))
		}
	}
	q.add("\nORDER BY " + field.expression + direction)
	if field.expression != id {
		q.add(", " + id + direction)
	}
	q.add("\nLIMIT ?", list.Limit)
	return nil
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
