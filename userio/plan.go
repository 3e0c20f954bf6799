package userio

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/userkit/userkit"
	"golang.org/x/text/unicode/norm"
)

// plan assigns the columns of a table to fields, and makes records of its rows.
type plan struct {
	options ImportOptions
	open    bool // rows may add columns
	columns []column
	taken   map[string]int // by field: the column that it is
	shared  bool           // two columns are one field, which a row may have once
	whole   int            // the column of all attributes; -1: none
	sample  []tableRow     // the first rows
	before  place          // of the row before
	apart   bool           // which is about the file
}

// column is a column of a table that is read.
type column struct {
	ColumnUse
	refused bool                       // a row may not have it
	read    func(c *cell) (any, error) // nil: ignored
	clear   any                        // what an empty cell sets with ClearEmpty; nil: nothing
	key     int                        // in keyFields; -1: none of them
	decides bool                       // it may say which user a row is about
	hand    bool                       // the caller says what it is
	part    string                     // of a field: one of the parts
	single  string                     // the name of the attribute that it is
	kept    bool                       // an attribute only because it is no field
}

// newPlan decides on the headings that are known so far, with regard to the first rows. open means
// that later rows may add headings.
func newPlan(options ImportOptions, open bool, headings []string, sample []tableRow) (*plan, error) {
	p := &plan{options: options, open: open, taken: map[string]int{}, whole: -1, sample: sample}
	if options.Zone == nil {
		p.options.Zone = time.UTC
	}
	for heading, field := range options.Columns {
		if field == "-" || partField(field) != "" {
			continue
		}
		if known, ok := userkit.UserField(field); !(ok && known.Settable()) && !isAttribute(field) {
			return nil, userkit.NewError(userkit.CodeUnknownField, clip(field), "column %q cannot be the field %q; the fields are %s", clip(heading), clip(field), knownFields())
		}
	}
	if err := p.extend(headings); err != nil {
		return nil, err
	}
	if open && len(sample) == 0 {
		return p, nil
	}
	for _, heading := range slices.Sorted(maps.Keys(options.Columns)) {
		if !open && !slices.ContainsFunc(headings, func(other string) bool { return sameHeading(heading, other) }) {
			return nil, userkit.NewError(userkit.CodeUnknownField, "columns", "the file has no column %q; its columns are %s", clip(heading), listed(headings))
		}
	}
	return p, p.checkKey(headings)
}

// checkKey checks that a column identifies the user of a row.
func (p *plan) checkKey(headings []string) error {
	field, wanted := "key", "id, extref, login or email"
	if p.options.Key != "" {
		field, wanted = p.options.Key, p.options.Key
	}
	var may strings.Builder
	for _, c := range p.columns {
		switch {
		case c.key < 0:
		case p.options.Key != "" && keyFields[c.key] != p.options.Key:
		case c.decides:
			return nil
		default:
			may.WriteString("; " + strconv.Quote(clip(c.Heading)) + " may be " + keyFields[c.key] + ", which the caller has to say")
		}
	}
	for _, c := range p.columns {
		if c.Suggested != "" && (p.options.Key == "" || p.options.Key == c.Suggested) {
			may.WriteString("; " + strconv.Quote(clip(c.Heading)) + " may be " + c.Suggested + ", which the caller has to say")
		}
	}
	return userkit.NewError(userkit.CodeRequired, field, "the file has no column %s, which says which user a row is about%s; its columns are %s; the fields are %s",
		wanted, may.String(), listed(headings), knownFields())
}

// isAttribute reports whether a text names a single attribute.
func isAttribute(field string) bool {
	return strings.HasPrefix(field, attributePrefix) && new(userkit.UserDraft).Set(field, nil) == nil
}

