package userkit

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit/internal/jsonvalue"
)

// Filter is a condition on users: comparisons of fields, joined by and, or and not. Every user
// matches the zero Filter. A Filter is immutable.
//
// ParseFilter makes a filter from a text; the constructors Equal, Contains, AllOf and others make
// one in Go. String returns its text, which is also its JSON form.
//
// Comparisons have the same meaning on every store:
//
//   - Fields are those of UserFields and DerivedUserFields, attributes.<path>
//     for a free-form attribute, and segment (see below). Names and operators are not
//     case-sensitive; the names of attributes are.
//   - Texts (KindText, and the texts among attributes) compare by their whole
//     folded form (see Fold). Codes compare byte by byte.
//   - Numbers, times, spans, money and ids compare by value. Money is
//     written "12.50 EUR" and compares with balances in that currency only, or
//     as a bare number of minor units, which compares with every balance. A time
//     is written as in RFC 3339, or as 2026-01-02 for the beginning of that day
//     in UTC; a span as in 720h or 1h30m.
//   - A field may have no value: an empty text, no time, an attribute that is
//     missing, null, empty, an empty list or an empty object. pr says whether
//     there is a value. Without one, eq holds against null and "" alone, and
//     every order (gt, ge, lt, le) and part (co, sw, ew) is false. ne is always
//     the opposite of eq, so it holds for users without a value.
//   - An attribute that is a list compares as each of its elements: one match is enough. A
//     comparison with an element of another type is false. A path continues into each object of a
//     list: attributes.addr.type is the type of each of them. attributes.addr[type eq "work" and
//     zip sw "1"] matches users who have in addr an object that matches the whole condition; a
//     single object counts as a list of one.
//   - access, which has several values at once, is eq to each of them.
//   - segment eq "…" means: is in the segment with this id or this name.
type Filter struct {
	root Expression // nil: every user
}

// Bounds of a filter.
const (
	MaxFilterBytes       = 16 * 1024 // of its text
	MaxFilterDepth       = 32        // of expressions in one another
	MaxFilterComparisons = 256
)

// Operator is how a comparison compares (RFC 7644, section 3.4.2.2).
//
// For writers of stores.
type Operator string

// The operators.
const (
	OpEqual          Operator = "eq"
	OpNotEqual       Operator = "ne"
	OpContains       Operator = "co"
	OpStartsWith     Operator = "sw"
	OpEndsWith       Operator = "ew"
	OpPresent        Operator = "pr"
	OpGreater        Operator = "gt"
	OpGreaterOrEqual Operator = "ge"
	OpLess           Operator = "lt"
	OpLessOrEqual    Operator = "le"
)

// Expression is a part of a filter: AndExpression, OrExpression, NotExpression,
// ElementExpression or Comparison.
//
// For writers of stores.
type Expression interface{ expression() }

type (
	// AndExpression is true if all of its parts are true. It has at least two.
	//
	// For writers of stores.
	AndExpression []Expression
	// OrExpression is true if at least one of its parts is true. It has at least two.
	//
	// For writers of stores.
	OrExpression []Expression
	// NotExpression is true if its part is false.
	//
	// For writers of stores.
	NotExpression struct{ Of Expression }
	// ElementExpression is true if one of the objects at a path of the attributes matches a
	// condition. The comparisons in it are of the field "attributes", with paths relative to the
	// object, and it contains no ElementExpression.
	//
	// For writers of stores.
	ElementExpression struct {
		Path []string // not empty
		Of   Expression
	}
	// Comparison compares one field with a value.
	//
	// For writers of stores.
	Comparison struct {
		Field    string   // a name of UserFields or DerivedUserFields, or "segment"
		Path     []string // where in the attributes; only for Field "attributes", else nil
		Operator Operator

		// Value is, by the kind of the field: string (not folded yet), bool,
		// int64, time.Time (zero for null), Duration; Money or int64 for
		// KindMoney; nil, bool, int64, float64 or string for an attribute. For
		// OpPresent it is nil. For "segment" a store gets the text of the id of a
		// segment that is a list.
		Value any
	}
)

