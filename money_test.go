package userkit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMoneyText(t *testing.T) {
	cases := []struct {
		text, currency string
		amount         int64
		printed        string
	}{
		{"12.50", "EUR", 1250, "12.50 EUR"},
		{"12.5", "EUR", 1250, "12.50 EUR"},
		{"-0.05", "EUR", -5, "-0.05 EUR"},
		{"0", "USD", 0, "0.00 USD"},
		{"300", "JPY", 300, "300 JPY"},
		{"1.234", "BHD", 1234, "1.234 BHD"},
		{"92233720368547758.07", "EUR", math.MaxInt64, "92233720368547758.07 EUR"},
		{"-92233720368547758.08", "EUR", math.MinInt64, "-92233720368547758.08 EUR"},
	}
	for _, c := range cases {
		money, err := ParseMoney(c.text, c.currency)
		require.NoError(t, err, c.text)
		require.Equal(t, Money{c.amount, c.currency}, money)
		require.Equal(t, c.printed, money.String())
	}
	for _, bad := range []string{"", "-", ".5", "5.", "1.234", "1,5", "+1", "1e3", " 1", "--1", "٣"} {
		_, err := ParseMoney(bad, "EUR")
		require.Equal(t, CodeBadFormat, ErrorCode(err), bad)
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err := ParseMoney("92233720368547758.08", "EUR")
	require.Equal(t, CodeOutOfRange, ErrorCode(err))
	for _, unknown := range []string{"", "eur", "EURO", "ZZZ", "XXX"} {
		_, err := CurrencyDigits(unknown)
		require.Equal(t, CodeUnknownValue, ErrorCode(err), unknown)
	}
}

func TestMoneyAdd(t *testing.T) {
	sum, err := Money{math.MaxInt64 - 1, "EUR"}.Add(Money{1, "EUR"})
	require.NoError(t, err)
	require.Equal(t, Money{math.MaxInt64, "EUR"}, sum)
	_, err = sum.Add(Money{1, "EUR"})
	require.Equal(t, CodeBalanceOverflow, ErrorCode(err))
	_, err = Money{math.MinInt64, "EUR"}.Add(Money{-1, "EUR"})
	require.Equal(t, CodeBalanceOverflow, ErrorCode(err))
	_, err = sum.Add(Money{0, "USD"})
	require.Equal(t, CodeCurrencyMismatch, ErrorCode(err))
	for _, pair := range [][2]int64{{0, 0}, {5, 0}, {math.MinInt64, 0}, {math.MinInt64, math.MaxInt64}, {-1, 1}} {
		sum, ok := addInt64(pair[0], pair[1])
		require.True(t, ok)
		require.Equal(t, pair[0]+pair[1], sum)
	}
}
