package userkit

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit/internal/jsonvalue"
)

// Parse reads a value of the field as people and other programs write it, for
// UserDraft.Set:
//
//   - surrounding space is significant in free text only;
//   - words of an enumeration may be in capitals, with spaces or hyphens;
//   - a telephone number may begin with an apostrophe, which keeps spreadsheets from reading it as
//     a number;
//   - a truth value is true, yes, y or 1, or false, no, n or 0;
//   - a time may be one of RFC 3339, a date, a date with a time, or seconds or milliseconds
//     since 1970; zone is the zone of times that name none, and nil means UTC;
//   - any other value, and an empty text, is read as by FieldKind.Parse.
//
// It returns ErrInvalid with CodeBadFormat or CodeOutOfRange. Whether the value is valid is checked
// when it is used.
func (f Field[T]) Parse(text string, zone *time.Location) (any, error) {
	value, err := f.parse(text, zone)
	if e := AsError(err); err != nil && e.Field == "" {
		e.Field = f.Name
		return nil, e
	}
	return value, err
}

func (f Field[T]) parse(text string, zone *time.Location) (any, error) {
	trimmed := strings.TrimSpace(text)
	switch {
	case f.Values != nil:
		return wordGaps.Replace(strings.ToLower(trimmed)), nil
	case f.Name == "phone":
		return strings.TrimPrefix(trimmed, "'"), nil // the manager reads it
	case f.Name == "country" || f.Name == "currency":
		return strings.ToUpper(trimmed), nil
	case f.Name == "login" || f.Name == "email":
		return trimmed, nil
	}
	switch f.Kind {
	case KindText, KindCode:
		return text, nil
	case KindBool:
		return parseTruth(trimmed)
	case KindTime:
		return parseTime(trimmed, zone)
	case KindSpan:
		if trimmed == "" {
			return Duration(0), nil
		}
	}
	return f.Kind.Parse(trimmed)
}

// Parse sets a field, or a single attribute named attributes.<name>, to the value that a text
// represents; times without a zone are read as UTC. See Field.Parse, ParseAttribute and Set.
func (d *UserDraft) Parse(field, text string) error {
	if strings.HasPrefix(field, attributePrefix) {
		return d.Set(field, ParseAttribute(text))
	}
	known, ok := userFields.byName[field]
	if !ok || known.set == nil {
		return NewError(CodeUnknownField, field, "%q cannot be set", clip(field))
	}
	value, err := known.Parse(text, nil)
	if err != nil {
		return err
	}
	return d.Set(field, value)
}

var wordGaps = strings.NewReplacer(" ", "_", "-", "_")

func parseTruth(text string) (any, error) {
	switch strings.ToLower(text) {
	case "true", "yes", "y", "1":
		return true, nil
	case "false", "no", "n", "0":
		return false, nil
	}
	return nil, NewError(CodeBadFormat, "", "%q is not true, false, yes, no, 1 or 0", clip(text))
}

// timeForms are the forms of time that are read.
var timeForms = []string{
	time.RFC3339, "2006-01-02", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05 -0700",
	"1/2/2006 3:04:05 PM", "1/2/2006 3:04 PM", // American, by its AM and PM
}

func parseTime(text string, zone *time.Location) (any, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if stamp, err := strconv.ParseInt(text, 10, 64); err == nil {
		switch len(text) { // since 1970, of this century
		case 10:
			return time.Unix(stamp, 0).UTC(), nil
		case 13:
			return time.UnixMilli(stamp).UTC(), nil
		}
	}
	if zone == nil {
		zone = time.UTC
	}
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, text, zone); err == nil {
			return t.UTC(), nil
		}
	}
	return nil, NewError(CodeBadFormat, "", "%q is not a time such as 2026-01-02T15:04:05Z, 2026-01-02 15:04:05 or 2026-01-02", clip(text))
}

// ParseAttribute reads the value of an attribute from a text, as UserDraft.Parse does. An object, a list or
// a text in quotes is read as JSON. A truth value or a number is read as one only in exactly the form in
// which JSON writes it, so 007, 1.50 and +375291234567 remain texts. A whole number that neither int64 nor
// float64 represents with all of its digits becomes a text of these digits. A text that is not JSON, or that
// contains half of a surrogate pair, remains unchanged.
func ParseAttribute(text string) any {
	if text == "" {
		return ""
	}
	switch c := text[0]; {
	case c == '{' || c == '[' || c == '"':
		if value, err := jsonvalue.Decode([]byte(text)); err == nil {
			return jsonvalue.Plain(value)
		}
	case text == "true":
		return true
	case text == "false":
		return false
	case c == '-' || '0' <= c && c <= '9':
		if number, err := strconv.ParseInt(text, 10, 64); err == nil {
			if strconv.FormatInt(number, 10) == text {
				return number
			}
		} else if number, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(number, 0) && !math.IsNaN(number) {
			if string(jsonvalue.Append(nil, number)) == text {
				return number
			}
		}
	}
	return text
}

// FormatAttribute returns the value of an attribute as a text that ParseAttribute reads back. A
// text is returned unchanged, unless ParseAttribute would read it as something else; any other
// value is returned as JSON. The value nil is an empty text, and an empty text is "" in quotes.
func FormatAttribute(value any) string {
	if value == nil {
		return ""
	}
	if text, ok := value.(string); ok && text != "" {
		if parsed, same := ParseAttribute(text).(string); same && parsed == text {
			return text
		}
	}
	return string(jsonvalue.Append(nil, value))
}

// labels are the English words of fields whose names are not those words.
var labels = map[string]string{
	"id": "ID", "extref": "External reference", "auth_method": "Sign-in method", "registered_at": "Registered",
	"updated_at": "Updated", "last_seen_at": "Last seen", "expires_at": "Expires", "valid_for": "Valid for",
	"open_sessions": "Sessions now", "purchases_end_at": "Subscribed until", "email_verified": "Email verified",
	"payer_account_number": "Payer’s account number", "traffic_anchor_day": "Traffic day of month",
	"additional_info": "Additional information", "license": "Licence",
}

// fieldLabel returns the English words of a field by its name.
func fieldLabel(name string) string {
	if label, ok := labels[name]; ok {
		return label
	}
	words := strings.ReplaceAll(name, "_", " ")
	if words == "" {
		return ""
	}
	return strings.ToUpper(words[:1]) + words[1:]
}

// Label returns the English name of the field, such as "Sign-in method" for auth_method. It serves
// as a heading, and as the key of a catalogue of translations.
func (f Field[T]) Label() string { return fieldLabel(f.Name) }

// Label returns what the field is called in English.
func (f DerivedField) Label() string { return fieldLabel(f.Name) }