func (AndExpression) expression()     {}
func (OrExpression) expression()      {}
func (NotExpression) expression()     {}
func (ElementExpression) expression() {}
func (Comparison) expression()        {}

// FilterValue is the constraint of values that a field can be compared with.
type FilterValue interface {
	~string | ~bool | ~int | ~int64 | ~float64 | ~[16]byte | time.Time | Money
}

// Equal returns a filter that matches users whose field has the value; "" and the zero time mean no
// value. Whether the field exists and the value fits it is checked when the filter is used; the
// same holds for the other constructors.
func Equal[V FilterValue](field string, value V) Filter { return compare(field, OpEqual, value) }

// NotEqual returns a filter that is the opposite of Equal.
func NotEqual[V FilterValue](field string, value V) Filter {
	return compare(field, OpNotEqual, value)
}

// Contains returns a filter that matches users whose text contains the part.
func Contains(field, part string) Filter { return compare(field, OpContains, part) }

// StartsWith returns a filter that matches users whose text begins with the part.
func StartsWith(field, part string) Filter { return compare(field, OpStartsWith, part) }

// EndsWith returns a filter that matches users whose text ends with the part.
func EndsWith(field, part string) Filter { return compare(field, OpEndsWith, part) }

// Present returns a filter that matches users whose field has a value.
func Present(field string) Filter {
	name, path := splitField(field)
	return Filter{Comparison{Field: name, Path: path, Operator: OpPresent}}
}

// Greater returns a filter that matches users whose field comes after the value.
func Greater[V FilterValue](field string, value V) Filter { return compare(field, OpGreater, value) }

// GreaterOrEqual returns a filter that matches users whose field is the value or comes after it.
func GreaterOrEqual[V FilterValue](field string, value V) Filter {
	return compare(field, OpGreaterOrEqual, value)
}

// Less returns a filter that matches users whose field comes before the value.
func Less[V FilterValue](field string, value V) Filter { return compare(field, OpLess, value) }

// LessOrEqual returns a filter that matches users whose field is the value or comes before it.
func LessOrEqual[V FilterValue](field string, value V) Filter {
	return compare(field, OpLessOrEqual, value)
}

// AllOf returns a filter that matches users who match all of the filters. Without filters it
// matches every user.
func AllOf(filters ...Filter) Filter {
	var parts AndExpression
	for _, filter := range filters {
		if filter.root != nil {
			parts = append(parts, filter.root)
		}
	}
	switch len(parts) {
	case 0:
		return Filter{}
	case 1:
		return Filter{parts[0]}
	}
	return Filter{parts}
}

// AnyOf returns a filter that matches users who match at least one of the filters. Without filters
// it matches no user.
func AnyOf(filters ...Filter) Filter {
	var parts OrExpression
	for _, filter := range filters {
		if filter.root == nil {
			return Filter{}
		}
		parts = append(parts, filter.root)
	}
	switch len(parts) {
	case 0:
		return Not(Filter{})
	case 1:
		return Filter{parts[0]}
	}
	return Filter{parts}
}

// Not returns a filter that matches users who do not match the filter.
func Not(filter Filter) Filter {
	if filter.root == nil {
		filter = Present("id") // which everybody has
	}
	return Filter{NotExpression{filter.root}}
}

// AnyElement returns a filter that matches users who have, at a path of the attributes such as
// "attributes.addr", an object or a list of objects of which one matches a filter. The fields of
// that filter are those of the object, as in Equal("type", "work").
func AnyElement(path string, filter Filter) Filter {
	name, names := splitField(path)
	if name != attributesField {
		names = nil // which no check lets pass
	}
	of, _ := mapComparisons(filter.root, func(c Comparison) (Expression, error) {
		if c.Field != attributesField || len(c.Path) == 0 {
			c.Path = strings.Split(c.name(), ".")
		} else {
			c.Path = append([]string{c.Field}, c.Path...)
		}
		c.Field = attributesField
		return c, nil
	})
	return Filter{ElementExpression{Path: names, Of: of}}
}

// InSegment returns a filter that matches users who are in the segment.
func InSegment(id SegmentID) Filter { return Equal(segmentField, id) }

