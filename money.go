package userkit

import (
	"math"
	"math/bits"
	"strconv"
	"strings"

	"golang.org/x/text/currency"
)

// Money is an amount in the minor units of a currency (cents for EUR, whole yen
// for JPY, fils for BHD). It is never a float.
type Money struct {
	Amount   int64  `json:"amount"`   // minor units
	Currency string `json:"currency"` // ISO 4217, three capital letters
}

// CurrencyDigits returns the number of decimal places of an ISO 4217 currency. It
// returns ErrInvalid with CodeUnknownValue when there is no such currency.
func CurrencyDigits(code string) (int, error) {
	unit, err := currency.ParseISO(code)
	if err != nil || unit.String() != code || code == "XXX" {
		return 0, NewError(CodeUnknownValue, "currency", "%q is not a currency of ISO 4217", clip(code))
	}
	digits, _ := currency.Standard.Rounding(unit)
	return digits, nil
}

// ParseMoney reads a decimal amount such as "12.50" or "-3" in the given
// currency. More decimal places than the currency has are refused, not rounded.
// It returns ErrInvalid with CodeUnknownValue, CodeBadFormat or CodeOutOfRange.
func ParseMoney(text, currencyCode string) (Money, error) {
	digits, err := CurrencyDigits(currencyCode)
	if err != nil {
		return Money{}, err
	}
	bad := func() (Money, error) {
		return Money{}, NewError(CodeBadFormat, "amount", "%q is not an amount in %s", clip(text), currencyCode)
	}
	unsigned, negative := strings.CutPrefix(text, "-")
	whole, fraction, point := strings.Cut(unsigned, ".")
	if whole == "" || point && fraction == "" || len(fraction) > digits || !isDigits(whole) || !isDigits(fraction) {
		return bad()
	}
	number := whole + fraction + strings.Repeat("0", digits-len(fraction))
	if negative {
		number = "-" + number
	}
	amount, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return Money{}, NewError(CodeOutOfRange, "amount", "%q does not fit into 64 bits of minor units", clip(text))
	}
	return Money{Amount: amount, Currency: currencyCode}, nil
}

// readMoney reads the form of String.
func readMoney(text string) (Money, error) {
	amount, code, ok := strings.Cut(text, " ")
	if !ok {
		return Money{}, NewError(CodeBadFormat, "amount", "%q is not of the form 12.50 EUR", clip(text))
	}
	return ParseMoney(amount, code)
}

// String returns the amount with the decimal places of its currency and the code,
// as in "12.50 EUR". An unknown currency is shown in minor units.
func (m Money) String() string {
	digits, err := CurrencyDigits(m.Currency)
	if err != nil {
		digits = 0
	}
	sign, magnitude := "", uint64(m.Amount)
	if m.Amount < 0 {
		sign, magnitude = "-", -magnitude
	}
	number := strconv.FormatUint(magnitude, 10)
	if digits > 0 {
		if missing := digits + 1 - len(number); missing > 0 {
			number = strings.Repeat("0", missing) + number
		}
		number = number[:len(number)-digits] + "." + number[len(number)-digits:]
	}
	return strings.TrimSpace(sign + number + " " + m.Currency)
}

// Add returns the sum. It returns ErrInvalid with CodeCurrencyMismatch, or with CodeRequired if
// only one of the two has a currency, and ErrRefused with CodeBalanceOverflow when the sum is
// beyond 64 bits.
func (m Money) Add(other Money) (Money, error) {
	if m.Currency != other.Currency {
		if m.Currency == "" || other.Currency == "" {
			return Money{}, NewError(CodeRequired, "currency", "an amount has no currency")
		}
		return Money{}, NewError(CodeCurrencyMismatch, "currency", "%s and %s are different currencies", m.Currency, other.Currency)
	}
	sum, ok := addInt64(m.Amount, other.Amount)
	if !ok {
		return Money{}, NewError(CodeBalanceOverflow, "amount", "%d + %d does not fit into 64 bits", m.Amount, other.Amount)
	}
	return Money{Amount: sum, Currency: m.Currency}, nil
}

// addInt64 adds and reports whether the sum is exact.
func addInt64(a, b int64) (int64, bool) {
	sum, _ := bits.Add64(uint64(a), uint64(b), 0)
	result := int64(sum)
	return result, (result > a) == (b > 0)
}

// addClamped adds two numbers that are not negative and stops at the largest int64.
func addClamped(a, b int64) int64 {
	if sum, ok := addInt64(a, b); ok {
		return sum
	}
	return math.MaxInt64
}

func isDigits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}
