package userkit

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// FieldReader says how a matcher reads one field of a record R. Which function
// is set depends on the kind of the field.
//
// For writers of stores.
type FieldReader[R any] struct {
	// Text reads KindText in its folded form (see Fold, not cut), KindCode and
	// KindID as they are.
	Text func(record *R) string
	// Number reads KindInteger, KindBool (0 and 1), KindSpan (nanoseconds),
	// KindMoney (minor units) and KindTime (microseconds since 1970, and
	// NoTime for none).
	Number func(record *R) int64
	// Codes reads KindCodes.
	Codes func(record *R) []string
	// Attribute reads one attribute, for the field attributes, and Any reports
	// whether there is any.
	Attribute func(record *R, name string) (any, bool)
	Any       func(record *R) bool
	// Member reports whether the record is in a segment that is a list, for the
	// field segment.
	Member func(record *R, segment SegmentID) bool
}

// NoTime is what FieldReader.Number returns for the zero time.
var NoTime = time.Time{}.UnixMicro()

// UserSelection says which users a store is asked for: those who match all of its parts. The
// manager makes it from a UserFilter, which it has checked. The zero selection means all users.
//
// For writers of stores.
type UserSelection struct {
	WithoutDisabled bool
	Search          Search    // the zero Search means all users
	Segment         SegmentID // a list of which the users are members; zero means all users
	Filter          Filter    // checked; the segments in it are lists, named by their ids
	Moment          Moment    // when derived facts are computed
}

// MatchUsers compiles a selection into a function that reports whether it selects a record. read
// returns the reader of the field with a name. Stores that filter in Go use it, so that filters mean
// the same everywhere. The result is nil if every record is selected.
//
// For writers of stores.
func MatchUsers[R any](selection UserSelection, read func(field string) FieldReader[R]) func(record *R) bool {
	m := matchers[R]{read}
	var parts []func(*R) bool
	if selection.WithoutDisabled {
		parts = append(parts, m.comparison(Comparison{Field: "status", Operator: OpNotEqual, Value: string(StatusDisabled)}))
	}
	if !selection.Segment.IsZero() {
		parts = append(parts, m.comparison(Comparison{Field: segmentField, Operator: OpEqual, Value: selection.Segment.String()}))
	}
	if selection.Search.Term != "" {
		parts = append(parts, m.search(selection.Search))
	}
	if !selection.Filter.IsZero() {
		parts = append(parts, m.expression(selection.Filter.root))
	}
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return parts[0]
	}
	return every(parts)
}

// matchers compiles the parts of a filter.
type matchers[R any] struct {
	read func(field string) FieldReader[R]
}

func every[R any](parts []func(*R) bool) func(*R) bool {
	return func(record *R) bool {
		for _, part := range parts {
			if !part(record) {
				return false
			}
		}
		return true
	}
}

func (m matchers[R]) expression(expression Expression) func(*R) bool {
	switch expression := expression.(type) {
	case AndExpression:
		return every(m.all(expression))
	case OrExpression:
		parts := m.all(expression)
		return func(record *R) bool {
			for _, part := range parts {
				if part(record) {
					return true
				}
			}
			return false
		}
	case NotExpression:
		return opposite(m.expression(expression.Of))
	case ElementExpression:
		return m.element(expression)
	case Comparison:
		return m.comparison(expression)
	}
	panic("userkit: an expression of no known type")
}

// element compiles a condition on the objects at a path.
func (m matchers[R]) element(expression ElementExpression) func(*R) bool {
	inside := matchers[map[string]any]{func(string) FieldReader[map[string]any] {
		return FieldReader[map[string]any]{
			Attribute: func(object *map[string]any, name string) (any, bool) { value, ok := (*object)[name]; return value, ok },
		}
	}}
	meets := inside.expression(expression.Of)
	some := valuesAt(m.read(attributesField), expression.Path)
	return func(record *R) bool {
		return some(record, func(value any) bool {
			return eachElement(value, func(element any) bool {
				object, ok := element.(map[string]any)
				return ok && meets(&object)
			})
		})
	}
}

// valuesAt compiles a path into a function that reports whether one of the values at the path
// matches. The path goes into objects, and into the objects of a list.
func valuesAt[R any](reader FieldReader[R], path []string) func(record *R, is func(any) bool) bool {
	return func(record *R, is func(any) bool) bool {
		value, ok := reader.Attribute(record, path[0])
		return ok && someAt(value, path[1:], is)
	}
}