// extend decides on new headings. Columns that the caller assigns or that have the name of a field
// come first, and then what other programs call the remaining fields.
func (p *plan) extend(headings []string) error {
	first := len(p.columns)
	if len(headings) == first {
		return nil
	}
	for _, heading := range headings[first:] {
		p.columns = append(p.columns, column{ColumnUse: ColumnUse{Heading: heading}, key: -1})
		at := len(p.columns) - 1
		field, hand := p.named(heading)
		if field == "" && sameHeading(heading, ReasonHeading) {
			p.columns[at].Ignored = IgnoredReason
		}
		if field != "" {
			p.columns[at].hand = hand
			p.columns[at].decides = true
			if err := p.assign(at, field, false); err != nil {
				return err
			}
			p.letGo(at)
		}
	}
	for at := first; at < len(p.columns); at++ {
		if c := &p.columns[at]; c.undecided() {
			field := guess(c.Heading)
			if _, taken := p.taken[field]; taken && field == "status" {
				field = partState // a second one
			} else if field == "" || taken || partField(field) == "name" {
				continue
			}
			if field == partState && !p.statesOnly(at) {
				continue
			}
			c.Guessed = true
			if err := p.assign(at, field, false); err != nil {
				return err
			}
			p.letGo(at)
		}
	}
	_, named := p.taken["name"]
	for at := first; at < len(p.columns); at++ {
		c := &p.columns[at]
		if !c.undecided() {
			continue
		}
		if part := guess(c.Heading); partField(part) == "name" && p.options.UnknownColumns != UnknownRefuse {
			if !named {
				c.Guessed = true
				if err := p.assign(at, part, false); err != nil {
					return err
				}
				continue
			}
			c.part = part // for rows whose name is empty
		}
		p.offer(c)
		if err := p.unknown(at); err != nil {
			return err
		}
	}
	return nil
}

// undecided reports whether nothing has been decided about a column.
func (c *column) undecided() bool { return c.Field == "" && c.Ignored == "" }

// letGo releases a column from its field if the caller has not assigned it and none of its first
// values can be read as that field.
func (p *plan) letGo(at int) {
	c := &p.columns[at]
	if c.hand || c.read == nil || c.single != "" || p.options.UnknownColumns == UnknownRefuse {
		return
	}
	field := c.Field
	if c.key >= 0 && field != "id" {
		return
	}
	var fault error
	for i := range p.sample {
		row := &p.sample[i]
		if at >= len(row.cells) || c.missing(&row.cells[at]) {
			continue
		}
		cell := &row.cells[at]
		value, err := c.read(cell)
		if err == nil {
			err = p.plausible(field, value)
		}
		if err == nil || p.concernsRights(c, cell) {
			return
		}
		if fault == nil {
			fault = err
		}
	}
	if fault == nil {
		return
	}
	if p.taken[field] == at {
		delete(p.taken, field)
	}
	if p.whole == at {
		p.whole = -1
	}
	text := fault.Error()
	if typed, ok := errors.AsType[*userkit.Error](fault); ok {
		text = typed.Message
	}
	p.columns[at] = column{ColumnUse: ColumnUse{Heading: c.Heading, Note: "not " + field + ": " + text}, key: -1}
}

// concernsRights reports whether a cell that cannot be read determines what a user may do. Its row
// is rejected, since as an attribute it would let the user in, or for longer. A number under a
// heading that does not mention a time is about something else.
func (p *plan) concernsRights(c *column, cell *cell) bool {
	_, notTruth := truth(cell.text)
	number, notNumber := strconv.ParseFloat(strings.TrimSpace(cell.text), 64)
	heading := plainHeading(c.Heading)
	switch {
	case c.Field == "expires_at":
		return true
	case c.Field != "status":
		return false
	case c.part == "":
		return notTruth != nil
	case c.part == partUntil, c.part == partControl, c.part == partDisabled && (strings.HasSuffix(heading, "at") || strings.HasSuffix(heading, "on")):
		return true
	}
	counts := notNumber == nil && number >= 0 && !math.IsInf(number, 0)
	return !counts
}

// plausible returns what is wrong with a value that the manager would refuse, or nil.
func (p *plan) plausible(field string, value any) error {
	text, _ := value.(string)
	switch field {
	case "id":
		if id, err := userkit.ParseID[userkit.User](text); err != nil || id.String()[14] != '7' {
			return userkit.NewError(userkit.CodeBadFormat, "id", "%q is not an id of userkit", clip(text))
		}
	case "country":
		if len(text) != 2 {
			return userkit.NewError(userkit.CodeBadFormat, "country", "%q is not a country", clip(text))
		}
	case "phone":
		parse := p.options.Phones
		if parse == nil {
			parse = userkit.ParsePhone
		}
		if _, err := parse(text); err != nil && !strings.HasPrefix(text, "+") {
			return userkit.NewError(userkit.CodeBadFormat, "phone", "%q cannot be read as a telephone number", clip(text))
		}
	default:
		known, _ := userkit.UserField(field)
		if known.Values != nil && !slices.Contains(known.Values, text) {
			return userkit.NewError(userkit.CodeUnknownValue, field, "%q is not one of %s", clip(text), strings.Join(known.Values, ", "))
		}
	}
	return nil
}