// segmentField is the name that filters use for memberships.
const segmentField = "segment"

// attributesField is the field whose parts comparisons name by a path.
const attributesField = "attributes"

func compare[V FilterValue](field string, operator Operator, value V) Filter {
	name, path := splitField(field)
	return Filter{Comparison{Field: name, Path: path, Operator: operator, Value: plainValue(value)}}
}

func splitField(field string) (name string, path []string) {
	if rest, ok := strings.CutPrefix(field, attributePrefix); ok {
		return attributesField, strings.Split(rest, ".")
	}
	return field, nil
}

// plainValue returns a value of a defined type as one of the types of Comparison.
func plainValue(value any) any {
	switch value := value.(type) {
	case time.Time, Money, Duration, string, bool, int64, float64:
		return value
	case time.Duration:
		return Duration(value)
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int64:
		return v.Int()
	case reflect.Float64:
		return v.Float()
	default:
		return UserID(v.Convert(reflect.TypeFor[UserID]()).Interface().(UserID)).String()
	}
}

// IsZero reports whether the filter is the zero Filter, which every user matches.
func (f Filter) IsZero() bool { return f.root == nil }

// Expression returns the filter's tree, which must not be changed; nil for the
// zero Filter.
func (f Filter) Expression() Expression { return f.root }

// Parts returns the filters that are joined by and at the top of the filter, so that AllOf of them
// is the filter. If the filter is not such a list, Parts returns the filter alone, and for the zero
// Filter it returns none.
func (f Filter) Parts() []Filter {
	if f.root == nil {
		return nil
	}
	all, ok := f.root.(AndExpression)
	if !ok {
		return []Filter{f}
	}
	parts := make([]Filter, len(all))
	for i, part := range all {
		parts[i] = Filter{part}
	}
	return parts
}

// String returns the filter in the grammar of ParseFilter, which reads it back to
// the same filter.
func (f Filter) String() string {
	var text strings.Builder
	writeExpression(&text, f.root, false, false)
	return text.String()
}

// MarshalText returns the form of String.
func (f Filter) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is ParseFilter.
func (f *Filter) UnmarshalText(text []byte) error {
	parsed, err := ParseFilter(string(text))
	if err == nil {
		*f = parsed
	}
	return err
}

// writeExpression writes a part of a filter: nested in another one, and inside of an
// element.
func writeExpression(text *strings.Builder, expression Expression, nested, inside bool) {
	join := func(parts []Expression, word string) {
		if nested {
			text.WriteByte('(')
		}
		for i, part := range parts {
			if i > 0 {
				text.WriteString(word)
			}
			writeExpression(text, part, true, inside)
		}
		if nested {
			text.WriteByte(')')
		}
	}
	switch expression := expression.(type) {
	case AndExpression:
		join(expression, " and ")
	case OrExpression:
		join(expression, " or ")
	case NotExpression:
		text.WriteString("not (")
		writeExpression(text, expression.Of, false, inside)
		text.WriteByte(')')
	case ElementExpression:
		text.WriteString(attributePrefix + strings.Join(expression.Path, ".") + "[")
		writeExpression(text, expression.Of, false, true)
		text.WriteByte(']')
	case Comparison:
		name := expression.name()
		if inside {
			name = strings.Join(expression.Path, ".")
		}
		expression.write(text, name)
	}
}

func (c Comparison) write(text *strings.Builder, name string) {
	text.WriteString(name)
	text.WriteByte(' ')
	text.WriteString(string(c.Operator))
	if c.Operator == OpPresent {
		return
	}
	text.WriteByte(' ')
	switch value := c.Value.(type) {
	case nil:
		text.WriteString("null")
	case bool:
		text.WriteString(strconv.FormatBool(value))
	case int64:
		text.WriteString(strconv.FormatInt(value, 10))
	case float64:
		text.WriteString(strconv.FormatFloat(value, 'g', -1, 64))
	case time.Time:
		if value.IsZero() {
			text.WriteString("null")
		} else {
			writeString(text, KindTime.Format(value))
		}
	case Duration:
		writeString(text, value.String())
	case Money:
		writeString(text, value.String())
	case string:
		writeString(text, value)
	}
}

