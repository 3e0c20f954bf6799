package userkit

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBulkTokenHoldsItsStateAndItsRequest(t *testing.T) {
	request := BulkRequest{Action: BulkActivate, Users: UserFilter{Search: "ada", Filter: Equal("devices", 2)}}
	state := bulkState{run: [16]byte{15: 9}, made: time.Unix(1e9, 0).UTC(), pending: []UserID{{15: 1}, {15: 2}}, after: UserID{15: 2}, rest: audience{count: 3, digest: [2]uint64{4, 5}}}
	token := state.token(request.binding())
	read, err := parseBulkToken(token, request.binding())
	require.NoError(t, err)
	require.Equal(t, state, read)

	again := state
	again.run = [16]byte{15: 1}
	require.True(t, again.token(request.binding()).SameUsers(token))
	again.rest.count++
	require.False(t, again.token(request.binding()).SameUsers(token))
	require.False(t, BulkToken("").SameUsers(""))
	require.False(t, state.token(1).SameUsers(token))

	other := request
	other.Users.Filter = Equal("devices", 3)
	_, err = parseBulkToken(token, other.binding())
	require.Equal(t, CodeInvalidBulkToken, ErrorCode(err))
	for at := range token {
		damaged := []byte(token)
		damaged[at] ^= 1
		_, err := parseBulkToken(BulkToken(damaged), request.binding())
		require.Equal(t, CodeInvalidBulkToken, ErrorCode(err))
	}
	_, err = parseBulkToken("", request.binding())
	require.Equal(t, CodeInvalidBulkToken, ErrorCode(err))
}

func TestAudienceIsTheSameInAnyOrder(t *testing.T) {
	var there, back audience
	for i := range 100 {
		there.add(UserID{15: byte(i)})
		back.add(UserID{15: byte(99 - i)})
	}
	require.Equal(t, there, back)
	for i := range 100 {
		there.remove(UserID{15: byte(i)})
	}
	require.Equal(t, audience{}, there)
}

func TestBulkActionLeavesOutWhoDoesNotMeetTheFilterAnyMore(t *testing.T) {
	request := BulkRequest{Action: BulkDeactivate, Users: UserFilter{Filter: Equal("country", "DE")}}
	decide := func(user User) bulkOutcome {
		user.ID = UserID{15: 1}
		change, outcome, err := request.decide(&State{Exists: true, User: user}, testOrigin(noon), usage{zone: time.UTC, now: noon}, UserSelection{Filter: request.Users.Filter}, MessageID{}, nil)
		require.NoError(t, err)
		require.Equal(t, outcome == bulkChanged, change.writes())
		return outcome
	}
	require.Equal(t, bulkChanged, decide(User{Status: StatusActive, Country: "DE"}))
	require.Equal(t, bulkSkipped, decide(User{Status: StatusActive, Country: "FR"}))
	require.Equal(t, bulkUnchanged, decide(User{Status: StatusDisabled, Country: "FR"}))
}