// offer suggests a field for an id of another system.
func (p *plan) offer(c *column) {
	if _, taken := p.taken["extref"]; !taken && slices.Contains(foreignIDs, normalHeading(c.Heading)) {
		c.Suggested = "extref"
	}
}

// named returns the field that the caller assigns to a heading (hand), or the field that has the
// heading as its name.
func (p *plan) named(heading string) (field string, hand bool) {
	if field, ok := p.options.Columns[heading]; ok {
		return field, true
	}
	for other, field := range p.options.Columns {
		if sameHeading(heading, other) {
			return field, true
		}
	}
	if field, ok := p.options.preset[heading]; ok {
		if _, taken := p.taken[field]; !taken {
			return field, true
		}
	}
	trimmed := strings.TrimSpace(heading)
	if rest := len(attributePrefix); len(trimmed) > rest && strings.EqualFold(trimmed[:rest], attributePrefix) && isAttribute(attributePrefix+trimmed[rest:]) {
		return attributePrefix + trimmed[rest:], false
	}
	return fieldNames[normalHeading(heading)], false
}

// assign assigns a column to a field. kept means that it is an attribute only because it is no
// field.
func (p *plan) assign(at int, field string, kept bool) error {
	c := &p.columns[at]
	if field == "-" {
		c.Ignored = IgnoredByOption
		return nil
	}
	if of := partField(field); of != "" {
		c.Field, c.part = of, field
		text := func(read func(string) (any, error)) func(*cell) (any, error) {
			return func(c *cell) (any, error) { return read(c.text) }
		}
		switch field {
		case partEnabled:
			c.read = text(readEnabled)
		case partDisabled:
			c.read = p.readDisabled
		case partUntil:
			c.read = p.readUntil
		case partState:
			c.read = text(readStatus)
		case partControl:
			c.read = text(readControl)
		default:
			c.read = text(func(text string) (any, error) { return text, nil })
		}
		return nil
	}
	name, single := strings.CutPrefix(field, attributePrefix)
	known, ok := userkit.UserField(field)
	if !single && (!ok || !known.Settable()) {
		c.Ignored = IgnoredReadOnly
		return nil
	}
	if other, taken := p.taken[field]; taken {
		if !p.open {
			return userkit.NewError(userkit.CodeBadFormat, clip(field), "the columns %q and %q are both %s", clip(p.columns[other].Heading), clip(c.Heading), field)
		}
		p.shared = true
	} else {
		p.taken[field] = at
	}
	c.Field = field
	if single {
		c.single, c.kept, c.read = name, kept, attributeCell
		if kept {
			c.read = keptCell
		}
		return nil
	}
	c.key = slices.Index(keyFields[:], field)
	c.read = p.reader(known)
	c.clear = emptyValue(known)
	if known.Kind == userkit.KindJSON {
		p.whole = at
	}
	return nil
}

// unknown decides on a column that is no field.
func (p *plan) unknown(at int) error {
	c := &p.columns[at]
	switch {
	case strings.TrimSpace(c.Heading) == "":
		c.Ignored = IgnoredUnnamed
	case (isSecret(c.Heading) || p.holdsHashes(at)) && p.options.UnknownColumns != UnknownRefuse:
		c.Ignored = IgnoredSecret
		c.Note = "not kept, since it looks like passwords or other secrets; map it to attributes." + attributeName(c.Heading, at+1) + " to keep it"
	case p.options.UnknownColumns == UnknownIgnore:
		c.Ignored = IgnoredUnknown
	case p.options.UnknownColumns == UnknownRefuse:
		c.Ignored, c.refused = IgnoredUnknown, true
		if !p.open {
			headings := make([]string, len(p.columns))
			for i := range p.columns {
				headings[i] = p.columns[i].Heading
			}
			return userkit.NewError(userkit.CodeUnknownField, clip(c.Heading), "the column %q is not a field of a user; the columns are %s; the fields are %s",
				clip(c.Heading), listed(headings), knownFields())
		}
	default:
		base := attributeName(c.Heading, at+1)
		name := base
		for n := 2; ; n++ {
			if _, taken := p.taken[attributePrefix+name]; !taken {
				break
			}
			suffix := "_" + strconv.Itoa(n)
			name = firstCharacters(base, userkit.MaxAttributeName-len(suffix)) + suffix
		}
		return p.assign(at, attributePrefix+name, true)
	}
	return nil
}

