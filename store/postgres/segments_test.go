package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/postgres"
)

// inTurn runs the parts of a statement one after another, each on what the parts before
// it have left behind, as Citus runs parts that it cannot push down together. Parts
// return ids. It gives the row that the statement selects.
func inTurn(t *testing.T, tx *sql.Tx, statement string, row ...any) {
	t.Helper()
	heads := regexp.MustCompile(`(?:^WITH |\),\n)(\w+) AS \(\n`).FindAllStringSubmatchIndex(statement, -1)
	end := strings.LastIndex(statement, ")\nSELECT ")
	for i, head := range heads {
		name, part := statement[head[2]:head[3]], statement[head[1]:end]
		if i+1 < len(heads) {
			part = statement[head[1]:heads[i+1][0]]
		}
		returned := regexp.MustCompile(`(?:RETURNING|^SELECT) t\.(\w+)`).FindStringSubmatch(part)
		if returned == nil {
			_, err := tx.Exec(part)
			require.NoError(t, err, part)
			continue
		}
		rows, err := tx.Query(part)
		require.NoError(t, err, part)
		var ids []string
		for rows.Next() {
			var id string
			require.NoError(t, rows.Scan(&id))
			ids = append(ids, id)
		}
		require.NoError(t, rows.Err())
		_, err = tx.Exec("CREATE TEMPORARY TABLE " + name + " ON COMMIT DROP AS SELECT unnest('{" + strings.Join(ids, ",") + "}'::uuid[]) AS " + returned[1])
		require.NoError(t, err)
	}
	require.NoError(t, tx.QueryRow(statement[end+2:]).Scan(row...))
}

// The members of a segment that is deleted are counted rightly in whatever order the
// parts of the statement run: a segment that has gone has taken its members along.
func TestMembersAreCountedBeforeTheSegmentGoes(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	hook := &recorder{}
	store, err := postgres.New(openDB(t, dsn).WithQueryHook(hook))
	require.NoError(t, err)
	createUser(t, store, "ada")
	createUser(t, store, "bob")
	segment := userkit.Segment{ID: userkit.NewID[userkit.Segment](), Name: "all", Revision: 1}
	fill := userkit.SegmentChange{
		ID: segment.ID, Segment: segment, Members: userkit.Set(userkit.UserSelection{Moment: userkit.Moment{At: time.Now()}}), Event: newEvent(userkit.UserID{}),
	}
	members, err := store.CommitSegment(ctx, fill)
	require.NoError(t, err)
	require.EqualValues(t, 2, members)
	hook.take()
	for revision, made := range map[int64]bool{7: false, 1: true} {
		_, err := store.CommitSegment(ctx, userkit.SegmentChange{ID: segment.ID, Was: 7, Delete: true, Event: newEvent(userkit.UserID{})})
		require.ErrorIs(t, err, userkit.ErrConflict)
		statements := hook.take()
		statement := regexp.MustCompile(`t\.revision = \S+`).ReplaceAllString(statements[len(statements)-1], fmt.Sprint("t.revision = ", revision))
		tx, err := openDB(t, dsn).DB.Begin()
		require.NoError(t, err)
		var is bool
		var count int
		inTurn(t, tx, statement, &is, &count)
		require.NoError(t, tx.Rollback())
		require.Equal(t, made, is, revision)
		require.Equal(t, map[bool]int{true: 2}[made], count)
	}
	members, err = store.CommitSegment(ctx, userkit.SegmentChange{ID: segment.ID, Was: 1, Delete: true, Event: newEvent(userkit.UserID{})})
	require.NoError(t, err)
	require.EqualValues(t, 2, members)
}

// Who is deleted while a segment is filled, or is added while it is deleted, makes
// no membership of nobody or in nothing.
func TestMembershipsHoldOnToBothEnds(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store, db := openStore(t, dsn), openDB(t, dsn)
	ada, bob := createUser(t, store, "ada"), createUser(t, store, "bob")
	segment := userkit.Segment{ID: userkit.NewID[userkit.Segment](), Name: "all", Revision: 1}
	everybody := userkit.SegmentChange{
		ID: segment.ID, Segment: segment, Members: userkit.Set(userkit.UserSelection{Moment: userkit.Moment{At: time.Now()}}), Event: newEvent(userkit.UserID{}),
	}
	type result struct {
		members int64
		err     error
	}

	t.Run("a user who is deleted meanwhile", func(t *testing.T) {
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, commitOne(t, store.WithTx(tx), userkit.Change{User: ada.ID, Version: ada.Version, Delete: true}))
		filled := make(chan result, 1)
		go func() {
			members, err := store.CommitSegment(ctx, everybody)
			filled <- result{members, err}
		}()
		waitForBlocked(t, db)
		require.NoError(t, tx.Commit())
		require.Equal(t, result{1, nil}, <-filled)
	})

	t.Run("a segment that is deleted meanwhile", func(t *testing.T) {
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		gone, err := store.WithTx(tx).CommitSegment(ctx, userkit.SegmentChange{ID: segment.ID, Was: 1, Delete: true, Event: newEvent(userkit.UserID{})})
		require.NoError(t, err)
		require.EqualValues(t, 1, gone)
		eve := createUser(t, store, "eve")
		outcomes := make(chan []error, 1)
		go func() {
			change, other := eve, bob
			add := touch(&change)
			add.AddSegments = []userkit.SegmentID{segment.ID}
			made, err := store.Commit(ctx, []userkit.Change{add, touch(&other)})
			if err != nil {
				t.Error(err)
			}
			outcomes <- made
		}()
		waitForBlocked(t, db)
		require.NoError(t, tx.Commit())
		made := <-outcomes
		requireCode(t, userkit.CodeSegmentNotFound, made[0])
		require.NoError(t, made[1])
	})
}
