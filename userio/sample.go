package userio

import (
	"errors"
	"fmt"
	"slices"

	"github.com/userkit/userkit"
)

// The first rows of a file, which show what its columns contain.
const (
	sampleRows  = 100
	sampleBytes = 256 << 10
)

// sampledReader is a reader whose first rows were read ahead.
type sampledReader struct {
	tableReader
	rows []sampledRow
	at   int
}

// sampledRow is what next returned for a row.
type sampledRow struct {
	tableRow
	err error
}

// sample reads the first rows of a table ahead.
func sample(from tableReader) *sampledReader {
	s := &sampledReader{tableReader: from}
	var row tableRow
	for size := 0; len(s.rows) < sampleRows && size < sampleBytes; {
		err := from.next(&row)
		kept := sampledRow{row, err}
		kept.cells = slices.Clone(row.cells)
		s.rows = append(s.rows, kept)
		if err != nil && !isRowError(err) {
			break
		}
		for i := range row.cells {
			size += len(row.cells[i].text)
		}
	}
	return s
}

// good returns the rows that could be read.
func (s *sampledReader) good() []tableRow {
	var rows []tableRow
	for _, row := range s.rows {
		if row.err == nil {
			rows = append(rows, row.tableRow)
		}
	}
	return rows
}

// explain adds to the error about a file without a key where the headings may be, if a title above
// them was taken for the headings.
func (s *sampledReader) explain(err error) error {
	fault, ok := errors.AsType[*userkit.Error](err)
	if !ok || fault.Code != userkit.CodeRequired {
		return err
	}
	for i := range s.rows {
		for _, cell := range s.rows[i].cells {
			if slices.Contains(keyFields[:], fieldNames[normalHeading(cell.text)]) {
				fault.Message = fmt.Sprintf("row %d looks like the headings: delete the rows above it; %s", s.rows[i].number, fault.Message)
				return err
			}
		}
	}
	return err
}

func (s *sampledReader) next(row *tableRow) error {
	if s.at == len(s.rows) {
		if s.at > 0 {
			if last := s.rows[s.at-1].err; last != nil && !isRowError(last) {
				return last
			}
		}
		return s.tableReader.next(row)
	}
	kept := &s.rows[s.at]
	s.at++
	cells := append(row.cells[:0], kept.cells...)
	*row = kept.tableRow
	row.cells = cells
	return kept.err
}

// hashSet is a set of nonzero hashes, which needs about 12 bytes for each. It consists of many
// small tables, so that growing copies little at a time.
type hashSet struct {
	shards [256]struct {
		slots []uint64
		count int
	}
}

// add adds a hash and reports whether it was new; 0 is never added.
func (s *hashSet) add(hash uint64) bool {
	if hash == 0 {
		return true
	}
	shard := &s.shards[hash>>56]
	if shard.count*4 >= len(shard.slots)*3 {
		old := shard.slots
		shard.slots = make([]uint64, max(16, len(old)*2))
		for _, other := range old {
			if other != 0 {
				put(shard.slots, other)
			}
		}
	}
	if !put(shard.slots, hash) {
		return false
	}
	shard.count++
	return true
}

// put inserts a hash into a table that has room for it, and reports whether it was new.
func put(slots []uint64, hash uint64) bool {
	for at := hash & uint64(len(slots)-1); ; at = (at + 1) & uint64(len(slots)-1) {
		switch slots[at] {
		case hash:
			return false
		case 0:
			slots[at] = hash
			return true
		}
	}
}
