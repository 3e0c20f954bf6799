package postgres

import (
	"context"
	"database/sql"

	"github.com/userkit/userkit"
)

// identityBatch is how many rows Migrate gives their keys at once.
const identityBatch = 1000

// identityTable says of a table which keys its rows are told apart by.
type identityTable struct {
	name  string
	since string        // the column that says who was first
	keys  []identityKey // the first is NULL until the row has all of them
	holds bool          // the rows hold email addresses
}

// identityKey is a column that holds the key of a text of another column.
type identityKey struct {
	text, key string
	of        func(text string) string
	shared    bool // the column is not unique by itself
}

// identityTables are the tables with keys that Go works out.
var identityTables = []identityTable{
	{"users", "registered_at", []identityKey{
		{"login", "login_email", userkit.LoginEmailKey, true},
		{"login", "login_identity", userkit.LoginKey, false},
		{"email", "email_identity", userkit.EmailKey, false},
	}, true},
	{"segments", "created_at", []identityKey{{"name", "name_identity", userkit.SegmentNameKey, false}}, false},
}

// unidentified is a row without keys.
type unidentified struct {
	project, id text
	texts       []text
	keys        []string
}

// identify returns keys to some of the rows of a table that have none, of any project,
// and reports whether there were such. Those who were first have the keys; a key that
// is taken stays empty, which Conflicts tells.
func (s *Store) identify(ctx context.Context, table identityTable) (bool, error) {
	rows, err := s.unidentified(ctx, table)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	projects := map[text][]*unidentified{}
	for _, row := range rows {
		projects[row.project] = append(projects[row.project], row)
	}
	for project, rows := range projects {
		if err := s.identifyIn(ctx, table, project, rows); err != nil {
			return false, err
		}
	}
	return true, nil
}

// identifyIn returns keys to rows of one project. A row that was changed since it was read
// stays without.
func (s *Store) identifyIn(ctx context.Context, table identityTable, project text, rows []*unidentified) error {
	for i := range table.keys {
		if table.keys[i].shared {
			continue
		}
		held, err := s.held(ctx, table, project, i, rows)
		if err != nil {
			return err
		}
		for _, row := range rows {
			switch wanted := row.keys[i]; {
			case wanted == "":
			case held[wanted] == "":
				held[wanted] = row.id
			case held[wanted] != row.id:
				row.keys[i] = ""
			}
		}
	}
	var ids array
	keys, texts := make([]array, len(table.keys)), make([]array, len(table.keys))
	for _, row := range rows {
		ids.text(string(row.id))
		for i, key := range row.keys {
			keys[i].text(key)
			texts[i].text(string(row.texts[i]))
		}
	}
	q := &statement{}
	returned := "t.id"
	if table.holds {
		returned = emailsHeld
	}
	q.add("WITH t AS (\nUPDATE ? AS t SET ", s.table(table.name))
	names, unchanged := "", ""
	for i, key := range table.keys {
		if i > 0 {
			q.add(", ")
		}
		q.add(key.key + " = n." + key.key)
		names += ", " + key.key + ", of_" + key.key
		unchanged += " AND t." + key.text + " = n.of_" + key.key
	}
	q.add("\nFROM unnest(?", ids.of("uuid"))
	for i := range keys {
		q.add(", ?, ?", keys[i].of("text"), texts[i].of("text"))
	}
	q.add(") AS n(id"+names+")\nWHERE t.project = ? AND "+keyed("t.id", "n.id")+" AND t."+table.keys[0].key+" IS NULL"+unchanged+"\nRETURNING "+returned+")",
		quoted(string(project)))
	if table.holds {
		q.add(", h AS (\nINSERT INTO ? (project, key, user_id)\nSELECT ?, h.key, t.id FROM t "+eachEmailHeld+"\nWHERE h.key <> '' ON CONFLICT DO NOTHING)",
			s.table("email_holders"), quoted(string(project)))
	}
	q.add("\nSELECT EXISTS (SELECT FROM t)")
	var done flag
	return s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&done) })
}

// identified returns an error when rows of the schema have no keys.
func (s *Store) identified(ctx context.Context) error {
	for _, table := range identityTables {
		q := &statement{}
		q.add("SELECT EXISTS (SELECT FROM ? AS t WHERE t."+table.keys[0].key+" IS NULL)", s.table(table.name))
		var without flag
		if err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&without) }); err != nil {
			return err
		}
		if without {
			return s.outdated("has %s without their keys; Migrate fills them in", table.name)
		}
	}
	return nil
}

