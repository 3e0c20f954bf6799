package postgres

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun/schema"

	"github.com/userkit/userkit"
)

// literal is a piece of SQL that is quoted already. Texts of callers get into
// statements as literals and in no other way.
type literal []byte

// AppendQuery makes a literal an argument of bun's placeholders.
func (l literal) AppendQuery(_ schema.QueryGen, b []byte) ([]byte, error) {
	return append(b, l...), nil
}

// quoted gives a text as an SQL literal that means the same whatever
// standard_conforming_strings says.
func quoted(text string) literal {
	return append(appendEscaped(append(make(literal, 0, len(text)+3), `E'`...), text), '\'')
}

func quotedID(id [16]byte) literal {
	return append(appendUUID(append(make(literal, 0, 44), '\''), id), `'::uuid`...)
}

func quotedBytes(data []byte) literal {
	return append(hex.AppendEncode(literal(`E'\\x`), data), `'::bytea`...)
}

func quotedTime(t time.Time) literal {
	return append(appendTime(append(make(literal, 0, 50), '\''), t), `'::timestamptz`...)
}

// quotedDay gives a day; the zero day is before all others.
func quotedDay(day userkit.Day) literal {
	return literal("'" + spelledDay(day) + "'::date")
}

func spelledDay(day userkit.Day) string {
	if day.IsZero() {
		return "-infinity"
	}
	return day.String()
}

// quotedAddress gives an address; what none sorts as comes before all others.
func quotedAddress(address netip.Addr) literal {
	if !address.IsValid() {
		return literal(noAddress)
	}
	return literal("'" + address.String() + "'::inet")
}

// noAddress is what an empty address sorts as, and noTime and noID what a zero
// time and a zero id do.
const (
	noAddress = `'0.0.0.0/0'::inet`
	noTime    = `'-infinity'::timestamptz`
	noID      = `'00000000-0000-0000-0000-000000000000'::uuid`
)

// storable reports whether PostgreSQL can hold the text: it has no NUL and is
// valid UTF-8. Nothing that is stored equals a text that is not.
func storable(text string) bool {
	return strings.IndexByte(text, 0) < 0 && utf8.ValidString(text)
}

// appendEscaped appends text for the inside of an E” literal.
func appendEscaped(b []byte, text string) []byte {
	for i := range len(text) {
		switch c := text[i]; c {
		case '\'', '\\':
			b = append(b, c, c)
		default:
			b = append(b, c)
		}
	}
	return b
}

func appendUUID(b []byte, id [16]byte) []byte {
	b = append(hex.AppendEncode(b, id[0:4]), '-')
	b = append(hex.AppendEncode(b, id[4:6]), '-')
	b = append(hex.AppendEncode(b, id[6:8]), '-')
	b = append(hex.AppendEncode(b, id[8:10]), '-')
	return hex.AppendEncode(b, id[10:16])
}

func appendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2006-01-02 15:04:05.999999+00")
}

// array collects the values of one column as an array literal.
type array struct {
	elements literal
	broken   bool // a value that PostgreSQL cannot hold
}

// next begins an element.
func (a *array) next() {
	if a.elements == nil {
		a.elements = make(literal, 0, 512)
		a.elements = append(a.elements, `E'{`...)
	} else {
		a.elements = append(a.elements, ',')
	}
}

// of ends the array: its literal with the type of its elements.
func (a *array) of(kind string) literal {
	if a.elements == nil {
		return literal("'{}'::" + kind + "[]")
	}
	a.elements = append(append(append(a.elements, `}'::`...), kind...), "[]"...)
	return a.elements
}

func (a *array) null() {
	a.next()
	a.elements = append(a.elements, "NULL"...)
}