func errUnknownColumn(heading string) *userkit.Error {
	return userkit.NewError(userkit.CodeUnknownField, clip(heading), "the column %q is not a field of a user", clip(heading))
}

// attributeName returns the name of the attribute for a heading: the heading if it can be a name,
// or else its letters and digits in lower case, with '_' for whatever is between them. A heading
// that has no letter becomes column_<number>.
func attributeName(heading string, number int) string {
	heading = norm.NFC.String(strings.TrimSpace(heading))
	if isAttribute(attributePrefix + heading) {
		return heading
	}
	words := strings.FieldsFunc(strings.ToLower(heading), func(r rune) bool {
		return !unicode.In(r, unicode.L, unicode.M, unicode.Nd) || !isAttribute(attributePrefix+"x"+string(r))
	})
	name := strings.TrimLeftFunc(strings.Join(words, "_"), func(r rune) bool { return !unicode.IsLetter(r) })
	name = norm.NFC.String(strings.TrimRight(firstCharacters(name, userkit.MaxAttributeName), "_"))
	if !isAttribute(attributePrefix + name) {
		return "column_" + strconv.Itoa(number)
	}
	return name
}

// firstCharacters returns at most the given number of characters from the beginning of a text.
func firstCharacters(text string, most int) string {
	for i := range text {
		if most--; most < 0 {
			return text[:i]
		}
	}
	return text
}

// draft makes a record of a row.
func (p *plan) draft(row *tableRow, record *userkit.UserImport) (rowKeys, *rowError) {
	if p.shared {
		if broken := p.checkShared(row); broken != nil {
			return rowKeys{}, broken
		}
	}
	var whole userkit.Attributes // nil: the row does not set all attributes
	if p.whole >= 0 && p.whole < len(row.cells) {
		if c := &p.columns[p.whole]; !row.cells[p.whole].empty() {
			value, err := c.read(&row.cells[p.whole])
			if err != nil {
				return rowKeys{}, p.blame(c, err)
			}
			whole = value.(userkit.Attributes)
		} else if p.options.ClearEmpty && !row.cells[p.whole].absent {
			whole = userkit.Attributes{}
		}
	}

	var keys [len(keyFields)]string
	var name [len(nameParts)]string
	status, named := "", false
	for at := range row.cells {
		c, cell := &p.columns[at], &row.cells[at]
		missing := c.missing(cell)
		if part := slices.Index(nameParts[:], c.part); part >= 0 && !cell.absent {
			if name[part] == "" && !missing {
				name[part] = strings.TrimSpace(cell.text)
			}
			if c.single == "" {
				continue
			}
		}
		if cell.absent || c.read == nil || at == p.whole {
			if c.refused && !cell.absent {
				return rowKeys{}, &rowError{column: c.Heading, err: errUnknownColumn(c.Heading)}
			}
			continue
		}
		var value any
		var err error
		switch {
		case strings.HasPrefix(cell.text, "#") && slices.Contains(spreadsheetErrors, cell.text) && !cell.exact && !c.own():
			err = userkit.NewError(userkit.CodeBadFormat, "", "%q is the error of a formula, not a value", cell.text)
		case !missing || cell.exact && c.single != "" && !c.kept:
			value, err = c.read(cell)
		case !p.options.ClearEmpty || c.single == "" && c.clear == nil:
			continue
		default:
			value = c.clear
		}
		switch {
		case err != nil:
		case c.Field == "status":
			status = stricter(status, value.(string))
		case c.single != "" && whole != nil:
			if value == nil {
				delete(whole, c.single)
			} else {
				whole[c.single] = value
			}
		default:
			err = record.Draft.Set(c.Field, value)
		}
		if err != nil {
			return rowKeys{}, p.blame(c, err)
		}
		if c.key >= 0 {
			keys[c.key] = value.(string)
		}
		named = named || c.Field == "name" && !missing
	}
	if status != "" {
		if err := record.Draft.Set("status", status); err != nil {
			return rowKeys{}, p.blame(&p.columns[p.taken["status"]], err)
		}
	}
	if full := strings.Join(slices.DeleteFunc(name[:], func(part string) bool { return part == "" }), " "); full != "" && !named {
		if err := record.Draft.Set("name", full); err != nil {
			return rowKeys{}, &rowError{err: userkit.NewError(userkit.CodeBadFormat, "name", "").Because(err)}
		}
	}
	if whole != nil {
		if err := record.Draft.Set("attributes", whole); err != nil {
			return rowKeys{}, p.blame(&p.columns[p.whole], err)
		}
	}
	return p.setKey(&keys, record)
}