func writeString(text *strings.Builder, value string) {
	encoder := json.NewEncoder(newlineLess{text})
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // a string always encodes, and a Builder takes all
}

// newlineLess drops the line break that json.Encoder writes at the end.
type newlineLess struct{ to *strings.Builder }

func (n newlineLess) Write(data []byte) (int, error) {
	n.to.WriteString(strings.TrimSuffix(string(data), "\n"))
	return len(data), nil
}

// name is the field with its path.
func (c Comparison) name() string {
	if len(c.Path) == 0 {
		return c.Field
	}
	return c.Field + "." + strings.Join(c.Path, ".")
}

// check returns the filter with its values in the types of their fields. It
// returns ErrInvalid with the code that says what is wrong and Field "filter".
func (f Filter) check() (Filter, error) {
	if deeper(f.root, MaxFilterDepth) {
		return Filter{}, NewError(CodeTooLong, "filter", "nested more than %d levels deep", MaxFilterDepth)
	}
	if err := checkElements(f.root, false); err != nil {
		return Filter{}, err
	}
	count := 0
	root, err := mapComparisons(f.root, func(c Comparison) (Expression, error) {
		if count++; count > MaxFilterComparisons {
			return nil, NewError(CodeTooLong, "filter", "the filter has more than %d comparisons", MaxFilterComparisons)
		}
		checked, err := c.check()
		return checked, err
	})
	if err != nil {
		return Filter{}, err
	}
	checked := Filter{root}
	if size := len(checked.String()); size > MaxFilterBytes {
		return Filter{}, NewError(CodeTooLong, "filter", "%d bytes exceed the limit of %d", size, MaxFilterBytes)
	}
	return checked, nil
}

// checkElements checks the paths of elements.
func checkElements(expression Expression, inside bool) error {
	all := func(parts []Expression) error {
		for _, part := range parts {
			if err := checkElements(part, inside); err != nil {
				return err
			}
		}
		return nil
	}
	switch expression := expression.(type) {
	case AndExpression:
		return all(expression)
	case OrExpression:
		return all(expression)
	case NotExpression:
		return checkElements(expression.Of, inside)
	case ElementExpression:
		if inside {
			return NewError(CodeFilterSyntax, "filter", "brackets of attributes cannot be nested")
		}
		if err := expression.check(); err != nil {
			return err
		}
		return checkElements(expression.Of, true)
	}
	return nil
}

// check checks the path of the elements.
func (e ElementExpression) check() error {
	name := attributePrefix + strings.Join(e.Path, ".")
	switch {
	case len(e.Path) == 0 || slices.ContainsFunc(e.Path, func(name string) bool { return !attributeName(name) }):
		return NewError(CodeUnknownField, "filter", "unknown attribute %q", clip(name))
	case len(e.Path) > maxJSONDepth:
		return NewError(CodeTooLong, "filter", "a path of %d names exceeds the limit of %d", len(e.Path), maxJSONDepth)
	case e.Of == nil:
		return NewError(CodeRequired, "filter", "%s[] needs a condition", clip(name))
	}
	return nil
}

// deeper reports whether expressions are nested more than the given number of levels deep.
func deeper(expression Expression, most int) bool {
	beyond := func(part Expression) bool { return deeper(part, most-1) }
	switch expression := expression.(type) {
	case nil:
		return false
	case AndExpression:
		return most < 1 || slices.ContainsFunc(expression, beyond)
	case OrExpression:
		return most < 1 || slices.ContainsFunc(expression, beyond)
	case NotExpression:
		return most < 1 || beyond(expression.Of)
	case ElementExpression:
		return most < 1 || beyond(expression.Of)
	}
	return most < 1
}

