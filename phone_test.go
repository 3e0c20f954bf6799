package userkit

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestParsePhone(t *testing.T) {
	for text, number := range map[string]string{
		"+375291234567": "+375291234567", "+1234567": "+1234567", "+123456789012345": "+123456789012345", "+375 29 123-45-67": "+375291234567",
		"00375(29)123.45.67": "+375291234567", "+44 (0)20 7946 0000": "+442079460000", "0044 (0) 20 7946 0000": "+442079460000", "+49 (0)171 1234567": "+491711234567",
		"tel:+1-415-555-0100": "+14155550100", "(+375) 29/1234567": "+375291234567", "＋375 29 123‑45‑67": "+375291234567", "\u00a0+375\u00a029 123 45 67\t": "+375291234567",
	} {
		got, err := ParsePhone(text)
		require.NoError(t, err, text)
		require.Equal(t, number, got, text)
		again, err := ParsePhone(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	for _, text := range []string{
		"", "375291234567", "+0375291234", "+123456", "+1234567890123456", "+", "+٣٧٥٢٩١٢٣", "(29) 123-45-67", "+1 415-555-0100 x12", "+375+291234567",
		"8 029 123-45-67", "020 (0) 7946 0000", "+0044 20 7946 0000", "none",
	} {
		_, err := ParsePhone(text)
		require.Equal(t, CodeBadFormat, ErrorCode(err), text)
	}
}

// A parser of the host's may panic and lie; what is refused is quoted as it was written.
func TestParsersOfPhonesAreNotTrusted(t *testing.T) {
	o := defaultOptions()
	number, err := o.parsePhone(" ")
	require.NoError(t, err)
	require.Empty(t, number)
	for _, parser := range []PhoneParser{
		func(string) (string, error) { panic("no") }, func(string) (string, error) { return "", nil }, func(text string) (string, error) { return text, nil },
		func(string) (string, error) { return "+1234567890123456", nil }, func(string) (string, error) { return "", errors.New("too short") }, ParsePhone,
	} {
		o.phones = parser
		_, err := o.parsePhone("(0)20 79-46")
		require.Equal(t, CodeBadFormat, ErrorCode(err))
		require.ErrorContains(t, err, `"(0)20 79-46"`)
	}
	o.phones = func(string) (string, error) { return "+375291234567", nil }
	_, err = o.parsePhone(strings.Repeat("1", maxPhoneText+1))
	require.Equal(t, CodeBadFormat, ErrorCode(err))
	require.ErrorContains(t, WithPhoneParser(nil)(&o), "WithPhoneParser")
}

// What a parser says is put into an error, which is a text.
func TestReasonsOfParsersAreTexts(t *testing.T) {
	o := options{phones: func(string) (string, error) { return "", errors.New("bad \xff") }}
	_, err := o.parsePhone("12345678")
	require.Equal(t, CodeBadFormat, ErrorCode(err))
	require.True(t, utf8.ValidString(err.Error()))
}
