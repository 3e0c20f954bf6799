package userkit

import (
	"slices"
	"strconv"
)

// A purchase that an administrator deactivated stays deactivated if its user is deleted and comes
// back. The deletion leaves a mark, an event whose id is derived from the store and the stable id
// of the purchase, so that it is found without knowing who had the purchase. It says nothing about
// the user. A later deletion while the purchase is not deactivated leaves a further mark, which
// cancels the one before, and so on: a purchase is withheld after an odd number of marks.

// maxMarks is how many marks of one purchase are told apart.
const maxMarks = 16

// withholding has the possible marks of a purchase.
func withholding(store, stableID string) []EventID {
	marks := make([]EventID, maxMarks)
	for n := range marks {
		marks[n] = digestEvent("withheld", store, stableID, strconv.Itoa(n))
	}
	return marks
}

// marksOf returns the possible marks of some purchases.
func marksOf(purchases []Purchase) (marks []EventID) {
	for i := range purchases {
		marks = append(marks, withholding(purchases[i].Store, purchases[i].StableID)...)
	}
	return marks
}

// withheld reports whether a purchase is withheld, and returns its next mark, unless it
// has used them all up.
func (s *State) withheld(store, stableID string) (is bool, next EventID) {
	count := 0
	for _, mark := range withholding(store, stableID) {
		if !slices.Contains(s.Marks, mark) {
			return count%2 == 1, mark
		}
		count++
	}
	return count%2 == 1, EventID{}
}

// markWithheld records in the deletion of a user which of its purchases are deactivated by an
// administrator, and which are no longer. The marks of all have to be loaded.
func (s *State) markWithheld(c *Change, o origin) {
	for i := range s.Purchases {
		p := &s.Purchases[i]
		is, next := s.withheld(p.Store, p.StableID)
		taken := p.Reason == ReasonDeactivated
		if is == taken || next.IsZero() {
			continue
		}
		mark := o
		mark.event = next
		name := EventPurchaseReleased
		if taken {
			name = EventPurchaseWithheld
		}
		mark.record(c, name, DeviceID{}, "store", p.Store)
	}
}

// withhold marks a purchase that becomes known as deactivated by an administrator if it is
// withheld.
func (v verification) withhold(state *State, p *Purchase) {
	is, _ := state.withheld(p.Store, p.StableID)
	if !is && p.Store == v.receipt.Store {
		is, _ = state.withheld(p.Store, provisionalID(v.receipt.Token)) // it was taken away while it waited
	}
	if is {
		p.Active, p.Reason = false, ReasonDeactivated
		p.DueAt = p.nextDue(p.UpdatedAt, 0)
	}
}

// marks returns the marks that a verification has to know.
func (v verification) marks() []EventID {
	marks := withholding(v.receipt.Store, provisionalID(v.receipt.Token))
	if id := v.verdict.Facts.StableID; id != "" {
		marks = append(marks, withholding(v.receipt.Store, id)...)
	}
	return marks
}
