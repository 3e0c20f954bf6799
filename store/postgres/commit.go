package postgres

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

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

// Commit implements userkit.Store. All changes are made by one statement, and thus in one
// transaction, with one round trip and one flush of the log. The changes are in the order of user
// ids, and their rows are locked in that order as long as the planner looks up each of them; if
// statements deadlock nevertheless, the one that the server cancels is sent again.
func (s *Store) Commit(ctx context.Context, changes []userkit.Change) ([]error, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	outcomes := make([]error, len(changes))
	if len(changes) == 0 {
		return outcomes, nil
	}
	if err := s.commit(ctx, batchOf(changes, outcomes)); err != nil {
		return nil, err
	}
	return outcomes, nil
}

// CommitTogether implements userkit.Store. The changes are one statement as in Commit, in a
// transaction that is rolled back if one of them cannot be made.
func (s *Store) CommitTogether(ctx context.Context, changes []userkit.Change) error {
	if err := s.ready(ctx); err != nil || len(changes) == 0 {
		return err
	}
	batch := batchOf(changes, make([]error, len(changes)))
	q, err := s.commitStatement(batch, true)
	if err != nil {
		return err
	}
	err = s.together(ctx, func(s *Store) error {
		passed, err := s.passed(ctx, q)
		if err == nil && len(passed) < len(changes) {
			err = userkit.ErrConflict
		}
		return err
	})
	return s.firstTaken(ctx, batch, err)
}

// together runs statements that write in one transaction, and all of them anew where
// transactions get into each other's way.
func (s *Store) together(ctx context.Context, run func(*Store) error) error {
	if s.tx != nil {
		return s.withSavepoint(ctx, run)
	}
	return s.placed(ctx, func() error {
		return retryContended(ctx, func() error { return s.fault(ctx, s.inTransaction(ctx, run)) })
	})
}

// batchOf makes a batch of changes, in the order of user ids.
func batchOf(changes []userkit.Change, outcomes []error) []pending {
	batch := make([]pending, len(changes))
	for i := range changes {
		batch[i] = pending{&changes[i], &outcomes[i]}
	}
	slices.SortFunc(batch, func(a, b pending) int { return bytes.Compare(a.User[:], b.User[:]) })
	return batch
}

// commit makes the changes of a batch. Where one of them cannot be made, it
// halves the batch until that one is alone.
func (s *Store) commit(ctx context.Context, batch []pending) error {
	err := s.send(ctx, batch)
	switch {
	case err == nil || !singular(err):
		return err
	case len(batch) == 1:
		*batch[0].outcome = s.firstTaken(ctx, batch, err)
		return nil
	}
	half := len(batch) / 2
	if err := s.commit(ctx, batch[:half]); err != nil {
		return err
	}
	return s.commit(ctx, batch[half:])
}

// firstTaken returns, in the place of the error that a statement failed by, the error of the
// first user of a batch who has a value of another, in the order of User.UniqueValues. Which
// value a statement fails by is a matter of the order of indexes.
func (s *Store) firstTaken(ctx context.Context, batch []pending, err error) error {
	if !errors.Is(err, userkit.ErrExists) {
		return err
	}
	for _, change := range batch {
		if change.Profile == nil {
			continue
		}
		if field := s.takenOf(ctx, change.Profile); field != "" {
			return userkit.Taken("user", field)
		}
	}
	return err
}

// takenOf returns the first field of a user, as userkit.Taken names it, whose value another
// user has, or "" if none is found.
func (s *Store) takenOf(ctx context.Context, user *userkit.User) string {
	for _, unique := range user.UniqueValues() {
		holders, err := s.FindUsers(ctx, unique.Field, []string{unique.Value})
		if err == nil && slices.ContainsFunc(holders, func(holder userkit.User) bool { return holder.ID != user.ID }) {
			return unique.Taken
		}
	}
	return ""
}

