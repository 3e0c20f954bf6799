package userkit

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseFilterReadsTheGrammarOfSCIM(t *testing.T) {
	for text, printed := range map[string]string{
		``:                              ``,
		`  `:                            ``,
		`login eq "ada"`:                `login eq "ada"`,
		`LOGIN EQ "Ada"`:                `login eq "Ada"`,
		`login ne null`:                 `login ne ""`,
		`email_verified eq True`:        `email_verified eq true`,
		`devices gt 2`:                  `devices gt 2`,
		`devices ge 2e1`:                `devices ge 20`,
		`balance lt "12.50 EUR"`:        `balance lt "12.50 EUR"`,
		`balance lt -5`:                 `balance lt -5`,
		`valid_for ge "24h"`:            `valid_for ge "24h"`,
		`country eq "de"`:               `country eq "DE"`,
		`last_seen_at pr`:               `last_seen_at pr`,
		`last_seen_at eq null`:          `last_seen_at eq null`,
		`registered_at ge "2026-01-02"`: `registered_at ge "2026-01-02T00:00:00Z"`,
		`registered_at lt "2026-01-02T03:04:05.123456789+02:00"`: `registered_at lt "2026-01-02T01:04:05.123456Z"`,
		`a.b eq "x"`:                                                  "unknown_field 1",
		`attributes.Plan eq "gold"`:                                   `attributes.Plan eq "gold"`,
		`attributes.car.year ge 1999.5`:                               `attributes.car.year ge 1999.5`,
		`attributes.n eq 1e300`:                                       `attributes.n eq 1e+300`,
		`attributes[plan eq "gold" and seats gt 5]`:                   `attributes.plan eq "gold" and attributes.seats gt 5`,
		`attributes.car[color eq "red" or year lt 2000] and login pr`: `attributes.car[color eq "red" or year lt 2000] and login pr`,
		`attributes pr`:                                               `attributes pr`,
		`access eq "traffic_limit"`:                                   `access eq "traffic_limit"`,
		`traffic_used gt 1073741824`:                                  `traffic_used gt 1073741824`,
		`segment eq "VIP"`:                                            `segment eq "VIP"`,
		`login pr or name pr and email pr`:                            `login pr or (name pr and email pr)`,
		`(login pr or name pr) and email pr`:                          `(login pr or name pr) and email pr`,
		`login pr and (name pr and email pr)`:                         `login pr and (name pr and email pr)`,
		`((((login pr))))`:                                            `login pr`,
		`not (login pr)`:                                              `not (login pr)`,
		`not(not (login pr or name pr))`:                              `not (not (login pr or name pr))`,
		`name co "a \"quoted\" \\ \u00e9 <b>"`:                        `name co "a \"quoted\" \\ é <b>"`,
		`id sw "018F"`:                                                `id sw "018f"`,
		`id eq "018F0000-0000-7000-8000-000000000001"`:                `id eq "018f0000-0000-7000-8000-000000000001"`,
		"login pr\tand\r\nname pr":                                    `login pr and name pr`,

		`login`:                               "filter_syntax 6",
		`login eq`:                            "filter_syntax 9",
		`login is "x"`:                        "filter_syntax 7",
		`login eq ada`:                        "filter_syntax 10",
		`login eq "ada`:                       "filter_syntax 10",
		`login eq "a` + "\x01" + `"`:          "filter_syntax 10",
		`login eq "x" and`:                    "filter_syntax 17",
		`login eq "x" name pr`:                "filter_syntax 14",
		`(login pr`:                           "filter_syntax 10",
		`login pr)`:                           "filter_syntax 9",
		`not login pr`:                        "filter_syntax 5",
		`attributes[plan pr`:                  "filter_syntax 19",
		`attributes.a[b pr`:                   "filter_syntax 18",
		`attributes.a[]`:                      "filter_syntax 14",
		`attributes.a[b[c pr]]`:               "filter_syntax 15",
		`attributes.1[c pr]`:                  "unknown_field 1",
		`login.x pr`:                          "unknown_field 1",
		`attributes.a[1 pr]`:                  "unknown_field 14",
		`attributes.a[b gt true]`:             "bad_format 19",
		`login[x pr]`:                         "filter_syntax 6",
		`name eq "\ud800"`:                    "filter_syntax 9",
		`attributes.´ eq "x"`:                 "filter_syntax 12",
		`имя eq "x"`:                          "unknown_field 1",
		`name eq "имя" and lgin pr`:           "unknown_field 19",
		`attributes.1x pr`:                    "unknown_field 1",
		`attributes..x pr`:                    "unknown_field 1",
		`devices eq "two"`:                    "bad_format 12",
		`devices eq 2.5`:                      "bad_format 12",
		`devices eq 99999999999999999999`:     "bad_format 12",
		`devices eq 1e999`:                    "out_of_range 12",
		`devices eq null`:                     "bad_format 12",
		`devices co "2"`:                      "unknown_value 12",
		`email_verified gt true`:              "unknown_value 19",
		`status eq "Active"`:                  "unknown_value 11",
		`access eq "maybe"`:                   "unknown_value 11",
		`access gt "allowed"`:                 "unknown_value 11",
		`balance ge "12.50"`:                  "bad_format 12",
		`balance ge "12.505 EUR"`:             "bad_format 12",
		`balance ge "1 ABC"`:                  "unknown_value 12",
		`registered_at gt "yesterday"`:        "bad_format 18",
		`registered_at gt null`:               "required 18",
		`name co ""`:                          "required 9",
		`valid_for gt "3 days"`:               "bad_format 14",
		`id eq "ada"`:                         "bad_format 7",
		`attributes eq "x"`:                   "unknown_value 15",
		`attributes.seats gt true`:            "bad_format 21",
		`attributes.seats co 5`:               "bad_format 21",
		`segment sw "V"`:                      "unknown_value 12",
		`segment eq null`:                     "bad_format 12",
		"login eq \"\xff\"":                   "bad_text 11",
		"login eq \"a\u0000\"":                "filter_syntax 10",
		strings.Repeat("(", 100) + "login pr": "too_long 33",
		"login eq \"" + strings.Repeat("a", MaxFilterBytes) + "\"":        "too_long 0",
		strings.Repeat("login pr or ", MaxFilterComparisons) + "login pr": "too_long 3073",
	} {
		t.Run(text[:min(len(text), 60)], func(t *testing.T) {
			filter, err := ParseFilter(text)
			if err != nil {
				var e *Error
				require.ErrorAs(t, err, &e)
				require.ErrorIs(t, err, ErrInvalid)
				require.Equal(t, "filter", e.Field)
				require.Equal(t, printed, strings.TrimSpace(string(e.Code)+" "+strconv.Itoa(e.Position)), err.Error())
				return
			}
			require.Equal(t, printed, filter.String())
			again, err := ParseFilter(filter.String())
			require.NoError(t, err)
			require.Equal(t, filter, again)
		})
	}
}

