package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// newcomer is a user to create, named by its login. No field is zero, but that
// it has ExpiresAt and not ValidFor.
func newcomer(login string) userkit.NewUser {
	return userkit.NewUser{
		ID:            userkit.NewID[userkit.User](),
		Login:         login,
		Name:          "Ada Löwe, " + login,
		Email:         login + "@example.com",
		EmailVerified: true,
		Phone:         "+12025550123",
		ExtRef:        "CRM/" + login,
		AuthMethod:    "oidc",
		Status:        userkit.StatusActive,
		License:       twoDevices,
		Kind:          userkit.UserLegalEntity,
		Payer: userkit.Payer{
			AccountNumber: "190000001",
			LegalAddress:  "1 Example Street",
			PostalAddress: "P.O. Box 1",
			Bank:          "Example Bank",
			BankAccount:   "DE00 1234",
		},
		Description:    "A customer for tests",
		Country:        "DE",
		PreferredMap:   "osm",
		AdditionalInfo: "First line\nsecond line\twith a tab",
		Attributes:     userkit.Attributes{"plan": "gold", "seats": int64(7), "beta": true},
		Currency:       "USD",
		TrafficLimit:   userkit.Set(userkit.TrafficLimit{Bytes: 1 << 30, Reset: userkit.ResetMonthly, AnchorDay: 15}),
		ExpiresAt:      base.Add(1000 * time.Hour),
		RegisteredAt:   base.Add(-5000 * time.Hour),
	}
}

// created is the user that a newcomer becomes at base.
func created(newcomer userkit.NewUser) userkit.User {
	limit, _ := newcomer.TrafficLimit.Get()
	return userkit.User{
		ID:             newcomer.ID,
		Login:          newcomer.Login,
		Name:           newcomer.Name,
		Email:          newcomer.Email,
		EmailVerified:  newcomer.EmailVerified,
		Phone:          newcomer.Phone,
		ExtRef:         newcomer.ExtRef,
		AuthMethod:     newcomer.AuthMethod,
		Status:         newcomer.Status,
		License:        newcomer.License,
		Kind:           newcomer.Kind,
		Payer:          newcomer.Payer,
		Description:    newcomer.Description,
		Country:        newcomer.Country,
		PreferredMap:   newcomer.PreferredMap,
		AdditionalInfo: newcomer.AdditionalInfo,
		Attributes:     newcomer.Attributes,
		RegisteredAt:   newcomer.RegisteredAt,
		UpdatedAt:      base,
		Revision:       1,
		Account: userkit.Account{
			Version:   1,
			Balance:   userkit.Money{Currency: newcomer.Currency},
			Traffic:   userkit.Traffic{Limit: limit},
			ExpiresAt: newcomer.ExpiresAt,
			ValidFor:  newcomer.ValidFor,
		},
	}
}

// payerPatch sets every part of a payer.
func payerPatch(payer userkit.Payer) userkit.PayerPatch {
	return userkit.PayerPatch{
		AccountNumber: userkit.Set(payer.AccountNumber), LegalAddress: userkit.Set(payer.LegalAddress),
		PostalAddress: userkit.Set(payer.PostalAddress), Bank: userkit.Set(payer.Bank), BankAccount: userkit.Set(payer.BankAccount),
	}
}

// userEdit is a patch of one field and what it does to a user.
type userEdit struct {
	field string // of UserPatch
	patch userkit.UserPatch
	apply func(user *userkit.User)
	event userkit.EventName // empty: user.updated
}

// userEdits has an edit for every field of UserPatch, each of which changes a newcomer.
func userEdits() []userEdit {
	later := base.Add(77 * time.Hour)
	payer := userkit.Payer{AccountNumber: "290000002", LegalAddress: "2 Sample Road", PostalAddress: "P.O. Box 2", Bank: "Sample Bank", BankAccount: "FR00 5678"}
	return []userEdit{
		{"Login", userkit.UserPatch{Login: userkit.Set("grace")}, func(u *userkit.User) { u.Login = "grace" }, ""},
		{"Name", userkit.UserPatch{Name: userkit.Set("Grace")}, func(u *userkit.User) { u.Name = "Grace" }, ""},
		{"Email", userkit.UserPatch{Email: userkit.Set("grace@example.com")}, func(u *userkit.User) { u.Email, u.EmailVerified = "grace@example.com", false }, ""},
		{"EmailVerified", userkit.UserPatch{EmailVerified: userkit.Set(false)}, func(u *userkit.User) { u.EmailVerified = false }, ""},
		{"Phone", userkit.UserPatch{Phone: userkit.Set("+12025550199")}, func(u *userkit.User) { u.Phone = "+12025550199" }, ""},
		{"ExtRef", userkit.UserPatch{ExtRef: userkit.Set("ERP/1")}, func(u *userkit.User) { u.ExtRef = "ERP/1" }, ""},
		{"AuthMethod", userkit.UserPatch{AuthMethod: userkit.Set("password")}, func(u *userkit.User) { u.AuthMethod = "password" }, ""},
		{"Kind", userkit.UserPatch{Kind: userkit.Set(userkit.UserIndividual)}, func(u *userkit.User) { u.Kind = userkit.UserIndividual }, ""},
		{"Payer", userkit.UserPatch{Payer: payerPatch(payer)}, func(u *userkit.User) { u.Payer = payer }, ""},
		{"Description", userkit.UserPatch{Description: userkit.Set("Other")}, func(u *userkit.User) { u.Description = "Other" }, ""},
		{"Country", userkit.UserPatch{Country: userkit.Set("FR")}, func(u *userkit.User) { u.Country = "FR" }, ""},
		{"PreferredMap", userkit.UserPatch{PreferredMap: userkit.Set("satellite")}, func(u *userkit.User) { u.PreferredMap = "satellite" }, ""},
		{"AdditionalInfo", userkit.UserPatch{AdditionalInfo: userkit.Set("Other\nlines")}, func(u *userkit.User) { u.AdditionalInfo = "Other\nlines" }, ""},
		{"Attributes", userkit.UserPatch{Attributes: userkit.Set(userkit.Attributes{"new": "all"})}, func(u *userkit.User) { u.Attributes = userkit.Attributes{"new": "all"} }, ""},
		{"SetAttributes", userkit.UserPatch{SetAttributes: userkit.Attributes{"plan": "silver", "beta": nil, "extra": int64(1)}}, func(u *userkit.User) {
			u.Attributes = userkit.Attributes{"plan": "silver", "seats": int64(7), "extra": int64(1)}
		}, ""},
		{"ExpiresAt", userkit.UserPatch{ExpiresAt: userkit.Set(later)}, func(u *userkit.User) { u.ExpiresAt = later }, ""},
		{"ValidFor", userkit.UserPatch{ValidFor: userkit.Set(userkit.Duration(30 * time.Hour))}, func(u *userkit.User) { u.ExpiresAt, u.ValidFor = time.Time{}, userkit.Duration(30*time.Hour) }, ""},
		{"Status", userkit.UserPatch{Status: userkit.Set(userkit.StatusDisabled)}, func(u *userkit.User) { u.Status = userkit.StatusDisabled }, userkit.EventUserDeactivated},
		{"License", userkit.UserPatch{License: userkit.Set(fiveDevices)}, func(u *userkit.User) { u.License = fiveDevices }, userkit.EventLicenseSet},
		{"TrafficLimit", userkit.UserPatch{TrafficLimit: userkit.TrafficLimitPatch{Bytes: userkit.Set[int64](5)}}, func(u *userkit.User) {
			u.Traffic.Limit.Bytes, u.Traffic.Period = 5, u.Traffic.Limit.PeriodStart(userkit.DayOf(base, time.UTC))
		}, userkit.EventTrafficLimitSet},
	}
}

// textField is a text of a user with its bounds.
type textField struct {
	name string
	most int // characters
	set  func(user *userkit.NewUser, patch *userkit.UserPatch, text string)
	get  func(user userkit.User) string
}

func textFields() []textField {
	payer := func(set func(payer *userkit.Payer, text string)) func(*userkit.NewUser, *userkit.UserPatch, string) {
		return func(u *userkit.NewUser, p *userkit.UserPatch, text string) {
			var payer userkit.Payer
			set(&payer, text)
			u.Payer, p.Payer = payer, payerPatch(payer)
		}
	}
	return []textField{
		{"login", userkit.MaxLogin, func(u *userkit.NewUser, p *userkit.UserPatch, text string) {
			u.Login, p.Login = text, userkit.Set(text)
		},
			func(u userkit.User) string { return u.Login }},
		{"name", userkit.MaxName, func(u *userkit.NewUser, p *userkit.UserPatch, text string) { u.Name, p.Name = text, userkit.Set(text) },
			func(u userkit.User) string { return u.Name }},
		{"extref", userkit.MaxExtRef, func(u *userkit.NewUser, p *userkit.UserPatch, text string) {
			u.ExtRef, p.ExtRef = text, userkit.Set(text)
		},
			func(u userkit.User) string { return u.ExtRef }},
		{"auth_method", userkit.MaxLine, func(u *userkit.NewUser, p *userkit.UserPatch, text string) {
			u.AuthMethod, p.AuthMethod = text, userkit.Set(text)
		}, func(u userkit.User) string { return u.AuthMethod }},
		{"description", userkit.MaxDescription, func(u *userkit.NewUser, p *userkit.UserPatch, text string) {
			u.Description, p.Description = text, userkit.Set(text)
		}, func(u userkit.User) string { return u.Description }},
		{"preferred_map", userkit.MaxLine, func(u *userkit.NewUser, p *userkit.UserPatch, text string) {
			u.PreferredMap, p.PreferredMap = text, userkit.Set(text)
		}, func(u userkit.User) string { return u.PreferredMap }},
		{"additional_info", userkit.MaxAdditionalInfo, func(u *userkit.NewUser, p *userkit.UserPatch, text string) {
			u.AdditionalInfo, p.AdditionalInfo = text, userkit.Set(text)
		}, func(u userkit.User) string { return u.AdditionalInfo }},
		{"payer_account_number", userkit.MaxLine, payer(func(p *userkit.Payer, text string) { p.AccountNumber = text }),
			func(u userkit.User) string { return u.Payer.AccountNumber }},
		{"legal_address", userkit.MaxAddress, payer(func(p *userkit.Payer, text string) { p.LegalAddress = text }),
			func(u userkit.User) string { return u.Payer.LegalAddress }},
		{"postal_address", userkit.MaxAddress, payer(func(p *userkit.Payer, text string) { p.PostalAddress = text }),
			func(u userkit.User) string { return u.Payer.PostalAddress }},
		{"bank", userkit.MaxLine, payer(func(p *userkit.Payer, text string) { p.Bank = text }),
			func(u userkit.User) string { return u.Payer.Bank }},
		{"bank_account", userkit.MaxLine, payer(func(p *userkit.Payer, text string) { p.BankAccount = text }),
			func(u userkit.User) string { return u.Payer.BankAccount }},
	}
}

