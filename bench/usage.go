package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/userkit/userkit"
)

// A node reports the counters of its sessions in calls of 1,000, one call after
// another, and every reading is a new one.
//
// Our side is m.ReportUsage: it puts readings in order, counts none twice,
// counts bytes to days and periods, ends sessions at the user's traffic limit,
// and writes sessions, accounts, days and events.
//
// Against it stands what is written by hand most often: the new counters go into
// the session's row by a prepared update, which knows no limits, no days, no
// events, and would take a late reading for a new one. It runs in three forms:
// each update by itself, all in one transaction, and all in one round trip.

// mostNodes is how many nodes report at the same time, at most.
const mostNodes = 8

// readings are the readings of one call.
type readings struct {
	sessions       []userkit.Session
	received, sent int64 // cumulative, the same for every session
	at             time.Time
}

// byHand writes the readings of one call to the sessions' rows.
type byHand func(ctx context.Context, pool *pgxpool.Pool, r readings) error

// usageReports measures so many nodes that report at the same time, each its
// own sessions.
func usageReports(nodes int, write byHand) func(context.Context, *bench) (sides, error) {
	return func(ctx context.Context, b *bench) (sides, error) {
		db, err := b.database(ctx)
		if err != nil {
			return sides{}, err
		}
		whole := len(db.sessions) - len(db.sessions)%b.reports
		calls := slices.Collect(slices.Chunk(db.sessions[:whole], b.reports))
		report := func(call func(ctx context.Context, r readings) error) side {
			return func(ctx context.Context, span time.Duration) (float64, error) {
				return drive(ctx, nodes, span, 0, func(node int) job {
					next := node
					return func(*rand.Rand) (int, error) {
						r := readings{sessions: calls[next], at: time.Now()}
						r.received = db.readings.Add(1) * 1000
						r.sent = r.received / 10
						if next += nodes; next >= len(calls) {
							next = node
						}
						return len(r.sessions), call(ctx, r)
					}
				})
			}
		}
		return sides{
			ours:   report(func(ctx context.Context, r readings) error { return reportUsage(ctx, db.manager, r) }),
			theirs: report(func(ctx context.Context, r readings) error { return write(ctx, db.pool, r) }),
		}, nil
	}
}

func reportUsage(ctx context.Context, manager userkit.Manager, r readings) error {
	reports := make([]userkit.UsageReport, len(r.sessions))
	for i, session := range r.sessions {
		reports[i] = userkit.UsageReport{SessionID: session.ID, UserID: session.UserID, Received: r.received, Sent: r.sent, At: r.at}
	}
	results, err := manager.ReportUsage(ctx, reports)
	if err != nil {
		return err
	}
	for _, result := range results {
		if result.Outcome != userkit.UsageCounted {
			return fmt.Errorf("a report was %s: %w", result.Outcome, result.Err)
		}
	}
	return nil
}

const updateSession = "UPDATE " + theirSchema + ".sessions SET received = $3, sent = $4, reported_at = $5 WHERE project = $1 AND id = $2"

// arguments returns the arguments of updateSession.
func (r readings) arguments(session userkit.Session) []any {
	return []any{project, [16]byte(session.ID), r.received, r.sent, r.at}
}

// executor is a connection or a transaction. pgx prepares a statement when a
// connection first sees it, and then only binds and executes.
type executor interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
}

func (r readings) update(ctx context.Context, on executor) error {
	for _, session := range r.sessions {
		if _, err := on.Exec(ctx, updateSession, r.arguments(session)...); err != nil {
			return err
		}
	}
	return nil
}

// updateEach commits every update by itself.
func updateEach(ctx context.Context, pool *pgxpool.Pool, r readings) error {
	return pool.AcquireFunc(ctx, func(connection *pgxpool.Conn) error { return r.update(ctx, connection) })
}

// updateInTransaction commits all updates together.
func updateInTransaction(ctx context.Context, pool *pgxpool.Pool, r readings) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return r.update(ctx, tx) })
}

// updateInBatch sends all updates at once, which also commits them together.
func updateInBatch(ctx context.Context, pool *pgxpool.Pool, r readings) error {
	var batch pgx.Batch
	for _, session := range r.sessions {
		batch.Queue(updateSession, r.arguments(session)...)
	}
	return pool.SendBatch(ctx, &batch).Close()
}
