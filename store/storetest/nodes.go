package storetest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func nodeGroups() []group {
	return []group{
		{"Nodes", []testCase{
			{"that report on a session of another one are refused, and told of once", nodeRefused},
			{"take a session over where the policy lets it move, and no byte counts twice", nodeMoves},
			{"end a session only where it runs", nodeEnds},
			{"must be names", nodeNames},
		}},
		{"EndSessions", []testCase{
			{"ends what ran on a node that restarted, and nothing else", nodeRestarts},
			{"ends as many as it may, and the rest when it is called again", nodeRestartsInParts},
			{"leaves alone what has moved to the node since", nodeRestartsBeforeMove},
		}},
	}
}

// startOn starts a session on a node.
func (d *desk) startOn(t *testing.T, user userkit.UserID, node string) userkit.Session {
	t.Helper()
	session, err := d.StartSession(t.Context(), userkit.NewSession{
		UserID: user, Node: node, NodeLocation: "Zürich", InternalIP: netip.MustParseAddr("10.0.0.7"),
	})
	require.NoError(t, err)
	return session
}

// from reports a reading of a node, taken some seconds after base.
func (d *desk) from(t *testing.T, session userkit.SessionID, node string, seconds int, received int64) userkit.UsageResult {
	t.Helper()
	d.clock.Set(at(seconds))
	return d.reports(t, userkit.UsageReport{SessionID: session, Node: node, Received: received, At: at(seconds)})[0]
}

func nodeRefused(t *testing.T, env env) {
	d := env.desk(t, patient)
	user := d.signUp(t)
	session := d.startOn(t, user.ID, "fra-1")
	require.EqualValues(t, 100, d.from(t, session.ID, "fra-1", 60, 100).Received)
	events := d.eventsDuring(t, user.ID, func() {
		for minute := range 10 { // two nodes take turns
			result := d.from(t, session.ID, "ams-1", 120+60*minute, 5_000)
			require.Equal(t, userkit.UsageRejected, result.Outcome)
			requireCode(t, result.Err, userkit.ErrRefused, userkit.CodeOtherNode)
			require.EqualValues(t, 1000, d.from(t, session.ID, "fra-1", 150+60*minute, 100+1000*int64(minute+1)).Received)
		}
	})
	require.Equal(t, []userkit.EventName{userkit.EventNodeRefused}, eventNames(events))
	require.JSONEq(t, `{"sessions":[{"session":"`+session.ID.String()+`","from":"fra-1","to":"ams-1"}]}`, string(events[0].Data))
	d.requireBytes(t, session.ID, 10_100, 0)
	require.EqualValues(t, 10_100, d.user(t, user.ID).Traffic.Used)
	after := d.session(t, session.ID)
	require.Equal(t, "fra-1", after.Node)
	require.Equal(t, "ams-1", after.OtherNode)

	// Who does not say where it is read is taken for the session's node, and a refused
	// report is no sign of life.
	reported := after.ReportedAt
	d.clock.Advance(time.Hour)
	d.from(t, session.ID, "ams-1", 7200, 1)
	require.Equal(t, reported, d.session(t, session.ID).ReportedAt)
	require.EqualValues(t, 1, d.from(t, session.ID, "", 7260, 10_101).Received)
}