// wrongUser is a user that is refused.
type wrongUser struct {
	name  string
	field string
	codes []userkit.Code                  // any of them
	new   func(newcomer *userkit.NewUser) // nil: the value cannot be given at creation
	patch userkit.UserPatch               // without a field set: the value cannot be given in an edit
}

func wrongUsers() []wrongUser {
	var wrong []wrongUser
	for _, field := range textFields() {
		for _, text := range []struct {
			name, text string
			code       userkit.Code
		}{
			{"too long", strings.Repeat("é", field.most+1), userkit.CodeTooLong},
			{"a control character", "bell\a", userkit.CodeBadText},
			{"a NUL", "a\x00b", userkit.CodeBadText},
			{"invalid UTF-8", "a\xffb", userkit.CodeBadText},
		} {
			var patch userkit.UserPatch
			field.set(&userkit.NewUser{}, &patch, text.text)
			wrong = append(wrong, wrongUser{field.name + " with " + text.name, field.name, []userkit.Code{text.code},
				func(newcomer *userkit.NewUser) { field.set(newcomer, &userkit.UserPatch{}, text.text) }, patch})
		}
	}
	add := func(name, field string, code userkit.Code, new func(*userkit.NewUser), patch userkit.UserPatch) {
		wrong = append(wrong, wrongUser{name, field, []userkit.Code{code}, new, patch})
	}
	for _, email := range []string{"ada", "ada@", "@example.com", "ada@@example.com", "a b@example.com", "Ada <ada@example.com>", "ada@example.com, eve@example.com"} {
		add("email "+email, "email", userkit.CodeBadFormat, func(n *userkit.NewUser) { n.Email = email }, userkit.UserPatch{Email: userkit.Set(email)})
	}
	long := strings.Repeat("a", 60) + "@" + strings.Repeat(strings.Repeat("b", 60)+".", 4) + "example.com"
	add("email too long", "email", userkit.CodeTooLong, func(n *userkit.NewUser) { n.Email = long }, userkit.UserPatch{Email: userkit.Set(long)})
	for _, email := range []string{"a\x00@example.com", "a\xff@example.com", "a@example.com\n"} {
		wrong = append(wrong, wrongUser{fmt.Sprintf("email %q", email), "email", []userkit.Code{userkit.CodeBadText, userkit.CodeBadFormat},
			func(n *userkit.NewUser) { n.Email = email }, userkit.UserPatch{Email: userkit.Set(email)}})
	}
	for _, phone := range []string{"call me", "+", "12025550123x", "+1202555012345678", "+1 202 call", "+12025\x00550123"} {
		wrong = append(wrong, wrongUser{fmt.Sprintf("phone %q", phone), "phone", []userkit.Code{userkit.CodeBadFormat, userkit.CodeBadText, userkit.CodeTooLong},
			func(n *userkit.NewUser) { n.Phone = phone }, userkit.UserPatch{Phone: userkit.Set(phone)}})
	}
	for _, country := range []string{"ZZ", "QQ", "UK", "SU", "DEU", "D", "Germany", "D\x00"} {
		add(fmt.Sprintf("country %q", country), "country", userkit.CodeUnknownValue, func(n *userkit.NewUser) { n.Country = country }, userkit.UserPatch{Country: userkit.Set(country)})
	}
	add("an unknown kind", "kind", userkit.CodeUnknownValue, func(n *userkit.NewUser) { n.Kind = "robot" }, userkit.UserPatch{Kind: userkit.Set(userkit.UserKind("robot"))})
	add("an unknown status", "status", userkit.CodeUnknownValue, func(n *userkit.NewUser) { n.Status = "zombie" }, userkit.UserPatch{})
	add("an unknown license", "license", userkit.CodeUnknownLicense, func(n *userkit.NewUser) { n.License = "no such license" }, userkit.UserPatch{})
	for _, currency := range []string{"EURO", "eur", "XXX", "QQQ"} {
		add("currency "+currency, "currency", userkit.CodeUnknownValue, func(n *userkit.NewUser) { n.Currency = currency }, userkit.UserPatch{})
	}
	for name, limit := range wrongLimits() {
		add("traffic limit: "+name, limit.field, limit.code, func(n *userkit.NewUser) { n.TrafficLimit = userkit.Set(limit.limit) }, userkit.UserPatch{})
	}
	add("a negative validity", "valid_for", userkit.CodeOutOfRange,
		func(n *userkit.NewUser) { n.ExpiresAt, n.ValidFor = time.Time{}, userkit.Duration(-time.Second) }, userkit.UserPatch{ValidFor: userkit.Set(userkit.Duration(-time.Second))})
	never := time.Date(12_000, time.January, 1, 0, 0, 0, 0, time.UTC)
	add("an end after the year 9999", "expires_at", userkit.CodeOutOfRange,
		func(n *userkit.NewUser) { n.ExpiresAt = never }, userkit.UserPatch{ExpiresAt: userkit.Set(never)})
	return wrong
}

// wrongLimit is a traffic limit that is refused.
type wrongLimit struct {
	limit userkit.TrafficLimit
	code  userkit.Code
	field string
}

func wrongLimits() map[string]wrongLimit {
	return map[string]wrongLimit{
		"negative":                     {userkit.TrafficLimit{Bytes: -1}, userkit.CodeOutOfRange, "traffic_limit.bytes"},
		"no such reset":                {userkit.TrafficLimit{Bytes: 1, Reset: "hourly"}, userkit.CodeUnknownValue, "traffic_limit.reset"},
		"day 32 of a month":            {userkit.TrafficLimit{Bytes: 1, Reset: userkit.ResetMonthly, AnchorDay: 32}, userkit.CodeOutOfRange, "traffic_limit.anchor_day"},
		"a negative day of a month":    {userkit.TrafficLimit{Bytes: 1, Reset: userkit.ResetMonthly, AnchorDay: -1}, userkit.CodeOutOfRange, "traffic_limit.anchor_day"},
		"an anchor day for every week": {userkit.TrafficLimit{Bytes: 1, Reset: userkit.ResetWeekly, AnchorDay: 1}, userkit.CodeOutOfRange, "traffic_limit.anchor_day"},
	}
}

// requireWrong demands ErrInvalid with one of the codes and the field.
func (w wrongUser) requireWrong(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, userkit.ErrInvalid)
	require.Contains(t, w.codes, userkit.ErrorCode(err), "%v", err)
	require.Equal(t, w.field, detail(t, err).Field, "%v", err)
}

// countUsers counts all users.
func (d *desk) countUsers(t *testing.T) int64 {
	t.Helper()
	count, err := d.CountUsers(t.Context(), userkit.UserFilter{})
	require.NoError(t, err)
	return count
}

func userGroups() []group {
	return []group{
		{"CreateUser", createUserCases()},
		{"FindUser", findUserCases()},
		{"CheckLogins", checkLoginCases()},
		{"UpdateUser", updateUserCases()},
		{"Attributes", attributeCases()},
		{"Status", statusCases()},
		{"RecordLogin", recordLoginCases()},
		{"Validity", validityCases()},
		{"Access", accessCases()},
		{"DeleteUser", deleteUserCases()},
		{"UnknownUser", []testCase{{"every call that names it says so", unknownUser}}},
	}
}

