package storetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// record makes a record to import from pairs of a field and a value.
func record(t *testing.T, key userkit.UserKey, pairs ...any) userkit.UserImport {
	t.Helper()
	record := userkit.UserImport{Key: key}
	for i := 0; i < len(pairs); i += 2 {
		require.NoError(t, record.Draft.Set(pairs[i].(string), pairs[i+1]))
	}
	return record
}

// wholeRecord makes a record of every field of a user that can be set.
func wholeRecord(t *testing.T, key userkit.UserKey, user userkit.User) userkit.UserImport {
	t.Helper()
	record := userkit.UserImport{Key: key}
	for _, field := range userkit.UserFields() {
		if field.Settable() {
			require.NoError(t, record.Draft.Set(field.Name, field.Get(&user)), field.Name)
		}
	}
	return record
}

// importUsers imports records and demands what becomes of each.
func (d *desk) importUsers(t *testing.T, mode userkit.ImportMode, records []userkit.UserImport, want ...userkit.ImportAction) []userkit.ImportOutcome {
	t.Helper()
	outcomes, err := d.ImportUsers(t.Context(), userkit.ImportOptions{Mode: mode}, records)
	require.NoError(t, err)
	requireActions(t, outcomes, want...)
	return outcomes
}

func requireActions(t *testing.T, outcomes []userkit.ImportOutcome, want ...userkit.ImportAction) {
	t.Helper()
	var got []userkit.ImportAction
	for _, outcome := range outcomes {
		got = append(got, outcome.Action)
		require.Equal(t, outcome.Action == userkit.ImportFailed, outcome.Err != nil, "%s: %v", outcome.Action, outcome.Err)
	}
	require.Equal(t, want, got, "%+v", outcomes)
}

// byLogin finds a user.
func (d *desk) byLogin(t *testing.T, login string) userkit.User {
	t.Helper()
	user, err := d.FindUser(t.Context(), userkit.ByLogin(login))
	require.NoError(t, err)
	return user
}

// everything reads all users and how many events there are.
func (d *desk) everything(t *testing.T) (users []userkit.User, events int) {
	t.Helper()
	users = take(t, d.AllUsers(t.Context(), userkit.UserQuery{}), whole)
	return users, len(eventsOf(t, d.store, userkit.UserID{}))
}

func importGroups() []group {
	return []group{
		{"ImportUsers", importCases()},
		{"ImportUsers under way", importRaceCases()},
		{"UserRecords", userRecordCases()},
		{"UpdateUser of many parts", patchCases()},
	}
}