func nodeMoves(t *testing.T, env env) {
	d := env.desk(t, patient, userkit.WithNodePolicy(userkit.NodeMove))
	user := d.signUp(t)
	session := d.startOn(t, user.ID, "fra-1")
	d.from(t, session.ID, "fra-1", 60, 1000)
	events := d.eventsDuring(t, user.ID, func() {
		d.clock.Set(at(120))
		result := d.reports(t, userkit.UsageReport{SessionID: session.ID, Node: "ams-1", NodeLocation: "Amsterdam", Received: 100, At: at(120)})[0]
		require.Equal(t, userkit.UsageCounted, result.Outcome)
		require.EqualValues(t, 100, result.Received)
	})
	require.Equal(t, []userkit.EventName{userkit.EventSessionMoved}, eventNames(events))
	moved := d.session(t, session.ID)
	require.Equal(t, []string{"ams-1", "Amsterdam", "fra-1"}, []string{moved.Node, moved.NodeLocation, moved.OtherNode})

	// The last reading of the node that it left comes late: it counts, and the session stays.
	require.Empty(t, d.eventsDuring(t, user.ID, func() {
		d.clock.Set(at(130))
		result := d.reports(t, userkit.UsageReport{SessionID: session.ID, Node: "fra-1", Received: 1050, At: at(110)})[0]
		require.EqualValues(t, 50, result.Received)
		require.Equal(t, userkit.UsageRepeated, d.reports(t, userkit.UsageReport{SessionID: session.ID, Node: "fra-1", Received: 1050, At: at(110)})[0].Outcome)
	}))
	require.Equal(t, "ams-1", d.session(t, session.ID).Node)
	require.EqualValues(t, 100, d.from(t, session.ID, "ams-1", 180, 200).Received)

	// It comes back, and forth: both counters go on where they were.
	require.EqualValues(t, 50, d.from(t, session.ID, "fra-1", 240, 1100).Received)
	require.EqualValues(t, 100, d.from(t, session.ID, "ams-1", 300, 300).Received)
	d.requireBytes(t, session.ID, 1400, 0)
	require.EqualValues(t, 1400, d.user(t, user.ID).Traffic.Used)
}

func nodeEnds(t *testing.T, env env) {
	refusing := env.desk(t, patient)
	user := refusing.signUp(t)
	session := refusing.startOn(t, user.ID, "fra-1")
	for range 2 {
		_, err := refusing.EndSession(t.Context(), session.ID, userkit.UsageReport{Node: "ams-1", Received: 7})
		requireCode(t, err, userkit.ErrRefused, userkit.CodeOtherNode)
	}
	require.True(t, refusing.session(t, session.ID).Active())
	ended, err := refusing.EndSession(t.Context(), session.ID, userkit.UsageReport{Node: "fra-1"})
	require.NoError(t, err)
	require.False(t, ended.Active())
	require.Zero(t, ended.Received)

	moving := env.desk(t, patient, userkit.WithNodePolicy(userkit.NodeMove))
	session = moving.startOn(t, user.ID, "fra-1")
	moving.from(t, session.ID, "fra-1", 60, 100)
	moving.from(t, session.ID, "ams-1", 120, 10)
	_, err = moving.EndSession(t.Context(), session.ID, userkit.UsageReport{Node: "fra-1", Received: 130, At: at(130)})
	requireCode(t, err, userkit.ErrRefused, userkit.CodeOtherNode)
	after := moving.session(t, session.ID)
	require.True(t, after.Active(), "it runs on the node that it moved to")
	require.Equal(t, "ams-1", after.Node)
	require.EqualValues(t, 140, after.Received)
	require.EqualValues(t, 140, moving.user(t, user.ID).Traffic.Used)
	ended, err = moving.EndSession(t.Context(), session.ID, userkit.UsageReport{Node: "waw-1", Received: 5, At: at(140)})
	require.NoError(t, err)
	require.Equal(t, []any{"waw-1", int64(145), userkit.EndedByClient}, []any{ended.Node, ended.Received, ended.EndReason})
	require.Zero(t, moving.user(t, user.ID).OpenSessions)
}

func nodeNames(t *testing.T, env env) {
	d := env.desk(t, patient)
	session := d.startOn(t, d.signUp(t).ID, "fra-1")
	for _, report := range []userkit.UsageReport{{Node: "two\nlines"}, {NodeLocation: "Zürich"}, {Node: "fra-1", NodeLocation: "two\nlines"}} {
		report.SessionID = session.ID
		require.ErrorIs(t, d.reports(t, report)[0].Err, userkit.ErrInvalid)
	}
	for _, restart := range []userkit.NodeRestart{{}, {Node: "two\nlines"}, {Node: "fra-1", Limit: -1}, {Node: "fra-1", Limit: userkit.MaxReports + 1}} {
		_, err := d.EndSessions(t.Context(), restart)
		require.ErrorIs(t, err, userkit.ErrInvalid)
	}
	_, err := d.Sessions(t.Context(), userkit.SessionQuery{SessionFilter: userkit.SessionFilter{Node: "two\nlines"}})
	require.ErrorIs(t, err, userkit.ErrInvalid)
	require.True(t, d.session(t, session.ID).Active())
}

