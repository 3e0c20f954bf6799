package userkit

import (
	"testing"

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

func TestPhoneIsE164(t *testing.T) {
	for _, good := range []string{"", "+375291234567", "+1234567", "+123456789012345"} {
		require.NoError(t, checkPhone(good), good)
	}
	for _, bad := range []string{"375291234567", "+0375291234", "+123456", "+1234567890123456", "+37529 123", "+", "+٣٧٥٢٩١٢٣"} {
		require.Equal(t, CodeBadFormat, ErrorCode(checkPhone(bad)), bad)
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
