package userkit

import (
	"slices"
	"strconv"
)

// What an administrator took away stays taken away when its user is deleted and comes
// again: the deletion leaves a mark, an event whose id follows from the store and the
// stable id of the purchase, so that it is found without knowing who had it. It says
// nothing of the user. A later deletion while the purchase is not taken away leaves a
// further mark, which takes the one before back; and so on, so that a purchase is
// withheld after an odd number of marks.

// maxMarks is how many marks of one purchase are told apart.
const maxMarks = 16

// withholding are the marks that there can be of a purchase.
func withholding(store, stableID string) []EventID {
	marks := make([]EventID, maxMarks)
	for n := range marks {
		marks[n] = digestEvent("withheld", store, stableID, strconv.Itoa(n))
	}
	return marks
}

// marksOf are the marks that there can be of some purchases.
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

// markWithheld records in the deletion of a user which of its purchases an administrator
// took away, and which not any more. The marks of all have to be loaded.
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

// withhold makes a purchase that comes to be known one that an administrator took away,
// when it is withheld.
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

// marks are the marks that a verification has to know.
func (v verification) marks() []EventID {
	marks := withholding(v.receipt.Store, provisionalID(v.receipt.Token))
	if id := v.verdict.Facts.StableID; id != "" {
		marks = append(marks, withholding(v.receipt.Store, id)...)
	}
	return marks
}