func importCases() []testCase {
	becomes := created
	const created, updated, unchanged, failed = userkit.ImportCreated, userkit.ImportUpdated, userkit.ImportUnchanged, userkit.ImportFailed
	return []testCase{
		{"creates and updates by the mode", func(t *testing.T, env env) {
			d := env.desk(t)
			d.people(t, "ada")
			records := func(name string) []userkit.UserImport {
				return []userkit.UserImport{record(t, userkit.ByLogin("ADA"), "name", name), record(t, userkit.ByLogin("new "+name), "name", name)}
			}
			outcomes := d.importUsers(t, "", records("one"), updated, created)
			require.Equal(t, d.byLogin(t, "ada").ID, outcomes[0].UserID)
			require.Equal(t, d.byLogin(t, "new one").ID, outcomes[1].UserID)
			require.Equal(t, "one", d.byLogin(t, "ada").Name)
			d.importUsers(t, userkit.ImportUpsert, records("two"), updated, created)
			outcomes = d.importUsers(t, userkit.ImportUpdate, records("three"), updated, failed)
			requireField(t, outcomes[1].Err, userkit.ErrNotFound, userkit.CodeUserNotFound, "login")
			outcomes = d.importUsers(t, userkit.ImportCreate, records("four"), failed, created)
			requireField(t, outcomes[0].Err, userkit.ErrExists, userkit.CodeLoginTaken, "login")
			require.Equal(t, "three", d.byLogin(t, "ada").Name)
			d.requireUsers(t, userkit.UserFilter{}, "ada", "new four", "new one", "new two")
		}},
		{"finds users by each key, and gives new users the value of their key", func(t *testing.T, env env) {
			d := env.desk(t)
			id := userkit.NewID[userkit.User]()
			keys := []userkit.UserKey{userkit.ByID(id), userkit.ByLogin("Löwe"), userkit.ByEmail("Ada@Example.org"), userkit.ByExtRef("CRM/1")}
			var records []userkit.UserImport
			for _, key := range keys {
				records = append(records, record(t, key, "name", "first"))
			}
			outcomes := d.importUsers(t, "", records, created, created, created, created)
			require.Equal(t, id, outcomes[0].UserID)
			require.Equal(t, "Löwe", d.user(t, outcomes[1].UserID).Login)
			require.Equal(t, "Ada@Example.org", d.user(t, outcomes[2].UserID).Email)
			require.Equal(t, "CRM/1", d.user(t, outcomes[3].UserID).ExtRef)
			for i, key := range []userkit.UserKey{userkit.ByID(id), userkit.ByLogin("LÖWE"), userkit.ByEmail("ada@EXAMPLE.org"), userkit.ByExtRef("CRM/1")} {
				again := d.importUsers(t, userkit.ImportUpdate, []userkit.UserImport{record(t, key, "name", "second")}, updated)
				require.Equal(t, outcomes[i].UserID, again[0].UserID)
				user := d.user(t, again[0].UserID)
				require.Equal(t, "second", user.Name)
				require.EqualValues(t, 2, user.Revision)
			}
			d.importUsers(t, userkit.ImportUpdate, []userkit.UserImport{record(t, userkit.ByExtRef("crm/1"), "name", "x")}, failed)
		}},
		{"repeated changes nothing and tells nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			var records []userkit.UserImport
			for n := range 5 {
				newcomer := newcomer(fmt.Sprint("user ", n))
				newcomer.Email = fmt.Sprintf("user-%d@example.com", n)
				user := becomes(newcomer)
				records = append(records, wholeRecord(t, userkit.ByLogin(user.Login), user), record(t, userkit.ByID(user.ID), "attributes.seats", 7))
			}
			want := []userkit.ImportAction{created, unchanged, created, unchanged, created, unchanged, created, unchanged, created, unchanged}
			outcomes := d.importUsers(t, "", records, want...)
			for n := range 5 {
				require.Equal(t, outcomes[2*n].UserID, outcomes[2*n+1].UserID)
				require.Equal(t, []userkit.EventName{userkit.EventUserCreated}, eventNames(d.events(t, outcomes[2*n].UserID)))
			}
			users, events := d.everything(t)
			d.clock.Advance(time.Hour)
			all := slices.Repeat([]userkit.ImportAction{unchanged}, len(records))
			d.importUsers(t, "", records, all...)
			d.importUsers(t, userkit.ImportUpdate, records, all...)
			after, eventsAfter := d.everything(t)
			require.Equal(t, users, after)
			require.Equal(t, events, eventsAfter)
		}},
		{"takes every field that can be set, and gives the user back that they are from", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithOptionalPayer())
			ada := newcomer("ada")
			_, err := d.CreateUser(t.Context(), ada)
			require.NoError(t, err)
			beside := d.household(t)
			user := d.user(t, ada.ID)
			draft := wholeRecord(t, userkit.ByID(ada.ID), user)
			d.importUsers(t, "", []userkit.UserImport{draft, wholeRecord(t, userkit.ByEmail(beside.Email), beside)}, unchanged, unchanged)
			_, err = d.DeleteUser(t.Context(), ada.ID, ada.ID.String())
			require.NoError(t, err)
			d.importUsers(t, "", []userkit.UserImport{draft}, created)
			requireUser(t, user, d.user(t, ada.ID))

			// Onto another user, field by field.
			other := d.signUp(t)
			for _, field := range userkit.UserFields() {
				switch field.Name {
				case "id", "login", "email", "extref", "currency", "registered_at", "email_verified", "valid_for":
					continue
				}
				if field.Settable() {
					d.importUsers(t, userkit.ImportUpdate, []userkit.UserImport{record(t, userkit.ByLogin(other.Login), field.Name, field.Get(&user))},
						map[bool]userkit.ImportAction{true: unchanged, false: updated}[reflect.DeepEqual(field.Get(&user), field.Get(new(d.user(t, other.ID))))])
					require.Equal(t, field.Get(&user), field.Get(new(d.user(t, other.ID))), field.Name)
				}
			}
		}},
		{"says in a dry run what would happen and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			d.people(t, "ada", "bob")
			users, events := d.everything(t)
			records := []userkit.UserImport{
				record(t, userkit.ByLogin("ada"), "name", "Ada"), record(t, userkit.ByLogin("bob"), "name", "bob"), record(t, userkit.ByLogin("cyd"), "name", "Cyd"),
				record(t, userkit.ByLogin("dan"), "email", "no address"), record(t, userkit.ByLogin("bob"), "login", "ADA"),
				record(t, userkit.ByLogin("CYD"), "name", "Cyd"), record(t, userkit.ByLogin("cyd"), "name", "Cyd II"), record(t, userkit.ByLogin("eve"), "login", "cyd"),
			}
			want := []userkit.ImportAction{updated, unchanged, created, failed, failed, unchanged, updated, failed}
			dry, err := d.ImportUsers(t.Context(), userkit.ImportOptions{DryRun: true}, records)
			require.NoError(t, err)
			requireActions(t, dry, want...)
			require.Equal(t, map[string]userkit.FieldChange{"name": {Old: "ada", New: "Ada"}}, dry[0].Changes)
			usersAfter, eventsAfter := d.everything(t)
			require.Equal(t, users, usersAfter)
			require.Equal(t, events, eventsAfter)
			for _, at := range []int{2, 5, 6} {
				require.True(t, dry[at].UserID.IsZero(), "nobody has an id yet, record %d", at)
			}
			real := d.importUsers(t, "", records, want...)
			for i := range real {
				require.Equal(t, userkit.ErrorCode(real[i].Err), userkit.ErrorCode(dry[i].Err))
				if real[i].Err != nil {
					require.Equal(t, detail(t, real[i].Err).Field, detail(t, dry[i].Err).Field)
				} else if !dry[i].UserID.IsZero() {
					require.Equal(t, real[i].UserID, dry[i].UserID)
				}
			}
			for _, mode := range []userkit.ImportMode{userkit.ImportCreate, userkit.ImportUpdate} {
				dry, err := d.ImportUsers(t.Context(), userkit.ImportOptions{Mode: mode, DryRun: true}, []userkit.UserImport{records[0], record(t, userkit.ByLogin("new"))})
				require.NoError(t, err)
				if mode == userkit.ImportCreate {
					requireActions(t, dry, failed, created)
				} else {
					requireActions(t, dry, unchanged, failed)
				}
			}
		}},
		{"does the records of one user in their order", func(t *testing.T, env env) {
			d := env.desk(t)
			d.people(t, "bob")
			outcomes := d.importUsers(t, "", []userkit.UserImport{
				record(t, userkit.ByLogin("ada"), "name", "one", "country", "DE"), record(t, userkit.ByLogin("bob"), "name", "one"),
				record(t, userkit.ByLogin("ADA"), "name", "two"), record(t, userkit.ByLogin("BOB"), "name", "two"),
				record(t, userkit.ByLogin("Ada"), "name", "three", "email", "ada@example.org"), record(t, userkit.ByLogin("bob"), "name", "two"),
			}, created, updated, updated, updated, updated, unchanged)
			ada := d.byLogin(t, "ada")
			require.Equal(t, "three", ada.Name)
			require.Equal(t, "DE", ada.Country)
			require.Equal(t, "two", d.byLogin(t, "bob").Name)
			for _, at := range []int{0, 2, 4} {
				require.Equal(t, ada.ID, outcomes[at].UserID)
			}
			// By different keys of the user.
			d.importUsers(t, "", []userkit.UserImport{
				record(t, userkit.ByEmail("ada@example.org"), "name", "four"), record(t, userkit.ByID(ada.ID), "name", "five"), record(t, userkit.ByLogin("ada"), "name", "six"),
			}, updated, updated, updated)
			require.Equal(t, "six", d.byLogin(t, "ada").Name)
			require.Equal(t, []userkit.EventName{
				userkit.EventUserCreated, userkit.EventUserUpdated, userkit.EventUserUpdated, userkit.EventUserUpdated, userkit.EventUserUpdated, userkit.EventUserUpdated,
			}, eventNames(d.events(t, ada.ID)))
			d.importUsers(t, userkit.ImportCreate, []userkit.UserImport{record(t, userkit.ByLogin("eve")), record(t, userkit.ByLogin("EVE"))}, created, failed)
			d.importUsers(t, userkit.ImportUpdate, []userkit.UserImport{
				record(t, userkit.ByLogin("eve"), "login", "Eva"),
			}, updated)
			d.importUsers(t, userkit.ImportUpdate, []userkit.UserImport{record(t, userkit.ByLogin("eva"), "login", "EVA"), record(t, userkit.ByLogin("eva"), "name", "Eva")}, updated, updated)
			require.Equal(t, "EVA", d.byLogin(t, "eva").Login)
		}},
		{"refuses values that another user has, and goes on", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob", "cyd")
			d.importUsers(t, "", []userkit.UserImport{record(t, userkit.ByLogin("ada"), "email", "ada@example.org", "extref", "A"), record(t, userkit.ByLogin("bob"), "email", "bob@example.org", "extref", "B")}, updated, updated)
			outcomes := d.importUsers(t, "", []userkit.UserImport{
				record(t, userkit.ByLogin("cyd"), "login", "ADA"), record(t, userkit.ByLogin("cyd"), "email", "ADA@example.org"), record(t, userkit.ByLogin("new"), "extref", "A"),
				record(t, userkit.ByLogin("cyd"), "name", "Cyd"), record(t, userkit.ByLogin("newer"), "id", users["ada"].ID.String()),
			}, failed, failed, failed, updated, failed)
			for at, want := range map[int]struct {
				code  userkit.Code
				field string
			}{0: {userkit.CodeLoginTaken, "login"}, 1: {userkit.CodeEmailTaken, "email"}, 2: {userkit.CodeExtRefTaken, "extref"}, 4: {userkit.CodeIDTaken, "id"}} {
				requireField(t, outcomes[at].Err, userkit.ErrExists, want.code, want.field)
			}
			// Two who swap their addresses are in each other's way; one who gives an
			// address up leaves it to the next.
			outcomes = d.importUsers(t, "", []userkit.UserImport{record(t, userkit.ByLogin("ada"), "email", "bob@example.org"), record(t, userkit.ByLogin("bob"), "email", "ada@example.org")}, failed, failed)
			requireCode(t, outcomes[0].Err, userkit.ErrExists, userkit.CodeEmailTaken)
			requireCode(t, outcomes[1].Err, userkit.ErrExists, userkit.CodeEmailTaken)
			require.Equal(t, "ada@example.org", d.byLogin(t, "ada").Email)
			d.importUsers(t, "", []userkit.UserImport{record(t, userkit.ByLogin("ada"), "email", "new@example.org"), record(t, userkit.ByLogin("bob"), "email", "ada@example.org")}, updated, updated)
			require.Equal(t, "ada@example.org", d.byLogin(t, "bob").Email)
			d.importUsers(t, "", []userkit.UserImport{record(t, userkit.ByLogin("twin"), "email", "twin@example.org"), record(t, userkit.ByLogin("other"), "email", "TWIN@example.org")}, created, failed)
		}},
		{"refuses what is wrong in a record, with its field, and goes on", func(t *testing.T, env env) {
			d := env.desk(t)
			users := d.people(t, "ada", "bob")
			before := d.picture(t, users["ada"].ID)
			ada := userkit.ByLogin("ada")
			for _, wrong := range []struct {
				record userkit.UserImport
				kind   error
				code   userkit.Code
				field  string
			}{
				{record(t, userkit.UserKey{}, "name", "x"), userkit.ErrInvalid, userkit.CodeRequired, ""},
				{record(t, userkit.ByLogin(""), "name", "x"), userkit.ErrInvalid, userkit.CodeRequired, "login"},
				{record(t, ada, "id", users["bob"].ID.String()), userkit.ErrInvalid, userkit.CodeIDMismatch, "id"},
				{record(t, ada, "currency", "USD"), userkit.ErrInvalid, userkit.CodeCurrencyMismatch, "currency"},
				{record(t, ada, "email", "no address"), userkit.ErrInvalid, userkit.CodeBadFormat, "email"},
				{record(t, ada, "phone", "123"), userkit.ErrInvalid, userkit.CodeBadFormat, "phone"},
				{record(t, ada, "country", "XX"), userkit.ErrInvalid, userkit.CodeUnknownValue, "country"},
				{record(t, ada, "license", "none"), userkit.ErrInvalid, userkit.CodeUnknownLicense, "license"},
				{record(t, ada, "status", "asleep"), userkit.ErrInvalid, userkit.CodeUnknownValue, "status"},
				{record(t, ada, "traffic_limit", int64(-1)), userkit.ErrInvalid, userkit.CodeOutOfRange, "traffic_limit.bytes"},
				{record(t, ada, "traffic_anchor_day", int64(31)), userkit.ErrInvalid, userkit.CodeOutOfRange, "traffic_limit.anchor_day"},
				{record(t, ada, "email_verified", true), userkit.ErrInvalid, userkit.CodeRequired, "email"},
				{record(t, ada, "name", "x", "valid_for", userkit.Duration(-time.Hour)), userkit.ErrInvalid, userkit.CodeOutOfRange, "valid_for"},
				{record(t, userkit.ByLogin("new"), "currency", "EURO"), userkit.ErrInvalid, userkit.CodeUnknownValue, "currency"},
				{record(t, userkit.ByLogin(" new")), userkit.ErrInvalid, userkit.CodeBadFormat, "login"},
				{record(t, userkit.ByEmail("nobody")), userkit.ErrInvalid, userkit.CodeBadFormat, "email"},
			} {
				for _, dry := range []bool{true, false} {
					outcomes, err := d.ImportUsers(t.Context(), userkit.ImportOptions{DryRun: dry}, []userkit.UserImport{wrong.record, record(t, userkit.ByLogin("bob"), "name", "bob")})
					require.NoError(t, err)
					requireActions(t, outcomes, failed, unchanged)
					require.ErrorIs(t, outcomes[0].Err, wrong.kind)
					if wrong.field == "currency" && wrong.code == userkit.CodeUnknownValue {
						require.Equal(t, wrong.field, detail(t, outcomes[0].Err).Field)
						continue
					}
					requireField(t, outcomes[0].Err, wrong.kind, wrong.code, wrong.field)
				}
			}
			require.Equal(t, before, d.picture(t, users["ada"].ID))
			d.requireUsers(t, userkit.UserFilter{}, "ada", "bob")
		}},
		{"refuses calls that are wrong as a whole", func(t *testing.T, env env) {
			d := env.desk(t)
			_, err := d.ImportUsers(t.Context(), userkit.ImportOptions{Mode: "replace"}, nil)
			requireField(t, err, userkit.ErrInvalid, userkit.CodeUnknownValue, "mode")
			_, err = d.ImportUsers(t.Context(), userkit.ImportOptions{}, make([]userkit.UserImport, userkit.MaxImport+1))
			requireField(t, err, userkit.ErrInvalid, userkit.CodeTooLong, "records")
			outcomes, err := d.ImportUsers(t.Context(), userkit.ImportOptions{}, nil)
			require.NoError(t, err)
			require.Empty(t, outcomes)
		}},
		{"does what the single calls do, with their events", func(t *testing.T, env env) {
			d := env.desk(t)
			ada := d.household(t)
			ctx := userkit.WithActor(t.Context(), administrator)
			events := d.eventsDuring(t, ada.ID, func() {
				outcomes, err := d.ImportUsers(ctx, userkit.ImportOptions{}, []userkit.UserImport{record(t, userkit.ByID(ada.ID),
					"name", "Grace", "license", fiveDevices, "traffic_limit", int64(10_000), "traffic_reset", "monthly", "traffic_anchor_day", int64(31),
					"status", "disabled", "bank", "Sample Bank", "attributes.plan", "gold", "registered_at", base.Add(-time.Hour))})
				require.NoError(t, err)
				requireActions(t, outcomes, updated)
			})
			require.Equal(t, []userkit.EventName{userkit.EventUserUpdated, userkit.EventLicenseSet, userkit.EventTrafficLimitSet, userkit.EventUserDeactivated}, sortedNames(events))
			for _, event := range events {
				require.Equal(t, administrator, event.Actor)
			}
			user := d.user(t, ada.ID)
			require.Equal(t, userkit.StatusDisabled, user.Status)
			require.Equal(t, ada.RegisteredAt, user.RegisteredAt, "registered_at counts for new users only")
			require.Equal(t, userkit.TrafficLimit{Bytes: 10_000, Reset: userkit.ResetMonthly, AnchorDay: 31}, user.Traffic.Limit)
			require.Equal(t, ada.Traffic.Used, user.Traffic.Used)
			require.Zero(t, user.OpenSessions)
			d.requireCounters(t, ada.ID)
			for _, session := range d.sessions(t, ada.ID) {
				require.False(t, session.Active())
			}
			outcomes, err := d.ImportUsers(ctx, userkit.ImportOptions{}, []userkit.UserImport{record(t, userkit.ByLogin("new"), "registered_at", base.Add(-time.Hour))})
			require.NoError(t, err)
			require.Equal(t, base.Add(-time.Hour), d.user(t, outcomes[0].UserID).RegisteredAt)
			require.Equal(t, userkit.StatusInactive, d.user(t, outcomes[0].UserID).Status, "an administrator created it")
		}},
		{"takes as many records as the bound says", func(t *testing.T, env env) {
			d := env.desk(t)
			ids := d.masses(t, userkit.MaxImport)
			require.Len(t, ids, userkit.MaxImport)
			count, err := d.CountUsers(t.Context(), everyMass())
			require.NoError(t, err)
			require.EqualValues(t, userkit.MaxImport, count)
			for n, id := range ids[:10] {
				require.Equal(t, fmt.Sprintf("mass-%05d", n), d.user(t, id).Login)
			}
		}},
	}
}