// send makes all changes of a batch, but for those whose version is not the
// user's, or none.
func (s *Store) send(ctx context.Context, batch []pending) error {
	q, err := s.commitStatement(batch, false)
	if err != nil {
		return err
	}
	var passed map[userkit.UserID]bool
	run := func(s *Store) (err error) {
		passed, err = s.passed(ctx, q)
		return err
	}
	deletes := slices.ContainsFunc(batch, func(change pending) bool { return change.Delete })
	if deletes {
		err = s.together(ctx, func(s *Store) error {
			if err := run(s); err != nil {
				return err
			}
			var gone []*wanted
			for _, change := range batch {
				if change.Delete && passed[change.User] {
					gone = append(gone, &wanted{user: change.User})
				}
			}
			if len(gone) == 0 {
				return nil
			}
			// It sees what the first statement did, and so touches no record twice.
			return s.eraseNames(ctx, gone)
		})
	} else {
		err = s.atomically(ctx, run)
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

// passed runs the statement of a batch and gives the users whose change it made.
func (s *Store) passed(ctx context.Context, q *statement) (map[userkit.UserID]bool, error) {
	passed := map[userkit.UserID]bool{}
	var user identifier
	err := s.query(ctx, q, func(rows *sql.Rows) error {
		err := rows.Scan(&user)
		passed[userkit.UserID(user)] = true
		return err
	})
	return passed, err
}

// atomically runs a statement that writes, and sends it anew where transactions
// get into each other's way. In a host's transaction it leaves that in use.
func (s *Store) atomically(ctx context.Context, run func(*Store) error) error {
	if s.tx != nil {
		return s.withSavepoint(ctx, run)
	}
	attempts := 0
	return s.placed(ctx, func() error {
		return retryContended(ctx, func() error {
			// A host's handle may ask for a stricter isolation than the statement needs,
			// at which writers fail one another again and again.
			if attempts++; attempts > 1 {
				return s.fault(ctx, s.inTransaction(ctx, run))
			}
			return run(s)
		})
	})
}

// placed runs a statement that writes events, and once more where the feed had no place
// for them until it was looked after.
func (s *Store) placed(ctx context.Context, run func() error) error {
	err := run()
	if !errors.Is(err, errUnplaced) {
		return err
	}
	if moved, failed := s.placeFeed(ctx); failed != nil || !moved {
		return cmp.Or(failed, err)
	}
	return run()
}

// withSavepoint runs a statement in the host's transaction so that its failure
// leaves the transaction in use.
func (s *Store) withSavepoint(ctx context.Context, run func(*Store) error) error {
	return translate(ctx, s.savepoint(ctx, run))
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

// work is the statement of a batch in the making.
type work struct {
	store   *Store
	q       *statement
	ctes    int
	passed  string // the part that gives the users whose change is made
	deletes bool   // users are deleted, with what belongs to them
	err     error
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

// from adds a table n of records.
func from[R any](w *work, table columns[R], records []*R) {
	if !unnest(w.q, table, records) && w.err == nil {
		w.err = userkit.NewError(userkit.CodeBadText, "", "PostgreSQL cannot keep a value")
	}
}

// account is the account of a user as a change makes it.
type account struct {
	user userkit.UserID
	was  int64 // the version to find; 0 creates the account
	userkit.Account
}

var (
	// accountRows are the columns of accounts with the user.
	accountRows = append(columns[account]{
		idColumn("user_id", func(a *account) *[16]byte { return (*[16]byte)(&a.user) }),
	}, part(accountColumns, func(a *account) *userkit.Account { return &a.Account })...)
	accountAssignments = accountColumns.assignments()

	// accountVersions are columns to find an account of a version by.
	accountVersions = columns[account]{
		idColumn("user_id", func(a *account) *[16]byte { return (*[16]byte)(&a.user) }),
		integerColumn("was", func(a *account) *int64 { return &a.was }),
	}
)

// commitStatement makes the statement of a batch. It selects the users whose
// change is made.
//
// Every part that writes rests on the part that writes the account: where that
// finds no row of the right version, nothing of the change is written. A version
// that another transaction is about to change is waited for, and looked at again
// once that has ended. Where the changes belong together, each of them rests on all
// accounts, so that a version that is not found is told before a value that its
// change would have set free is missed.
func (s *Store) commitStatement(batch []pending, together bool) (*statement, error) {
	w := &work{store: s, q: &statement{hot: true}}
	var created, updated, deleted []*account
	var newUsers, users []*userkit.User
	gathered := make([]gatherer, len(kinds))
	for i := range kinds {
		gathered[i] = kinds[i].gather()
	}
	for _, change := range batch {
		row := &account{user: change.User, was: change.Version, Account: change.Account}
		row.Version = change.Version + 1
		for i := range kinds {
			if !change.Delete || kinds[i].outlive {
				gathered[i].add(change.Change)
			}
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
	}

	var passed []string
	if len(updated) > 0 {
		passed = append(passed, "updated")
		w.cte("updated")
		w.q.add("UPDATE ? AS t SET "+accountAssignments+"\nFROM ", s.table("accounts"))
		from(w, accountRows, updated)
		w.q.add("\nWHERE t.project = ? AND "+keyed("t.user_id", "n.user_id")+" AND t.version IS NOT DISTINCT FROM n.version - 1\nRETURNING t.user_id", quoted(s.project))
	}
	if len(deleted) > 0 {
		passed = append(passed, "deleted")
		w.cte("deleted")
		w.q.add("DELETE FROM ? AS t USING ", s.table("accounts"))
		from(w, accountVersions, deleted)
		w.q.add("\nWHERE t.project = ? AND "+keyed("t.user_id", "n.user_id")+" AND t.version IS NOT DISTINCT FROM n.was\nRETURNING t.user_id", quoted(s.project))
		w.deleteUsers()
		w.deletes = true
	}
	if len(created) > 0 {
		passed = append(passed, "created")
		// Accounts come first: a user who exists meets the one key of accounts, before
		// a login or an email address that is the user's own already.
		w.cte("created")
		insert(w, "accounts", accountRows, created)
		w.q.add("\nRETURNING t.user_id")
		w.cte("created_users")
		insert(w, "users", userColumns, newUsers)
		w.q.add("\nRETURNING " + emailsHeld)
		w.cte("inserted_email_holders")
		w.q.add("INSERT INTO ? (project, key, user_id)\nSELECT ?, h.key, t.id\nFROM created_users AS t\n"+eachEmailHeld+"\nWHERE h.key <> ''",
			s.table("email_holders"), quoted(s.project))
	}
	w.passed = passed[0]
	if len(passed) > 1 {
		w.passed = "passed"
		w.cte(w.passed)
		w.q.add("SELECT user_id FROM " + strings.Join(passed, " UNION ALL SELECT user_id FROM "))
	}
	if together {
		w.cte("complete")
		w.q.add("SELECT user_id FROM " + w.passed + " WHERE (SELECT count(*) FROM " + w.passed + ") = " + strconv.Itoa(len(batch)))
		w.passed = "complete"
	}

	if len(users) > 0 {
		w.cte("updated_users")
		w.q.add("UPDATE ? AS t SET "+userAssignments+"\nFROM ", s.table("users"))
		from(w, userColumns, users)
		w.wherePassed("n.id")
		w.q.add("\nAND t.project = ? AND "+keyed("t.id", "n.id")+"\nRETURNING "+emailsHeld, quoted(s.project))
		w.updateEmailHolders()
	}
	for _, changes := range gathered {
		changes.write(w)
	}
	w.q.add(")\nSELECT user_id FROM " + w.passed)
	return w.q, w.err
}

// emailsHeld are the columns of a user t with the values of email_holders that are its own, and
// eachEmailHeld adds each of these to the rows of t, as h.key. A user whose login is the own
// email address holds one.
const (
	emailsHeld    = "t.id, t.email_identity, t.login_email"
	eachEmailHeld = "CROSS JOIN LATERAL (SELECT t.email_identity UNION SELECT t.login_email) AS h(key)"
)

// updateEmailHolders adds the parts that make email_holders what updated_users says. A statement
// sees users as they were before it, so that what was held is read there; a user whom an earlier
// version wrote holds nothing yet.
func (w *work) updateEmailHolders() {
	const before = "\nCROSS JOIN LATERAL (SELECT u.email_identity, u.login_email FROM ? AS u WHERE u.project = ? AND u.id = t.id OFFSET 0) AS u"
	users, holders, project := w.store.table("users"), w.store.table("email_holders"), quoted(w.store.project)
	w.cte("deleted_from_email_holders")
	w.q.add("DELETE FROM ? AS d USING updated_users AS t"+before+"\nCROSS JOIN LATERAL (VALUES (u.email_identity), (u.login_email)) AS h(key)\n"+
		"WHERE d.project = ? AND "+keyed("d.key", "h.key")+" AND "+keyed("d.user_id", "t.id")+" AND h.key <> t.email_identity AND h.key <> t.login_email\nRETURNING d.key",
		holders, users, project, project)
	w.cte("inserted_into_email_holders")
	w.q.add("INSERT INTO ? (project, key, user_id)\nSELECT ?, h.key, t.id\nFROM updated_users AS t"+before+"\n"+eachEmailHeld+"\n"+
		"WHERE h.key <> '' AND (u.login_email IS NULL OR h.key <> u.email_identity AND h.key <> u.login_email)\n"+
		"AND (SELECT count(*) FROM deleted_from_email_holders) >= 0",
		holders, project, users, project)
}

var userAssignments = userColumns[1:].assignments()

// wherePassed adds the condition that the user's change is made. IS TRUE makes
// it a look into a hash table, whatever the planner takes the counts of rows for.
func (w *work) wherePassed(user string) {
	w.q.add("\nWHERE (" + user + " IN (SELECT user_id FROM " + w.passed + ")) IS TRUE")
}

// deleteUsers deletes what belongs to the users in deleted, events included.
func (w *work) deleteUsers() {
	for _, kind := range kinds {
		w.cte("deleted_" + kind.table)
		w.q.add("DELETE FROM ? AS t USING deleted AS l WHERE t.project = ? AND "+keyed("t.user_id", "l.user_id"), w.store.table(kind.table), quoted(w.store.project))
		if kind.keyed {
			w.q.add("\nRETURNING t.id") // what other users insert waits for it
		}
	}
	w.cte("deleted_users")
	w.q.add("DELETE FROM ? AS t USING deleted AS l WHERE t.project = ? AND "+keyed("t.id", "l.user_id")+"\nRETURNING "+emailsHeld, w.store.table("users"), quoted(w.store.project))
	w.cte("deleted_email_holders")
	w.q.add("DELETE FROM ? AS d USING deleted_users AS t CROSS JOIN LATERAL (VALUES (t.email_identity), (t.login_email)) AS h(key)\n"+
		"WHERE d.project = ? AND "+keyed("d.key", "h.key")+" AND "+keyed("d.user_id", "t.id"), w.store.table("email_holders"), quoted(w.store.project))
}

// insert begins a part that inserts the records n.
func insert[R any](w *work, table string, all columns[R], records []*R) {
	w.q.add("INSERT INTO ? AS t (project, "+all.names("")+")\nSELECT ?, "+all.names("n.")+"\nFROM ", w.store.table(table), quoted(w.store.project))
	from(w, all, records)
}
