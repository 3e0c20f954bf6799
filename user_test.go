package userkit

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCountriesAreThoseOfISO3166(t *testing.T) {
	count := 0
	for first := 'A'; first <= 'Z'; first++ {
		for second := 'A'; second <= 'Z'; second++ {
			if checkCountry(string(first)+string(second)) == nil {
				count++
			}
		}
	}
	require.Equal(t, 249, count, "the officially assigned codes")
	for _, good := range []string{"", "BY", "DE", "GB", "US", "TL", "SS", "BQ"} {
		require.NoError(t, checkCountry(good), good)
	}
	for _, bad := range []string{"UK", "SU", "XK", "EU", "AC", "by", "BLR", "112", "ZZ", "B", "AN"} {
		require.Equal(t, CodeUnknownValue, ErrorCode(checkCountry(bad)), bad)
	}
}

func TestEmailIsABareAddress(t *testing.T) {
	for _, good := range []string{"", "ada@example.com", "a.b+c@example.co.uk", "δοκιμή@παράδειγμα.example"} {
		require.NoError(t, checkEmail(good), good)
	}
	for _, bad := range []string{"ada", "ada@", "@example.com", "Ada <ada@example.com>", " ada@example.com", "ada@example.com ", "a@b, c@d", "ada@exa mple.com", `"quoted name"@example.com`} {
		require.Equal(t, CodeBadFormat, ErrorCode(checkEmail(bad)), bad)
	}
}

func TestPatchOfSeveralPartsIsOneRevisionWithTheEventsOfEach(t *testing.T) {
	m := &manager{options: defaultOptions()}
	m.licenses = []License{{Name: "pro"}}
	patch, err := UserPatch{
		Name: Set("Ada"), Payer: PayerPatch{Bank: Set("Sample Bank")}, Status: Set(StatusDisabled), License: Set("pro"),
		TrafficLimit: TrafficLimitPatch{Bytes: Set(int64(100))},
	}.normalise(m)
	require.NoError(t, err)
	steps := patch.steps(m, testOrigin(noon))
	open := Session{ID: SessionID{15: 1}, StartedAt: noon}
	before := User{
		ID: UserID{15: 9}, Revision: 3, Status: StatusActive, Payer: Payer{AccountNumber: "290000000"},
		Account: Account{Version: 7, OpenSessions: 1, Traffic: Traffic{Limit: TrafficLimit{Reset: ResetDaily}, Used: 5}},
	}
	state := &State{Exists: true, User: before, base: 7, Sessions: []Session{open}}
	var need needMore
	_, _, err = patch.apply(state, steps)
	require.ErrorAs(t, err, &need)
	require.True(t, need.OpenSessions)

	state.complete = completeness{openSessions: true, usageFrom: need.UsageFrom}
	user, c, err := patch.apply(state, steps)
	require.NoError(t, err)
	require.Equal(t, before, state.User, "the state is not changed")
	require.EqualValues(t, 4, user.Revision)
	require.EqualValues(t, 4, c.Profile.Revision)
	require.EqualValues(t, 8, c.Account.Version)
	require.Equal(t, Payer{AccountNumber: "290000000", Bank: "Sample Bank"}, c.Profile.Payer)
	require.Equal(t, "pro", c.Profile.License)
	require.Equal(t, StatusDisabled, c.Profile.Status)
	require.Equal(t, TrafficLimit{Bytes: 100, Reset: ResetDaily}, c.Account.Traffic.Limit)
	require.Zero(t, c.Account.OpenSessions)
	require.Len(t, c.Sessions.Update, 1)
	require.Equal(t, EndedUserDisabled, c.Sessions.Update[0].EndReason)
	var names []EventName
	ids := map[EventID]bool{}
	for _, event := range c.Events {
		names = append(names, event.Name)
		ids[event.ID] = true
	}
	require.Equal(t, []EventName{EventUserUpdated, EventLicenseSet, EventTrafficLimitSet, EventUserDeactivated}, names)
	require.Len(t, ids, 4)

	same, err := UserPatch{Status: Set(StatusActive), License: Set(""), TrafficLimit: TrafficLimitPatch{Reset: Set(ResetDaily)}}.normalise(m)
	require.NoError(t, err)
	_, c, err = same.apply(state, same.steps(m, testOrigin(noon)))
	require.NoError(t, err)
	require.False(t, c.writes())

	for code, wrong := range map[Code]UserPatch{
		CodeUnknownLicense: {License: Set("gold")},
		CodeUnknownValue:   {Status: Set(Status("asleep"))},
	} {
		_, err := wrong.normalise(m)
		require.Equal(t, code, ErrorCode(err))
	}
}

