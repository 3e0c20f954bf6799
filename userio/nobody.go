package userio

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/userkit/userkit"
)

// Spreadsheets and reports contain rows that are about no user: totals, a line about the report at
// the end, the headings repeated. None of them may become a user. Each is reported, since the
// evidence is weak and the row may be about a user after all.

// summaryWords are the words with which rows of totals begin or end, as normal headings.
var summaryWords = func() map[string]bool {
	words := map[string]bool{}
	for word := range strings.FieldsSeq("total totals subtotal subtotals sum sums count итого всего итог подытог сумма разом усього summe gesamt gesamtsumme zwischensumme " +
		"insgesamt somme suma totale totaal razem ogółem łącznie celkem součet összesen yhteensä totalt toplam 合计 总计 小计 合計 総計 小計 합계 총계 المجموع") {
		words[normalHeading(word)] = true
	}
	return words
}()

// amount matches a number as a spreadsheet shows it, with or without a currency or a percent sign.
var amount = regexp.MustCompile(`^[^\pL]*\d[^\pL]*\pL{0,3}\.?$`)

// follow continues to the next row, even if it cannot be read, and reports whether an empty row or
// a line about the file precedes it.
func (p *plan) follow(row *tableRow) (alone bool) {
	alone = row.sheet == p.before.sheet && p.before.number > 0 && (p.apart || row.number > p.before.number+1)
	p.before.sheet, p.before.number, p.apart = row.sheet, row.number, false
	return alone
}

// noUser refuses a row that, as far as can be seen, is about no user. Rows of NDJSON are never
// refused.
func (p *plan) noUser(row *tableRow) *rowError {
	if p.open {
		return nil
	}
	alone := p.follow(row)
	key, filled, numbers, repeated := -1, 0, 0, 0 // key is the column of the only text that identifies
	for at := range row.cells {
		c, cell := &p.columns[at], &row.cells[at]
		if cell.empty() {
			continue
		}
		if repeated == filled && strings.EqualFold(strings.TrimSpace(cell.text), strings.TrimSpace(c.Heading)) {
			repeated++
		}
		filled++
		switch {
		case c.key >= 0 && c.decides && key < 0:
			key = at
		case c.key >= 0, c.Field == "phone", c.Field == "name":
			key = len(row.cells) // more than a label
		case numbers == filled-1 || key >= 0 && numbers == filled-2:
			if amount.MatchString(strings.TrimSpace(cell.text)) {
				numbers++
			}
		}
		if key == len(row.cells) && repeated < filled {
			return nil
		}
	}
	if filled > 0 && repeated == filled {
		return &rowError{err: userkit.NewError(userkit.CodeBadFormat, "", "the row has the headings once more, and is about no user")}
	}
	if key < 0 || key == len(row.cells) || len(row.cells[key].text) > userkit.MaxLogin {
		return nil
	}
	c, text := &p.columns[key], strings.TrimSpace(row.cells[key].text)
	refuse := func(what string) *rowError {
		return &rowError{column: c.Heading, err: userkit.NewError(userkit.CodeBadFormat, c.Field, "%q %s; if it is a user, give it a name as well", clip(text), what)}
	}
	if numbers == filled-1 && (numbers > 0 || strings.ContainsFunc(text, unicode.IsDigit) && strings.ContainsAny(text, " :=")) && isSummary(text) {
		return refuse("is the label of totals")
	}
	if alone && filled == 1 && strings.ContainsAny(text, " \u00a0") && p.headed() > 1 {
		p.apart = true
		return refuse("stands alone behind an empty row, like a line about the file")
	}
	return nil
}

// isSummary reports whether a text is a label of totals.
func isSummary(text string) bool {
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) })
	return len(words) > 0 && len(words) <= 4 && (summaryWords[normalHeading(words[0])] || summaryWords[normalHeading(words[len(words)-1])])
}

// headed returns the number of columns that have a heading.
func (p *plan) headed() (count int) {
	for i := range p.columns {
		if p.columns[i].Ignored != IgnoredUnnamed {
			count++
		}
	}
	return count
}

// nullWords are the texts that programs write for no value in any column.
var nullWords = []string{"NULL", `\N`, "(null)", "<null>", "[NULL]", "#N/A"}

// fillers are the texts that people write for no value. They count only in fields of which they
// cannot be a value.
var fillers = []string{notApplicable, "none", "nil", "null", "nan", "undefined", "-", "--", "–", "—"}

// spreadsheetErrors are the texts that a spreadsheet shows, and saves as CSV, where a formula has
// failed.
var spreadsheetErrors = []string{"#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#GETTING_DATA"}

// noValue reports whether a text field with this text would be taken for one without a value, or
// for the error of a formula.
func noValue(text string) bool {
	if text == "" || len(text) > maxWord || !wordBegins[text[0]] {
		return false
	}
	return strings.EqualFold(text, notApplicable) || slices.Contains(nullWords, text) || slices.Contains(spreadsheetErrors, text)
}

// notApplicable is the one filler that counts in texts that could be anything.
const notApplicable = "n/a"

// wordBegins are the first bytes of the words that noValue looks for, which leave out most texts.
var wordBegins = func() (begins [256]bool) {
	for _, word := range slices.Concat(nullWords, spreadsheetErrors, []string{notApplicable, strings.ToUpper(notApplicable)}) {
		begins[word[0]] = true
	}
	return begins
}()

// markWord puts an apostrophe before a text that Import would not take for itself.
func markWord(text string) string {
	if noValue(strings.TrimLeft(text, "'")) {
		return "'" + text
	}
	return text
}

// restoreWord returns the cell of a text as it is in a file, without the apostrophe of markWord.
func restoreWord(text string) cell {
	if word, marked := strings.CutPrefix(text, "'"); marked && noValue(strings.TrimLeft(word, "'")) {
		return cell{text: word, exact: true}
	}
	return cell{text: text}
}

// maxWord is the maximum length of a word for no value.
const maxWord = 16

// own reports whether a column is an attribute by its name or the caller's word, whose
// texts are what they are.
func (c *column) own() bool { return c.single != "" && !c.kept }

// missing reports whether a cell holds nothing, or a word for nothing. Where a column says
// who may log in, or for how long, only a program's word is one.
func (c *column) missing(cell *cell) bool {
	if cell.empty() {
		return true
	}
	if cell.exact || cell.value != nil || len(cell.text) > maxWord || c.own() {
		return false
	}
	text := strings.TrimSpace(cell.text)
	rights := c.Field == "status" || c.Field == "expires_at"
	switch {
	case c.Field == "status" && c.part != partDisabled && c.part != partUntil:
		return false
	case slices.Contains(nullWords, text):
		return true
	case rights || !slices.Contains(fillers, strings.ToLower(text)):
		return false
	}
	switch c.Field {
	case "login", "name", "extref":
		return strings.EqualFold(text, notApplicable)
	case "email", "phone", "country":
		return true
	}
	field, ok := userkit.UserField(c.Field)
	return ok && field.Kind != userkit.KindText && field.Kind != userkit.KindCode
}
