package postgres

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/userkit/userkit"
)

// maxContentions is how often a statement is sent anew after a deadlock or a
// serialization failure.
const maxContentions = 10

// pending is a change with the place of its outcome.
type pending struct {
	*userkit.Change
	outcome *error
}

// Commit implements userkit.Store. All changes are one statement, and so one
// transaction, one round trip and one flush of the log. Rows are locked in the
// order of user ids.
func (s *Store) Commit(ctx context.Context, changes []userkit.Change) ([]error, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	outcomes := make([]error, len(changes))
	if len(changes) == 0 {
		return outcomes, nil
	}
	batch := make([]pending, len(changes))
	for i := range changes {
		batch[i] = pending{&changes[i], &outcomes[i]}
	}
	slices.SortFunc(batch, func(a, b pending) int { return bytes.Compare(a.User[:], b.User[:]) })
	if err := s.commit(ctx, batch); err != nil {
		return nil, err
	}
	return outcomes, nil
}

// commit makes the changes of a batch. Where one of them cannot be made, it
// halves the batch until that one is alone.
func (s *Store) commit(ctx context.Context, batch []pending) error {
	err := s.send(ctx, batch)
	switch {
	case err == nil || !singular(err):
		return err
	case len(batch) == 1:
		*batch[0].outcome = err
		return nil
	}
	half := len(batch) / 2
	if err := s.commit(ctx, batch[:half]); err != nil {
		return err
	}
	return s.commit(ctx, batch[half:])
}

// send makes all changes of a batch, but for those whose version is not the
// user's, or none.
func (s *Store) send(ctx context.Context, batch []pending) error {
	q, err := s.commitStatement(batch)
	if err != nil {
		return err
	}
	passed := make(map[userkit.UserID]bool, len(batch))
	run := func(s *Store) error {
		clear(passed)
		var user identifier
		return s.query(ctx, q, func(rows *sql.Rows) error {
			err := rows.Scan(&user)
			passed[userkit.UserID(user)] = true
			return err
		})
	}
	if s.tx != nil {
		err = s.withSavepoint(ctx, run)
	} else {
		err = retryContended(ctx, func() error { return run(s) })
	}
	if err != nil {
		return err
	}
	for _, change := range batch {
		if !passed[change.User] {
			*change.outcome = userkit.ErrConflict
		}
	}
	return nil
}

// withSavepoint runs a statement in the host's transaction so that its failure
// leaves the transaction in use.
func (s *Store) withSavepoint(ctx context.Context, run func(*Store) error) error {
	return s.tx.RunInTx(ctx, nil, func(_ context.Context, nested bun.Tx) error { return run(s.WithTx(nested)) })
}