func TestFilterConstructorsSayWhatTheTextSays(t *testing.T) {
	id := UserID{15: 1}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	for text, filter := range map[string]Filter{
		``:                            AllOf(),
		`status eq "active"`:          Equal("status", StatusActive),
		`login ne "ada"`:              NotEqual("login", "ada"),
		`name co "da"`:                Contains("name", "da"),
		`name sw "da"`:                StartsWith("name", "da"),
		`name ew "da"`:                EndsWith("name", "da"),
		`email pr`:                    Present("email"),
		`devices gt 2`:                Greater("devices", 2),
		`devices ge 2`:                GreaterOrEqual("devices", int64(2)),
		`devices lt 2`:                Less("devices", 2.0),
		`balance le "-0.05 EUR"`:      LessOrEqual("balance", Money{-5, "EUR"}),
		`email_verified eq true`:      Equal("email_verified", true),
		`valid_for ge "1h"`:           GreaterOrEqual("valid_for", time.Hour),
		`expires_at lt null`:          {},
		`attributes.car.age le 3.5`:   LessOrEqual("attributes.car.age", 3.5),
		`id eq "` + id.String() + `"`: Equal("id", id),
		`attributes.addr[type eq "work" and not (geo.lat gt 5)]`: AnyElement("attributes.addr",
			AllOf(Equal("type", "work"), Not(Greater("geo.lat", 5)))),
		`segment eq "` + id.String() + `"`:               InSegment(SegmentID(id)),
		`registered_at ge "2026-01-02T03:04:05.000006Z"`: GreaterOrEqual("registered_at", at),
		`login pr and name pr`:                           AllOf(Present("login"), Filter{}, Present("name")),
		`login pr or name pr`:                            AnyOf(Present("login"), Present("name")),
		`login pr`:                                       AllOf(AnyOf(Present("login"))),
		`not (login pr)`:                                 Not(Present("login")),
		`not (id pr)`:                                    AnyOf(),
	} {
		if filter.IsZero() && text != "" {
			continue
		}
		checked, err := filter.check()
		require.NoError(t, err, text)
		parsed, err := ParseFilter(text)
		require.NoError(t, err, text)
		require.Equal(t, parsed, checked)
		require.Equal(t, text, checked.String())
	}
	require.True(t, AnyOf(Present("login"), Filter{}).IsZero())
	for code, filter := range map[Code]Filter{
		CodeUnknownField: Present("shoe_size"),
		CodeBadFormat:    Equal("devices", "two"),
		CodeOutOfRange:   Equal("registered_at", time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)),
		CodeUnknownValue: Equal("status", "asleep"),
	} {
		_, err := filter.check()
		require.Equal(t, code, ErrorCode(err))
	}
	deep := Present("login")
	for range MaxFilterDepth {
		deep = Not(deep)
	}
	_, err := deep.check()
	require.Equal(t, CodeTooLong, ErrorCode(err))
}

