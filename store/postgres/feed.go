package postgres

import (
	"context"
	"database/sql"
	"time"
)

// FeedStatus says how far the feed of a project is behind, and which transactions it waits for.
type FeedStatus struct {
	// Waiting is the number of recorded events that the feed does not return yet, at most
	// MaxFeedWaiting, and Since is when the first of them happened. Without such events, both are
	// zero.
	Waiting int
	Since   time.Time

	// For are the open transactions that could still write an event before those that wait, the
	// oldest first. Without the rights of pg_read_all_stats, transactions of other roles are
	// missing; on Citus, those of the node that holds the project are missing too.
	For []FeedBlocker

	// Restored means that the project comes from another cluster, and that the feed returns no new
	// events until Migrate is called or the project is changed.
	Restored bool
}

// MaxFeedWaiting is the maximum number of events that FeedStatus counts.
const MaxFeedWaiting = 10_000

// FeedBlocker is a transaction that the feed waits for. It may belong to any database of the
// cluster and to any program.
type FeedBlocker struct {
	ProcessID   int    // for pg_terminate_backend; 0: Prepared
	Prepared    string // the name of a prepared transaction, for ROLLBACK PREPARED
	Database    string
	User        string
	Application string
	State       string    // as in pg_stat_activity, such as "idle in transaction"
	Since       time.Time // when the transaction began, or was prepared
}

// FeedStatus reports whether the feed of the project waits, and for which transactions; see Feed.
func (s *Store) FeedStatus(ctx context.Context) (FeedStatus, error) {
	q := &statement{}
	q.add(`SELECT `+cameFromElsewhere+`, coalesce(w.count, 0), (extract(epoch FROM w.since) * 1000000)::bigint, coalesce(w.last - p.feed_offset, 0)
FROM ? AS p LEFT JOIN LATERAL (SELECT count(*) AS count, min(e.at) AS since, max(e.position) AS last FROM (
	SELECT e.at, e.position FROM ? AS e
	WHERE e.project = ? AND `+alongPositions+` AND e.position >= p.feed_offset + pg_snapshot_xmin(pg_current_snapshot())::text::bigint
	ORDER BY e.position LIMIT ?) AS e OFFSET 0) AS w ON true
WHERE p.project = ?`,
		s.table("events"), quoted(s.project), s.table("projects"), s.table("events"), quoted(s.project), MaxFeedWaiting, quoted(s.project))
	var status FeedStatus
	var last integer
	found := false
	err := s.steadily(ctx, func() error {
		return s.query(ctx, q, func(rows *sql.Rows) error {
			found = true
			return rows.Scan((*flag)(&status.Restored), (*count)(&status.Waiting), (*instant)(&status.Since), &last)
		})
	})
	if err == nil && !found {
		err = s.outdated("lacks project %q", s.project)
	}
	if err != nil || status.Waiting == 0 || status.Restored {
		return status, err
	}
	// Transactions that began before the last of the events that wait. The ids that the
	// views show are the lower half of those that positions are made of; age compares
	// them rightly.
	q = &statement{}
	q.add(`SELECT b.process, b.prepared, b.database, b.role, b.application, b.state, (extract(epoch FROM b.since) * 1000000)::bigint
FROM (SELECT a.pid AS process, '' AS prepared, coalesce(a.datname, '') AS database, coalesce(a.usename, '') AS role,
		coalesce(a.application_name, '') AS application, coalesce(a.state, '') AS state, a.xact_start AS since, a.backend_xid AS xid
	FROM pg_stat_activity AS a WHERE a.backend_xid IS NOT NULL
	UNION ALL
	SELECT 0, t.gid, t.database, t.owner, '', 'prepared', t.prepared, t.transaction FROM pg_prepared_xacts AS t) AS b
WHERE age(b.xid) > age((?::bigint % 4294967296)::text::xid)
ORDER BY age(b.xid) DESC`, int64(last))
	status.For, err = selectRecords(ctx, s, q, func(to []any, blocker *FeedBlocker) []any {
		return append(to, (*count)(&blocker.ProcessID), (*text)(&blocker.Prepared), (*text)(&blocker.Database), (*text)(&blocker.User),
			(*text)(&blocker.Application), (*text)(&blocker.State), (*instant)(&blocker.Since))
	})
	return status, err
}
