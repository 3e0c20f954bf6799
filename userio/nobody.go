package userio

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/userkit/userkit"
)

// Spreadsheets and reports have rows that are about no user: totals, a line about the
// report at the end, the headings once more. None of them may become a user, and each is
// told, since the evidence is weak: it may be somebody after all.

// summaryWords are what rows of totals begin or end with, as normal headings.
var summaryWords = func() map[string]bool {
	words := map[string]bool{}
	for word := range strings.FieldsSeq("total totals subtotal subtotals sum sums count итого всего итог подытог сумма разом усього summe gesamt gesamtsumme zwischensumme " +
		"insgesamt somme suma totale totaal razem ogółem łącznie celkem součet összesen yhteensä totalt toplam 合计 总计 小计 合計 総計 小計 합계 총계 المجموع") {
		words[normalHeading(word)] = true
	}
	return words
}()

// amount is a number as a spreadsheet shows it, perhaps with a currency or a sign for
// percent.
var amount = regexp.MustCompile(`^[^\pL]*\d[^\pL]*\pL{0,3}\.?$`)

// follow goes on to a row, be it one that cannot be read, and reports whether an empty row or a
// line about the file is before it.
func (p *plan) follow(row *tableRow) (alone bool) {
	alone = row.sheet == p.before.sheet && p.before.number > 0 && (p.apart || row.number > p.before.number+1)
	p.before.sheet, p.before.number, p.apart = row.sheet, row.number, false
	return alone
}

// noUser refuses a row that is about no user, as far as that can be seen. Rows of NDJSON
// are never such.
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

// headed returns how many columns have a heading.
func (p *plan) headed() (count int) {
	for i := range p.columns {
		if p.columns[i].Ignored != IgnoredUnnamed {
			count++
		}
	}
	return count
}

// nullWords are what programs write for no value, whatever the column is.
var nullWords = []string{"NULL", `\N`, "(null)", "<null>", "[NULL]", "#N/A"}

// fillers are what people write for no value, as far as the field can have none of them as its value.
var fillers = []string{"n/a", "none", "nil", "null", "nan", "undefined", "-", "--", "–", "—"}

// spreadsheetErrors are what a spreadsheet shows, and saves as CSV, where a formula has failed.
var spreadsheetErrors = []string{"#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#GETTING_DATA"}

// own reports whether a column is an attribute by its name or the caller's word, whose
// texts are what they are.
func (c *column) own() bool { return c.single != "" && !c.kept }

// missing reports whether a cell holds nothing, or a word for nothing. Where a column says
// who may log in, or for how long, only a program's word is one.
func (c *column) missing(cell *cell) bool {
	if cell.empty() {
		return true
	}
	if cell.exact || cell.value != nil || len(cell.text) > 16 || c.own() {
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
		return strings.EqualFold(text, "n/a")
	case "email", "phone", "country":
		return true
	}
	field, ok := userkit.UserField(c.Field)
	return ok && field.Kind != userkit.KindText && field.Kind != userkit.KindCode
}
