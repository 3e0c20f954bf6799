package postgres

import "github.com/uptrace/bun"

// DatabaseOf returns the handle of a store.
func DatabaseOf(s *Store) *bun.DB { return s.pool }

// WordsOfConstraint gives the words of a unique constraint, and whether it has a meaning.
func WordsOfConstraint(name string) (string, bool) {
	found, ok := constraintMeaning(name)
	return found.words, ok
}
