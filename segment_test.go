package userkit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMembershipsOfABatchAreWhatComesLast(t *testing.T) {
	one, two := SegmentID{15: 1}, SegmentID{15: 2}
	user := UserID{15: 9}
	var total Change
	total.merge(Change{User: user, AddSegments: []SegmentID{one, two}})
	total.merge(Change{User: user, RemoveSegments: []SegmentID{one}})
	require.Equal(t, []SegmentID{two}, total.AddSegments)
	require.Equal(t, []SegmentID{one}, total.RemoveSegments)
	total.merge(Change{User: user, AddSegments: []SegmentID{one}})
	require.Equal(t, []SegmentID{two, one}, total.AddSegments)
	require.Empty(t, total.RemoveSegments)

	state := State{Segments: []SegmentID{one}}
	state.apply(Change{User: user, AddSegments: []SegmentID{two}, RemoveSegments: []SegmentID{one}})
	require.Equal(t, []SegmentID{two}, state.Segments)
}

func TestAddToSegmentsAddsOnlyWhatIsMissingAndEachOnce(t *testing.T) {
	one, two := SegmentID{15: 1}, SegmentID{15: 2}
	state := &State{Exists: true, User: User{ID: UserID{15: 9}}, Segments: []SegmentID{one}}
	require.False(t, addToSegments(state, testOrigin(noon), []SegmentID{one}).writes())
	c := addToSegments(state, testOrigin(noon), []SegmentID{one, two, two})
	require.Equal(t, []SegmentID{two}, c.AddSegments)
	require.Len(t, c.Events, 1)
	require.Equal(t, EventSegmentsAdded, c.Events[0].Name)
	require.False(t, removeFromSegment(state, testOrigin(noon), two).writes())
	require.Equal(t, []SegmentID{one}, removeFromSegment(state, testOrigin(noon), one).RemoveSegments)
}

func TestNamesOfSegments(t *testing.T) {
	for name, code := range map[string]Code{
		"VIP": "", "Клиенты 2026": "", "": CodeRequired, " VIP": CodeBadFormat, "a\nb": CodeBadText, "\u0301": CodeBadFormat,
		"018f0000-0000-7000-8000-000000000001": CodeBadFormat,
	} {
		require.Equal(t, code, ErrorCode(checkSegmentName(name)), name)
	}
}
