package userkit

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ParseFilter reads a filter in the grammar of SCIM 2.0 (RFC 7644, section
// 3.4.2.2), such as
//
//	status eq "active" and (name co "ada" or attributes.plan eq "gold")
//
// The operators are eq, ne, co, sw, ew, pr, gt, ge, lt and le; and binds tighter
// than or, and not takes its operand in brackets. A value is a JSON string, a
// JSON number, true, false or null. A condition on attributes may be written
// attributes[plan eq "gold" and seats gt 5], and a condition on the objects of a list as
// attributes.addr[type eq "work" and zip sw "1"]. An empty text is the zero Filter.
//
// It returns ErrInvalid with CodeFilterSyntax for a text that does not conform to this grammar,
// CodeUnknownField, CodeUnknownValue, CodeBadFormat, CodeOutOfRange, CodeRequired, and CodeTooLong
// beyond the bounds of a filter. Error.Field is "filter", and Error.Position is the position of the
// character at fault.
func ParseFilter(text string) (Filter, error) {
	if len(text) > MaxFilterBytes {
		return Filter{}, NewError(CodeTooLong, "filter", "%d bytes exceed the limit of %d", len(text), MaxFilterBytes)
	}
	p := &filterParser{text: text}
	root, err := p.filter()
	if err == nil {
		var parsed Filter
		if parsed, err = (Filter{root}).check(); err == nil {
			return parsed, nil
		}
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Position == 0 {
		e.Position = utf8.RuneCountInString(text[:min(p.at, len(text))]) + 1
	}
	return Filter{}, err
}

// filterParser reads a filter by recursive descent.
type filterParser struct {
	text        string
	at          int      // the byte to read next; in an error, the byte at fault
	comparisons int      // so far
	inside      bool     // of attributes[…]
	path        []string // of the brackets; empty: of the attributes
	written     string   // what precedes them
}

func (p *filterParser) filter() (Expression, error) {
	if !utf8.ValidString(p.text) {
		for p.at < len(p.text) {
			r, size := utf8.DecodeRuneInString(p.text[p.at:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			p.at += size
		}
		return nil, NewError(CodeBadText, "filter", "the text is not valid UTF-8")
	}
	p.space()
	if p.at == len(p.text) {
		return nil, nil
	}
	root, err := p.or(1)
	if err != nil {
		return nil, err
	}
	if p.at < len(p.text) {
		return nil, p.unexpected("and, or, or the end")
	}
	return root, nil
}

func (p *filterParser) or(depth int) (Expression, error) {
	parts, err := p.joined(depth, "or", p.and)
	if err != nil || len(parts) == 1 {
		return first(parts), err
	}
	return OrExpression(parts), nil
}

func (p *filterParser) and(depth int) (Expression, error) {
	parts, err := p.joined(depth, "and", p.operand)
	if err != nil || len(parts) == 1 {
		return first(parts), err
	}
	return AndExpression(parts), nil
}

func first(parts []Expression) Expression {
	if len(parts) == 0 {
		return nil
	}
	return parts[0]
}

// joined reads operands with a word between them.
func (p *filterParser) joined(depth int, word string, operand func(int) (Expression, error)) ([]Expression, error) {
	var parts []Expression
	for {
		part, err := operand(depth)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		if !p.word(word) {
			return parts, nil
		}
	}
}

// operand reads a comparison, or a filter in brackets with or without not.
func (p *filterParser) operand(depth int) (Expression, error) {
	if depth > MaxFilterDepth {
		return nil, NewError(CodeTooLong, "filter", "nested more than %d levels deep", MaxFilterDepth)
	}
	begin := p.at
	if p.word("not") {
		if p.symbol('(') {
			of, err := p.bracket(depth, ')')
			return NotExpression{of}, err
		}
		if p.peekOperator() { // a field or an attribute that is called not
			p.at = begin
			return p.comparison(depth)
		}
		return nil, p.unexpected("( after not")
	}
	if p.symbol('(') {
		return p.bracket(depth, ')')
	}
	return p.comparison(depth)
}

// bracket reads a filter up to the closing bracket.
func (p *filterParser) bracket(depth int, closing byte) (Expression, error) {
	inner, err := p.or(depth + 1)
	if err != nil {
		return nil, err
	}
	if !p.symbol(closing) {
		return nil, p.unexpected("and, or, or " + string(closing))
	}
	return inner, nil
}

func (p *filterParser) comparison(depth int) (Expression, error) {
	begin := p.at
	name := p.name()
	if name == "" {
		return nil, p.unexpected("the name of a field")
	}
	c := Comparison{}
	if p.inside {
		c.Field, c.Path = attributesField, strings.Split(name, ".")
	} else {
		field, path, nested := strings.Cut(name, ".")
		c.Field = strings.ToLower(field)
		if nested {
			c.Path = strings.Split(path, ".")
		}
		if c.Field == attributesField && p.symbol('[') {
			if nested {
				if err := (ElementExpression{Path: c.Path, Of: c}).check(); err != nil {
					p.at = begin
					return nil, err
				}
			}
			p.inside, p.path, p.written = true, c.Path, name+"."
			inner, err := p.bracket(depth, ']')
			p.inside, p.path, p.written = false, nil, ""
			if err != nil || !nested {
				return inner, err
			}
			return ElementExpression{Path: c.Path, Of: inner}, nil
		}
	}
	p.space()
	operator := p.name()
	c.Operator = Operator(strings.ToLower(operator))
	if !knownOperator(c.Operator) {
		p.at -= len(operator)
		return nil, p.unexpected("an operator (eq, ne, co, sw, ew, pr, gt, ge, lt, le)")
	}
	p.space()
	valueAt := p.at
	if c.Operator != OpPresent {
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		c.Value = value
	}
	if p.comparisons++; p.comparisons > MaxFilterComparisons {
		p.at = begin
		return nil, NewError(CodeTooLong, "filter", "the filter has more than %d comparisons", MaxFilterComparisons)
	}
	relative := c.Path
	if p.inside { // errors name all of the path
		c.Path = append(slices.Clone(p.path), relative...)
	}
	checked, err := c.check()
	checked.Path = relative
	if err != nil {
		if p.at = begin; ErrorCode(err) != CodeUnknownField {
			p.at = valueAt
			return nil, err
		}
		return nil, NewError(CodeUnknownField, "filter", "unknown field %q", clip(p.written+name))
	}
	p.space()
	return checked, nil
}

func knownOperator(operator Operator) bool {
	switch operator {
	case OpEqual, OpNotEqual, OpContains, OpStartsWith, OpEndsWith, OpPresent:
		return true
	}
	return operator.ordered()
}

// value reads a JSON string, number, true, false or null.
func (p *filterParser) value() (any, error) {
	rest := p.text[p.at:]
	if strings.HasPrefix(rest, `"`) {
		end := closingQuote(rest)
		if end < 0 {
			return nil, p.syntax("the text has no closing quotation mark")
		}
		var value string
		err := json.Unmarshal([]byte(rest[:end]), &value)
		// encoding/json replaces half of a surrogate pair, which is not a character.
		if half := strings.ContainsRune(value, utf8.RuneError) && strings.Contains(strings.ToLower(rest[:end]), `\ud`); err != nil || half {
			return nil, p.syntax("the text is not a valid JSON string")
		}
		p.at += end
		return value, nil
	}
	end := strings.IndexAny(rest, " \t\r\n()[]")
	if end < 0 {
		end = len(rest)
	}
	word := rest[:end]
	var value any
	switch {
	case strings.EqualFold(word, "true"):
		value = true
	case strings.EqualFold(word, "false"):
		value = false
	case strings.EqualFold(word, "null"):
	case word != "" && json.Valid([]byte(word)): // a number; other values of one word were above
		whole, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			number, err := strconv.ParseFloat(word, 64)
			if err != nil {
				return nil, NewError(CodeOutOfRange, "filter", "%s does not fit into 64 bits", clip(word))
			}
			value = number
		} else {
			value = whole
		}
	default:
		return nil, p.unexpected(`a value: a text in quotation marks, a number, true, false or null`)
	}
	p.at += end
	return value, nil
}

// closingQuote returns the length of the JSON string that text begins with, or -1.
func closingQuote(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// name reads letters, digits and the signs that names hold.
func (p *filterParser) name() string {
	begin := p.at
	for _, r := range p.text[begin:] {
		if r != '.' && !nameCharacter(r) {
			break
		}
		p.at += utf8.RuneLen(r)
	}
	return p.text[begin:p.at]
}

// word reads a word, in capitals or not, and the space after it.
func (p *filterParser) word(word string) bool {
	begin := p.at
	if !strings.EqualFold(p.name(), word) {
		p.at = begin
		return false
	}
	p.space()
	return true
}

// peekOperator reports whether an operator comes next.
func (p *filterParser) peekOperator() bool {
	begin := p.at
	operator := p.name()
	p.at = begin
	return knownOperator(Operator(strings.ToLower(operator)))
}

// symbol reads a sign and the space after it.
func (p *filterParser) symbol(sign byte) bool {
	if p.at >= len(p.text) || p.text[p.at] != sign {
		return false
	}
	p.at++
	p.space()
	return true
}

func (p *filterParser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

func (p *filterParser) syntax(format string, args ...any) error {
	return NewError(CodeFilterSyntax, "filter", format, args...)
}

// unexpected returns an error that says what is expected at the parser's position.
func (p *filterParser) unexpected(wanted string) error {
	if p.at >= len(p.text) {
		return p.syntax("the filter ends where %s is expected", wanted)
	}
	return p.syntax("found %q where %s is expected", clip(firstWord(p.text[p.at:])), wanted)
}

// firstWord returns what an error shows of the text at fault.
func firstWord(text string) string {
	end := strings.IndexAny(text, " \t\r\n()[]")
	switch {
	case end > 0:
		return text[:end]
	case end == 0:
		return text[:1]
	}
	return text
}