// sortedNames returns the names of events of one commit in the order in which an
// edit makes them.
func sortedNames(events []userkit.Event) []userkit.EventName {
	events = sortedByID(events, eventRecordID)
	return eventNames(events)
}

func importRaceCases() []testCase {
	records := func(t *testing.T, count int) (records []userkit.UserImport) {
		for n := range count {
			records = append(records, record(t, userkit.ByLogin(fmt.Sprintf("mass-%05d", n)), "email", fmt.Sprintf("%d@example.org", n), "name", "one name"))
		}
		return records
	}
	// done demands that every user is there, and was created once.
	done := func(t *testing.T, d *desk, count int) {
		t.Helper()
		users := take(t, d.AllUsers(t.Context(), userkit.UserQuery{UserFilter: everyMass()}), whole)
		require.Len(t, users, count)
		for n, user := range users {
			require.Equal(t, fmt.Sprintf("%d@example.org", n), user.Email)
			require.EqualValues(t, 1, user.Revision)
		}
		counts := d.eventCounts(t, userkit.EventUserCreated)
		require.Len(t, counts, count)
		for _, count := range counts {
			require.Equal(t, 1, count)
		}
	}
	return []testCase{
		{"the same import by many creates each user once", func(t *testing.T, env env) {
			d, e := env.pair(t)
			const callers, count = 4, 30
			all := records(t, count)
			answers := together(callers, func(i int) ([]userkit.ImportOutcome, error) {
				mine := slices.Clone(all)
				if i%2 == 1 {
					slices.Reverse(mine)
				}
				return []*desk{d, e}[i/2].ImportUsers(t.Context(), userkit.ImportOptions{}, mine)
			})
			made := 0
			for _, outcomes := range values(t, answers) {
				for _, outcome := range outcomes {
					require.NoError(t, outcome.Err)
					if outcome.Action == userkit.ImportCreated {
						made++
					} else {
						require.Equal(t, userkit.ImportUnchanged, outcome.Action)
					}
				}
			}
			require.Equal(t, count, made)
			done(t, d, count)
		}},
		{"an import that broke off and runs again ends like one run", func(t *testing.T, env env) {
			const count = 500
			sound := env.desk(t)
			all := records(t, count)
			broken := sound.beside(t, &cutStore{Store: env.store, part: 1})
			var err error
			for try := 0; err == nil; try++ { // the cut comes in the second commit
				require.Less(t, try, 3)
				_, err = broken.ImportUsers(t.Context(), userkit.ImportOptions{}, all[:count-100+try])
			}
			require.ErrorIs(t, err, userkit.ErrUnavailable)
			require.NoError(t, broken.Close(context.Background()))
			_, err = sound.ImportUsers(t.Context(), userkit.ImportOptions{}, all)
			require.NoError(t, err)
			done(t, sound, count)
			sound.importUsers(t, "", all, slices.Repeat([]userkit.ImportAction{userkit.ImportUnchanged}, count)...)
		}},
		{"a context that has ended is answered with its error", func(t *testing.T, env env) {
			d := env.desk(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := d.ImportUsers(ctx, userkit.ImportOptions{}, records(t, 3))
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, d.Close(context.Background()))
			done(t, d.beside(t, env.store), 0)
		}},
	}
}