func createUserCases() []testCase {
	return []testCase{
		{"keeps every field that it is given", func(t *testing.T, env env) {
			d := env.desk(t)
			one, two := newcomer("ada"), newcomer("eve")
			two.ValidFor, two.ExpiresAt = userkit.Duration(30*24*time.Hour+time.Microsecond), time.Time{}
			for field, value := range reflect.ValueOf(one).Fields() {
				require.False(t, field.IsExported() && value.IsZero() && reflect.ValueOf(two).FieldByIndex(field.Index).IsZero(), "the fixture leaves %s empty", field.Name)
			}
			for _, newcomer := range []userkit.NewUser{one, two} {
				user, err := d.CreateUser(t.Context(), newcomer)
				require.NoError(t, err)
				requireUser(t, created(newcomer), user)
			}
			for _, newcomer := range []userkit.NewUser{one, two} {
				want := created(newcomer)
				requireUser(t, want, d.user(t, newcomer.ID))
				for _, key := range []userkit.UserKey{userkit.ByLogin(newcomer.Login), userkit.ByEmail(newcomer.Email), userkit.ByExtRef(newcomer.ExtRef)} {
					found, err := d.FindUser(t.Context(), key)
					require.NoError(t, err)
					requireUser(t, want, found)
				}
			}
			page, err := d.Users(t.Context(), userkit.UserQuery{})
			require.NoError(t, err)
			require.Equal(t, []userkit.User{created(one), created(two)}, page.Items)
		}},
		{"fills in the defaults of the project", func(t *testing.T, env env) {
			limit := userkit.TrafficLimit{Bytes: 5000, Reset: userkit.ResetWeekly}
			d := env.desk(t, userkit.WithCurrency("USD"), userkit.WithDefaultLicense(twoDevices), userkit.WithDefaultTrafficLimit(limit))
			user, err := d.CreateUser(t.Context(), userkit.NewUser{})
			require.NoError(t, err)
			require.False(t, user.ID.IsZero())
			want := userkit.User{
				ID: user.ID, Status: userkit.StatusInvited, License: twoDevices, Kind: userkit.UserIndividual,
				RegisteredAt: base, UpdatedAt: base, Revision: 1,
				Account: userkit.Account{Version: 1, Balance: userkit.Money{Currency: "USD"}, Traffic: userkit.Traffic{Limit: limit}},
			}
			requireUser(t, want, user)
			requireUser(t, want, d.user(t, user.ID))
		}},
		{"leaves a project without options unlimited and in euros", func(t *testing.T, env env) {
			d := env.desk(t)
			user, err := d.CreateUser(t.Context(), userkit.NewUser{})
			require.NoError(t, err)
			require.Empty(t, user.License)
			require.Equal(t, userkit.TrafficLimit{Reset: userkit.ResetDaily}, user.Traffic.Limit)
			require.Equal(t, euro(0), user.Balance)
		}},
		{"can give an unlimited user in a project with a default limit", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithDefaultTrafficLimit(userkit.TrafficLimit{Bytes: 5000}))
			user, err := d.CreateUser(t.Context(), userkit.NewUser{TrafficLimit: userkit.Set(userkit.TrafficLimit{})})
			require.NoError(t, err)
			require.Zero(t, user.Traffic.Limit.Bytes)
		}},
		{"makes the status by who creates, unless it is given", func(t *testing.T, env env) {
			d := env.desk(t)
			for kind, want := range map[userkit.ActorKind]userkit.Status{
				"":                         userkit.StatusInvited,
				userkit.ActorSystem:        userkit.StatusInvited,
				userkit.ActorUser:          userkit.StatusInvited,
				userkit.ActorNode:          userkit.StatusInvited,
				userkit.ActorAdministrator: userkit.StatusInactive,
			} {
				ctx := userkit.WithActor(t.Context(), userkit.Actor{Kind: kind, ID: "someone"})
				user, err := d.CreateUser(ctx, userkit.NewUser{})
				require.NoError(t, err)
				require.Equal(t, want, user.Status, "created by %q", kind)
				for _, status := range []userkit.Status{userkit.StatusInvited, userkit.StatusInactive, userkit.StatusActive, userkit.StatusDisabled} {
					user, err := d.CreateUser(ctx, userkit.NewUser{Status: status})
					require.NoError(t, err)
					require.Equal(t, status, d.user(t, user.ID).Status)
				}
			}
		}},
		{"refuses a value that another user has and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			taken := newcomer("ada")
			_, err := d.CreateUser(t.Context(), taken)
			require.NoError(t, err)
			before := d.picture(t, taken.ID)
			for _, clash := range []struct {
				code  userkit.Code
				field string
				user  userkit.NewUser
			}{
				{userkit.CodeLoginTaken, "login", userkit.NewUser{Login: "ADA"}},
				{userkit.CodeEmailTaken, "email", userkit.NewUser{Email: "ADA@Example.COM"}},
				{userkit.CodeExtRefTaken, "extref", userkit.NewUser{ExtRef: taken.ExtRef}},
				{userkit.CodeIDTaken, "id", userkit.NewUser{ID: taken.ID, Login: "other"}},
			} {
				_, err := d.CreateUser(t.Context(), clash.user)
				requireExists(t, err, clash.code, clash.field)
			}
			require.EqualValues(t, 1, d.countUsers(t))
			require.Equal(t, before, d.picture(t, taken.ID))
		}},
		{"takes external references that differ in case, and empty values by many", func(t *testing.T, env env) {
			d := env.desk(t)
			for _, user := range []userkit.NewUser{{ExtRef: "Ref"}, {ExtRef: "ref"}, {}, {}, {Name: "Same name"}, {Name: "Same name"}} {
				_, err := d.CreateUser(t.Context(), user)
				require.NoError(t, err)
			}
			require.EqualValues(t, 6, d.countUsers(t))
		}},
		{"takes texts of the full length", func(t *testing.T, env env) {
			d := env.desk(t)
			for _, field := range textFields() {
				for _, letter := range []string{"é", "😀", "x"} {
					if field.name == "login" && letter == "😀" {
						letter = "𠀀" // of four bytes as well, and a letter
					}
					var newcomer userkit.NewUser
					var patch userkit.UserPatch
					text := strings.Repeat(letter, field.most)
					field.set(&newcomer, &patch, text)
					user, err := d.CreateUser(t.Context(), newcomer)
					require.NoError(t, err, field.name)
					require.Equal(t, text, field.get(d.user(t, user.ID)), field.name)
				}
			}
		}},
		{"keeps texts that other systems take for commands", func(t *testing.T, env env) {
			d := env.desk(t)
			for _, text := range []string{`'; DROP TABLE users; --`, `\`, `%_%`, `"`, "`", `$1 ?0 ?`, `{"a":1}`, "İstanbul ß", "NULL"} {
				user := d.signUp(t, func(user *userkit.NewUser) { user.Login, user.Name, user.ExtRef = text, text, text })
				found, err := d.FindUser(t.Context(), userkit.ByLogin(text))
				require.NoError(t, err)
				require.Equal(t, user.ID, found.ID)
				require.Equal(t, []string{text, text, text}, []string{found.Login, found.Name, found.ExtRef})
			}
		}},
		{"refuses every wrong value with its code and field, and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			for _, wrong := range wrongUsers() {
				t.Run(wrong.name, func(t *testing.T) {
					newcomer := newcomer("ada")
					wrong.new(&newcomer)
					_, err := d.CreateUser(t.Context(), newcomer)
					wrong.requireWrong(t, err)
				})
			}
			require.Zero(t, d.countUsers(t))
			page, err := d.Events(t.Context(), userkit.EventQuery{})
			require.NoError(t, err)
			require.Empty(t, page.Items)
		}},
		{"refuses an end together with a time that starts on first use", func(t *testing.T, env env) {
			d := env.desk(t)
			_, err := d.CreateUser(t.Context(), userkit.NewUser{ExpiresAt: at(60), ValidFor: userkit.Duration(time.Hour)})
			require.ErrorIs(t, err, userkit.ErrInvalid)
			require.Zero(t, d.countUsers(t))
		}},
	}
}

func findUserCases() []testCase {
	return []testCase{
		{"compares logins and addresses by their keys, references byte by byte", func(t *testing.T, env env) {
			d := env.desk(t)
			ada, err := d.CreateUser(t.Context(), userkit.NewUser{Login: "Ådá", Email: "Ada@Example.com", ExtRef: "Ref"})
			require.NoError(t, err)
			d.signUp(t)
			for _, key := range []userkit.UserKey{
				userkit.ByLogin("Ådá"), userkit.ByLogin("ÅDÁ"), userkit.ByLogin("A\u030ada\u0301"),
				userkit.ByEmail("Ada@Example.com"), userkit.ByEmail("ada@example.com"), userkit.ByExtRef("Ref"),
			} {
				found, err := d.FindUser(t.Context(), key)
				require.NoError(t, err, key)
				requireUser(t, ada, found)
			}
			for _, key := range []userkit.UserKey{
				userkit.ByLogin("ad"), userkit.ByLogin("ada"), userkit.ByLogin("%"), userkit.ByEmail("ada"), userkit.ByExtRef("ref"), userkit.ByExtRef("REF"), userkit.ByExtRef("Re"),
			} {
				_, err := d.FindUser(t.Context(), key)
				requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
			}
		}},
		{"tells users apart whose keys only look alike", func(t *testing.T, env env) {
			d := env.desk(t)
			victim, err := d.CreateUser(t.Context(), userkit.NewUser{Login: "Сергей", Email: "victim@gmail.com"})
			require.NoError(t, err)
			for _, key := range []userkit.UserKey{userkit.ByEmail("victim@gmáil.com"), userkit.ByLogin("Сергеи")} {
				_, err := d.FindUser(t.Context(), key)
				requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
			}
			other, err := d.CreateUser(t.Context(), userkit.NewUser{Login: "Сергеи", Email: "victim@gmáil.com"})
			require.NoError(t, err)
			for key, user := range map[userkit.UserKey]userkit.User{
				userkit.ByEmail("VICTIM@gmail.com"): victim, userkit.ByLogin("СЕРГЕЙ"): victim,
				userkit.ByEmail("victim@GMÁIL.com"): other, userkit.ByEmail("victim@xn--gmil-6na.com"): other, userkit.ByLogin("сергеи"): other,
			} {
				found, err := d.FindUser(t.Context(), key)
				require.NoError(t, err)
				requireUser(t, user, found)
			}
			_, err = d.CreateUser(t.Context(), userkit.NewUser{Email: "victim@xn--gmil-6na.com"})
			requireExists(t, err, userkit.CodeEmailTaken, "email")
			// What one gives up is free, and what was written last is what is found.
			_, err = d.UpdateUser(t.Context(), victim.ID, userkit.UserPatch{Login: userkit.Set("ñu"), Email: userkit.Set("u@bücher.de")})
			require.NoError(t, err)
			_, err = d.UpdateUser(t.Context(), other.ID, userkit.UserPatch{Login: userkit.Set("nu"), Email: userkit.Set("u@bucher.de")})
			require.NoError(t, err)
			_, err = d.CreateUser(t.Context(), userkit.NewUser{Login: "Сергеи", Email: "victim@gmáil.com"})
			require.NoError(t, err)
			found, err := d.FindUser(t.Context(), userkit.ByEmail("u@xn--bcher-kva.de"))
			require.NoError(t, err)
			require.Equal(t, victim.ID, found.ID)
		}},
		{"finds no one by an empty value, though users have it", func(t *testing.T, env env) {
			d := env.desk(t)
			_, err := d.CreateUser(t.Context(), userkit.NewUser{})
			require.NoError(t, err)
			for _, key := range []userkit.UserKey{userkit.ByLogin(""), userkit.ByEmail(""), userkit.ByExtRef("")} {
				_, err := d.FindUser(t.Context(), key)
				require.ErrorIs(t, err, userkit.ErrNotFound)
			}
		}},
		{"says not-found or invalid of a text that none can have", func(t *testing.T, env env) {
			d := env.desk(t)
			d.signUp(t)
			for _, text := range []string{"a\x00b", "a\xffb", strings.Repeat("x", 100_000)} {
				for _, key := range []userkit.UserKey{userkit.ByLogin(text), userkit.ByEmail(text), userkit.ByExtRef(text)} {
					_, err := d.FindUser(t.Context(), key)
					if !errors.Is(err, userkit.ErrNotFound) {
						requireField(t, err, userkit.ErrInvalid, userkit.ErrorCode(err), key.Field())
					}
				}
			}
		}},
	}
}

func updateUserCases() []testCase {
	return []testCase{
		{"sets each field and leaves all others, and all other users", func(t *testing.T, env env) {
			d := env.desk(t)
			edits := userEdits()
			patch := reflect.TypeFor[userkit.UserPatch]()
			for field := range patch.Fields() {
				name := field.Name
				require.True(t, name == "Revision" || !field.IsExported() || slices.ContainsFunc(edits, func(e userEdit) bool { return e.field == name }), "no edit sets %s", name)
			}
			for i, edit := range edits {
				t.Run(edit.field, func(t *testing.T) {
					d.clock.Set(base)
					one, two := newcomer(fmt.Sprint("ada-", i)), newcomer(fmt.Sprint("eve-", i))
					for _, newcomer := range []userkit.NewUser{one, two} {
						_, err := d.CreateUser(t.Context(), newcomer)
						require.NoError(t, err)
					}
					beside := d.picture(t, two.ID)
					d.clock.Advance(time.Hour)

					edited, err := d.UpdateUser(t.Context(), one.ID, edit.patch)
					require.NoError(t, err)
					want := created(one)
					edit.apply(&want)
					want.Version = 2
					if edit.field == "ExpiresAt" || edit.field == "ValidFor" || edit.field == "TrafficLimit" {
						// They are fields of the account: whether the profile counts an
						// edit is the manager's affair.
						want.UpdatedAt, want.Revision = edited.UpdatedAt, edited.Revision
					} else {
						want.UpdatedAt, want.Revision = base.Add(time.Hour), 2
					}
					requireUser(t, want, edited)
					requireUser(t, want, d.user(t, one.ID))
					require.Equal(t, beside, d.picture(t, two.ID))
					event := edit.event
					if event == "" {
						event = userkit.EventUserUpdated
					}
					require.Equal(t, []userkit.EventName{userkit.EventUserCreated, event}, eventNames(d.events(t, one.ID)))
				})
			}
		}},
		{"sets many fields at once", func(t *testing.T, env env) {
			d := env.desk(t)
			ada := newcomer("ada")
			user, err := d.CreateUser(t.Context(), ada)
			require.NoError(t, err)
			patch := userkit.UserPatch{Revision: user.Revision}
			for _, edit := range userEdits() {
				switch edit.field {
				case "Attributes", "ValidFor", "EmailVerified":
					continue
				}
				from := reflect.ValueOf(edit.patch).FieldByName(edit.field)
				reflect.ValueOf(&patch).Elem().FieldByName(edit.field).Set(from)
				edit.apply(&user)
			}
			edited, err := d.UpdateUser(t.Context(), user.ID, patch)
			require.NoError(t, err)
			user.Revision, user.Version = 2, 2
			requireUser(t, user, edited)
			requireUser(t, user, d.user(t, user.ID))
		}},
		{"takes the payer of a legal entity only where the project does without", func(t *testing.T, env env) {
			d := env.desk(t)
			requirePayer := func(err error) {
				t.Helper()
				requireField(t, err, userkit.ErrInvalid, userkit.CodeRequired, "payer")
			}
			_, err := d.CreateUser(t.Context(), userkit.NewUser{Login: "firm", Kind: userkit.UserLegalEntity})
			requirePayer(err)
			user := d.signUp(t)
			_, err = d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Kind: userkit.Set(userkit.UserLegalEntity)})
			requirePayer(err)
			firm, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Kind: userkit.Set(userkit.UserLegalEntity), Payer: payerPatch(userkit.Payer{Bank: "Bank"})})
			require.NoError(t, err)
			_, err = d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Payer: payerPatch(userkit.Payer{})})
			requirePayer(err)
			require.Equal(t, firm, d.user(t, user.ID))

			without := d.beside(t, env.store, userkit.WithOptionalPayer())
			_, err = without.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Payer: payerPatch(userkit.Payer{})})
			require.NoError(t, err)
			// Who has none is edited all the same.
			_, err = d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Country: userkit.Set("BY")})
			require.NoError(t, err)
		}},
		{"clears what is set to nothing", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithOptionalPayer())
			ada := newcomer("ada")
			_, err := d.CreateUser(t.Context(), ada)
			require.NoError(t, err)
			empty := userkit.Set("")
			edited, err := d.UpdateUser(t.Context(), ada.ID, userkit.UserPatch{
				Login: empty, Name: empty, Email: empty, Phone: empty, ExtRef: empty, AuthMethod: empty,
				Payer: payerPatch(userkit.Payer{}), Description: empty, Country: empty, PreferredMap: empty, AdditionalInfo: empty,
				Attributes: userkit.Set(userkit.Attributes(nil)), ExpiresAt: userkit.Set(time.Time{}),
			})
			require.NoError(t, err)
			full := created(ada)
			want := userkit.User{
				ID: ada.ID, Status: full.Status, License: full.License, Kind: full.Kind,
				RegisteredAt: full.RegisteredAt, UpdatedAt: base, Revision: 2, Account: full.Account,
			}
			want.Version, want.ExpiresAt = 2, time.Time{}
			requireUser(t, want, edited)
			requireUser(t, want, d.user(t, ada.ID))

			again := newcomer("ada")
			_, err = d.CreateUser(t.Context(), again)
			require.NoError(t, err, "the values are free again")
		}},
		{"takes a revision that is the profile's and refuses any other", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			first, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Revision: 1, Name: userkit.Set("First")})
			require.NoError(t, err)
			require.EqualValues(t, 2, first.Revision)
			before := d.picture(t, user.ID)
			for _, revision := range []int64{1, 3, -1, math.MaxInt64} {
				_, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Revision: revision, Name: userkit.Set("Second")})
				requireCode(t, err, userkit.ErrConflict, userkit.CodeRevisionMismatch)
			}
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"is not disturbed by use: money, devices, sessions and traffic leave the revision", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withLimit(1_000_000, userkit.ResetDaily, 0))
			d.clock.Advance(time.Minute)
			d.refill(t, user.ID, 100, "one")
			charged := d.charge(t, user.ID, 30, "two")
			_, err := d.CancelLast(t.Context(), user.ID, charged.ID)
			require.NoError(t, err)
			device := d.register(t, user.ID, userkit.NewDevice{})
			session := d.connect(t, user.ID, device.ID)
			d.report(t, session.ID, 10, 10)
			_, err = d.EndSession(t.Context(), session.ID, userkit.UsageReport{})
			require.NoError(t, err)
			_, err = d.RecordLogin(t.Context(), user.ID, "")
			require.NoError(t, err)
			_, err = d.DeleteDevice(t.Context(), device.ID)
			require.NoError(t, err)

			after := d.user(t, user.ID)
			require.Equal(t, user.Revision, after.Revision)
			require.Equal(t, user.UpdatedAt, after.UpdatedAt)
			require.Greater(t, after.Version, user.Version)
			edited, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Revision: user.Revision, Name: userkit.Set("Edited")})
			require.NoError(t, err)
			require.Equal(t, "Edited", edited.Name)
			require.EqualValues(t, 100, edited.Balance.Amount, "the edit leaves what use changed")
		}},
		{"does not disturb use: the account stays as it is", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.household(t)
			edited, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Name: userkit.Set("Edited")})
			require.NoError(t, err)
			want := user.Account
			want.Version++
			require.Equal(t, want, edited.Account)
		}},
		{"writes nothing when it changes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			ada := newcomer("ada")
			user, err := d.CreateUser(t.Context(), ada)
			require.NoError(t, err)
			before := d.picture(t, user.ID)
			d.clock.Advance(time.Hour)
			for name, patch := range map[string]userkit.UserPatch{
				"an empty patch":                 {},
				"the revision alone":             {Revision: 1},
				"the same address":               {Email: userkit.Set(ada.Email)},
				"no attributes":                  {SetAttributes: userkit.Attributes{}},
				"removal of no such attribute":   {SetAttributes: userkit.Attributes{"absent": nil}},
				"the same attribute":             {SetAttributes: userkit.Attributes{"seats": 7}},
				"the same time, in another zone": {ExpiresAt: userkit.Set(ada.ExpiresAt.In(germany))},
				"every field as it is": {
					Login: userkit.Set(ada.Login), Name: userkit.Set(ada.Name), Email: userkit.Set(ada.Email), EmailVerified: userkit.Set(true),
					Phone: userkit.Set(ada.Phone), ExtRef: userkit.Set(ada.ExtRef), AuthMethod: userkit.Set(ada.AuthMethod), Kind: userkit.Set(ada.Kind),
					Payer: payerPatch(ada.Payer), Description: userkit.Set(ada.Description), Country: userkit.Set(ada.Country),
					PreferredMap: userkit.Set(ada.PreferredMap), AdditionalInfo: userkit.Set(ada.AdditionalInfo),
					Attributes: userkit.Set(ada.Attributes), ExpiresAt: userkit.Set(ada.ExpiresAt),
				},
			} {
				t.Run(name, func(t *testing.T) {
					same, err := d.UpdateUser(t.Context(), user.ID, patch)
					require.NoError(t, err)
					requireUser(t, user, same)
				})
			}
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"un-verifies a new address, unless it is verified with it", func(t *testing.T, env env) {
			d := env.desk(t)
			ada := newcomer("ada")
			_, err := d.CreateUser(t.Context(), ada)
			require.NoError(t, err)
			user, err := d.UpdateUser(t.Context(), ada.ID, userkit.UserPatch{Email: userkit.Set("one@example.com"), EmailVerified: userkit.Set(true)})
			require.NoError(t, err)
			require.True(t, user.EmailVerified)
			user, err = d.UpdateUser(t.Context(), ada.ID, userkit.UserPatch{Name: userkit.Set("Ada")})
			require.NoError(t, err)
			require.True(t, user.EmailVerified)
			user, err = d.UpdateUser(t.Context(), ada.ID, userkit.UserPatch{Email: userkit.Set("two@example.com")})
			require.NoError(t, err)
			require.False(t, user.EmailVerified)
			require.False(t, d.user(t, ada.ID).EmailVerified)
		}},
		{"refuses a value that another user has, and takes its own in another case", func(t *testing.T, env env) {
			d := env.desk(t)
			ada, eve := newcomer("ada"), newcomer("eve")
			for _, newcomer := range []userkit.NewUser{ada, eve} {
				_, err := d.CreateUser(t.Context(), newcomer)
				require.NoError(t, err)
			}
			before, beside := d.picture(t, eve.ID), d.picture(t, ada.ID)
			_, err := d.UpdateUser(t.Context(), eve.ID, userkit.UserPatch{Login: userkit.Set("ADA"), Name: userkit.Set("X")})
			requireExists(t, err, userkit.CodeLoginTaken, "login")
			_, err = d.UpdateUser(t.Context(), eve.ID, userkit.UserPatch{Email: userkit.Set("ADA@example.com"), Name: userkit.Set("X")})
			requireExists(t, err, userkit.CodeEmailTaken, "email")
			_, err = d.UpdateUser(t.Context(), eve.ID, userkit.UserPatch{ExtRef: userkit.Set(ada.ExtRef), Name: userkit.Set("X")})
			requireExists(t, err, userkit.CodeExtRefTaken, "extref")
			require.Equal(t, before, d.picture(t, eve.ID))
			require.Equal(t, beside, d.picture(t, ada.ID))

			user, err := d.UpdateUser(t.Context(), eve.ID, userkit.UserPatch{Login: userkit.Set("EVE")})
			require.NoError(t, err)
			require.Equal(t, "EVE", user.Login)
			_, err = d.UpdateUser(t.Context(), ada.ID, userkit.UserPatch{Login: userkit.Set("augusta")})
			require.NoError(t, err)
			_, err = d.UpdateUser(t.Context(), eve.ID, userkit.UserPatch{Login: userkit.Set("ada")})
			require.NoError(t, err, "the login that ada gave up is free")
		}},
		{"refuses every wrong value with its code and field, and writes nothing", func(t *testing.T, env env) {
			d := env.desk(t)
			ada := newcomer("ada")
			_, err := d.CreateUser(t.Context(), ada)
			require.NoError(t, err)
			before := d.picture(t, ada.ID)
			for _, wrong := range wrongUsers() {
				if reflect.ValueOf(wrong.patch).IsZero() {
					continue
				}
				t.Run(wrong.name, func(t *testing.T) {
					if wrong.field != "name" {
						wrong.patch.Name = userkit.Set("must not be written")
					}
					_, err := d.UpdateUser(t.Context(), ada.ID, wrong.patch)
					wrong.requireWrong(t, err)
				})
			}
			require.Equal(t, before, d.picture(t, ada.ID))
		}},
		{"loses no edit of another field", func(t *testing.T, env env) {
			d, other := env.desk(t), env.second(t)
			e := d.beside(t, other)
			user := d.signUp(t)
			answers := together(20, func(i int) (userkit.User, error) {
				m := userkit.UserManager(d)
				if i%2 == 1 {
					m = e
				}
				return m.UpdateUser(t.Context(), user.ID, userkit.UserPatch{SetAttributes: userkit.Attributes{fmt.Sprint("a", i): i}})
			})
			done := succeeded(t, answers, userkit.ErrConflict, userkit.CodeTooManyConflicts)
			edited := d.user(t, user.ID)
			require.Len(t, edited.Attributes, len(done))
			require.EqualValues(t, 1+len(done), edited.Revision)
		}},
	}
}

func attributeCases() []testCase {
	return []testCase{
		{"values come back with their type and all their digits", func(t *testing.T, env env) {
			d := env.desk(t)
			given := userkit.Attributes{
				"nothing": nil, "yes": true, "no": false, "zero": 0, "int": 7, "int32": int32(-7), "uint8": uint8(255),
				"largest": int64(math.MaxInt64), "smallest": int64(math.MinInt64), "odd": int64(9_007_199_254_740_993),
				"fraction": 2.5, "tiny": 5e-324, "huge": 1.7976931348623157e308, "third": 1.0 / 3,
				"text": "Zoë 😀 \"quoted\" \\ <b>&amp;</b>\nline", "empty": "",
				"list": []any{1, "two", nil, []any{}, map[string]any{"deep": []any{true, 0.5}}}, "map": map[string]any{"A": map[string]any{}, "a": int64(1)},
			}
			want := userkit.Attributes{
				"nothing": nil, "yes": true, "no": false, "zero": int64(0), "int": int64(7), "int32": int64(-7), "uint8": int64(255),
				"largest": int64(math.MaxInt64), "smallest": int64(math.MinInt64), "odd": int64(9_007_199_254_740_993),
				"fraction": 2.5, "tiny": 5e-324, "huge": 1.7976931348623157e308, "third": 1.0 / 3,
				"text": "Zoë 😀 \"quoted\" \\ <b>&amp;</b>\nline", "empty": "",
				"list": []any{int64(1), "two", nil, []any{}, map[string]any{"deep": []any{true, 0.5}}}, "map": map[string]any{"A": map[string]any{}, "a": int64(1)},
			}
			user := d.signUp(t, func(user *userkit.NewUser) { user.Attributes = given })
			require.Equal(t, want, user.Attributes)
			require.Equal(t, want, d.user(t, user.ID).Attributes)

			other := d.signUp(t)
			edited, err := d.UpdateUser(t.Context(), other.ID, userkit.UserPatch{Attributes: userkit.Set(given)})
			require.NoError(t, err)
			require.Equal(t, want, edited.Attributes)
			require.Equal(t, want, d.user(t, other.ID).Attributes)
		}},
		{"what a call returns is what a later read returns, for numbers of every form", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, func(user *userkit.NewUser) {
				user.Attributes = userkit.Attributes{"whole": 2.0, "big": 1e21, "minus zero": nil, "exponent": 1e-7}
				delete(user.Attributes, "minus zero")
			})
			require.Equal(t, user.Attributes, d.user(t, user.ID).Attributes)
		}},
		{"single ones are set, replaced and removed; all together are replaced", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, func(user *userkit.NewUser) { user.Attributes = userkit.Attributes{"a": 1, "b": 2, "c": 3} })
			edit := func(patch userkit.UserPatch) userkit.Attributes {
				t.Helper()
				edited, err := d.UpdateUser(t.Context(), user.ID, patch)
				require.NoError(t, err)
				requireUser(t, edited, d.user(t, user.ID))
				return edited.Attributes
			}
			require.Equal(t, userkit.Attributes{"a": "one", "c": int64(3), "d": int64(4)},
				edit(userkit.UserPatch{SetAttributes: userkit.Attributes{"a": "one", "b": nil, "d": 4, "absent": nil}}))
			require.Equal(t, userkit.Attributes{"e": int64(5)}, edit(userkit.UserPatch{Attributes: userkit.Set(userkit.Attributes{"e": 5})}))
			require.Empty(t, edit(userkit.UserPatch{SetAttributes: userkit.Attributes{"e": nil}}))
			require.Equal(t, userkit.Attributes{"f": int64(6)}, edit(userkit.UserPatch{SetAttributes: userkit.Attributes{"f": 6}}))
		}},
		{"are the caller's own copy, in and out", func(t *testing.T, env env) {
			d := env.desk(t)
			given := userkit.Attributes{"list": []any{"a"}, "map": map[string]any{"k": "v"}}
			user := d.signUp(t, func(user *userkit.NewUser) { user.Attributes = given })
			spoil := func(attributes userkit.Attributes) {
				attributes["list"].([]any)[0] = "spoilt"
				attributes["map"].(map[string]any)["k"] = "spoilt"
				attributes["more"] = "spoilt"
			}
			want := userkit.Attributes{"list": []any{"a"}, "map": map[string]any{"k": "v"}}
			spoil(given)
			require.Equal(t, want, d.user(t, user.ID).Attributes)
			spoil(user.Attributes)
			require.Equal(t, want, d.user(t, user.ID).Attributes)
			spoil(d.user(t, user.ID).Attributes)
			require.Equal(t, want, d.user(t, user.ID).Attributes)
			edited, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Name: userkit.Set("Edited")})
			require.NoError(t, err)
			spoil(edited.Attributes)
			require.Equal(t, want, d.user(t, user.ID).Attributes)
		}},
		{"names and values that are none are refused, and nothing is written", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, func(user *userkit.NewUser) { user.Attributes = userkit.Attributes{"kept": "as it is"} })
			before := d.picture(t, user.ID)
			many := userkit.Attributes{}
			for i := range userkit.MaxAttributes + 1 {
				many[fmt.Sprint("a", i)] = i
			}
			wrong := map[string]userkit.Attributes{
				"an empty name":             {"": 1},
				"a name of a digit":         {"1a": 1},
				"a name of an underscore":   {"_a": 1},
				"a name with a space":       {"a b": 1},
				"a name not in form C":      {"a\u0308": 1},
				"an invisible name":         {"\u3164": 1},
				"a name with a dot":         {"a.b": 1},
				"a name with a quote":       {`a"b`: 1},
				"a name with a NUL":         {"a\x00": 1},
				"a name of 65 letters":      {strings.Repeat("ä", 65): 1},
				"not a number":              {"a": math.NaN()},
				"infinity":                  {"a": math.Inf(1)},
				"a channel":                 {"a": make(chan int)},
				"a function":                {"a": func() {}},
				"a text with a NUL":         {"a": "b\x00"},
				"a text with a NUL, deep":   {"a": []any{map[string]any{"b": "c\x00"}}},
				"a key with a NUL, deep":    {"a": map[string]any{"b\x00": 1}},
				"a text of invalid UTF-8":   {"a": "b\xff"},
				"too many":                  many,
				"too large":                 {"a": strings.Repeat("x", userkit.MaxAttributesBytes)},
				"too large in many entries": {"a": strings.Repeat("x", userkit.MaxAttributesBytes/2), "b": strings.Repeat("x", userkit.MaxAttributesBytes/2)},
			}
			for name, attributes := range wrong {
				t.Run(name, func(t *testing.T) {
					_, err := d.CreateUser(t.Context(), userkit.NewUser{Attributes: attributes})
					require.ErrorIs(t, err, userkit.ErrInvalid)
					require.True(t, strings.HasPrefix(detail(t, err).Field, "attributes"), "the field is %q", detail(t, err).Field)
					_, err = d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{Attributes: userkit.Set(attributes)})
					require.ErrorIs(t, err, userkit.ErrInvalid)
					_, err = d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{SetAttributes: attributes})
					require.ErrorIs(t, err, userkit.ErrInvalid)
				})
			}
			_, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{
				Attributes: userkit.Set(userkit.Attributes{"a": 1}), SetAttributes: userkit.Attributes{"b": 1},
			})
			require.ErrorIs(t, err, userkit.ErrInvalid, "not both together")
			require.Equal(t, before, d.picture(t, user.ID))
			require.EqualValues(t, 1, d.countUsers(t))
		}},
		{"count together with those that are there already", func(t *testing.T, env env) {
			d := env.desk(t)
			full := userkit.Attributes{}
			for i := range userkit.MaxAttributes {
				full[fmt.Sprintf("A-_9%d", i)] = i
			}
			user := d.signUp(t, func(user *userkit.NewUser) { user.Attributes = full })
			_, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{SetAttributes: userkit.Attributes{"oneMore": 1}})
			require.ErrorIs(t, err, userkit.ErrInvalid)
			require.Len(t, d.user(t, user.ID).Attributes, userkit.MaxAttributes)
			_, err = d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{SetAttributes: userkit.Attributes{"oneMore": 1, "A-_90": nil}})
			require.NoError(t, err)

			heavy := d.signUp(t, func(user *userkit.NewUser) {
				user.Attributes = userkit.Attributes{"a": strings.Repeat("x", userkit.MaxAttributesBytes/2)}
			})
			_, err = d.UpdateUser(t.Context(), heavy.ID, userkit.UserPatch{SetAttributes: userkit.Attributes{"b": strings.Repeat("x", userkit.MaxAttributesBytes/2)}})
			require.ErrorIs(t, err, userkit.ErrInvalid)
		}},
	}
}