func (a *array) text(text string) {
	a.next()
	a.elements = append(a.elements, '"')
	for i := range len(text) {
		switch c := text[i]; c {
		case 0:
			a.broken = true
		case '\'':
			a.elements = append(a.elements, `''`...)
		case '"':
			a.elements = append(a.elements, `\\"`...)
		case '\\':
			a.elements = append(a.elements, `\\\\`...)
		default:
			a.elements = append(a.elements, c)
		}
	}
	a.elements = append(a.elements, '"')
}

func (a *array) integer(number int64) {
	a.next()
	a.elements = strconv.AppendInt(a.elements, number, 10)
}

func (a *array) real(number float64) {
	a.next()
	a.elements = strconv.AppendFloat(a.elements, number, 'g', -1, 64)
}

func (a *array) flag(flag bool) {
	a.next()
	a.elements = strconv.AppendBool(a.elements, flag)
}

func (a *array) bytes(data []byte) {
	a.next()
	a.elements = append(a.elements, `"\\\\x`...)
	a.elements = append(hex.AppendEncode(a.elements, data), '"')
}

func (a *array) id(id [16]byte) {
	a.next()
	a.elements = appendUUID(a.elements, id)
}

// optionalID writes the zero id as NULL.
func (a *array) optionalID(id [16]byte) {
	if id == [16]byte{} {
		a.null()
		return
	}
	a.id(id)
}

func (a *array) time(t time.Time) {
	a.next()
	a.elements = append(appendTime(append(a.elements, '"'), t), '"')
}

// optionalTime writes the zero time as NULL.
func (a *array) optionalTime(t time.Time) {
	if t.IsZero() {
		a.null()
		return
	}
	a.time(t)
}

// day writes the zero day as one before all others.
func (a *array) day(day userkit.Day) {
	a.next()
	a.elements = append(a.elements, spelledDay(day)...)
}

// optionalDay writes the zero day as NULL.
func (a *array) optionalDay(day userkit.Day) {
	if day.IsZero() {
		a.null()
		return
	}
	a.day(day)
}

// optionalAddress writes no address as NULL. PostgreSQL keeps no zones.
func (a *array) optionalAddress(address netip.Addr) {
	if !address.IsValid() {
		a.null()
		return
	}
	if address.Zone() != "" {
		a.broken = true
	}
	a.next()
	a.elements = address.WithZone("").AppendTo(a.elements)
}

// optionalBytes writes no bytes as NULL.
func (a *array) optionalBytes(data []byte) {
	if len(data) == 0 {
		a.null()
		return
	}
	a.bytes(data)
}

// optionalJSON writes no text as NULL.
func (a *array) optionalJSON(data json.RawMessage) {
	if len(data) == 0 {
		a.null()
		return
	}
	a.text(string(data))
}

// attributes writes attributes as JSON in which whole numbers of type float64
// keep a fraction, so that they come back as what they were.
func (a *array) attributes(attributes userkit.Attributes) {
	if len(attributes) == 0 {
		a.null()
		return
	}
	data, err := json.Marshal(withFractions(map[string]any(attributes)))
	if err != nil {
		a.broken = true
		a.null()
		return
	}
	a.text(string(data))
}

// withFractions gives a copy in which every float64 is a JSON number that has
// a fraction or an exponent.
func withFractions(value any) any {
	switch value := value.(type) {
	case map[string]any:
		copied := make(map[string]any, len(value))
		for name, element := range value {
			copied[name] = withFractions(element)
		}
		return copied
	case []any:
		copied := make([]any, len(value))
		for i, element := range value {
			copied[i] = withFractions(element)
		}
		return copied
	case float64:
		if value == math.Trunc(value) && !math.IsInf(value, 0) {
			return json.Number(strconv.FormatFloat(value, 'f', 1, 64))
		}
		return value
	default:
		return value
	}
}

// sortKey writes the folded text, or NULL where folding changes nothing.
func (a *array) sortKey(text string) {
	if key := userkit.SortKey(text); key != text {
		a.text(key)
	} else {
		a.null()
	}
}