func userRecordCases() []testCase {
	return []testCase{
		{"yields everything of a user, by kind and the oldest first, and nothing of others", func(t *testing.T, env env) {
			d, shop := env.withShop(t)
			user, other := d.household(t), d.household(t)
			d.buy(t, shop, user.ID, "1000")
			lists := []userkit.Segment{d.list(t, "one"), d.list(t, "two")}
			d.rule(t, "everybody", `name pr`) // no record of anybody's
			d.list(t, "theirs", other)
			d.join(t, user.ID, lists...)
			d.clock.Advance(25 * time.Hour)
			d.use(t, user.ID, 100)
			require.NoError(t, d.beside(t, env.store, withPostbox(&postbox{})).SendActivation(t.Context(), user.ID, ""))
			_, err := d.Connect(userkit.WithActor(t.Context(), administrator), user.ID, userkit.ConnectOptions{Reason: "a call"})
			require.NoError(t, err)
			_, err = d.beside(t, env.store, withPushMail).GeneratePushMail(t.Context(), user.ID)
			require.NoError(t, err)
			d.register(t, user.ID, userkit.NewDevice{PushToken: "phone"})
			message := d.beside(t, env.store, userkit.WithNotifiers(map[userkit.DeviceType]userkit.Notifier{"": &pushService{}})).
				send(t, user.ID, userkit.NewMessage{Body: "Hello"})
			want := d.picture(t, user.ID)

			var kinds []string
			records := map[string][]any{}
			for record, err := range d.UserRecords(t.Context(), user.ID) {
				require.NoError(t, err)
				if len(kinds) == 0 || kinds[len(kinds)-1] != record.Kind {
					kinds = append(kinds, record.Kind)
				}
				records[record.Kind] = append(records[record.Kind], record.Value)
			}
			require.Equal(t, append([]string{userkit.RecordUser}, userkit.RecordKinds()...), kinds)
			requireUser(t, want.User, valuesOf[userkit.User](t, records[userkit.RecordUser])[0])
			require.Len(t, records[userkit.RecordUser], 1)
			requireRecords(t, want.Devices, valuesOf[userkit.Device](t, records[userkit.RowsDevices]), deviceRecordID)
			requireRecords(t, want.Sessions, valuesOf[userkit.Session](t, records[userkit.RowsSessions]), sessionRecordID)
			requireUsage(t, want.Usage, valuesOf[userkit.DayUsage](t, records[userkit.RowsDays]))
			requirePurchaseList(t, want.Purchases, valuesOf[userkit.Purchase](t, records[userkit.RowsPurchases]))
			requireList(t, want.Transactions, valuesOf[userkit.Transaction](t, records[userkit.RowsTransactions]), transactionRecordID)
			requireRecords(t, lists, valuesOf[userkit.Segment](t, records[userkit.RowsMemberships]), segmentRecordID)
			require.Len(t, valuesOf[userkit.Activation](t, records[userkit.RowsActivations]), 1)
			require.Len(t, valuesOf[userkit.Connection](t, records[userkit.RowsConnections]), 1)
			require.Equal(t, message.ID, valuesOf[userkit.Delivery](t, records[userkit.RowsDeliveries])[0].MessageID)
			require.Len(t, valuesOf[userkit.PushMail](t, records[userkit.RowsPushMails]), 1)
			require.Equal(t, []userkit.Message{message}, valuesOf[userkit.Message](t, records[userkit.RowsMessages]))
			events := valuesOf[userkit.Event](t, records[userkit.RowsEvents])
			requireEvents(t, sortedByID(want.Events, eventRecordID), sortedByID(events, eventRecordID))
			oldestFirst(t, valuesOf[userkit.Device](t, records[userkit.RowsDevices]), func(device userkit.Device) time.Time { return device.RegisteredAt })
			oldestFirst(t, valuesOf[userkit.Session](t, records[userkit.RowsSessions]), func(session userkit.Session) time.Time { return session.StartedAt })
			oldestFirst(t, events, func(event userkit.Event) time.Time { return event.At })

			receipt, err := d.DeleteUser(t.Context(), user.ID, user.ID.String())
			require.NoError(t, err)
			for _, kind := range userkit.RecordKinds() {
				require.Equal(t, len(records[kind]), receipt.Rows[kind], kind)
			}
		}},
		{"yields that there is no such user, and stops when asked to", func(t *testing.T, env env) {
			d := env.desk(t)
			yielded := 0
			for _, err := range d.UserRecords(t.Context(), userID(7)) {
				requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
				yielded++
			}
			require.Equal(t, 1, yielded)
			user := d.household(t)
			for most := 1; most < 8; most++ {
				yielded := 0
				for _, err := range d.UserRecords(t.Context(), user.ID) {
					require.NoError(t, err)
					if yielded++; yielded == most {
						break
					}
				}
				require.Equal(t, most, yielded)
			}
			plain := d.signUp(t)
			var kinds []string
			for record, err := range d.UserRecords(t.Context(), plain.ID) {
				require.NoError(t, err)
				kinds = append(kinds, record.Kind)
			}
			require.Equal(t, []string{userkit.RecordUser, userkit.RowsEvents}, kinds)
		}},
		{"yields records beyond one page", func(t *testing.T, env env) {
			d := env.desk(t)
			user := newUser(1)
			change := creation(user)
			const count = 2*userkit.MaxPageLimit + 7
			for n := range count {
				event := newEvent(user.ID, n)
				event.At = at(n / 500)
				change.Events = append(change.Events, event)
			}
			commit(t, env.store, change)
			var events []userkit.Event
			for record, err := range d.UserRecords(t.Context(), user.ID) {
				require.NoError(t, err)
				if record.Kind == userkit.RowsEvents {
					events = append(events, record.Value.(userkit.Event))
				}
			}
			requireIDs(t, change.Events, events, eventRecordID)
		}},
	}
}