func statusCases() []testCase {
	statuses := []userkit.Status{userkit.StatusInvited, userkit.StatusInactive, userkit.StatusActive, userkit.StatusDisabled}
	return []testCase{
		{"activation makes a user active, whatever it was", func(t *testing.T, env env) {
			d := env.desk(t)
			beside := d.signUp(t, withStatus(userkit.StatusInactive))
			for _, status := range statuses {
				user := d.signUp(t, withStatus(status))
				activated, err := d.ActivateUser(t.Context(), user.ID)
				require.NoError(t, err)
				require.Equal(t, userkit.StatusActive, activated.Status)
				requireUser(t, activated, d.user(t, user.ID))
				want := user
				want.Status, want.UpdatedAt, want.Revision, want.Version = activated.Status, activated.UpdatedAt, activated.Revision, activated.Version
				requireUser(t, want, activated)
			}
			requireUser(t, beside, d.user(t, beside.ID))
		}},
		{"deactivation disables a user, whatever it was", func(t *testing.T, env env) {
			d := env.desk(t)
			beside := d.signUp(t)
			for _, status := range statuses {
				user := d.signUp(t, withStatus(status))
				disabled, err := d.DeactivateUser(t.Context(), user.ID)
				require.NoError(t, err)
				require.Equal(t, userkit.StatusDisabled, disabled.Status)
				requireUser(t, disabled, d.user(t, user.ID))
			}
			requireUser(t, beside, d.user(t, beside.ID))
		}},
		{"deactivation ends the open sessions in the same commit, and no one else's", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.household(t), d.household(t)
			device := d.devices(t, user.ID)[0]
			d.connect(t, user.ID, device.ID)
			d.connect(t, user.ID, userkit.DeviceID{})
			before, beside := d.sessions(t, user.ID), d.picture(t, other.ID)
			require.Equal(t, 3, d.user(t, user.ID).OpenSessions)
			d.clock.Advance(time.Minute)

			disabled, err := d.DeactivateUser(t.Context(), user.ID)
			require.NoError(t, err)
			require.Zero(t, disabled.OpenSessions)
			after := d.sessions(t, user.ID)
			for i, session := range before {
				if session.Active() {
					session.EndedAt, session.ClosedAt, session.EndReason = base.Add(time.Minute), base.Add(time.Minute), userkit.EndedUserDisabled
				}
				require.Equal(t, session, after[i])
			}
			require.Equal(t, beside, d.picture(t, other.ID))
		}},
		{"a disabled user may use nothing, and everything again after activation", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			device := d.register(t, user.ID, userkit.NewDevice{})
			session := d.connect(t, user.ID, device.ID)
			_, err := d.DeactivateUser(t.Context(), user.ID)
			require.NoError(t, err)

			_, err = d.Authenticate(t.Context(), device.AccessToken)
			requireCode(t, err, userkit.ErrRefused, userkit.CodeUserDisabled)
			_, err = d.RegisterDevice(t.Context(), user.ID, userkit.NewDevice{})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeUserDisabled)
			_, err = d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, DeviceID: device.ID, Node: "node"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeUserDisabled)
			_, err = d.RecordLogin(t.Context(), user.ID, "")
			requireCode(t, err, userkit.ErrRefused, userkit.CodeUserDisabled)
			result := d.report(t, session.ID, 5, 5)
			require.True(t, result.Ended)
			require.Equal(t, userkit.EndedUserDisabled, result.EndReason)

			_, err = d.ActivateUser(t.Context(), user.ID)
			require.NoError(t, err)
			proof, err := d.Authenticate(t.Context(), device.AccessToken)
			require.NoError(t, err)
			require.Equal(t, device.ID, proof.Device.ID)
			require.True(t, proof.Access.Allowed)
			require.False(t, d.session(t, session.ID).Active(), "an ended session stays ended")
			d.connect(t, user.ID, device.ID)
		}},
		{"only-active leaves out disabled users, and their devices", func(t *testing.T, env env) {
			d := env.desk(t)
			var shown []string
			for _, status := range statuses {
				user := d.signUp(t)
				d.register(t, user.ID, userkit.NewDevice{Name: string(status)})
				if status == userkit.StatusDisabled {
					_, err := d.DeactivateUser(t.Context(), user.ID)
					require.NoError(t, err)
				} else {
					shown = append(shown, user.Login)
				}
			}
			page, err := d.Users(t.Context(), userkit.UserQuery{UserFilter: userkit.UserFilter{WithoutDisabled: true}})
			require.NoError(t, err)
			var logins []string
			for _, user := range page.Items {
				logins = append(logins, user.Login)
			}
			require.Equal(t, shown, logins)
			count, err := d.CountUsers(t.Context(), userkit.UserFilter{WithoutDisabled: true})
			require.NoError(t, err)
			require.EqualValues(t, 3, count)
			require.EqualValues(t, 4, d.countUsers(t))

			devices, err := d.Devices(t.Context(), userkit.DeviceQuery{DeviceFilter: userkit.DeviceFilter{WithoutDisabled: true}})
			require.NoError(t, err)
			require.Len(t, devices.Items, 3)
			devices, err = d.Devices(t.Context(), userkit.DeviceQuery{})
			require.NoError(t, err)
			require.Len(t, devices.Items, 4)
		}},
	}
}