// retryContended runs a statement until it meets no contention. Nothing of a
// statement that does has happened.
func retryContended(ctx context.Context, run func() error) error {
	for attempt := range maxContentions {
		err := run()
		if !errors.Is(err, errContended) || attempt == maxContentions-1 {
			return err
		}
		pause := time.NewTimer(rand.N(time.Millisecond << min(attempt+1, 6)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-pause.C:
		}
	}
	return nil // not reached: the last attempt returns
}

// work is what the changes of a batch do, by table.
type work struct {
	store *Store
	q     *statement
	ctes  int
	err   error
}

// cte begins a common table expression.
func (w *work) cte(name string) {
	separator := "WITH "
	if w.ctes > 0 {
		separator = "),\n"
	}
	w.ctes++
	w.q.add(separator + name + " AS (\n")
}

// unnest adds a table n of records, one column for each of theirs.
func unnest[R any](w *work, table columns[R], records []*R) {
	args, ok := arrays(table, records)
	if !ok && w.err == nil {
		w.err = userkit.NewError(userkit.CodeBadText, "", "PostgreSQL cannot keep a value")
	}
	w.q.add("unnest("+table.placeholders()+") AS n("+table.names("")+")", args...)
}

// account is the account of a user as a change makes it.
type account struct {
	user userkit.UserID
	was  int64 // the version to find; 0 creates the account
	userkit.Account
}

// The columns of an account with the user that it belongs to, to insert it and
// to update it.
var (
	accountInserts = append(columns[account]{
		idColumn("user_id", func(a *account) *[16]byte { return (*[16]byte)(&a.user) }),
	}, part(accountColumns, func(a *account) *userkit.Account { return &a.Account })...)

	accountUpdates = append(columns[account]{
		integerColumn("was", func(a *account) *int64 { return &a.was }),
	}, accountInserts...)

	// accountVersions are those of the columns that find a version.
	accountVersions = accountUpdates[:2]
)

// commitStatement makes the statement of a batch. It selects the users whose
// change was made.
//
// Every part that writes rests on the part that writes the account: where that
// finds no row of the right version, nothing of the change is written. A version
// that another transaction is about to change is waited for, and looked at again
// once that has ended.
func (s *Store) commitStatement(batch []pending) (*statement, error) {
	w := &work{store: s, q: &statement{}}
	var created, updated, deleted []*account
	var newUsers, users []*userkit.User
	var devices tableChanges[userkit.DeviceRecord]
	var sessions tableChanges[userkit.Session]
	var transactions tableChanges[userkit.Transaction]
	var usage []*userDay
	var events []*userkit.Event
	for _, change := range batch {
		row := &account{user: change.User, was: change.Version, Account: change.Account}
		for i := range change.Events {
			events = append(events, &change.Events[i])
		}
		if change.Delete {
			deleted = append(deleted, row)
			continue
		}
		if change.Version == 0 {
			created = append(created, row)
			newUsers = append(newUsers, change.Profile)
		} else {
			updated = append(updated, row)
			if change.Profile != nil {
				users = append(users, change.Profile)
			}
		}
		collect(&devices, &change.Devices, change.User)
		collect(&sessions, &change.Sessions, change.User)
		collect(&transactions, &change.Transactions, change.User)
		for _, day := range change.Usage {
			usage = append(usage, &userDay{change.User, day})
		}
	}

	var passed []string
	if len(updated) > 0 {
		passed = append(passed, "updated")
		w.cte("updated")
		insert(w, "accounts", accountInserts, updated)
		w.q.add("\nON CONFLICT (project, user_id) DO UPDATE SET " + accountReplacements + "\nWHERE t.version = excluded.version - 1\nRETURNING t.user_id")
	}
	if len(deleted) > 0 {
		passed = append(passed, "deleted")
		w.cte("deleted")
		w.q.add("DELETE FROM ? AS t USING ", s.table("accounts"))
		unnest(w, accountVersions, deleted)
		w.q.add("\nWHERE t.project = ? AND t.user_id = n.user_id AND t.version = n.was\nRETURNING t.user_id", quoted(s.project))
		w.deleteUsers()
	}
	if len(created) > 0 {
		passed = append(passed, "created")
		w.cte("created_users")
		insert(w, "users", userColumns, newUsers)
		w.cte("created")
		insert(w, "accounts", accountInserts, created)
		w.q.add("\nRETURNING user_id")
	}
	w.cte("passed")
	for i, name := range passed {
		if i > 0 {
			w.q.add(" UNION ALL ")
		}
		w.q.add("SELECT user_id FROM " + name)
	}

	if len(users) > 0 {
		w.cte("updated_users")
		w.q.add("UPDATE ? AS t SET "+userColumns[1:].assignments()+"\nFROM ", s.table("users"))
		unnest(w, userColumns, users)
		w.q.add("\nJOIN passed AS p ON p.user_id = n.id\nWHERE t.project = ? AND t.id = n.id", quoted(s.project))
	}
	devices.write(w, "devices", deviceColumns, deviceColumns)
	sessions.write(w, "sessions", sessionColumns, sessionColumns)
	inserted := transactionColumns
	if !slices.ContainsFunc(transactions.insert, func(t *userkit.Transaction) bool { return t.Cancelled() }) {
		inserted = newTransactionColumns
	}
	transactions.write(w, "transactions", inserted, transactionColumns)
	if len(usage) > 0 {
		w.cte("inserted_usage_days")
		insertPassed(w, "usage_days", usageColumns, usage)
		w.q.add("\nON CONFLICT (project, user_id, day) DO UPDATE SET received = " + sum("received") +
			", sent = " + sum("sent") + ", forgiven = " + sum("forgiven"))
	}
	if len(events) > 0 {
		w.cte("inserted_events")
		w.q.add("INSERT INTO ? (project, position, "+eventColumns.names("")+`)
SELECT ?, (SELECT p.feed_offset + pg_current_xact_id()::text::bigint FROM ? AS p WHERE p.project = ?), `+eventColumns.names("n.")+"\nFROM ",
			s.table("events"), quoted(s.project), s.table("projects"), quoted(s.project))
		unnest(w, eventColumns, events)
		w.q.add("\nJOIN passed AS p ON p.user_id = n.user_id")
	}
	w.q.add(")\nSELECT user_id FROM passed")
	return w.q, w.err
}

var accountReplacements = accountColumns.replacements()

// sum adds up a figure of a day, and stops at the largest int64.
func sum(column string) string {
	return "least(t." + column + "::numeric + excluded." + column + ", 9223372036854775807)::bigint"
}

// deleteUsers deletes what belongs to the users in deleted, events included.
func (w *work) deleteUsers() {
	for _, name := range []string{"devices", "sessions", "usage_days", "transactions", "events"} {
		w.cte("deleted_" + name)
		w.q.add("DELETE FROM ? AS t USING deleted AS l WHERE t.project = ? AND t.user_id = l.user_id", w.store.table(name), quoted(w.store.project))
	}
	w.cte("deleted_users")
	w.q.add("DELETE FROM ? AS t USING deleted AS l WHERE t.project = ? AND t.id = l.user_id", w.store.table("users"), quoted(w.store.project))
}

// insert inserts records.
func insert[R any](w *work, table string, all columns[R], records []*R) {
	w.q.add("INSERT INTO ? AS t (project, "+all.names("")+")\nSELECT ?, "+all.names("n.")+"\nFROM ", w.store.table(table), quoted(w.store.project))
	unnest(w, all, records)
}

// insertPassed inserts the records of those users whose account was written.
func insertPassed[R any](w *work, table string, all columns[R], records []*R) {
	insert(w, table, all, records)
	w.q.add("\nJOIN passed AS p ON p.user_id = n.user_id")
}

// tableChanges are the changes of all users to one table.
type tableChanges[R any] struct {
	insert, update []*R
	delete         []*ownedID
}

// ownedID is the id of a record with its user.
type ownedID struct {
	id   [16]byte
	user userkit.UserID
}

var ownedIDColumns = columns[ownedID]{
	idColumn("id", func(o *ownedID) *[16]byte { return &o.id }),
	idColumn("user_id", func(o *ownedID) *[16]byte { return (*[16]byte)(&o.user) }),
}

// collect adds the changes of one user.
func collect[R any, I ~[16]byte](to *tableChanges[R], records *userkit.Records[R, I], user userkit.UserID) {
	for i := range records.Insert {
		to.insert = append(to.insert, &records.Insert[i])
	}
	for i := range records.Update {
		to.update = append(to.update, &records.Update[i])
	}
	for _, id := range records.Delete {
		to.delete = append(to.delete, &ownedID{id, user})
	}
}

// write adds the parts that change one table. They run in the order of
// deletions, updates, insertions, so that a record can take a unique value that
// another one gives up; the parts of a statement have no order but that in which
// they need each other. The first two columns are id and user_id.
func (c *tableChanges[R]) write(w *work, table string, inserted, all columns[R]) {
	project := quoted(w.store.project)
	var before []string
	begin := func(name string) {
		w.cte(name)
		before = append(before, name)
	}
	// after adds a condition that is always true and needs the parts before.
	after := func(word string, names []string) {
		for i, name := range names {
			if i > 0 {
				word = "AND"
			}
			w.q.add("\n" + word + " (SELECT count(*) FROM " + name + ") >= 0")
		}
	}
	if len(c.delete) > 0 {
		begin("deleted_from_" + table)
		w.q.add("DELETE FROM ? AS t USING ", w.store.table(table))
		unnest(w, ownedIDColumns, c.delete)
		w.q.add("\nJOIN passed AS p ON p.user_id = n.user_id\nWHERE t.project = ? AND t.id = n.id AND t.user_id = n.user_id\nRETURNING t.id", project)
	}
	if len(c.update) > 0 {
		done := before
		begin("updated_in_" + table)
		w.q.add("INSERT INTO ? AS t (project, "+all.names("")+")\nSELECT ?, "+all.names("n.")+"\nFROM ", w.store.table(table), project)
		unnest(w, all, c.update)
		w.q.add("\nJOIN passed AS p ON p.user_id = n.user_id\nCROSS JOIN LATERAL (SELECT FROM ? AS t WHERE t.project = ? AND t.id = n.id AND t.user_id IS NOT DISTINCT FROM n.user_id OFFSET 0) AS found", w.store.table(table), project)
		after("WHERE", done)
		w.q.add("\nON CONFLICT (project, id) DO UPDATE SET " + all[2:].replacements() + "\nRETURNING t.id")
	}
	if len(c.insert) > 0 {
		done := before
		begin("inserted_into_" + table)
		insertPassed(w, table, inserted, c.insert)
		after("WHERE", done)
	}
}