func TestFilterIsItsTextInJSON(t *testing.T) {
	type body struct {
		Filter Filter `json:"filter,omitzero"`
	}
	var read body
	require.NoError(t, json.Unmarshal([]byte(`{"filter":"Devices GT 2"}`), &read))
	text, err := json.Marshal(read)
	require.NoError(t, err)
	require.JSONEq(t, `{"filter":"devices gt 2"}`, string(text))
	require.Error(t, json.Unmarshal([]byte(`{"filter":"devices"}`), &read))
	text, err = json.Marshal(body{})
	require.NoError(t, err)
	require.Equal(t, `{}`, string(text))
}

// What comparisons mean is held against both stores by the conformance suite;
// here stands what a User by itself shows.
func TestFilterMeets(t *testing.T) {
	moment := Moment{At: time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC), Zone: time.UTC}
	user := User{
		ID: UserID{15: 1}, Login: "Zoë", Name: "ΟΔΥΣΣΕΥΣ", Status: StatusActive, Kind: UserIndividual,
		Attributes: Attributes{
			"plan": "Gold", "seats": int64(5), "ratio": 0.5, "beta": true, "none": nil, "empty": "",
			"tags": []any{"A", int64(7), nil}, "nothing": []any{}, "car": map[string]any{"color": "Red", "year": int64(1999)},
		},
		Account: Account{
			Balance: Money{500, "EUR"}, Devices: 2,
			Traffic: Traffic{Limit: TrafficLimit{Bytes: 10, Reset: ResetDaily}, Used: 10, Period: Day{2026, 3, 10}},
		},
	}
	for text, wanted := range map[string]bool{
		`login eq "ZOE"`: true, `login eq "zo"`: false, `login ne "zoe"`: false, `name eq "οδυσσευς"`: true, `name ew "ς"`: true,
		`name gt "a"`: true, `email lt "z"`: false, `email ge "a"`: false, `email eq ""`: true, `email pr`: false, `email ne "x"`: true,
		`phone eq null`: true, `country ne "DE"`: true, `status eq "active"`: true, `status co "act"`: true, `status co "ACT"`: false,
		`devices eq 2`: true, `devices pr`: true, `balance eq 500`: true, `balance eq "5.00 EUR"`: true, `balance ge "5.00 USD"`: false,
		`balance ne "5.00 USD"`: true, `expires_at eq null`: true, `expires_at gt "2000-01-01"`: false, `expires_at pr`: false,
		`attributes.plan eq "gold"`: true, `attributes.plan co "OL"`: true, `attributes.plan eq 5`: false, `attributes.plan gt "a"`: true,
		`attributes.seats ge 5`: true, `attributes.seats gt 4.5`: true, `attributes.seats eq "5"`: false, `attributes.ratio lt 1`: true,
		`attributes.beta eq true`: true, `attributes.beta eq false`: false, `attributes.none pr`: false, `attributes.none eq null`: true,
		`attributes.empty pr`: false, `attributes.missing eq null`: true, `attributes.missing ne "x"`: true, `attributes.missing lt 1`: false,
		`attributes.tags eq "a"`: true, `attributes.tags gt 6`: true, `attributes.tags eq "b"`: false, `attributes.tags pr`: true,
		`attributes.nothing pr`: false, `attributes.nothing eq null`: true, `attributes.car pr`: true, `attributes.car eq "red"`: false,
		`attributes.car.color eq "red"`: true, `attributes.car.year lt 2000`: true, `attributes.plan.x pr`: false, `attributes pr`: true,
		`access eq "traffic_limit"`: true, `access eq "allowed"`: false, `access ne "allowed"`: true, `access pr`: true,
		`traffic_used eq 10`: true, `segment eq "00000000-0000-0000-0000-000000000002"`: true, `segment eq "00000000-0000-0000-0000-000000000003"`: false,
		`not (login pr) or devices eq 2`: true, `login pr and devices eq 3`: false,
	} {
		filter, err := ParseFilter(text)
		require.NoError(t, err, text)
		require.Equal(t, wanted, filter.Meets(&user, moment, func(id SegmentID) bool { return id == SegmentID{15: 2} }), text)
	}
	moment.At = moment.At.AddDate(0, 0, 1)
	filter, err := ParseFilter(`access eq "allowed" and traffic_used eq 0`)
	require.NoError(t, err)
	require.True(t, filter.Meets(&user, moment, nil))
}