func recordLoginCases() []testCase {
	return []testCase{
		{"makes an invited user active, and no other", func(t *testing.T, env env) {
			d := env.desk(t)
			for _, login := range []struct {
				status userkit.Status
				code   userkit.Code
			}{
				{userkit.StatusInvited, ""},
				{userkit.StatusActive, ""},
				{userkit.StatusInactive, userkit.CodeUserInactive},
				{userkit.StatusDisabled, userkit.CodeUserDisabled},
			} {
				user := d.signUp(t, withStatus(login.status))
				before := d.picture(t, user.ID)
				d.clock.Advance(time.Minute)
				logged, err := d.RecordLogin(t.Context(), user.ID, "passkey")
				if login.code != "" {
					requireCode(t, err, userkit.ErrRefused, login.code)
					require.Equal(t, before, d.picture(t, user.ID))
					continue
				}
				require.NoError(t, err)
				require.Equal(t, userkit.StatusActive, logged.Status)
				require.Equal(t, "passkey", logged.AuthMethod)
				require.Equal(t, d.clock.Now(), logged.LastSeenAt)
				requireUser(t, logged, d.user(t, user.ID))
			}
		}},
		{"keeps the method when none is named", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, func(user *userkit.NewUser) { user.AuthMethod = "oidc" })
			logged, err := d.RecordLogin(t.Context(), user.ID, "")
			require.NoError(t, err)
			require.Equal(t, "oidc", logged.AuthMethod)
		}},
		{"refuses a method that is no line of text", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t)
			before := d.picture(t, user.ID)
			_, err := d.RecordLogin(t.Context(), user.ID, strings.Repeat("é", userkit.MaxLine+1))
			requireField(t, err, userkit.ErrInvalid, userkit.CodeTooLong, "auth_method")
			_, err = d.RecordLogin(t.Context(), user.ID, "a\x00")
			requireField(t, err, userkit.ErrInvalid, userkit.CodeBadText, "auth_method")
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"lets in a user whose time is over or whose traffic is used up", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withLimit(10, userkit.ResetDaily, 0), func(user *userkit.NewUser) { user.ExpiresAt = at(60) })
			session := d.connect(t, user.ID, userkit.DeviceID{})
			d.report(t, session.ID, 100, 0)
			d.clock.Set(at(120))
			access, err := d.Access(t.Context(), user.ID)
			require.NoError(t, err)
			require.ElementsMatch(t, []userkit.AccessReason{userkit.CodeUserExpired, userkit.CodeTrafficLimit}, access.Reasons)
			_, err = d.RecordLogin(t.Context(), user.ID, "")
			require.NoError(t, err)
		}},
	}
}

