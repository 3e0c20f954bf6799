package console

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func TestMoneyIsWrittenInThePersonsLanguage(t *testing.T) {
	for _, c := range catalogues() {
		v := &view{texts: c}
		want := map[string][]string{
			"en": {"1,234,567.89 EUR", "−0.05 EUR", "1,500 JPY", "0"},
			"ru": {"1\u00a0234\u00a0567,89 EUR", "−0,05 EUR", "1\u00a0500 JPY", "0"},
		}[c.tag.String()]
		require.Len(t, want, 4, c.tag)
		for i, m := range []userkit.Money{{Amount: 123456789, Currency: "EUR"}, {Amount: -5, Currency: "EUR"}, {Amount: 1500, Currency: "JPY"}, {}} {
			require.Equal(t, want[i], v.Money(m))
		}
	}
}
