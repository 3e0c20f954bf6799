package console

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// quote writes a text as the grammar of filters, and JSON, write it.
func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		return `""`
	}
	return string(quoted)
}

func isNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil && !strings.ContainsAny(text, "xXpPnNiI_")
}

// parseSize reads a number with a unit of bytes behind it, such as 1.5 GB, or without.
func parseSize(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	factor := 1.0
	upper := strings.ToUpper(text)
	for i, unit := range byteUnits {
		if unit := strings.ToUpper(unit); strings.HasSuffix(upper, unit) && (unit != "B" || len(upper) > 1 && strings.ContainsAny(upper[len(upper)-2:len(upper)-1], "0123456789 ")) {
			factor = math.Pow(1000, float64(i))
			text = strings.TrimSpace(text[:len(text)-len(unit)])
			break
		}
	}
	if factor == 1 {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, true
		}
	}
	n, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
	if err != nil || math.IsNaN(n) || n*factor < math.MinInt64 || n*factor >= math.MaxInt64 {
		return 0, false
	}
	return int64(math.Round(n * factor)), true
}

// attributeText gives the value of an attribute as a person edits it: a text as it is,
// unless it would be read as something else, and everything else as JSON.
func attributeText(value any) string {
	if text, ok := value.(string); ok && attributeValue(text) == any(text) {
		return text
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(encoded)
}

// attributeValue reads what a person typed as the value of an attribute: JSON where it
// is that, else a text.
func attributeValue(text string) any {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil || decoder.More() {
		return text
	}
	if rest, err := decoder.Token(); err == nil || rest != nil {
		return text
	}
	return plainNumbers(value)
}

// plainNumbers puts int64 and float64 in the place of json.Number.
func plainNumbers(value any) any {
	switch value := value.(type) {
	case json.Number:
		if n, err := value.Int64(); err == nil {
			return n
		}
		n, err := value.Float64()
		if err != nil {
			return value.String()
		}
		return n
	case []any:
		for i := range value {
			value[i] = plainNumbers(value[i])
		}
	case map[string]any:
		for name := range value {
			value[name] = plainNumbers(value[name])
		}
	}
	return value
}

// parseTime reads the value of an input of type datetime-local or date in the person's zone,
// or a time as in RFC 3339; an empty text is no time.
func (v *view) parseTime(field, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, v.Zone); err == nil {
			return t, nil
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.Time{}, userkit.NewError(userkit.CodeBadFormat, field, "no time")
}

// parseField reads what a person typed as the value of a field.
func (v *view) parseField(field userkit.Field[userkit.User], text string) (any, error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	switch field.Kind {
	case userkit.KindBool: // a box that is ticked or not
		return text != "" && text != "false", nil
	case userkit.KindSpan:
		return parseSpan(field.Name, text)
	case userkit.KindText, userkit.KindCode:
		if field.Name != "additional_info" && field.Name != "description" {
			text = strings.TrimSpace(text)
		}
	}
	return field.Parse(text, v.Zone)
}

// parseSpan reads a length of time: a number of days such as 30, or as in 720h.
func parseSpan(field, text string) (userkit.Duration, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, nil
	}
	if days, err := strconv.ParseFloat(strings.TrimSuffix(text, "d"), 64); err == nil && days >= 0 && days < 100_000 {
		return userkit.Duration(days * 24 * float64(time.Hour)), nil
	}
	span, err := userkit.ParseDuration(text)
	if err != nil {
		return 0, userkit.NewError(userkit.CodeBadFormat, field, "no span")
	}
	return span, nil
}

// fieldText gives the value of a field as it stands in an input.
func (v *view) fieldText(field userkit.Field[userkit.User], user *userkit.User) string {
	switch value := field.Get(user).(type) {
	case time.Time:
		if value.IsZero() {
			return ""
		}
		return value.In(v.Zone).Format("2006-01-02T15:04")
	case userkit.Duration:
		const day = userkit.Duration(24 * time.Hour)
		switch {
		case value == 0:
			return ""
		case value%day == 0:
			return strconv.FormatInt(int64(value/day), 10)
		}
		return value.String()
	case bool:
		if value {
			return "true"
		}
		return ""
	case string:
		return value
	default:
		return field.Kind.Format(value)
	}
}
