package phone_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/phone"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/userio"
)

func TestParser(t *testing.T) {
	_, err := phone.Parser("XX")
	require.ErrorContains(t, err, `"XX"`)
	for region, numbers := range map[string]map[string]string{
		"": {"+375 29 123-45-67": "+375291234567", "+44 (0)20 7946 0000": "+442079460000", "+4402079460000": "+442079460000", "tel:+14155550100": "+14155550100"},
		"BY": {
			"(29) 123-45-67": "+375291234567", "8 029 123-45-67": "+375291234567", "80291234567": "+375291234567", "375291234567": "+375291234567", "+49 (0)171 1234567": "+491711234567",
			"8~10 44 20 7946 0000": "+442079460000", "+375291234567": "+375291234567",
		},
		"GB": {"020 7946 0000": "+442079460000", "(020) 7946 0000": "+442079460000", "0044 (0)20 7946 0000": "+442079460000"},
		"US": {"(415) 555-0100": "+14155550100", "1 415 555 0100": "+14155550100", "011 375 29 1234567": "+375291234567"},
	} {
		parse, err := phone.Parser(region)
		require.NoError(t, err)
		for text, number := range numbers {
			got, err := parse(text)
			require.NoError(t, err, "%s in %q", text, region)
			require.Equal(t, number, got, "%s in %q", text, region)
		}
		for text, reason := range map[string]string{
			"+375 29 123": "short", "+375 29 123-45-67 89 10": "long", "hello": "written", "+999 12345678": "country code", "+1 415-555-0100 x12": "extension", "": "written",
		} {
			got, err := parse(text)
			require.ErrorContains(t, err, reason, "%s in %q: %s", text, region, got)
		}
	}
}

// Wherever people write a number, it is read by the parser.
func TestManagerReadsNumbers(t *testing.T) {
	ctx := t.Context()
	parser, err := phone.Parser("BY")
	require.NoError(t, err)
	users, err := userkit.New(memory.New(), userkit.WithPhoneParser(parser))
	require.NoError(t, err)
	defer func() { require.NoError(t, users.Close(context.Background())) }()
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", Phone: "8 029 123-45-67"})
	require.NoError(t, err)
	require.Equal(t, "+375291234567", ada.Phone)
	_, err = users.UpdateUser(ctx, ada.ID, userkit.UserPatch{Phone: userkit.Set("+44 (0)20")})
	require.ErrorContains(t, err, `"+44 (0)20"`)
	require.ErrorIs(t, err, userkit.ErrInvalid)
	report, err := userio.Import(ctx, users, strings.NewReader("login,Tel.\nbob,(29) 765-43-21\neve,12\n"), userio.ImportOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 1, report.Created)
	require.Len(t, report.Rejections, 1)
	require.ErrorContains(t, report.Rejections[0].Err, `"12"`)

	found := func(filter userkit.UserFilter) []string {
		page, err := users.Users(ctx, userkit.UserQuery{UserFilter: filter})
		require.NoError(t, err)
		logins := []string{}
		for _, user := range page.Items {
			logins = append(logins, user.Login)
		}
		return logins
	}
	for _, typed := range []string{"+375 29 123-45-67", "(29) 123-45-67", "29 123", "8 029 123-45-67", "80291234567", "+375291234567"} {
		require.Equal(t, []string{"ada"}, found(userkit.UserFilter{Search: typed}), typed)
		if typed != "29 123" {
			require.Equal(t, []string{"ada"}, found(userkit.UserFilter{Filter: userkit.Equal("phone", typed)}), typed)
		}
	}
	require.Equal(t, []string{"ada"}, found(userkit.UserFilter{Filter: userkit.Contains("phone", "29 123")}))
	require.Equal(t, []string{"ada"}, found(userkit.UserFilter{Filter: userkit.StartsWith("phone", "+375 (29) 1")}))
	require.Equal(t, []string{"ada", "bob"}, found(userkit.UserFilter{Filter: userkit.StartsWith("phone", "+375")}))
	require.Equal(t, []string{"bob"}, found(userkit.UserFilter{Filter: userkit.NotEqual("phone", "(29) 123-45-67")}))
	rule, err := users.CreateSegment(ctx, userkit.NewSegment{Name: "her", Rule: userkit.Equal("phone", "(29) 123-45-67")})
	require.NoError(t, err)
	require.Equal(t, []string{"ada"}, found(userkit.UserFilter{Segment: rule.ID}))
}

func ExampleParser() {
	parser, err := phone.Parser("BY")
	if err != nil {
		log.Fatal(err)
	}
	users, err := userkit.New(memory.New(), userkit.WithPhoneParser(parser))
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	for _, written := range []string{"8 029 123-45-67", "+44 (0)20 7946 0000", "12"} {
		user, err := users.CreateUser(context.Background(), userkit.NewUser{Name: "Ada", Phone: written})
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(user.Phone)
	}
	// Output:
	// +375291234567
	// +442079460000
	// userkit: bad_format (phone): "12" is not a possible telephone number: it is too short for its country
}