// mapComparisons returns an expression with its comparisons replaced.
func mapComparisons(expression Expression, replace func(Comparison) (Expression, error)) (Expression, error) {
	all := func(parts []Expression) (mapped []Expression, err error) {
		mapped = make([]Expression, len(parts))
		for i, part := range parts {
			if mapped[i], err = mapComparisons(part, replace); err != nil {
				return nil, err
			}
		}
		return mapped, nil
	}
	switch expression := expression.(type) {
	case AndExpression:
		parts, err := all(expression)
		return AndExpression(parts), err
	case OrExpression:
		parts, err := all(expression)
		return OrExpression(parts), err
	case NotExpression:
		of, err := mapComparisons(expression.Of, replace)
		return NotExpression{of}, err
	case ElementExpression:
		of, err := mapComparisons(expression.Of, replace)
		return ElementExpression{Path: expression.Path, Of: of}, err
	case Comparison:
		return replace(expression)
	}
	return nil, nil // the filter that every user meets
}

// filterField is what a filter knows of a field.
type filterField struct {
	kind   FieldKind
	values []string
}

// kindSegment is a kind of field that only filters have.
const kindSegment FieldKind = "segment"

var filterFields = func() map[string]filterField {
	fields := map[string]filterField{segmentField: {kind: kindSegment}}
	for _, field := range userFields.fields {
		fields[field.Name] = filterField{field.Kind, field.Values}
	}
	for _, field := range derivedUserFields {
		fields[field.Name] = filterField{field.Kind, field.Values}
	}
	return fields
}()

// check returns the comparison with its value in the type of its field.
func (c Comparison) check() (Comparison, error) {
	field, ok := filterFields[c.Field]
	if !ok {
		return c, NewError(CodeUnknownField, "filter", "unknown field %q", clip(c.name()))
	}
	if len(c.Path) > maxJSONDepth {
		return c, NewError(CodeTooLong, "filter", "a path of %d names exceeds the limit of %d", len(c.Path), maxJSONDepth)
	}
	for _, name := range c.Path {
		if c.Field != attributesField || !attributeName(name) {
			return c, NewError(CodeUnknownField, "filter", "unknown field %q", clip(c.name()))
		}
	}
	if !field.allows(c) {
		return c, NewError(CodeUnknownValue, "filter", "%q cannot be compared with %q", c.name(), string(c.Operator))
	}
	if c.Operator == OpPresent {
		c.Value = nil
		return c, nil
	}
	value, err := field.value(c)
	if err != nil {
		return c, err
	}
	c.Value = value
	if noValue(value) && c.Operator != OpEqual && c.Operator != OpNotEqual {
		return c, NewError(CodeRequired, "filter", "%q needs a value to compare with", string(c.Operator))
	}
	return c, nil
}

// allows reports whether the field has the comparison's operator.
func (f filterField) allows(c Comparison) bool {
	part := c.Operator == OpContains || c.Operator == OpStartsWith || c.Operator == OpEndsWith
	switch {
	case c.Field == attributesField && len(c.Path) == 0:
		return c.Operator == OpPresent
	case c.Operator == OpEqual, c.Operator == OpNotEqual:
		return true
	case c.Operator == OpPresent:
		return f.kind != kindSegment
	case part:
		return f.kind == KindText || f.kind == KindCode || f.kind == KindID || f.kind == KindJSON
	case c.Operator.ordered():
		return f.kind != KindBool && f.kind != KindCodes && f.kind != kindSegment
	}
	return false
}

func (o Operator) ordered() bool {
	return o == OpGreater || o == OpGreaterOrEqual || o == OpLess || o == OpLessOrEqual
}

// noValue reports whether a checked value stands for none.
func noValue(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case string:
		return value == ""
	case time.Time:
		return value.IsZero()
	}
	return false
}

