package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// Who is deleted while a segment is filled, or is added while it is deleted, makes
// no membership of nobody or in nothing.
func TestMembershipsHoldOnToBothEnds(t *testing.T) {
	ctx := context.Background()
	dsn := migrated.Create(t)
	store, db := openStore(t, dsn), openDB(t, dsn)
	ada, bob := createUser(t, store, "ada"), createUser(t, store, "bob")
	segment := userkit.Segment{ID: userkit.NewID[userkit.Segment](), Name: "all", Revision: 1}
	everybody := userkit.SegmentChange{
		ID: segment.ID, Segment: segment, Members: userkit.Set(userkit.UserFilter{Moment: userkit.Moment{At: time.Now()}}), Event: newEvent(userkit.UserID{}),
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
