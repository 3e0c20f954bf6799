package userio

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A time in a cell is a number of days since an epoch, whose fraction is the time of day, with a
// number format that marks it as a time.
var (
	// The system of 1900 counts a 29 February 1900 that did not exist. This epoch is correct for
	// the days after it.
	xlsxEpoch1900 = time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	xlsxEpoch1904 = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)
)

const (
	xlsxFirstSerial = 61        // 1 March 1900, in the system of 1900
	xlsxEndSerial   = 2_958_466 // 1 January 10000, in the system of 1900
)

func xlsxDays(t, epoch time.Time) float64 {
	seconds := t.Unix() - epoch.Unix()
	days := seconds / 86400
	return float64(days) + float64(seconds%86400*1e6+int64(t.Nanosecond()/1e3))/86400e6
}

// xlsxSerial returns a time as a number of days in the system of 1900, and reports whether reading
// it returns exactly the same time.
func xlsxSerial(t time.Time) (float64, bool) {
	serial := xlsxDays(t, xlsxEpoch1900)
	back, ok := parseXLSXSerial(strconv.FormatFloat(serial, 'f', -1, 64), xlsxEpoch1900)
	return serial, ok && back.Equal(t)
}

// parseXLSXSerial reads a number of days, to the microsecond. A program that writes 15 digits, as
// many do, is off by up to 5 microseconds; if these digits are those of a whole second or
// millisecond, that is what was meant.
func parseXLSXSerial(text string, epoch time.Time) (time.Time, bool) {
	serial, err := strconv.ParseFloat(text, 64)
	first, end := float64(xlsxFirstSerial), float64(xlsxEndSerial)
	if epoch.Equal(xlsxEpoch1904) {
		first, end = 0, end-1462 // the days between the epochs
	}
	if err != nil || !(first <= serial && serial < end) {
		return time.Time{}, false
	}
	days := math.Floor(serial)
	micros := time.Duration(math.Round((serial - days) * 86400e6))
	t := epoch.AddDate(0, 0, int(days)).Add(micros * time.Microsecond)
	mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
	digits := len(strings.TrimLeft(strings.Replace(strings.TrimLeft(mantissa, "+-"), ".", "", 1), "0"))
	precision := max(0, min(digits, 17)-1)
	for _, unit := range []time.Duration{time.Second, time.Millisecond} {
		whole := t.Round(unit)
		if whole.Sub(t).Abs() <= 10*time.Microsecond &&
			strconv.FormatFloat(xlsxDays(whole, epoch), 'e', precision, 64) == strconv.FormatFloat(serial, 'e', precision, 64) {
			return whole, true
		}
	}
	return t, true
}

// xlsxNumberKind is the meaning of the numbers of a number format.
type xlsxNumberKind byte

const (
	xlsxPlain xlsxNumberKind = iota
	xlsxTime                 // days since the epoch
	xlsxSpan                 // days that went by, as in [h]:mm
)

// xlsxFormat is what a number format says about the numbers that have it.
type xlsxFormat struct {
	kind xlsxNumberKind
	// digits is how many digits a whole number is filled up to with zeros, as in 00000 for
	// postal codes and customer numbers: what people see is a code and no quantity, and the
	// zeros are part of it. 0: it is not.
	digits int
}

// xlsxMostDigits is the maximum number of digits to which a whole number is padded.
const xlsxMostDigits = 64

// xlsxZeros matches the code of a number format that pads with zeros, with or without a locale.
var xlsxZeros = regexp.MustCompile(`^(?:\[\$-[^\]]*\])?(0{2,})$`)

// xlsxFormatOf reads the code of a number format.
func xlsxFormatOf(code string) xlsxFormat {
	format := xlsxFormat{kind: xlsxFormatKind(code)}
	positive, _, _ := strings.Cut(code, ";")
	if zeros := xlsxZeros.FindStringSubmatch(strings.TrimSpace(positive)); zeros != nil && len(zeros[1]) <= xlsxMostDigits {
		format.digits = len(zeros[1])
	}
	return format
}

// xlsxBuiltinKind returns the kind of a built-in number format, whose code workbooks do not
// contain.
func xlsxBuiltinKind(id int) xlsxNumberKind {
	switch {
	case id == 46:
		return xlsxSpan
	case 14 <= id && id <= 22, 27 <= id && id <= 36, id == 45, id == 47, 50 <= id && id <= 58, 71 <= id && id <= 81:
		return xlsxTime
	}
	return xlsxPlain
}

// xlsxFormatKind returns the kind of a number format from its code. What counts are the letters of
// dates and times that are not quoted, escaped or in brackets, and hours, minutes or seconds in
// brackets.
func xlsxFormatKind(code string) xlsxNumberKind {
	code, _, _ = strings.Cut(strings.ToLower(code), ";")
	if strings.TrimSpace(code) == "general" {
		return xlsxPlain
	}
	for i := 0; i < len(code); i++ {
		switch code[i] {
		case '"':
			end := strings.IndexByte(code[i+1:], '"')
			if end < 0 {
				return xlsxPlain
			}
			i += end + 1
		case '\\', '_', '*':
			i++
		case '[':
			end := strings.IndexByte(code[i:], ']')
			if end < 0 {
				return xlsxPlain
			}
			if inside := code[i+1 : i+end]; inside != "" && strings.Trim(inside, inside[:1]) == "" && strings.ContainsAny(inside[:1], "hms") {
				return xlsxSpan
			}
			i += end
		case 'd', 'm', 'y', 'h', 's':
			return xlsxTime
		}
	}
	return xlsxPlain
}