func nodeRestarts(t *testing.T, env env) {
	d := env.desk(t, patient)
	ada, grace := d.signUp(t), d.signUp(t)
	first, second, elsewhere := d.startOn(t, ada.ID, "fra-1"), d.startOn(t, grace.ID, "fra-1"), d.startOn(t, ada.ID, "ams-1")
	d.clock.Set(at(60))
	restart := userkit.NodeRestart{Node: "fra-1", At: at(60)}
	fresh := d.startOn(t, ada.ID, "fra-1") // the node is up, and the host has not got to it
	d.clock.Set(at(90))
	events := d.eventsDuring(t, ada.ID, func() {
		result, err := d.EndSessions(t.Context(), restart)
		require.NoError(t, err)
		require.Equal(t, userkit.EndedSessions{Ended: 2}, result)
	})
	require.Equal(t, []userkit.EventName{userkit.EventSessionEnded}, eventNames(events))
	for _, id := range []userkit.SessionID{first.ID, second.ID} {
		session := d.session(t, id)
		require.Equal(t, []any{at(60), at(90), userkit.EndedNodeRestarted}, []any{session.EndedAt, session.ClosedAt, session.EndReason})
	}
	require.True(t, d.session(t, elsewhere.ID).Active())
	require.True(t, d.session(t, fresh.ID).Active())
	require.Equal(t, []int{2, 0}, []int{d.user(t, ada.ID).OpenSessions, d.user(t, grace.ID).OpenSessions})

	result, err := d.EndSessions(t.Context(), restart)
	require.NoError(t, err)
	require.Zero(t, result)
	page, err := d.Sessions(t.Context(), userkit.SessionQuery{SessionFilter: userkit.SessionFilter{Node: "fra-1", State: userkit.SessionsActive}})
	require.NoError(t, err)
	require.Equal(t, []userkit.Session{fresh}, page.Items)
	// What it still had to report counts.
	require.EqualValues(t, 9, d.from(t, first.ID, "fra-1", 100, 9).Received)
}

func nodeRestartsInParts(t *testing.T, env env) {
	d := env.desk(t, patient)
	var users []userkit.User
	for range 7 {
		user := d.signUp(t)
		users = append(users, user)
		d.startOn(t, user.ID, "fra-1")
		d.startOn(t, user.ID, "ams-1")
	}
	d.clock.Set(at(60))
	restart := userkit.NodeRestart{Node: "fra-1", Limit: 3}
	total := 0
	for more, calls := true, 0; more; calls++ {
		require.Less(t, calls, 4)
		result, err := d.EndSessions(t.Context(), restart)
		require.NoError(t, err)
		require.LessOrEqual(t, result.Ended, 3)
		total, more = total+result.Ended, result.More
	}
	require.Equal(t, 7, total)
	for _, user := range users {
		require.Equal(t, 1, d.user(t, user.ID).OpenSessions)
	}
}

func nodeRestartsBeforeMove(t *testing.T, env env) {
	d := env.desk(t, patient, userkit.WithNodePolicy(userkit.NodeMove))
	user := d.signUp(t)
	earlier, since := d.startOn(t, user.ID, "ams-1"), d.startOn(t, user.ID, "ams-1")
	d.from(t, earlier.ID, "ams-1", 10, 1)
	d.from(t, earlier.ID, "fra-1", 30, 1)
	restart := userkit.NodeRestart{Node: "fra-1", At: at(60)}
	d.from(t, since.ID, "ams-1", 70, 1) // it runs elsewhere when the node restarts
	d.from(t, since.ID, "fra-1", 80, 1)
	result, err := d.EndSessions(t.Context(), restart)
	require.NoError(t, err)
	require.Equal(t, userkit.EndedSessions{Ended: 1}, result)
	require.False(t, d.session(t, earlier.ID).Active())
	require.True(t, d.session(t, since.ID).Active())
}
