package postgres

import "github.com/uptrace/bun"

// DatabaseOf returns the handle of a store.
func DatabaseOf(s *Store) *bun.DB { return s.pool }

// RecordOfConstraint returns the record that a unique constraint is about, and whether the
// constraint has a meaning.
func RecordOfConstraint(name string) (string, bool) {
	found, ok := constraintMeaning(name)
	return found.record, ok
}