// valuesOf returns the values of records, which are all of one type.
func valuesOf[T any](t *testing.T, records []any) []T {
	t.Helper()
	values := []T{}
	for _, record := range records {
		value, ok := record.(T)
		require.True(t, ok, "%T", record)
		values = append(values, value)
	}
	return values
}

func oldestFirst[T any](t *testing.T, records []T, when func(T) time.Time) {
	t.Helper()
	require.True(t, slices.IsSortedFunc(records, func(a, b T) int { return when(a).Compare(when(b)) }))
}

func patchCases() []testCase {
	return []testCase{
		{"sets each part of a payer and leaves the others", func(t *testing.T, env env) {
			d := env.desk(t)
			ada := newcomer("ada")
			_, err := d.CreateUser(t.Context(), ada)
			require.NoError(t, err)
			want := ada.Payer
			parts := reflect.TypeFor[userkit.PayerPatch]()
			for i := range parts.NumField() {
				name := parts.Field(i).Name
				var patch userkit.UserPatch
				reflect.ValueOf(&patch.Payer).Elem().FieldByName(name).Set(reflect.ValueOf(userkit.Set("new " + name)))
				reflect.ValueOf(&want).Elem().FieldByName(name).SetString("new " + name)
				user, err := d.UpdateUser(t.Context(), ada.ID, patch)
				require.NoError(t, err)
				require.Equal(t, want, user.Payer)
				require.EqualValues(t, 2+i, user.Revision)
				require.Equal(t, user, d.user(t, ada.ID))
			}
		}},
		{"sets each part of a traffic limit and keeps what was used", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withLimit(1000, userkit.ResetMonthly, 10))
			d.use(t, user.ID, 300)
			set := func(patch userkit.TrafficLimitPatch, want userkit.TrafficLimit, used int64) {
				t.Helper()
				var edited userkit.User
				events := d.eventsDuring(t, user.ID, func() {
					var err error
					edited, err = d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{TrafficLimit: patch})
					require.NoError(t, err)
				})
				require.Equal(t, []userkit.EventName{userkit.EventTrafficLimitSet}, eventNames(events))
				require.Equal(t, want, edited.Traffic.Limit)
				require.Equal(t, used, edited.Traffic.UsedIn(d.clock.Now(), time.UTC))
				requireUser(t, edited, d.user(t, user.ID))
			}
			set(userkit.TrafficLimitPatch{Bytes: userkit.Set[int64](2000)}, userkit.TrafficLimit{Bytes: 2000, Reset: userkit.ResetMonthly, AnchorDay: 10}, 300)
			set(userkit.TrafficLimitPatch{AnchorDay: userkit.Set(31)}, userkit.TrafficLimit{Bytes: 2000, Reset: userkit.ResetMonthly, AnchorDay: 31}, 300)
			d.clock.Advance(24 * time.Hour)
			d.use(t, user.ID, 50)
			set(userkit.TrafficLimitPatch{Reset: userkit.Set(userkit.ResetDaily)}, userkit.TrafficLimit{Bytes: 2000, Reset: userkit.ResetDaily}, 50)
			set(userkit.TrafficLimitPatch{Reset: userkit.Set(userkit.ResetNever), Bytes: userkit.Set[int64](3000)}, userkit.TrafficLimit{Bytes: 3000, Reset: userkit.ResetNever}, 350)
			set(userkit.TrafficLimitPatch{Reset: userkit.Set(userkit.ResetMonthly)}, userkit.TrafficLimit{Bytes: 3000, Reset: userkit.ResetMonthly, AnchorDay: 1}, 350)

			before := d.picture(t, user.ID)
			for _, same := range []userkit.TrafficLimitPatch{{}, {Bytes: userkit.Set[int64](3000)}, {Reset: userkit.Set(userkit.ResetMonthly), AnchorDay: userkit.Set(1)}} {
				_, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{TrafficLimit: same})
				require.NoError(t, err)
			}
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"ends the sessions of a user whose limit is below what was used", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			d.use(t, user.ID, 300)
			open := d.connect(t, user.ID, userkit.DeviceID{})
			_, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{TrafficLimit: userkit.TrafficLimitPatch{Bytes: userkit.Set[int64](300)}})
			require.NoError(t, err)
			require.Equal(t, userkit.EndedTrafficLimit, d.session(t, open.ID).EndReason)
			d.requireCounters(t, user.ID)
		}},
		{"does what the single calls do, in one commit and one revision", func(t *testing.T, env env) {
			d := env.desk(t)
			one, many := d.household(t), d.household(t)
			ctx := userkit.WithActor(t.Context(), administrator)
			limit := userkit.TrafficLimit{Bytes: 1 << 40, Reset: userkit.ResetWeekly}
			single := d.eventsDuring(t, many.ID, func() {
				_, err := d.UpdateUser(ctx, many.ID, userkit.UserPatch{Name: userkit.Set("Grace"), Payer: userkit.PayerPatch{Bank: userkit.Set("Bank")}})
				require.NoError(t, err)
				_, err = d.SetLicense(ctx, many.ID, fiveDevices)
				require.NoError(t, err)
				_, err = d.SetTrafficLimit(ctx, many.ID, limit, false)
				require.NoError(t, err)
				_, err = d.DeactivateUser(ctx, many.ID)
				require.NoError(t, err)
			})
			patch := userkit.UserPatch{
				Revision: one.Revision, Name: userkit.Set("Grace"), Payer: userkit.PayerPatch{Bank: userkit.Set("Bank")}, License: userkit.Set(fiveDevices),
				TrafficLimit: userkit.TrafficLimitPatch{Bytes: userkit.Set(limit.Bytes), Reset: userkit.Set(limit.Reset)}, Status: userkit.Set(userkit.StatusDisabled),
			}
			together := d.eventsDuring(t, one.ID, func() {
				user, err := d.UpdateUser(ctx, one.ID, patch)
				require.NoError(t, err)
				requireUser(t, d.user(t, one.ID), user)
			})
			require.Equal(t, eventNames(single), sortedNames(together))
			for _, event := range together {
				require.Equal(t, administrator, event.Actor)
			}
			a, b := d.picture(t, one.ID), d.picture(t, many.ID)
			require.Equal(t, one.Revision+1, a.User.Revision)
			require.Equal(t, one.Version+1, a.User.Version)
			require.Equal(t, b.User.Traffic, a.User.Traffic)
			require.Equal(t, b.User.Payer, a.User.Payer)
			require.Equal(t, b.User.License, a.User.License)
			require.Equal(t, b.User.Status, a.User.Status)
			require.Equal(t, b.User.OpenSessions, a.User.OpenSessions)
			require.Equal(t, b.Sessions[1].EndReason, a.Sessions[1].EndReason)
			require.Equal(t, userkit.EndedUserDisabled, a.Sessions[1].EndReason)
			d.requireCounters(t, one.ID)

			// The same once more changes nothing, but for the revision it asks for.
			_, err := d.UpdateUser(ctx, one.ID, patch)
			requireCode(t, err, userkit.ErrConflict, userkit.CodeRevisionMismatch)
			patch.Revision = 0
			_, err = d.UpdateUser(ctx, one.ID, patch)
			require.NoError(t, err)
			require.Equal(t, a, d.picture(t, one.ID))
			activated := d.eventsDuring(t, one.ID, func() {
				_, err := d.UpdateUser(ctx, one.ID, userkit.UserPatch{Status: userkit.Set(userkit.StatusActive)})
				require.NoError(t, err)
			})
			require.Equal(t, []userkit.EventName{userkit.EventUserActivated}, eventNames(activated))
		}},
		{"writes nothing when one of its parts is wrong", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.household(t), d.signUp(t)
			before := d.picture(t, user.ID)
			for _, wrong := range []struct {
				patch userkit.UserPatch
				kind  error
				code  userkit.Code
				field string
			}{
				{userkit.UserPatch{License: userkit.Set("none")}, userkit.ErrInvalid, userkit.CodeUnknownLicense, "license"},
				{userkit.UserPatch{Status: userkit.Set[userkit.Status]("asleep")}, userkit.ErrInvalid, userkit.CodeUnknownValue, "status"},
				{userkit.UserPatch{TrafficLimit: userkit.TrafficLimitPatch{Bytes: userkit.Set[int64](-1)}}, userkit.ErrInvalid, userkit.CodeOutOfRange, "traffic_limit.bytes"},
				{userkit.UserPatch{TrafficLimit: userkit.TrafficLimitPatch{AnchorDay: userkit.Set(3)}}, userkit.ErrInvalid, userkit.CodeOutOfRange, "traffic_limit.anchor_day"},
				{userkit.UserPatch{TrafficLimit: userkit.TrafficLimitPatch{Reset: userkit.Set[userkit.TrafficReset]("hourly")}}, userkit.ErrInvalid, userkit.CodeUnknownValue, "traffic_limit.reset"},
				{userkit.UserPatch{Login: userkit.Set(other.Login), Status: userkit.Set(userkit.StatusDisabled)}, userkit.ErrExists, userkit.CodeLoginTaken, "login"},
				{userkit.UserPatch{Email: userkit.Set("no address"), Status: userkit.Set(userkit.StatusDisabled)}, userkit.ErrInvalid, userkit.CodeBadFormat, "email"},
				{userkit.UserPatch{Revision: 99, Status: userkit.Set(userkit.StatusDisabled)}, userkit.ErrConflict, userkit.CodeRevisionMismatch, "revision"},
			} {
				wrong.patch.Name = userkit.Set("written nevertheless")
				_, err := d.UpdateUser(t.Context(), user.ID, wrong.patch)
				requireField(t, err, wrong.kind, wrong.code, wrong.field)
			}
			require.Equal(t, before, d.picture(t, user.ID))
		}},
	}
}