// unidentified reads rows of a table that have no keys, the oldest first, with the
// keys that they ought to have.
func (s *Store) unidentified(ctx context.Context, table identityTable) ([]*unidentified, error) {
	q := &statement{}
	q.add("SELECT t.project, t.id::text")
	for _, key := range table.keys {
		q.add(", t." + key.text)
	}
	q.add("\nFROM ? AS t WHERE t."+table.keys[0].key+" IS NULL ORDER BY t."+table.since+", t.id", s.table(table.name))
	q.limit(identityBatch)
	var all []*unidentified
	err := s.query(ctx, q, func(rows *sql.Rows) error {
		row := &unidentified{texts: make([]text, len(table.keys))}
		to := []any{&row.project, &row.id}
		for i := range row.texts {
			to = append(to, &row.texts[i])
		}
		if err := rows.Scan(to...); err != nil {
			return err
		}
		for i, key := range table.keys {
			row.keys = append(row.keys, key.of(string(row.texts[i])))
		}
		all = append(all, row)
		return nil
	})
	return all, err
}

// held returns the rows that have the keys which rows of a project want in a column.
func (s *Store) held(ctx context.Context, table identityTable, project text, at int, wanted []*unidentified) (map[string]text, error) {
	var keys array
	for _, row := range wanted {
		if row.keys[at] != "" {
			keys.text(row.keys[at])
		}
	}
	column := "t." + table.keys[at].key
	q := &statement{}
	q.add("SELECT n.key, t.id\nFROM unnest(?) AS n(key)\nCROSS JOIN LATERAL (SELECT t.id::text FROM ? AS t WHERE t.project = ? AND "+column+" = n.key AND "+column+" <> '' OFFSET 0) AS t",
		keys.of("text"), s.table(table.name), quoted(string(project)))
	held := map[string]text{}
	err := s.query(ctx, q, func(rows *sql.Rows) error {
		var key, id text
		err := rows.Scan(&key, &id)
		held[string(key)] = id
		return err
	})
	return held, err
}

// Conflict describes a user whose login or email address, by the current rules, belongs to another
// user.
type Conflict struct {
	UserID userkit.UserID // the user who cannot be found by the value
	Field  string         // login or email
	Value  string         // the value as it was entered
	Holder userkit.UserID // the user who is found by it; zero: nobody any more
}

// Conflicts lists, in order of id, the users of the project who lost the key of their login or
// email address to another user when Migrate recomputed the keys, for example because their
// addresses are u@bücher.de and u@xn--bcher-kva.de. Their records are unchanged, they can be found
// by all other fields, and they may be edited; but a log-in or an import by that value finds the
// other user. An administrator has to decide which of them it belongs to. The conflict ends when
// the value of either user is changed.
func (s *Store) Conflicts(ctx context.Context) ([]Conflict, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	const index = "(u.login_identity = '' AND u.login <> '' OR u.email_identity = '' AND u.email <> '')"
	q := &statement{}
	q.add("SELECT u.id, u.login_identity = '', u.email_identity = '', u.login, u.email\nFROM ? AS u\nWHERE u.project = ? AND "+index+"\nORDER BY u.id",
		s.table("users"), quoted(s.project))
	var conflicts []Conflict
	err := s.query(ctx, q, func(rows *sql.Rows) error {
		var id identifier
		var noLogin, noEmail flag
		var login, email text
		if err := rows.Scan(&id, &noLogin, &noEmail, &login, &email); err != nil {
			return err
		}
		if noLogin && login != "" {
			conflicts = append(conflicts, Conflict{UserID: userkit.UserID(id), Field: "login", Value: string(login)})
		}
		if noEmail && email != "" {
			conflicts = append(conflicts, Conflict{UserID: userkit.UserID(id), Field: "email", Value: string(email)})
		}
		return nil
	})
	if err != nil {
		return nil, s.fault(ctx, err)
	}
	for i := range conflicts {
		key := userkit.ByLogin(conflicts[i].Value)
		if conflicts[i].Field == "email" {
			key = userkit.ByEmail(conflicts[i].Value)
		}
		holder, err := s.FindUser(ctx, key)
		if err != nil && userkit.ErrorCode(err) != userkit.CodeUserNotFound {
			return nil, err
		}
		conflicts[i].Holder = holder.ID
	}
	return conflicts, nil
}