func validityCases() []testCase {
	return []testCase{
		{"a user's time is over at its end, to the instant", func(t *testing.T, env env) {
			d := env.desk(t)
			end := base.Add(time.Hour)
			user := d.signUp(t, func(user *userkit.NewUser) { user.ExpiresAt = end })
			device := d.register(t, user.ID, userkit.NewDevice{})
			d.clock.Set(end.Add(-time.Microsecond))
			access, err := d.Access(t.Context(), user.ID)
			require.NoError(t, err)
			require.Equal(t, userkit.Access{Allowed: true, Until: end}, access)
			d.connect(t, user.ID, device.ID)

			d.clock.Set(end)
			access, err = d.Access(t.Context(), user.ID)
			require.NoError(t, err)
			require.Equal(t, userkit.Access{Reasons: []userkit.AccessReason{userkit.CodeUserExpired}}, access)
			_, err = d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, DeviceID: device.ID, Node: "node"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeUserExpired)
			proof, err := d.Authenticate(t.Context(), device.AccessToken)
			require.NoError(t, err, "it gets in to buy more")
			require.Equal(t, []userkit.AccessReason{userkit.CodeUserExpired}, proof.Access.Reasons)

			_, err = d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{ExpiresAt: userkit.Set(end.Add(time.Hour))})
			require.NoError(t, err)
			d.connect(t, user.ID, device.ID)
		}},
		{"a time that starts on first use begins with the first session", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, func(user *userkit.NewUser) { user.ValidFor = userkit.Duration(24 * time.Hour) })
			other := d.signUp(t, func(user *userkit.NewUser) { user.ValidFor = userkit.Duration(24 * time.Hour) })
			d.register(t, user.ID, userkit.NewDevice{})
			_, err := d.RecordLogin(t.Context(), user.ID, "")
			require.NoError(t, err)
			d.clock.Advance(1000 * time.Hour)
			access, err := d.Access(t.Context(), user.ID)
			require.NoError(t, err)
			require.Equal(t, userkit.Access{Allowed: true}, access)
			require.Equal(t, userkit.Duration(24*time.Hour), d.user(t, user.ID).ValidFor)

			first := d.clock.Now()
			d.connect(t, user.ID, userkit.DeviceID{})
			begun := d.user(t, user.ID)
			require.Zero(t, begun.ValidFor)
			require.Equal(t, first.Add(24*time.Hour), begun.ExpiresAt)

			d.clock.Advance(23 * time.Hour)
			d.connect(t, user.ID, userkit.DeviceID{})
			require.Equal(t, first.Add(24*time.Hour), d.user(t, user.ID).ExpiresAt, "a second session does not move the end")
			d.clock.Advance(time.Hour)
			_, err = d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeUserExpired)
			require.Equal(t, userkit.Duration(24*time.Hour), d.user(t, other.ID).ValidFor)
		}},
		{"a session that is refused starts no validity", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withStatus(userkit.StatusInactive), func(user *userkit.NewUser) { user.ValidFor = userkit.Duration(time.Hour) })
			_, err := d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node"})
			requireCode(t, err, userkit.ErrRefused, userkit.CodeUserInactive)
			after := d.user(t, user.ID)
			require.Equal(t, userkit.Duration(time.Hour), after.ValidFor)
			require.Zero(t, after.ExpiresAt)
		}},
		{"setting an end clears a time that starts on first use, and the other way", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, func(user *userkit.NewUser) { user.ValidFor = userkit.Duration(time.Hour) })
			edited, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{ExpiresAt: userkit.Set(at(60))})
			require.NoError(t, err)
			require.Zero(t, edited.ValidFor)
			require.Equal(t, at(60), edited.ExpiresAt)
			edited, err = d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{ValidFor: userkit.Set(userkit.Duration(time.Minute))})
			require.NoError(t, err)
			require.Zero(t, edited.ExpiresAt)
			require.Equal(t, userkit.Duration(time.Minute), edited.ValidFor)
			edited, err = d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{ValidFor: userkit.Set(userkit.Duration(0))})
			require.NoError(t, err)
			require.Zero(t, edited.ExpiresAt)
			require.Zero(t, edited.ValidFor)
		}},
		{"a report that comes after the end of a user's time ends its session", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, func(user *userkit.NewUser) { user.ExpiresAt = at(60) })
			other := d.signUp(t)
			session, beside := d.connect(t, user.ID, userkit.DeviceID{}), d.connect(t, other.ID, userkit.DeviceID{})
			d.clock.Set(at(30))
			require.False(t, d.report(t, session.ID, 10, 0).Ended)
			d.clock.Set(at(90))
			result := d.report(t, session.ID, 20, 0)
			require.True(t, result.Ended)
			require.Equal(t, userkit.EndedUserExpired, result.EndReason)
			require.EqualValues(t, 10, result.Received)
			ended := d.session(t, session.ID)
			require.False(t, ended.Active())
			require.Equal(t, userkit.EndedUserExpired, ended.EndReason)
			require.Zero(t, d.user(t, user.ID).OpenSessions)
			require.True(t, d.session(t, beside.ID).Active())
		}},
	}
}

