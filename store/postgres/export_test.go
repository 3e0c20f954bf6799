package postgres

import "github.com/uptrace/bun"

// DatabaseOf returns the handle of a store.
func DatabaseOf(s *Store) *bun.DB { return s.pool }