// value returns the comparison's value in the type of the field.
func (f filterField) value(c Comparison) (any, error) {
	bad := func(what string) (any, error) {
		return nil, NewError(CodeBadFormat, "filter", "%q can only be compared with %s", c.name(), what)
	}
	text, isText := c.Value.(string)
	if isText {
		if err := checkLines("filter", text, MaxFilterBytes); err != nil {
			return nil, err
		}
	}
	if number, ok := c.Value.(float64); ok {
		if math.IsNaN(number) || math.IsInf(number, 0) {
			return bad("a finite number")
		}
		if whole, ok := jsonvalue.Whole(number); ok {
			c.Value = whole
		}
	}
	whole, isWhole := c.Value.(int64)
	switch f.kind {
	case KindText, KindCode, KindID, KindCodes, kindSegment:
		if c.Value == nil && f.kind != kindSegment {
			return "", nil
		}
		if !isText {
			return bad("a text")
		}
		return f.text(c, text)
	case KindBool:
		if _, ok := c.Value.(bool); !ok {
			return bad("true or false")
		}
		return c.Value, nil
	case KindInteger:
		if !isWhole {
			return bad("a whole number")
		}
		return whole, nil
	case KindMoney:
		if money, ok := c.Value.(Money); ok {
			_, err := CurrencyDigits(money.Currency)
			return money, filterError(c, err)
		}
		if isText {
			money, err := KindMoney.Parse(text)
			return money, filterError(c, err)
		}
		if !isWhole {
			return bad(`an amount such as "12.50 EUR", or with a whole number of minor units`)
		}
		return whole, nil
	case KindTime:
		if c.Value == nil {
			return time.Time{}, nil
		}
		if t, ok := c.Value.(time.Time); ok {
			return storedTime(t), checkTime("filter", t)
		}
		if day, err := time.Parse(time.DateOnly, text); isText && err == nil {
			return day, nil
		}
		if !isText {
			return bad(`a time such as "2026-01-02T15:04:05Z"`)
		}
		t, err := KindTime.Parse(text)
		return t, filterError(c, err)
	case KindSpan:
		if _, ok := c.Value.(Duration); ok {
			return c.Value, nil
		}
		if !isText {
			return bad(`a span such as "720h"`)
		}
		span, err := KindSpan.Parse(text)
		return span, filterError(c, err)
	case KindJSON:
		return c.attributeValue()
	}
	panic("userkit: users have no field of kind " + string(f.kind))
}

// text returns the value of a comparison with a field that holds texts.
func (f filterField) text(c Comparison, text string) (any, error) {
	whole := c.Operator == OpEqual || c.Operator == OpNotEqual || c.Operator.ordered()
	switch {
	case f.kind == KindID && text != "" && whole:
		id, err := KindID.Parse(text)
		return id, filterError(c, err)
	case f.kind == KindID:
		return strings.ToLower(text), nil
	case f.kind == kindSegment && text == "":
		return nil, NewError(CodeRequired, "filter", "a segment needs a name")
	case f.kind == KindCodes && !slices.Contains(f.values, text),
		len(f.values) > 0 && text != "" && (c.Operator == OpEqual || c.Operator == OpNotEqual) && !slices.Contains(f.values, text):
		return nil, NewError(CodeUnknownValue, "filter", "%q, the value for %q, is not one of %s", clip(text), c.name(), strings.Join(f.values, ", "))
	case c.Field == "country":
		return strings.ToUpper(text), nil
	case text != "" && f.kind == KindText && Fold(text) == "":
		return nil, NewError(CodeBadFormat, "filter", "%q consists of nothing but accents", clip(text))
	}
	return text, nil
}

// attributeValue checks the value of a comparison with an attribute.
func (c Comparison) attributeValue() (any, error) {
	text, isText := c.Value.(string)
	_, isBool := c.Value.(bool)
	switch {
	case c.Value == nil || text == "" && isText:
		return nil, nil // both mean no value
	case isText && Fold(text) == "":
		return nil, NewError(CodeBadFormat, "filter", "%q consists of nothing but accents", clip(text))
	case isText:
		return text, nil
	case c.Operator == OpContains, c.Operator == OpStartsWith, c.Operator == OpEndsWith:
		return nil, NewError(CodeBadFormat, "filter", "%q can only be used with a text", string(c.Operator))
	case isBool && c.Operator.ordered():
		return nil, NewError(CodeBadFormat, "filter", "%q can only be used with a text or a number", string(c.Operator))
	}
	switch c.Value.(type) {
	case bool, int64, float64:
		return c.Value, nil
	}
	return nil, NewError(CodeBadFormat, "filter", "%q can only be compared with a text, a number, true, false or null", c.name())
}

// filterError returns an error about a value as one about the filter.
func filterError(c Comparison, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	return NewError(e.Code, "filter", "%s: %s", c.name(), e.Message)
}
