package userkit

import (
	"database/sql/driver"
	"encoding/json"
	"strings"
	"time"
)

// Duration is a time.Duration that is written with its unit: "720h" in JSON, in files and in SQL
// columns. A bare number, whose unit would be unclear, is refused.
type Duration time.Duration

// ParseDuration reads a span of time such as "720h" or "1h30m", in the form of
// time.ParseDuration. It returns ErrInvalid with CodeBadFormat for any other text, including a bare
// number other than 0.
func ParseDuration(text string) (Duration, error) {
	span, err := time.ParseDuration(text)
	if err != nil {
		return 0, NewError(CodeBadFormat, "", "%q is not a span of time such as 720h or 1h30m", clip(text))
	}
	return Duration(span), nil
}

// String returns the form that ParseDuration reads, without parts that are zero: "720h",
// "1h30m", "0s".
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText returns the form of String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the form of String. An empty text is zero.
func (d *Duration) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = 0
		return nil
	}
	read, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = read
	return nil
}

// UnmarshalJSON reads the form of String, and null as zero. A number is refused with
// CodeBadFormat.
func (d *Duration) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*d = 0
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return NewError(CodeBadFormat, "", "%s is not a span of time with its unit, such as \"720h\"", clip(string(data)))
	}
	return d.UnmarshalText([]byte(text))
}

// Value writes the form of String for a text column of a host's own table.
func (d Duration) Value() (driver.Value, error) { return d.String(), nil }

// Scan reads what Value writes. NULL is zero.
func (d *Duration) Scan(source any) error {
	if source == nil {
		*d = 0
		return nil
	}
	return scanText(d, source)
}
