package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// These types read one column each, from what pgdriver or pgx gives for it.
// NULL becomes the zero value. A pointer to a field of a record is turned into
// a pointer to one of them, so rows are read straight into records.
type (
	text       string
	integer    int64
	count      int
	real       float64
	flag       bool
	instant    time.Time
	date       userkit.Day
	identifier [16]byte
	digest     userkit.TokenDigest
	address    netip.Addr
	octets     []byte
	blob       []byte
	attributes userkit.Attributes
	rule       userkit.Filter
)

func unreadable(target string, source any) error {
	return fmt.Errorf("postgres: cannot read %T as %s", source, target)
}

// Scan reads a text.
func (t *text) Scan(source any) error {
	switch source := source.(type) {
	case string:
		*t = text(source)
	case []byte:
		*t = text(source)
	case nil:
		*t = ""
	default:
		return unreadable("text", source)
	}
	return nil
}

// Scan reads an integer.
func (i *integer) Scan(source any) error {
	switch source := source.(type) {
	case int64:
		*i = integer(source)
	case nil:
		*i = 0
	default:
		return unreadable("integer", source)
	}
	return nil
}

// Scan reads a count.
func (c *count) Scan(source any) error {
	var number integer
	err := number.Scan(source)
	*c = count(number)
	return err
}

// Scan reads a number from its bytes in hexadecimal.
func (r *real) Scan(source any) error {
	var bits octets
	if err := bits.Scan(source); err != nil {
		return err
	}
	switch len(bits) {
	case 0:
		*r = 0
	case 8:
		*r = real(math.Float64frombits(binary.BigEndian.Uint64(bits)))
	default:
		return unreadable("number", source)
	}
	return nil
}

// Scan reads a bool.
func (f *flag) Scan(source any) error {
	switch source := source.(type) {
	case bool:
		*f = flag(source)
	case nil:
		*f = false
	default:
		return unreadable("bool", source)
	}
	return nil
}

// Scan reads a time from microseconds since 1970.
func (i *instant) Scan(source any) error {
	switch source := source.(type) {
	case int64:
		*i = instant(time.UnixMicro(source).UTC())
	case nil:
		*i = instant{}
	default:
		return unreadable("time", source)
	}
	return nil
}

// firstDay is the day that days are read from the database relative to, which
// makes them independent of the date style of the server.
var firstDay = userkit.Day{Year: 2000, Month: time.January, Day: 1}

// Scan reads a day as its distance from firstDay.
func (d *date) Scan(source any) error {
	switch source := source.(type) {
	case int64:
		*d = date(firstDay.AddDays(int(source)))
	case nil:
		*d = date{}
	default:
		return unreadable("day", source)
	}
	return nil
}

// Scan reads a UUID.
func (id *identifier) Scan(source any) error {
	switch source := source.(type) {
	case []byte:
		return parseUUID(id, source)
	case string:
		return parseUUID(id, source)
	case nil:
		*id = identifier{}
		return nil
	default:
		return unreadable("UUID", source)
	}
}

func parseUUID[T []byte | string](id *identifier, source T) error {
	if len(source) != 36 {
		return fmt.Errorf("postgres: %q is not a UUID", source)
	}
	var digits [32]byte
	copy(digits[0:8], source[0:8])
	copy(digits[8:12], source[9:13])
	copy(digits[12:16], source[14:18])
	copy(digits[16:20], source[19:23])
	copy(digits[20:32], source[24:36])
	_, err := hex.Decode(id[:], digits[:])
	return err
}

// Scan reads a digest from its hexadecimal form.
func (d *digest) Scan(source any) error {
	var data octets
	if err := data.Scan(source); err != nil {
		return err
	}
	if len(data) != len(d) {
		return unreadable("digest", source)
	}
	copy(d[:], data)
	return nil
}

// Scan reads bytes from their hexadecimal form.
func (o *octets) Scan(source any) error {
	var spelled text
	if err := spelled.Scan(source); err != nil {
		return err
	}
	*o = nil
	if spelled == "" {
		return nil
	}
	data, err := hex.DecodeString(string(spelled))
	*o = data
	return err
}