func accessCases() []testCase {
	return []testCase{
		{"names every reason, and the end only where time alone helps", func(t *testing.T, env env) {
			d := env.desk(t)
			expiry := base.Add(100 * time.Hour)
			midnight := time.Date(2026, time.March, 15, 0, 0, 0, 0, time.UTC)
			const (
				disabled = 1 << iota
				inactive
				expired
				usedUp
			)
			for facts := range 16 {
				if facts&disabled != 0 && facts&inactive != 0 {
					continue
				}
				t.Run(fmt.Sprint("facts ", facts), func(t *testing.T) {
					d.clock.Set(base)
					user := d.signUp(t, withLimit(10, userkit.ResetDaily, 0))
					want := userkit.Access{NextReset: midnight, Reasons: []userkit.AccessReason{}}
					if facts&usedUp != 0 {
						d.report(t, d.connect(t, user.ID, userkit.DeviceID{}).ID, 10, 0)
					}
					end := expiry
					if facts&expired != 0 {
						end = base.Add(-time.Hour)
					}
					_, err := d.UpdateUser(t.Context(), user.ID, userkit.UserPatch{ExpiresAt: userkit.Set(end)})
					require.NoError(t, err)
					if facts&disabled != 0 {
						want.Reasons = append(want.Reasons, userkit.CodeUserDisabled)
						_, err := d.DeactivateUser(t.Context(), user.ID)
						require.NoError(t, err)
					}
					if facts&inactive != 0 {
						// No call makes an active user inactive again.
						user = d.signUp(t, withStatus(userkit.StatusInactive), withLimit(10, userkit.ResetDaily, 0), func(user *userkit.NewUser) { user.ExpiresAt = end })
						want.Reasons = append(want.Reasons, userkit.CodeUserInactive)
					}
					if facts&expired != 0 {
						want.Reasons = append(want.Reasons, userkit.CodeUserExpired)
					}
					if facts&usedUp != 0 && facts&inactive == 0 {
						want.Reasons = append(want.Reasons, userkit.CodeTrafficLimit)
					}
					want.Allowed = len(want.Reasons) == 0
					switch {
					case want.Allowed:
						want.Until = expiry
					case slices.Equal(want.Reasons, []userkit.AccessReason{userkit.CodeTrafficLimit}):
						want.Until = midnight
					}
					access, err := d.Access(t.Context(), user.ID)
					require.NoError(t, err)
					require.ElementsMatch(t, want.Reasons, access.Reasons)
					want.Reasons, access.Reasons = nil, nil
					require.Equal(t, want, access)
					again := d.user(t, user.ID).Access(base, time.UTC)
					again.Reasons = nil
					require.Equal(t, want, again)

					_, err = d.StartSession(t.Context(), userkit.NewSession{UserID: user.ID, Node: "node"})
					if want.Allowed {
						require.NoError(t, err)
					} else {
						require.ErrorIs(t, err, userkit.ErrRefused)
						require.Equal(t, want.Until, detail(t, err).Until)
					}
				})
			}
		}},
		{"an invited user has it: its first log-in may come from a device", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.signUp(t, withStatus(userkit.StatusInvited))
			access, err := d.Access(t.Context(), user.ID)
			require.NoError(t, err)
			require.Equal(t, userkit.Access{Allowed: true}, access)
		}},
	}
}

func deleteUserCases() []testCase {
	return []testCase{
		{"needs the text of the id, and loses nothing without it", func(t *testing.T, env env) {
			d := env.desk(t)
			user := d.household(t)
			before := d.picture(t, user.ID)
			for _, confirm := range []string{"", "yes", user.Login, userkit.NewID[userkit.User]().String(), user.ID.String()[:35], user.ID.String() + " ", strings.ReplaceAll(user.ID.String(), "-", "")} {
				_, err := d.DeleteUser(t.Context(), user.ID, confirm)
				requireCode(t, err, userkit.ErrInvalid, userkit.CodeConfirmationMismatch)
			}
			require.Equal(t, before, d.picture(t, user.ID))
		}},
		{"removes every record, leaves a receipt, and touches no other user", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.household(t), d.household(t)
			gone, beside := d.picture(t, user.ID), d.picture(t, other.ID)
			token, err := d.RotateToken(t.Context(), gone.Devices[0].ID)
			require.NoError(t, err)
			gone = d.picture(t, user.ID)
			d.clock.Advance(time.Minute)

			receipt, err := d.DeleteUser(userkit.WithActor(t.Context(), administrator), user.ID, user.ID.String())
			require.NoError(t, err)
			require.Equal(t, user.ID, receipt.UserID)
			require.Equal(t, d.clock.Now(), receipt.At)
			require.Equal(t, administrator, receipt.Actor)
			requireRowCounts(t, map[string]int{
				userkit.RowsDevices: len(gone.Devices), userkit.RowsSessions: len(gone.Sessions), userkit.RowsDays: len(gone.Usage),
				userkit.RowsTransactions: len(gone.Transactions), userkit.RowsEvents: len(gone.Events),
			}, receipt.Rows)

			ctx := t.Context()
			_, err = d.User(ctx, user.ID)
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
			for _, key := range []userkit.UserKey{userkit.ByLogin(user.Login), userkit.ByEmail(user.Email)} {
				_, err := d.FindUser(ctx, key)
				requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
			}
			for _, device := range gone.Devices {
				_, err := d.Device(ctx, device.ID)
				requireCode(t, err, userkit.ErrNotFound, userkit.CodeDeviceNotFound)
			}
			_, err = d.Authenticate(ctx, token.AccessToken)
			requireCode(t, err, userkit.ErrForbidden, userkit.CodeInvalidToken)
			for _, session := range gone.Sessions {
				_, err := d.Session(ctx, session.ID)
				requireCode(t, err, userkit.ErrNotFound, userkit.CodeSessionNotFound)
				results, err := d.ReportUsage(ctx, []userkit.UsageReport{{SessionID: session.ID, Received: 5000}})
				require.NoError(t, err)
				require.Equal(t, userkit.UsageRejected, results[0].Outcome)
				requireCode(t, results[0].Err, userkit.ErrNotFound, userkit.CodeSessionNotFound)
			}
			require.Empty(t, d.devices(t, user.ID))
			require.Empty(t, d.sessions(t, user.ID))
			require.Empty(t, d.transactions(t, user.ID))
			usage, err := d.store.Usage(ctx, user.ID, userkit.Day{Year: 2000, Month: 1, Day: 1}, userkit.Day{Year: 2100, Month: 1, Day: 1})
			require.NoError(t, err)
			require.Empty(t, usage)
			require.EqualValues(t, 1, d.countUsers(t))
			for user, err := range d.AllUsers(ctx, userkit.UserQuery{}) {
				require.NoError(t, err)
				require.Equal(t, other.ID, user.ID)
			}
			for mismatch, err := range d.VerifyBalances(ctx) {
				require.NoError(t, err)
				require.Fail(t, "a mismatch", "%v", mismatch)
			}

			left := d.events(t, user.ID)
			require.Equal(t, []userkit.EventName{userkit.EventUserDeleted}, eventNames(left))
			require.Equal(t, administrator, left[0].Actor)
			require.Equal(t, receipt.At, left[0].At)
			text, err := json.Marshal(left)
			require.NoError(t, err)
			for _, personal := range []string{user.Login, user.Name, user.Email, "hardware-1", "Phone of"} {
				require.NotContains(t, string(text), personal)
			}

			_, err = d.DeleteUser(ctx, user.ID, user.ID.String())
			requireCode(t, err, userkit.ErrNotFound, userkit.CodeUserNotFound)
			require.Equal(t, beside, d.picture(t, other.ID))
			_, err = d.CreateUser(ctx, userkit.NewUser{Login: user.Login, Email: user.Email})
			require.NoError(t, err, "the login and the address are free")
		}},
		{"takes the deleted user's events out of the feed and puts the receipt in", func(t *testing.T, env env) {
			d := env.desk(t)
			user, other := d.household(t), d.household(t)
			_, err := d.DeleteUser(t.Context(), user.ID, user.ID.String())
			require.NoError(t, err)
			want := 1 + len(d.events(t, other.ID))
			var deleted []userkit.EventName
			for _, event := range d.feed(t, "", want) {
				if event.UserID == user.ID {
					deleted = append(deleted, event.Name)
				}
			}
			require.Equal(t, []userkit.EventName{userkit.EventUserDeleted}, deleted)
		}},
	}
}

