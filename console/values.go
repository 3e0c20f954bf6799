package console

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// quote returns a text in quotation marks, as it is written in filters and in JSON.
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

// parseSize reads a number of bytes, which may have a unit behind it, such as 1.5 GB.
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

// parseTime reads the value of an input of type datetime-local or date in the person's zone,
// or a time as fields are read; an empty text is no time.
func (v *view) parseTime(field, text string) (time.Time, error) {
	value, err := userkit.Field[userkit.User]{Name: field, Kind: userkit.KindTime}.Parse(text, v.Zone)
	if err != nil {
		return time.Time{}, err
	}
	return value.(time.Time), nil
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

// parseSpan reads a length of time, which is a number of days such as 30, or has units as in 720h.
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

// fieldText returns the value of a field as an input has it.
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