func FuzzParseFilter(f *testing.F) {
	for _, text := range []string{
		`login eq "ada" and not (devices gt 2 or attributes.car.color pr)`, `attributes[plan eq "gold" and seats gt 5.5e3]`,
		`balance ge "12.50 EUR" or registered_at lt "2026-01-02T03:04:05Z"`, `((((a`, `name co "\ud800\u0000"`, `segment eq "x"`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := ParseFilter(text)
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			require.LessOrEqual(t, e.Position, len([]rune(text))+1)
			return
		}
		again, err := ParseFilter(filter.String())
		require.NoError(t, err)
		require.Equal(t, filter, again)
		filter.Meets(&User{}, Moment{}, nil)
	})
}

// An error names what was written, all of it.
func TestFilterErrorsNameTheWrittenPath(t *testing.T) {
	for text, name := range map[string]string{
		`login.first eq "a"`:                 `"login.first"`,
		`Shoe.Size eq 5`:                     `"Shoe.Size"`,
		`attributes.addr[1zip eq 5]`:         `"attributes.addr.1zip"`,
		`attributes.addr[geo.lat gt true]`:   `"gt"`,
		`attributes.addr[geo.lat co 5]`:      `"co"`,
		`Attributes.a.b[c eq 1 and d..e pr]`: `"Attributes.a.b.d..e"`,
	} {
		_, err := ParseFilter(text)
		require.ErrorContains(t, err, name, text)
	}
}
