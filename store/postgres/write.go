package postgres

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun/schema"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/jsonvalue"
)

// literal is a piece of SQL that is quoted already. Texts of callers get into
// statements as literals and in no other way.
type literal []byte

// AppendQuery makes a literal an argument of bun's placeholders.
func (l literal) AppendQuery(_ schema.QueryGen, b []byte) ([]byte, error) {
	return append(b, l...), nil
}

// quoted returns a text as an SQL literal that means the same whatever
// standard_conforming_strings says.
func quoted(text string) literal {
	return append(appendEscaped(append(make(literal, 0, len(text)+3), `E'`...), text), '\'')
}

func quotedID(id [16]byte) literal {
	return append(appendUUID(append(make(literal, 0, 44), '\''), id), `'::uuid`...)
}

func quotedTime(t time.Time) literal {
	return append(appendTime(append(make(literal, 0, 50), '\''), t), `'::timestamptz`...)
}

func quotedReal(number float64) literal {
	return append(strconv.AppendFloat(append(make(literal, 0, 50), '\''), number, 'g', -1, 64), `'::double precision`...)
}

// quotedJSON returns a value of attributes, which JSON can always write.
func quotedJSON(value any) literal {
	data, err := json.Marshal(withFractions(value))
	if err != nil {
		panic(err)
	}
	return append(quoted(string(data)), "::jsonb"...)
}

func quotedAddress(address netip.Addr) literal {
	return append(quoted(address.String()), "::inet"...)
}

// quotedDay returns a day; the zero day is before all others.
func quotedDay(day userkit.Day) literal {
	return literal("'" + spelledDay(day) + "'::date")
}