func TestUserDraftSetsEveryFieldThatCanBeSet(t *testing.T) {
	values := map[string]any{
		"id": UserID{15: 1}.String(), "login": "ada", "name": "Ada", "email": "ada@example.org", "email_verified": true, "phone": "+4930123456",
		"status": "active", "license": "pro", "auth_method": "password", "extref": "42", "description": "x", "country": "DE",
		"registered_at": noon, "expires_at": noon, "valid_for": Duration(time.Hour), "currency": "USD", "traffic_limit": int64(5), "traffic_reset": "monthly",
		"traffic_anchor_day": int64(31), "preferred_map": "osm", "additional_info": "y", "kind": "legal_entity", "payer_account_number": "1",
		"legal_address": "2", "postal_address": "3", "bank": "4", "bank_account": "5", "attributes": Attributes{"plan": "gold"},
	}
	var draft UserDraft
	for _, field := range UserFields() {
		value, known := values[field.Name]
		require.Equal(t, known, field.Settable(), field.Name)
		if !known {
			require.Equal(t, CodeUnknownField, ErrorCode(draft.Set(field.Name, field.Get(&User{}))))
			continue
		}
		require.NoError(t, draft.Set(field.Name, value))
		require.Equal(t, CodeBadFormat, ErrorCode(draft.Set(field.Name, struct{}{})), field.Name)
		made := draft.Create.user()
		require.Equal(t, value, field.Get(&made), field.Name)
		if field.Name == "id" || field.Name == "registered_at" || field.Name == "currency" {
			continue
		}
		var patched User
		_, err := draft.Update.put(&patched)
		require.NoError(t, err)
		put(draft.Update.Status, &patched.Status)
		put(draft.Update.License, &patched.License)
		put(draft.Update.TrafficLimit.Bytes, &patched.Traffic.Limit.Bytes)
		put(draft.Update.TrafficLimit.Reset, &patched.Traffic.Limit.Reset)
		put(draft.Update.TrafficLimit.AnchorDay, &patched.Traffic.Limit.AnchorDay)
		require.Equal(t, value, field.Get(&patched), field.Name)

		text := field.Kind.Format(value)
		parsed, err := field.Kind.Parse(text)
		require.NoError(t, err)
		require.Equal(t, value, parsed, field.Name)
	}
	require.NoError(t, draft.Set("attributes.seats", int64(5)))
	require.NoError(t, draft.Set("attributes.plan", nil))
	require.Equal(t, Attributes{"seats": int64(5)}, draft.Create.Attributes)
	require.Equal(t, Attributes{"seats": int64(5), "plan": nil}, draft.Update.SetAttributes)
	require.Equal(t, CodeBadFormat, ErrorCode(draft.Set("attributes.1", "x")))
	require.Equal(t, CodeUnknownField, ErrorCode(draft.Set("shoe_size", "x")))
}

// What is said of a record when it is made can be changed afterwards, but for what tells
// it from others.
func TestWhatIsGivenAtFirstCanBeChanged(t *testing.T) {
	for _, pair := range []struct {
		given, patch any
		fixed        []string
	}{
		{NewUser{}, UserPatch{}, []string{"ID", "RegisteredAt", "Currency"}},
		{NewDevice{}, DevicePatch{}, []string{"HardwareID"}},
		{NewSegment{}, SegmentPatch{}, []string{"ID"}},
	} {
		patch := reflect.TypeOf(pair.patch)
		for _, field := range reflect.VisibleFields(reflect.TypeOf(pair.given)) {
			_, changes := patch.FieldByName(field.Name)
			require.NotEqual(t, slices.Contains(pair.fixed, field.Name), changes, "%s.%s", reflect.TypeOf(pair.given), field.Name)
		}
	}
}