func someAt(value any, path []string, is func(any) bool) bool {
	if len(path) == 0 {
		return is(value)
	}
	return eachElement(value, func(element any) bool {
		object, _ := element.(map[string]any)
		next, ok := object[path[0]]
		return ok && someAt(next, path[1:], is)
	})
}

// eachElement reports whether one of the elements of a list matches. A value that is not a list
// counts as its own element.
func eachElement(value any, is func(any) bool) bool {
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, is)
	}
	return is(value)
}

func (m matchers[R]) all(parts []Expression) []func(*R) bool {
	compiled := make([]func(*R) bool, len(parts))
	for i, part := range parts {
		compiled[i] = m.expression(part)
	}
	return compiled
}

func opposite[R any](match func(*R) bool) func(*R) bool {
	return func(record *R) bool { return !match(record) }
}

func always[R any](*R) bool { return true }

func (m matchers[R]) comparison(c Comparison) func(*R) bool {
	if c.Operator == OpNotEqual {
		c.Operator = OpEqual
		return opposite(m.comparison(c))
	}
	reader := m.read(c.Field)
	switch kind := filterFields[c.Field].kind; kind {
	case KindText, KindCode, KindID:
		return textMatcher(reader.Text, c, kind == KindText)
	case KindCodes:
		if c.Operator == OpPresent {
			return always
		}
		code := c.Value.(string)
		return func(record *R) bool { return slices.Contains(reader.Codes(record), code) }
	case KindJSON:
		return attributeMatcher(reader, c)
	case kindSegment:
		id, _ := ParseID[Segment](c.Value.(string)) // a list, by the manager
		return func(record *R) bool { return reader.Member(record, id) }
	default:
		return m.number(reader.Number, c, kind)
	}
}

// textMatcher compares a text; folds tells that it is folded.
func textMatcher[R any](read func(*R) string, c Comparison, folds bool) func(*R) bool {
	if c.Operator == OpPresent {
		return func(record *R) bool { return read(record) != "" }
	}
	matches := compareText(c, folds)
	return func(record *R) bool { return matches(read(record)) }
}

// compareText returns the comparison with a text. For a field without a value, orders and parts are
// false.
func compareText(c Comparison, folds bool) func(text string) bool {
	value := c.Value.(string)
	if folds {
		value = Fold(value)
	}
	switch c.Operator {
	case OpEqual:
		return func(text string) bool { return text == value }
	case OpContains:
		return func(text string) bool { return strings.Contains(text, value) }
	case OpStartsWith:
		return func(text string) bool { return strings.HasPrefix(text, value) }
	case OpEndsWith:
		return func(text string) bool { return strings.HasSuffix(text, value) }
	}
	return func(text string) bool { return text != "" && c.Operator.holds(strings.Compare(text, value)) }
}

// holds reports whether an order or eq holds by the result of a comparison.
func (o Operator) holds(compared int) bool {
	switch o {
	case OpEqual:
		return compared == 0
	case OpGreater:
		return compared > 0
	case OpGreaterOrEqual:
		return compared >= 0
	case OpLess:
		return compared < 0
	case OpLessOrEqual:
		return compared <= 0
	}
	return false
}

// number compares values that are read as numbers.
func (m matchers[R]) number(read func(*R) int64, c Comparison, kind FieldKind) func(*R) bool {
	if c.Operator == OpPresent {
		if kind == KindTime {
			return func(record *R) bool { return read(record) != NoTime }
		}
		return always
	}
	operator := c.Operator
	var value int64
	switch v := c.Value.(type) {
	case bool:
		if v {
			value = 1
		}
	case int64:
		value = v
	case Duration:
		value = int64(v)
	case time.Time:
		value = v.UnixMicro()
		if operator != OpEqual {
			return func(record *R) bool {
				at := read(record)
				return at != NoTime && operator.holds(cmp.Compare(at, value))
			}
		}
	case Money:
		currency := m.read("currency").Text
		return func(record *R) bool {
			return currency(record) == v.Currency && operator.holds(cmp.Compare(read(record), v.Amount))
		}
	}
	return func(record *R) bool { return operator.holds(cmp.Compare(read(record), value)) }
}

// attributeMatcher compares an attribute.
func attributeMatcher[R any](reader FieldReader[R], c Comparison) func(*R) bool {
	if len(c.Path) == 0 {
		return reader.Any
	}
	some := valuesAt(reader, c.Path)
	if c.Operator == OpPresent {
		return func(record *R) bool { return some(record, attributePresent) }
	}
	if c.Value == nil {
		return func(record *R) bool { return !some(record, attributePresent) }
	}
	matches := compareElement(c)
	return func(record *R) bool {
		return some(record, func(value any) bool { return eachElement(value, matches) })
	}
}