// Scan reads an address from its text without a mask.
func (a *address) Scan(source any) error {
	var spelled text
	if err := spelled.Scan(source); err != nil {
		return err
	}
	if spelled == "" {
		*a = address{}
		return nil
	}
	parsed, err := netip.ParseAddr(string(spelled))
	*a = address(parsed)
	return err
}

// Scan reads JSON.
func (b *blob) Scan(source any) error {
	switch source := source.(type) {
	case []byte:
		*b = bytes.Clone(source)
	case string:
		*b = blob(source)
	case nil:
		*b = nil
	default:
		return unreadable("bytes", source)
	}
	return nil
}

// Scan reads attributes.
func (a *attributes) Scan(source any) error {
	var spelled text
	if err := spelled.Scan(source); err != nil {
		return err
	}
	*a = nil
	if spelled == "" {
		return nil
	}
	reader := jsonReader{string(spelled)}
	values, ok := reader.value().(map[string]any)
	if !ok || reader.rest != "" {
		return fmt.Errorf("postgres: attributes that are no JSON object: %.60q", string(spelled))
	}
	*a = attributes(values)
	return nil
}

// Scan reads the filter of a rule.
func (r *rule) Scan(source any) error {
	var spelled text
	if err := spelled.Scan(source); err != nil {
		return err
	}
	*r = rule{}
	return (*userkit.Filter)(r).UnmarshalText([]byte(spelled))
}

// jsonReader reads what PostgreSQL writes for jsonb, which is JSON of one form:
// valid, with one space after each comma and colon and none elsewhere. It is
// several times as fast as a reader of any JSON, which is much of what a page of
// users costs.
type jsonReader struct {
	rest string
}

// malformed is the value of what is no JSON of that form.
type malformed struct{}

// value reads a value: whole numbers that fit as int64, others as float64.
func (r *jsonReader) value() any {
	switch {
	case r.skip("{"):
		object := map[string]any{}
		for !r.skip("}") {
			name, ok := r.text()
			if !ok || !r.skip(": ") {
				return malformed{}
			}
			value := r.value()
			if value == (malformed{}) || !r.skip(", ") && !strings.HasPrefix(r.rest, "}") {
				return malformed{}
			}
			object[name] = value
		}
		return object
	case r.skip("["):
		list := []any{}
		for !r.skip("]") {
			value := r.value()
			if value == (malformed{}) || !r.skip(", ") && !strings.HasPrefix(r.rest, "]") {
				return malformed{}
			}
			list = append(list, value)
		}
		return list
	case strings.HasPrefix(r.rest, `"`):
		if text, ok := r.text(); ok {
			return text
		}
		return malformed{}
	case r.skip("true"):
		return true
	case r.skip("false"):
		return false
	case r.skip("null"):
		return nil
	}
	return r.number()
}

func (r *jsonReader) skip(sign string) bool {
	rest, ok := strings.CutPrefix(r.rest, sign)
	r.rest = rest
	return ok
}

func (r *jsonReader) text() (string, bool) {
	if !strings.HasPrefix(r.rest, `"`) {
		return "", false
	}
	for i := 1; i < len(r.rest); i++ {
		switch r.rest[i] {
		case '\\':
			i++
		case '"':
			quoted := r.rest[:i+1]
			r.rest = r.rest[i+1:]
			if strings.IndexByte(quoted, '\\') < 0 {
				return quoted[1:i], true
			}
			var text string
			err := json.Unmarshal([]byte(quoted), &text)
			return text, err == nil
		}
	}
	return "", false
}

func (r *jsonReader) number() any {
	end := strings.IndexAny(r.rest, ",]}")
	if end < 0 {
		end = len(r.rest)
	}
	spelled := r.rest[:end]
	r.rest = r.rest[end:]
	if whole, err := strconv.ParseInt(spelled, 10, 64); err == nil {
		return whole
	}
	number, err := strconv.ParseFloat(spelled, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // beyond the range: an infinity, as it was stored
		return malformed{}
	}
	return number
}
