package storetest

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// meaning evaluates filters on one user, as the documentation of userkit.Filter describes them and
// in the most obvious way. It shares no code with userkit.MatchUsers, which stores may use.
type meaning struct {
	user   *userkit.User
	object map[string]any // the attributes of the user, or the object inside brackets
	moment userkit.Moment
	member func(userkit.SegmentID) bool
}

func (m meaning) holds(expression userkit.Expression) bool {
	switch e := expression.(type) {
	case userkit.AndExpression:
		return !slices.ContainsFunc(e, func(part userkit.Expression) bool { return !m.holds(part) })
	case userkit.OrExpression:
		return slices.ContainsFunc(e, m.holds)
	case userkit.NotExpression:
		return !m.holds(e.Of)
	case userkit.ElementExpression:
		for _, element := range elementsOf(valuesAtPath(m.object, e.Path)) {
			object, ok := element.(map[string]any)
			if inside := m; ok {
				inside.object = object
				if inside.holds(e.Of) {
					return true
				}
			}
		}
		return false
	case userkit.Comparison:
		return m.compares(e)
	}
	return true // no condition
}

// compares evaluates a comparison.
func (m meaning) compares(c userkit.Comparison) bool {
	if c.Operator == userkit.OpNotEqual {
		c.Operator = userkit.OpEqual
		return !m.compares(c)
	}
	switch c.Field {
	case "segment":
		id, _ := userkit.ParseID[userkit.Segment](c.Value.(string))
		return m.member(id)
	case "attributes":
		return m.comparesAttribute(c)
	}
	folds, value := m.field(c.Field)
	money, isMoney := value.(userkit.Money)
	codes, isCodes := value.([]string)
	switch {
	case isCodes && c.Operator == userkit.OpPresent:
		return true
	case isCodes:
		return slices.Contains(codes, c.Value.(string))
	case c.Operator == userkit.OpPresent:
		at, isTime := value.(time.Time)
		return value != "" && !(isTime && at.IsZero())
	case isMoney:
		value = money.Amount
		if wanted, ok := c.Value.(userkit.Money); ok {
			c.Value = wanted.Amount
			return money.Currency == wanted.Currency && compareOne(value, c, false)
		}
	}
	return compareOne(value, c, folds)
}

// field returns the value of a field, and whether it is a text that compares in folded form.
func (m meaning) field(name string) (folds bool, value any) {
	for _, field := range userkit.DerivedUserFields() {
		if field.Name == name {
			return field.Kind == userkit.KindText, field.Get(m.user, m.moment)
		}
	}
	field, _ := userkit.UserField(name)
	value = field.Get(m.user)
	if field.Kind == userkit.KindText {
		return true, userkit.Fold(value.(string))
	}
	return false, value
}

func (m meaning) comparesAttribute(c userkit.Comparison) bool {
	if len(c.Path) == 0 {
		return len(m.object) > 0
	}
	values := valuesAtPath(m.object, c.Path)
	present := slices.ContainsFunc(values, func(value any) bool {
		switch value := value.(type) {
		case nil:
			return false
		case string:
			return userkit.Fold(value) != ""
		case []any:
			return len(value) > 0
		case map[string]any:
			return len(value) > 0
		}
		return true
	})
	switch {
	case c.Operator == userkit.OpPresent:
		return present
	case c.Value == nil:
		return !present
	}
	return slices.ContainsFunc(elementsOf(values), func(value any) bool {
		if text, ok := value.(string); ok {
			value = userkit.Fold(text)
		}
		return compareOne(value, c, true)
	})
}

// valuesAtPath returns the values at a path, which goes into each object of a list.
func valuesAtPath(object map[string]any, path []string) []any {
	values := []any{object}
	for _, name := range path {
		var next []any
		for _, element := range elementsOf(values) {
			object, _ := element.(map[string]any)
			if value, ok := object[name]; ok {
				next = append(next, value)
			}
		}
		values = next
	}
	return values
}

// elementsOf returns the values with the elements of each list in its place.
func elementsOf(values []any) (elements []any) {
	for _, value := range values {
		if list, ok := value.([]any); ok {
			elements = append(elements, list...)
		} else {
			elements = append(elements, value)
		}
	}
	return elements
}

// compareOne compares one value, of which texts are folded already.
func compareOne(value any, c userkit.Comparison, folds bool) bool {
	switch value := value.(type) {
	case string:
		wanted, ok := c.Value.(string)
		if folds {
			wanted = userkit.Fold(wanted)
		}
		switch {
		case !ok:
			return false
		case c.Operator == userkit.OpContains:
			return strings.Contains(value, wanted)
		case c.Operator == userkit.OpStartsWith:
			return strings.HasPrefix(value, wanted)
		case c.Operator == userkit.OpEndsWith:
			return strings.HasSuffix(value, wanted)
		}
		return (value != "" || c.Operator == userkit.OpEqual) && orderHolds(strings.Compare(value, wanted), c.Operator)
	case bool:
		return value == c.Value
	case time.Time:
		wanted := c.Value.(time.Time)
		return (!value.IsZero() || c.Operator == userkit.OpEqual) && orderHolds(value.Compare(wanted), c.Operator)
	}
	left, right := numberOf(value), numberOf(c.Value)
	return left != nil && right != nil && orderHolds(left.Cmp(right), c.Operator)
}

func numberOf(value any) *big.Rat {
	switch value := value.(type) {
	case int64:
		return new(big.Rat).SetInt64(value)
	case userkit.Duration:
		return new(big.Rat).SetInt64(int64(value))
	case float64:
		return new(big.Rat).SetFloat64(value)
	}
	return nil
}

// orderHolds reports whether an operator holds for the result of a comparison.
func orderHolds(compared int, operator userkit.Operator) bool {
	switch operator {
	case userkit.OpEqual:
		return compared == 0
	case userkit.OpGreater:
		return compared > 0
	case userkit.OpGreaterOrEqual:
		return compared >= 0
	case userkit.OpLess:
		return compared < 0
	case userkit.OpLessOrEqual:
		return compared <= 0
	}
	return false
}