func unknownUser(t *testing.T, env env) {
	d := env.desk(t)
	d.household(t)
	nobody := userkit.NewID[userkit.User]()
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"User": func() error { _, err := d.User(ctx, nobody); return err },
		"UpdateUser": func() error {
			_, err := d.UpdateUser(ctx, nobody, userkit.UserPatch{Name: userkit.Set("X")})
			return err
		},
		"an empty patch": func() error { _, err := d.UpdateUser(ctx, nobody, userkit.UserPatch{}); return err },
		"ActivateUser":   func() error { _, err := d.ActivateUser(ctx, nobody); return err },
		"DeactivateUser": func() error { _, err := d.DeactivateUser(ctx, nobody); return err },
		"RecordLogin":    func() error { _, err := d.RecordLogin(ctx, nobody, ""); return err },
		"Access":         func() error { _, err := d.Access(ctx, nobody); return err },
		"DeleteUser":     func() error { _, err := d.DeleteUser(ctx, nobody, nobody.String()); return err },
		"RegisterDevice": func() error { _, err := d.RegisterDevice(ctx, nobody, userkit.NewDevice{}); return err },
		"SetLicense":     func() error { _, err := d.SetLicense(ctx, nobody, oneDevice); return err },
		"StartSession": func() error {
			_, err := d.StartSession(ctx, userkit.NewSession{UserID: nobody, Node: "node"})
			return err
		},
		"SetTrafficLimit": func() error {
			_, err := d.SetTrafficLimit(ctx, nobody, userkit.TrafficLimit{Bytes: 1}, false)
			return err
		},
		"Refill":      func() error { _, err := d.Refill(ctx, nobody, userkit.Entry{Amount: euro(1), Key: "k"}); return err },
		"Charge":      func() error { _, err := d.Charge(ctx, nobody, userkit.Entry{Amount: euro(1), Key: "k"}); return err },
		"RecordEvent": func() error { _, err := d.RecordEvent(ctx, nobody, userkit.NewEvent{Name: "host.event"}); return err },
	} {
		t.Run(name, func(t *testing.T) { requireCode(t, call(), userkit.ErrNotFound, userkit.CodeUserNotFound) })
	}
	_, err := d.CancelLast(ctx, nobody, userkit.NewID[userkit.Transaction]())
	require.ErrorIs(t, err, userkit.ErrNotFound)
	require.EqualValues(t, 1, d.countUsers(t))
	page, err := d.Events(ctx, userkit.EventQuery{EventFilter: userkit.EventFilter{UserID: nobody}})
	require.NoError(t, err)
	require.Empty(t, page.Items)
}

// looksAlike is a check to which 1 looks like l.
var looksAlike = userkit.WithConfusableCheck(func(login string) string { return strings.ReplaceAll(login, "1", "l") })

// alike returns the i-th of 64 logins that look the same.
func alike(i int) string {
	return strings.NewReplacer("0", "l").Replace(fmt.Sprintf("%06b", i))
}

// confusableLogins lists what CheckLogins finds.
func confusableLogins(t *testing.T, m userkit.Manager) (found []userkit.ConfusableLogin, err error) {
	t.Helper()
	for one, err := range m.CheckLogins(t.Context()) {
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

func checkLoginCases() []testCase {
	return []testCase{
		{"refuses a login that looks like that of another user, wherever it is set", func(t *testing.T, env env) {
			d := env.desk(t, looksAlike)
			holder, err := d.CreateUser(t.Context(), userkit.NewUser{Login: "paypal"})
			require.NoError(t, err)
			other := d.signUp(t)
			_, err = d.CreateUser(t.Context(), userkit.NewUser{Login: "PAYPA1"})
			requireExists(t, err, userkit.CodeLoginConfusable, "login")
			_, err = d.UpdateUser(t.Context(), other.ID, userkit.UserPatch{Login: userkit.Set("paypa1")})
			requireExists(t, err, userkit.CodeLoginConfusable, "login")
			_, err = d.CreateUser(t.Context(), userkit.NewUser{Login: "Paypal"})
			requireExists(t, err, userkit.CodeLoginTaken, "login")

			record := userkit.UserImport{Key: userkit.ByLogin("paypa1")}
			require.NoError(t, record.Draft.Set("login", "paypa1"))
			twin := userkit.UserImport{Key: userkit.ByLogin("1ily")}
			require.NoError(t, twin.Draft.Set("login", "1ily"))
			lily := userkit.UserImport{Key: userkit.ByLogin("lily")}
			require.NoError(t, lily.Draft.Set("login", "lily"))
			for _, dry := range []bool{true, false} {
				outcomes, err := d.ImportUsers(t.Context(), userkit.ImportOptions{DryRun: dry}, []userkit.UserImport{record, lily})
				require.NoError(t, err)
				requireCode(t, outcomes[0].Err, userkit.ErrExists, userkit.CodeLoginConfusable)
				require.NoError(t, outcomes[1].Err)
			}
			outcomes, err := d.ImportUsers(t.Context(), userkit.ImportOptions{DryRun: true}, []userkit.UserImport{twin})
			require.NoError(t, err)
			requireCode(t, outcomes[0].Err, userkit.ErrExists, userkit.CodeLoginConfusable)

			// One's own login, in other letters that look the same, and what was given up.
			_, err = d.UpdateUser(t.Context(), holder.ID, userkit.UserPatch{Login: userkit.Set("paypa1")})
			require.NoError(t, err)
			_, err = d.UpdateUser(t.Context(), holder.ID, userkit.UserPatch{Name: userkit.Set("Pay"), Login: userkit.Set("another")})
			require.NoError(t, err)
			_, err = d.UpdateUser(t.Context(), other.ID, userkit.UserPatch{Login: userkit.Set("paypal")})
			require.NoError(t, err)
			_, err = d.DeleteUser(t.Context(), other.ID, other.ID.String())
			require.NoError(t, err)
			_, err = d.CreateUser(t.Context(), userkit.NewUser{Login: "paypa1"})
			require.NoError(t, err)
		}},
		{"keeps the check while other fields change", func(t *testing.T, env env) {
			d := env.desk(t, looksAlike)
			holder, err := d.CreateUser(t.Context(), userkit.NewUser{Login: "paypal"})
			require.NoError(t, err)
			_, err = d.UpdateUser(t.Context(), holder.ID, userkit.UserPatch{Name: userkit.Set("Pay"), Login: userkit.Set("paypal")})
			require.NoError(t, err)
			_, err = d.DeactivateUser(t.Context(), holder.ID)
			require.NoError(t, err)
			_, err = d.CreateUser(t.Context(), userkit.NewUser{Login: "paypa1"})
			requireExists(t, err, userkit.CodeLoginConfusable, "login")
		}},
		{"checks the logins that were there before, and names those that look like another", func(t *testing.T, env env) {
			before := env.desk(t)
			var users []userkit.User
			for _, login := range []string{"paypal", "Paypa1", "lily", "", "PAYPA1x"} {
				user, err := before.CreateUser(t.Context(), userkit.NewUser{Login: login, Name: "Of " + login})
				require.NoError(t, err)
				users = append(users, user)
			}
			_, err := confusableLogins(t, before)
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeInvalidOption)

			d := env.desk(t, looksAlike)
			wanted := []userkit.ConfusableLogin{{UserID: users[1].ID, Login: "Paypa1", HolderID: users[0].ID, HolderLogin: "paypal"}}
			for range 2 {
				found, err := confusableLogins(t, d)
				require.NoError(t, err)
				require.Equal(t, wanted, found)
			}
			for _, user := range users {
				now := d.user(t, user.ID)
				require.Equal(t, []any{user.Login, user.Name, user.Revision, user.UpdatedAt}, []any{now.Login, now.Name, now.Revision, now.UpdatedAt})
			}
			_, err = d.CreateUser(t.Context(), userkit.NewUser{Login: "1i1y"})
			requireExists(t, err, userkit.CodeLoginConfusable, "login")

			// Another function finds others, and what the first one found counts no more.
			strict := env.desk(t, userkit.WithConfusableCheck(func(login string) string { return login[:1] }))
			found, err := confusableLogins(t, strict)
			require.NoError(t, err)
			require.Equal(t, []userkit.ConfusableLogin{
				{UserID: users[1].ID, Login: "Paypa1", HolderID: users[0].ID, HolderLogin: "paypal"},
				{UserID: users[4].ID, Login: "PAYPA1x", HolderID: users[0].ID, HolderLogin: "paypal"},
			}, found)
			_, err = d.UpdateUser(t.Context(), users[2].ID, userkit.UserPatch{Login: userkit.Set("paypalx")})
			require.NoError(t, err)
		}},
		{"forgets what logins looked like by another function, also where one looked as another does now", func(t *testing.T, env env) {
			d := env.desk(t, userkit.WithConfusableCheck(func(login string) string { return login }))
			for _, login := range []string{"oll", "llo"} {
				_, err := d.CreateUser(t.Context(), userkit.NewUser{Login: login})
				require.NoError(t, err)
			}
			reversed := env.desk(t, userkit.WithConfusableCheck(func(login string) string {
				text := []byte(strings.ReplaceAll(login, "0", "o"))
				slices.Reverse(text)
				return string(text)
			}))
			found, err := confusableLogins(t, reversed)
			require.NoError(t, err)
			require.Empty(t, found)
			for _, login := range []string{"0ll", "ll0"} {
				_, err := reversed.CreateUser(t.Context(), userkit.NewUser{Login: login})
				requireExists(t, err, userkit.CodeLoginConfusable, "login")
			}
		}},
		{"survives a check that panics, and one whose answers no index holds", func(t *testing.T, env env) {
			broken := env.desk(t, userkit.WithConfusableCheck(func(string) string { panic("broken") }))
			_, err := broken.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
			requireCode(t, err, userkit.ErrInvalid, userkit.CodeBadFormat)
			_, err = broken.CreateUser(t.Context(), userkit.NewUser{Name: "Ada"})
			require.NoError(t, err)
			long := env.desk(t, userkit.WithConfusableCheck(func(login string) string { return strings.Repeat(login[:1]+"\x00\xff", 100_000) }))
			_, err = long.CreateUser(t.Context(), userkit.NewUser{Login: "ada"})
			require.NoError(t, err)
			_, err = long.CreateUser(t.Context(), userkit.NewUser{Login: "ben"})
			require.NoError(t, err)
			_, err = long.CreateUser(t.Context(), userkit.NewUser{Login: "bob"})
			requireExists(t, err, userkit.CodeLoginConfusable, "login")
		}},
	}
}
