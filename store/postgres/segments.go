package postgres

import (
	"context"
	"database/sql"

	"github.com/userkit/userkit"
)

var segmentReads = segmentColumns.reads("g")

// selectSegments begins a statement over the segments of the project; a condition
// may follow.
func (s *Store) selectSegments() *statement {
	q := &statement{}
	q.add("SELECT "+segmentReads+"\nFROM ? AS g\nWHERE g.project = ?", s.table("segments"), quoted(s.project))
	return q
}

// Segments implements userkit.Store.
func (s *Store) Segments(ctx context.Context, filter userkit.SegmentFilter, list userkit.ListRange) ([]userkit.Segment, error) {
	return readList(ctx, s, s.segments, filter, list, segmentColumns.targets)
}

// CountSegments implements userkit.Store.
func (s *Store) CountSegments(ctx context.Context, filter userkit.SegmentFilter) (int64, error) {
	return countList(ctx, s, s.segments, filter)
}

// segments is the listing of Segments.
func (s *Store) segments(filter userkit.SegmentFilter, list userkit.ListRange) (*statement, error) {
	part := userkit.Fold(filter.Search)
	if !storable(part) {
		return nil, nil
	}
	q := s.selectSegments()
	if part != "" {
		q.add(" AND g.name_key LIKE ?", pattern(userkit.OpContains, part))
	}
	switch filter.Kind {
	case userkit.SegmentList:
		q.add(" AND g.rule = ''")
	case userkit.SegmentRule:
		q.add(" AND g.rule <> ''")
	}
	q.through(segmentSortings, list, "name")
	return q, q.page(list, segmentSortings, "g.id")
}

// FindSegments implements userkit.Store.
func (s *Store) FindSegments(ctx context.Context, ids []userkit.SegmentID, names []string) ([]userkit.Segment, error) {
	var byID, byName array
	for _, id := range ids {
		byID.id(id)
	}
	for _, name := range names {
		if storable(name) {
			byName.text(name)
		}
	}
	q := s.selectSegments()
	q.add(" AND (g.id = ANY (?) OR g.name_identity = ANY (?))", byID.of("uuid"), byName.of("text"))
	return selectRecords(ctx, s, q, segmentColumns.targets)
}

// CommitSegment implements userkit.Store. The change is one statement. The new members are the
// users who matched the filter when the statement began; if one of them is deleted meanwhile, the
// statement is sent again.
func (s *Store) CommitSegment(ctx context.Context, change userkit.SegmentChange) (int64, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	q, err := s.segmentStatement(change)
	if err != nil {
		return 0, err
	}
	var made flag
	var members integer
	err = s.atomically(ctx, func(s *Store) error {
		return s.query(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&made, &members) })
	})
	if err == nil && !made {
		err = userkit.ErrConflict
	}
	return int64(members), err
}

// segmentStatement makes the statement of a change. It selects whether the change
// is made, and how many memberships are.
func (s *Store) segmentStatement(change userkit.SegmentChange) (*statement, error) {
	w := &work{store: s, q: &statement{}}
	project := quoted(s.project)
	counted := "0"
	segment := change.Segment
	segment.ID = change.ID
	switch {
	case change.Delete:
		// The members are counted before the segment goes and takes them along. The parts
		// of a statement see one snapshot, but where Citus runs them one after another.
		counted = "(SELECT count(*) FROM members)"
		w.cte("found")
		w.q.add("SELECT t.id FROM ? AS t WHERE t.project = ? AND t.id = ? AND t.revision = ?\nFOR UPDATE",
			s.table("segments"), project, quotedID(change.ID), integerParameter(change.Was))
		w.cte("members")
		w.q.add("DELETE FROM ? AS t USING found WHERE t.project = ? AND "+keyed("t.segment_id", "found.id")+"\nRETURNING t.user_id", s.table("memberships"), project)
		w.cte("made")
		w.q.add("DELETE FROM ? AS t USING found WHERE t.project = ? AND "+keyed("t.id", "found.id")+"\nAND (SELECT count(*) FROM members) >= 0\nRETURNING t.id",
			s.table("segments"), project)
	case change.Was == 0:
		w.cte("made")
		insert(w, "segments", segmentColumns, []*userkit.Segment{&segment})
		w.q.add("\nRETURNING t.id")
	default:
		w.cte("made")
		w.q.add("UPDATE ? AS t SET "+segmentColumns[1:].assignments()+"\nFROM ", s.table("segments"))
		from(w, segmentColumns, []*userkit.Segment{&segment})
		w.q.add("\nWHERE t.project = ? AND "+keyed("t.id", "n.id")+" AND t.revision = ?\nRETURNING t.id", project, integerParameter(change.Was))
	}
	if filter, filled := change.Members.Get(); filled && !change.Delete {
		selected, err := s.selection(filter)
		if err != nil {
			return nil, err
		}
		counted = "(SELECT count(*) FROM members)"
		w.cte("members")
		w.q.add("INSERT INTO ? AS t (project, user_id, segment_id)\nSELECT ?, u.id, ?", s.table("memberships"), project, quotedID(change.ID))
		selected.from(w.q, selected.accounts, userSortings["id"])
		w.q.add("\nAND EXISTS (SELECT FROM made)\nON CONFLICT DO NOTHING\nRETURNING t.user_id")
	}
	w.insertEvents([]*userkit.Event{&change.Event})
	w.q.add("\nWHERE EXISTS (SELECT FROM made))\nSELECT EXISTS (SELECT FROM made), " + counted)
	return w.q, w.err
}