func spelledDay(day userkit.Day) string {
	if day.IsZero() {
		return "-infinity"
	}
	return day.String()
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
func appendEscaped[T string | []byte](b []byte, text T) []byte {
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

// parameter is a value of a statement: its text as PostgreSQL reads it, and its
// type. It becomes a literal, or a parameter of a prepared statement.
type parameter struct {
	text []byte
	null bool
	kind string
}

func textParameter(text string) parameter { return parameter{text: []byte(text), kind: "text"} }

func integerParameter(number int64) parameter {
	return parameter{text: strconv.AppendInt(nil, number, 10), kind: "bigint"}
}

func idParameter(id [16]byte) parameter { return parameter{text: appendUUID(nil, id), kind: "uuid"} }

func bytesParameter(data []byte) parameter {
	return parameter{text: hex.AppendEncode([]byte(`\x`), data), kind: "bytea"}
}

func timeParameter(t time.Time) parameter {
	return parameter{text: appendTime(nil, t), kind: "timestamptz"}
}

// AppendQuery makes a parameter an argument of bun's placeholders: a literal that
// means the same whatever standard_conforming_strings says.
func (p parameter) AppendQuery(_ schema.QueryGen, b []byte) ([]byte, error) {
	if p.null {
		b = append(b, "NULL::"...)
		return append(b, p.kind...), nil
	}
	b = slices.Grow(b, len(p.text)+len(p.text)/8+len(p.kind)+5)
	b = append(b, `E'`...)
	b = appendEscaped(b, p.text)
	b = append(b, `'::`...)
	return append(b, p.kind...), nil
}

// argument returns the value for a prepared statement.
func (p parameter) argument() any {
	if p.null {
		return nil
	}
	return string(p.text)
}

// array collects the values of one column: as the elements of an array, or as
// the one value of a scalar, which is cheaper to parse and to plan.
type array struct {
	scalar bool
	room   int // for how many elements to make room
	sql    []byte
	isNull bool // the scalar is NULL
	broken bool // a value that PostgreSQL cannot hold
}

// of ends the array, or the scalar: it gives the parameter of its type.
func (a *array) of(kind string) parameter {
	if a.scalar {
		return parameter{text: a.sql, null: a.isNull, kind: kind}
	}
	if a.sql == nil {
		a.sql = append(a.sql, '{')
	}
	return parameter{text: append(a.sql, '}'), kind: kind + "[]"}
}

// next begins an element.
func (a *array) next() {
	switch {
	case a.scalar:
	case a.sql == nil:
		a.sql = append(make([]byte, 0, 32+40*a.room), '{')
	default:
		a.sql = append(a.sql, ',')
	}
}

func (a *array) null() {
	if a.scalar {
		a.isNull = true
		return
	}
	a.next()
	a.sql = append(a.sql, "NULL"...)
}

// begin begins an element whose text needs no escapes; end ends it.
func (a *array) begin() {
	a.next()
	a.end()
}

func (a *array) end() {
	if !a.scalar {
		a.sql = append(a.sql, '"')
	}
}

func (a *array) text(text string) {
	a.broken = a.broken || !storable(text)
	if a.scalar {
		a.sql = append(a.sql, text...)
		return
	}
	a.begin()
	for i := range len(text) {
		if c := text[i]; c == '"' || c == '\\' {
			a.sql = append(a.sql, '\\')
		}
		a.sql = append(a.sql, text[i])
	}
	a.end()
}

func (a *array) integer(number int64) {
	a.begin()
	a.sql = strconv.AppendInt(a.sql, number, 10)
	a.end()
}

func (a *array) real(number float64) {
	a.begin()
	a.sql = strconv.AppendFloat(a.sql, number, 'g', -1, 64)
	a.end()
}

func (a *array) flag(flag bool) {
	a.begin()
	a.sql = strconv.AppendBool(a.sql, flag)
	a.end()
}

func (a *array) bytes(data []byte) {
	a.text(`\x` + hex.EncodeToString(data))
}

func (a *array) id(id [16]byte) {
	a.begin()
	a.sql = appendUUID(a.sql, id)
	a.end()
}

func (a *array) time(t time.Time) {
	a.begin()
	a.sql = appendTime(a.sql, t)
	a.end()
}

// day writes the zero day as one before all others.
func (a *array) day(day userkit.Day) {
	a.begin()
	a.sql = append(a.sql, spelledDay(day)...)
	a.end()
}

// address writes an address; PostgreSQL keeps no zones.
func (a *array) address(address netip.Addr) {
	a.broken = a.broken || address.Zone() != ""
	a.begin()
	a.sql = address.WithZone("").AppendTo(a.sql)
	a.end()
}

// optional writes a value, or NULL where there is none.
func optional[V any](a *array, there bool, put func(V), value V) {
	if there {
		put(value)
	} else {
		a.null()
	}
}

// attributes writes attributes, or NULL for none, as JSON in which whole numbers of type float64
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

// withFractions returns a copy in which every float64 is a JSON number that has a
// fraction or an exponent.
func withFractions(value any) any {
	return jsonvalue.Map(value, func(value any) any {
		number, ok := value.(float64)
		if !ok || number != math.Trunc(number) || math.IsInf(number, 0) {
			return value
		}
		return json.Number(strconv.FormatFloat(number, 'f', 1, 64))
	})
}

// sortKey writes the folded text, or NULL where folding changes nothing.
func (a *array) sortKey(text string) {
	if key := userkit.SortKey(text); key != text {
		a.text(key)
	} else {
		a.null()
	}
}

// foldedJSON returns a copy of a JSON value with all of its texts folded, though not
// the names, and whether folding changed any. Where it changed none, the value
// itself comes back.
func foldedJSON(value any) (folded any, changed bool) {
	switch value := value.(type) {
	case string:
		text := userkit.Fold(value)
		return text, text != value
	case []any:
		var copied []any
		for i, element := range value {
			if text, changed := foldedJSON(element); changed {
				if copied == nil {
					copied = slices.Clone(value)
				}
				copied[i] = text
			}
		}
		if copied != nil {
			return copied, true
		}
	case map[string]any:
		var copied map[string]any
		for name, element := range value {
			if text, changed := foldedJSON(element); changed {
				if copied == nil {
					copied = maps.Clone(value)
				}
				copied[name] = text
			}
		}
		if copied != nil {
			return copied, true
		}
	}
	return value, false
}
