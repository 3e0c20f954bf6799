package postgres

import (
	"context"
	"database/sql"
	"slices"
	"strconv"

	"github.com/userkit/userkit"
)

// refoldBatch is how many rows Migrate folds anew at once.
const refoldBatch = 1000

// foldedLongAgo is the condition that a row was folded by an earlier version. It is that
// of an index, so a new version needs an index of its own.
const foldedLongAgo = "t.fold < 3"

// foldedColumns are the names of the columns that hold folded texts.
var foldedColumns = []string{
	"id", "login_key", "name_key", "email_key", "extref_key", "folded_attributes", "folded", "search", "search_parts", "fold",
}

// refold folds some of the rows of a table anew, of any project, whose texts an earlier
// version folded, and reports whether there were such. The table has the column id first.
// A row that is changed meanwhile stays for the next time.
func refold[R any](ctx context.Context, s *Store, table string, all columns[R]) (bool, error) {
	q := &statement{}
	q.add("SELECT t.project, "+all.reads("t")+"\nFROM ? AS t WHERE "+foldedLongAgo+" ORDER BY t.id, t.project", s.table(table))
	q.limit(refoldBatch)
	projects := map[text][]*R{}
	err := s.query(ctx, q, func(found *sql.Rows) error {
		var project text
		var row R
		err := found.Scan(all.targets([]any{&project}, &row)...)
		projects[project] = append(projects[project], &row)
		return err
	})
	if err != nil || len(projects) == 0 {
		return false, err
	}
	folded := slices.DeleteFunc(slices.Clone(all), func(column column[R]) bool { return !slices.Contains(foldedColumns, column.name) })
	read := slices.DeleteFunc(slices.Clone(all), func(column column[R]) bool {
		return column.name != "revision" && !slices.Contains(foldedColumns, column.name)
	})
	for project, rows := range projects {
		q := &statement{}
		q.add("UPDATE ? AS t SET "+folded[1:].assignments()+"\nFROM ", s.table(table))
		if !unnest(q, read, rows) {
			panic("postgres: a text that was read cannot be stored")
		}
		q.add("\nWHERE t.project = ? AND "+keyed("t.id", "n.id")+" AND t.revision = n.revision", quoted(string(project)))
		if err := s.execute(ctx, q.text.String(), q.args...); err != nil {
			return false, err
		}
	}
	return true, nil
}

// folded returns an error when rows of the schema have texts that were folded by an
// earlier version.
func (s *Store) folded(ctx context.Context) error {
	for _, table := range []string{"users", "segments"} {
		q := &statement{}
		q.add("SELECT EXISTS (SELECT FROM ? AS t WHERE "+foldedLongAgo+")", s.table(table))
		var some flag
		if err := s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&some) }); err != nil {
			return err
		}
		if some {
			return s.outdated("has %s whose texts an earlier version folded, not version "+strconv.Itoa(userkit.FoldVersion)+"; Migrate folds them anew", table)
		}
	}
	return nil
}