// attributePresent reports whether an attribute has a value.
func attributePresent(value any) bool {
	switch value := value.(type) {
	case nil:
		return false
	case string:
		return Fold(value) != ""
	case []any:
		return len(value) > 0
	case map[string]any:
		return len(value) > 0
	}
	return true
}

// compareElement returns the comparison with one value of an attribute.
func compareElement(c Comparison) func(element any) bool {
	switch value := c.Value.(type) {
	case string:
		matches := compareText(c, true)
		return func(element any) bool {
			text, ok := element.(string)
			return ok && matches(Fold(text))
		}
	case bool:
		return func(element any) bool { return element == value }
	}
	return func(element any) bool {
		compared, ok := compareNumbers(element, c.Value)
		return ok && c.Operator.holds(compared)
	}
}

// compareNumbers compares two numbers of attributes by their value. A float64
// there is either no whole number, and then below 1<<53, or beyond the range of
// int64, whose largest number it must not be rounded to.
func compareNumbers(a, b any) (compared int, ok bool) {
	switch a := a.(type) {
	case int64:
		switch b := b.(type) {
		case int64:
			return cmp.Compare(a, b), true
		case float64:
			return -compareMixed(b, a), true
		}
	case float64:
		switch b := b.(type) {
		case int64:
			return compareMixed(a, b), true
		case float64:
			return cmp.Compare(a, b), true
		}
	}
	return 0, false
}

func compareMixed(a float64, b int64) int {
	switch {
	case a >= 1<<63:
		return 1
	case a < -(1 << 63):
		return -1
	}
	return cmp.Compare(a, float64(b))
}

// search matches what was typed into a search box in the fields that it looks at.
func (m matchers[R]) search(search Search) func(*R) bool {
	var reads []func(*R) string
	for _, name := range []string{"id", "login", "name", "email", "phone", "extref"} {
		if name != "id" || !search.Short() && partOfID(search.Term) {
			reads = append(reads, m.read(name).Text)
		}
	}
	phone := m.read("phone").Text
	return func(record *R) bool {
		for _, read := range reads {
			if search.In(read(record)) {
				return true
			}
		}
		return search.InPhone(phone(record))
	}
}

// partOfID reports whether a term could be a part of the text of an id.
func partOfID(term string) bool {
	return strings.Trim(term, "0123456789abcdef-") == "" && len(term) <= 36
}

// readUser returns the reader of a field of a User. member reports whether the
// user is in a segment that is a list.
func readUser(moment Moment, member func(SegmentID) bool) func(field string) FieldReader[User] {
	return func(name string) FieldReader[User] {
		if name == segmentField {
			return FieldReader[User]{Member: func(_ *User, id SegmentID) bool { return member(id) }}
		}
		for _, field := range derivedUserFields {
			if field.Name == name {
				get := func(u *User) any { return field.Get(u, moment) }
				return readValue(field.Kind, get)
			}
		}
		field := userFields.byName[name]
		return readValue(field.Kind, field.Get)
	}
}

// readValue makes the reader of a field from a function that returns its value.
func readValue(kind FieldKind, get func(*User) any) FieldReader[User] {
	switch kind {
	case KindText:
		return FieldReader[User]{Text: func(u *User) string { return Fold(get(u).(string)) }}
	case KindCode, KindID:
		return FieldReader[User]{Text: func(u *User) string { return get(u).(string) }}
	case KindCodes:
		return FieldReader[User]{Codes: func(u *User) []string { return get(u).([]string) }}
	case KindJSON:
		return FieldReader[User]{
			Attribute: func(u *User, name string) (any, bool) { value, ok := u.Attributes[name]; return value, ok },
			Any:       func(u *User) bool { return len(u.Attributes) > 0 },
		}
	}
	return FieldReader[User]{Number: func(u *User) int64 {
		switch value := get(u).(type) {
		case bool:
			if value {
				return 1
			}
			return 0
		case Money:
			return value.Amount
		case time.Time:
			return value.UnixMicro()
		case Duration:
			return int64(value)
		case int64:
			return value
		}
		panic("userkit: a field that no filter reads")
	}}
}

// Meets reports whether a user matches the filter at a moment. member reports whether the user is
// in a segment that is a list; if it is nil, the user is in none. The filter must name segments by
// the ids of lists.
func (f Filter) Meets(user *User, moment Moment, member func(SegmentID) bool) bool {
	if member == nil {
		member = func(SegmentID) bool { return false }
	}
	if f.root == nil {
		return true
	}
	return matchers[User]{readUser(moment, member)}.expression(f.root)(user)
}