// checkShared refuses a row that has values in two columns of one field.
func (p *plan) checkShared(row *tableRow) *rowError {
	seen := map[string]bool{}
	for at := range row.cells {
		c := &p.columns[at]
		if row.cells[at].absent || c.Field == "" {
			continue
		}
		if seen[c.Field] {
			return &rowError{column: c.Heading, err: userkit.NewError(userkit.CodeBadFormat, c.Field, "a second value of %s in one row", c.Field)}
		}
		seen[c.Field] = true
	}
	return nil
}

// setKey determines which user a record is about.
func (p *plan) setKey(values *[len(keyFields)]string, record *userkit.UserImport) (hashes rowKeys, broken *rowError) {
	chosen := -1
	for i, value := range values {
		if value == "" {
			continue
		}
		key := makeKey(i, value)
		hashes[i] = hashKey(key)
		if chosen < 0 && p.decides(i) {
			chosen = i
			record.Key = key
		}
	}
	switch {
	case chosen >= 0:
		return hashes, nil
	case p.options.Key != "":
		return hashes, &rowError{column: p.headingOf(p.options.Key), err: userkit.NewError(userkit.CodeRequired, p.options.Key, "the record does not say which user it is about")}
	default:
		return hashes, &rowError{err: userkit.NewError(userkit.CodeRequired, "key", "no id, extref, login or email says which user this is")}
	}
}

// decides reports whether a key field may identify the user of a row.
func (p *plan) decides(field int) bool {
	if p.options.Key != "" && p.options.Key != keyFields[field] {
		return false
	}
	at, ok := p.taken[keyFields[field]]
	return ok && (p.columns[at].decides || p.shared)
}

func makeKey(field int, value string) userkit.UserKey {
	switch keyFields[field] {
	case "id":
		id, _ := userkit.ParseID[userkit.User](value) // was parsed before
		return userkit.ByID(id)
	case "extref":
		return userkit.ByExtRef(value)
	case "login":
		return userkit.ByLogin(value)
	}
	return userkit.ByEmail(value)
}

// blame returns the error that a column of a row is wrong.
func (p *plan) blame(c *column, err error) *rowError {
	fault, ok := errors.AsType[*userkit.Error](err)
	if !ok {
		fault = userkit.NewError(userkit.CodeBadFormat, c.Field, "").Because(err)
	}
	if fault.Field == "" {
		fault.Field = c.Field
	}
	return &rowError{column: c.Heading, err: fault}
}

// heading returns the heading of the column whose field an error blames.
func (p *plan) heading(err error) string {
	fault, ok := errors.AsType[*userkit.Error](err)
	if !ok {
		return ""
	}
	if column, ok := limitColumns[fault.Field]; ok {
		return p.headingOf(column)
	}
	return p.headingOf(fault.Field)
}

// limitColumns are the columns of the parts of a traffic limit, which errors name differently.
var limitColumns = map[string]string{
	"traffic_limit.bytes":      "traffic_limit",
	"traffic_limit.reset":      "traffic_reset",
	"traffic_limit.anchor_day": "traffic_anchor_day",
}

// headingOf returns the heading of the column of a field, or "" if there is none.
func (p *plan) headingOf(field string) string {
	if at, ok := p.taken[field]; ok {
		return p.columns[at].Heading
	}
	return ""
}

// attributeCell reads a cell of a column that has the name of an attribute.
func attributeCell(c *cell) (any, error) {
	if _, isTime := c.value.(time.Time); c.exact || isTime {
		return c.text, nil
	}
	if c.value != nil {
		return c.value, nil
	}
	return userkit.ParseAttribute(c.text), nil
}

// keptCell reads a cell of a column of another program. A text remains a text even if it looks like
// a number, since later rows may contain other texts.
func keptCell(c *cell) (any, error) {
	if _, isTime := c.value.(time.Time); c.value == nil || isTime {
		text, _ := withoutSecrets(c.text)
		return text, nil
	}
	value, _ := withoutSecrets(c.value)
	return value, nil
}

// emptyValue returns the value that clears a field, or nil if the field always has a value.
func emptyValue(field userkit.Field[userkit.User]) any {
	switch {
	case field.Values != nil || field.Name == "id" || field.Name == "currency" || field.Name == "registered_at":
		return nil
	case field.Kind == userkit.KindText || field.Kind == userkit.KindCode:
		return ""
	case field.Kind == userkit.KindTime:
		return time.Time{}
	case field.Kind == userkit.KindSpan:
		return userkit.Duration(0)
	}
	return nil
}

// reader returns the function that reads the cells of a field.
func (p *plan) reader(field userkit.Field[userkit.User]) func(*cell) (any, error) {
	text := func(read func(string) (any, error)) func(*cell) (any, error) {
		return func(c *cell) (any, error) {
			switch c.value.(type) {
			case []any, map[string]any:
				return nil, userkit.NewError(userkit.CodeBadFormat, field.Name, "a list or an object, not a single value")
			}
			if rounds(field, c) {
				return nil, userkit.NewError(userkit.CodeBadFormat, field.Name, "%q has lost its last digits: format the column as text and enter them again", clip(c.text))
			}
			return read(c.text)
		}
	}
	switch {
	case field.Name == "status":
		return text(readStatus)
	case field.Name == "country":
		return text(func(text string) (any, error) { return country(text), nil })
	case field.Kind == userkit.KindTime:
		return func(c *cell) (any, error) { return p.time(field, c) }
	case field.Kind == userkit.KindJSON:
		return attributes
	case field.Kind == userkit.KindBool:
		return text(truth)
	}
	return text(func(text string) (any, error) { return field.Parse(text, p.options.Zone) })
}

// rounds reports whether the cell of a text field contains a number that a spreadsheet has rounded,
// such as 1.15123E+20: different texts have then become one.
func rounds(field userkit.Field[userkit.User], c *cell) bool {
	if field.Kind != userkit.KindText && field.Kind != userkit.KindCode {
		return false
	}
	if number, ok := c.value.(float64); ok {
		return math.Abs(number) >= 1<<53
	}
	switch field.Name {
	case "extref", "phone", "login":
	default:
		return false
	}
	text := strings.ReplaceAll(strings.TrimSpace(c.text), ",", ".")
	at := strings.IndexAny(text, "eE")
	if c.exact || at < 1 || strings.Trim(text[:at], "0123456789.") != "" || !strings.HasPrefix(text[at+1:], "+") {
		return false
	}
	return strings.Trim(text[at+2:], "0123456789") == "" && strings.Contains(text[:at], ".")
}

// enumeration returns a value of an enumeration as userkit writes it.
func enumeration(text string) string {
	return wordGaps.Replace(strings.ToLower(strings.TrimSpace(text)))
}

var wordGaps = strings.NewReplacer(" ", "_", "-", "_")

// Values that mean the same in several columns, by the kind of field.
var (
	truthField = userkit.Field[userkit.User]{Kind: userkit.KindBool}
	timeField  = userkit.Field[userkit.User]{Kind: userkit.KindTime}
)

// time reads a cell of a field of times.
func (p *plan) time(field userkit.Field[userkit.User], c *cell) (any, error) {
	if t, ok := c.value.(time.Time); ok {
		if p.options.Zone != time.UTC {
			t = time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), p.options.Zone)
		}
		return t.UTC(), nil
	}
	text := strings.TrimSpace(c.text)
	if field.Name == "expires_at" && slices.Contains(neverWords, strings.ToLower(text)) {
		return time.Time{}, nil
	}
	if match := dottedDate.FindStringSubmatch(text); match != nil { // which is of no country that begins with the month
		text = fmt.Sprintf("%s-%02s-%02s%s", match[3], match[2], match[1], match[4])
	}
	return field.Parse(text, p.options.Zone)
}

// dottedDate matches a date such as 31.12.2026, with or without a time of day.
var dottedDate = regexp.MustCompile(`^(\d{1,2})\.(\d{1,2})\.(\d{4})( \d{2}:\d{2}(?::\d{2})?)?$`)

// neverWords are the values of a column of expirations that mean that a user does not expire.
var neverWords = []string{"never", "unlimited", "no expiry", "does not expire", "doesn't expire", "nie", "unbegrenzt", "jamais", "nunca", "mai", "никогда", "бессрочно", "never expires"}

// attributes reads a cell of all attributes.
func attributes(c *cell) (any, error) {
	value := c.value
	if value == nil {
		return userkit.KindJSON.Parse(c.text)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, userkit.NewError(userkit.CodeBadFormat, "", "%q is not a JSON object", clip(c.text))
	}
	return userkit.Attributes(object), nil
}
