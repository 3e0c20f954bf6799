package postgres

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/userkit/userkit"
)

// selection is the condition of a userkit.UserSelection, over the aliases u and a: true
// for the users who meet it, and false or NULL for the others. Its meaning is that
// of userkit.MatchUsers.
type selection struct {
	store    *Store
	users    userkit.UserSelection
	where    *statement
	plain    bool // there is no condition but on the status, if any
	accounts bool // the condition needs the accounts
	// served means that an index finds the users, as far as they are few, whatever
	// the order of a list.
	served bool
	// list is a segment that all of the users are members of, or zero; byList means
	// that nothing else serves.
	list     userkit.SegmentID
	byList   bool
	inside   bool // of an element, whose alias is o
	optional int  // how many OR and NOT are around what is being compiled
}

// notDisabled is the condition that a user is not disabled.
const notDisabled = "u.status <> ?"

// ofAccounts finds a column of accounts in a condition, whose values stand
// elsewhere.
var ofAccounts = regexp.MustCompile(`\ba\.`)

// selection compiles a selection of users.
func (s *Store) selection(users userkit.UserSelection) (*selection, error) {
	c := &selection{store: s, users: users, where: &statement{}}
	c.where.add("u.project = ?", quoted(s.project))
	if users.WithoutDisabled {
		c.where.add(" AND "+notDisabled, quoted(string(userkit.StatusDisabled)))
	}
	search, root := users.Search, users.Filter.Expression()
	c.plain = users.Segment.IsZero() && search.Term == "" && root == nil
	if !users.Segment.IsZero() {
		c.where.add(" AND ")
		c.member(users.Segment)
		c.list = users.Segment
	}
	if search.Term != "" {
		c.where.add(" AND ")
		c.search(search)
		c.served = true
	}
	if root != nil {
		c.where.add(" AND ")
		served, err := c.expression(root)
		if err != nil {
			return nil, err
		}
		c.served = c.served || served
	}
	if !c.list.IsZero() {
		c.byList = !c.served
		c.served = true
	}
	c.accounts = ofAccounts.MatchString(c.where.text.String())
	return c, nil
}

// expression adds the condition of a part of a filter, which may stand beside AND
// and OR as it is. It reports whether an index finds the users who meet it.
//
// A leaf may be NULL instead of false. AND and OR pass that on in a way that never
// makes a condition true, and IS NOT TRUE ends it.
func (c *selection) expression(expression userkit.Expression) (served bool, err error) {
	switch expression := expression.(type) {
	case userkit.AndExpression:
		for i, part := range expression {
			c.begin(i, " AND ")
			one, err := c.expression(part)
			if err != nil {
				return false, err
			}
			served = served || one
		}
		c.where.add(")")
		return served, nil
	case userkit.OrExpression:
		served = true
		c.optional++
		defer func() { c.optional-- }()
		ids, parts := oneOfIDs(expression)
		begun := 0
		if len(parts) < len(expression) {
			c.begin(begun, " OR ")
			c.where.add("u.id = ANY (?)", ids)
			begun++
		}
		for i, part := range parts {
			c.begin(begun+i, " OR ")
			one, err := c.expression(part)
			if err != nil {
				return false, err
			}
			served = served && one
		}
		c.where.add(")")
		return served, nil
	case userkit.NotExpression:
		c.where.add("((")
		c.optional++
		_, err := c.expression(expression.Of)
		c.optional--
		c.where.add(") IS NOT TRUE)")
		return false, err
	case userkit.ElementExpression:
		return c.element(expression)
	case userkit.Comparison:
		if expression.Operator == userkit.OpNotEqual {
			expression.Operator = userkit.OpEqual
			return c.expression(userkit.NotExpression{Of: expression})
		}
		return c.comparison(expression)
	}
	panic("postgres: an expression of no known type")
}

// oneOfIDs takes the parts that compare the id for equality out of an expression, and returns these
// ids: one condition finds them all, whereas the planner of PostgreSQL would look at each of many.
func oneOfIDs(expression userkit.OrExpression) (ids parameter, others userkit.OrExpression) {
	var found array
	for _, part := range expression {
		if of, ok := part.(userkit.Comparison); ok && of.Field == "id" && of.Operator == userkit.OpEqual {
			value, _ := of.Value.(string)
			if id, err := userkit.ParseID[userkit.User](value); err == nil {
				found.id(id)
				continue
			}
		}
		others = append(others, part)
	}
	return found.of("uuid"), others
}

// begin begins a part of a joined condition.
func (c *selection) begin(part int, word string) {
	if part == 0 {
		word = "("
	}
	c.where.add(word)
}

// comparison adds the condition of a comparison, in brackets where it needs them.
func (c *selection) comparison(of userkit.Comparison) (served bool, err error) {
	switch of.Field {
	case "segment":
		id, err := userkit.ParseID[userkit.Segment](of.Value.(string))
		if err != nil {
			return false, userkit.NewError(userkit.CodeUnknownSegment, "filter", "%q is not the id of a segment", of.Value)
		}
		c.member(id)
		if c.optional == 0 {
			c.list = cmp.Or(c.list, id)
		}
		return false, nil // it is the list that serves, if anything
	case "attributes":
		return c.attribute(of), nil
	case "access":
		c.access(of)
		return false, nil
	case "subscribed":
		if c.users.Moment.Business {
			c.number(of, "false")
			return false, nil
		}
		c.number(of, "(a.active_purchases > 0 AND coalesce(a.purchases_end_at > ?, true))", quotedTime(c.users.Moment.At))
		return false, nil
	case "traffic_used":
		used, args := c.trafficUsed()
		c.number(of, used, args...)
		return false, nil
	}
	field, ok := userkit.UserField(of.Field)
	place, found := userSortings[of.Field]
	if !ok || !found {
		return false, userkit.NewError(userkit.CodeUnknownField, "filter", "unknown field %q", of.Field)
	}
	switch field.Kind {
	case userkit.KindText:
		return c.text(of, place, true), nil
	case userkit.KindCode:
		return c.text(of, place, false), nil
	case userkit.KindID:
		return c.id(of), nil
	case userkit.KindTime:
		c.time(of, place.compared())
	default:
		c.number(of, place.compared())
	}
	return false, nil
}

// sign returns the SQL of an order, or of eq.
func sign(operator userkit.Operator) string {
	return map[userkit.Operator]string{
		userkit.OpEqual: " = ", userkit.OpGreater: " > ", userkit.OpGreaterOrEqual: " >= ",
		userkit.OpLess: " < ", userkit.OpLessOrEqual: " <= ",
	}[operator]
}

// likeEscapes are the signs with a meaning in patterns.
var likeEscapes = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// pattern returns the pattern of LIKE for co, sw or ew.
func pattern(operator userkit.Operator, part string) literal {
	text := likeEscapes.Replace(part)
	if operator != userkit.OpStartsWith {
		text = "%" + text
	}
	if operator != userkit.OpEndsWith {
		text += "%"
	}
	return quoted(text)
}

// never is the condition that nobody meets.
const never = "false"

// searched are the fields whose whole folded text is in the column search, which
// has an index for parts.
var searched = map[string]bool{"id": true, "login": true, "name": true, "email": true, "phone": true, "extref": true}

// parts adds the condition, which goes before another one, that one of the searched
// texts has a part, where the operator has it. It adds none, and reports that, where no
// index is a help.
func (c *selection) parts(field string, operator userkit.Operator, part string) (served bool) {
	search := userkit.Search{Term: part}
	begins := operator == userkit.OpEqual || operator == userkit.OpStartsWith
	switch {
	case !searched[field], !storable(part), part == "":
		return false
	case !search.Short():
		c.where.add("u.search LIKE ? AND ", pattern(userkit.OpContains, part))
	case field == "id", !begins && utf8.RuneCountInString(part) == 1:
		return false
	default:
		c.where.add(hasParts+" AND ", textsOf(search.Parts()))
	}
	return true
}

// hasParts is the condition that a user has all of some short parts, in the form that
// has an index.
const hasParts = `u.search_parts <> '' AND string_to_array(u.search_parts, E'\n') @> ?`

// withoutID is what the search box looks at but the id.
const withoutID = "substr(u.search, 38)"

// textsOf returns texts as an array.
func textsOf(texts []string) literal {
	var values array
	for _, text := range texts {
		values.text(text)
	}
	return append(quoted(string(values.of("text").text)), "::text[]"...)
}

// search adds the condition of the search box.
func (c *selection) search(search userkit.Search) {
	if !storable(search.Term) {
		c.where.add(never)
		return
	}
	c.where.add("(")
	if parts := search.Parts(); search.Short() {
		c.where.add(hasParts, textsOf(parts))
		if len(parts) > 1 || parts[0] != search.Term {
			c.where.add(" AND "+withoutID+" LIKE ?", pattern(userkit.OpContains, search.Term))
		}
	} else {
		c.where.add("u.search LIKE ?", pattern(userkit.OpContains, search.Term))
	}
	if search.Digits != "" {
		c.where.add(" OR u.search LIKE ? AND u.phone LIKE ?", pattern(userkit.OpContains, search.Digits), pattern(userkit.OpContains, search.Digits))
	}
	if search.Number != "" {
		c.where.add(" OR u.search LIKE ? AND u.phone = ?", pattern(userkit.OpContains, search.Number), quoted(search.Number))
	}
	c.where.add(")")
}

// text adds a comparison of a text.
func (c *selection) text(of userkit.Comparison, place sorting, folds bool) (served bool) {
	whole := place.compared()
	if of.Operator == userkit.OpPresent {
		c.where.add(whole + " <> ''")
		return false
	}
	value := of.Value.(string)
	if folds {
		value = userkit.Fold(value)
	}
	if !storable(value) {
		c.where.add(never)
		return false
	}
	c.where.add("(")
	defer c.where.add(")")
	// A key is enough to compare with a text that is shorter than any key that was
	// cut.
	key, short := userkit.SortKey(value), len(value) <= userkit.SortKeyBytes-utf8.UTFMax
	switch of.Operator {
	case userkit.OpEqual:
		if place.keyed {
			c.where.add(place.through+" AND "+place.expression+" = ?", quoted(key))
			served = value != ""
		} else {
			served = c.parts(of.Field, of.Operator, value)
		}
		if !place.keyed {
			c.where.add(whole+" = ?", quoted(value))
		} else if !short {
			c.where.add(" AND "+whole+" = ?", quoted(value))
		}
	case userkit.OpStartsWith, userkit.OpContains, userkit.OpEndsWith:
		byKey := place.keyed && of.Operator == userkit.OpStartsWith
		if byKey {
			c.where.add(place.through+" AND "+place.expression+" LIKE ?", pattern(of.Operator, key))
			served = true
		} else {
			served = c.parts(of.Field, of.Operator, value)
		}
		if !byKey {
			c.where.add(whole+" LIKE ?", pattern(of.Operator, value))
		} else if !short {
			c.where.add(" AND "+whole+" LIKE ?", pattern(of.Operator, value))
		}
	default:
		c.where.add(whole+" <> '' AND "+whole+sign(of.Operator)+"?", quoted(value))
	}
	return served
}

// id adds a comparison of the id.
func (c *selection) id(of userkit.Comparison) (served bool) {
	value, _ := of.Value.(string)
	switch of.Operator {
	case userkit.OpPresent:
		c.where.add("u.id <> " + noID)
	case userkit.OpStartsWith, userkit.OpContains, userkit.OpEndsWith:
		if !storable(value) {
			c.where.add(never)
			return false
		}
		c.where.add("(")
		served = c.parts(of.Field, of.Operator, value)
		c.where.add("u.id::text LIKE ?)", pattern(of.Operator, value))
	default:
		id, ok := idKey(value)
		if !ok {
			c.where.add(never)
			return false
		}
		c.where.add("u.id"+sign(of.Operator)+"?", id)
		served = of.Operator == userkit.OpEqual
	}
	return served
}

// time adds a comparison of a time. The zero time, which stands for none where the
// column has no NULL, comes before all others.
func (c *selection) time(of userkit.Comparison, column string) {
	present, zero := column+" > ?", quotedTime(time.Time{})
	value, _ := of.Value.(time.Time)
	switch {
	case of.Operator == userkit.OpPresent:
		c.where.add(present, zero)
	case value.IsZero():
		c.where.add("(("+present+") IS NOT TRUE)", zero)
	case of.Operator == userkit.OpLess, of.Operator == userkit.OpLessOrEqual:
		c.where.add("("+column+sign(of.Operator)+"? AND "+present+")", quotedTime(value), zero)
	default:
		c.where.add(column+sign(of.Operator)+"?", quotedTime(value))
	}
}

// number adds a comparison of a number, a span, an amount of money or a bool.
func (c *selection) number(of userkit.Comparison, number string, args ...any) {
	if of.Operator == userkit.OpPresent {
		c.where.add("true")
		return
	}
	var value parameter
	switch v := of.Value.(type) {
	case bool:
		value = parameter{text: strconv.AppendBool(nil, v), kind: "boolean"}
	case int64:
		value = integerParameter(v)
	case userkit.Duration:
		value = integerParameter(int64(v))
	case userkit.Money:
		c.where.add("(a.currency = ? AND "+number+sign(of.Operator)+"?)", quoted(v.Currency), integerParameter(v.Amount))
		return
	}
	c.where.add(number+sign(of.Operator)+"?", append(args, value)...)
}

// member adds that a user is in a list. OFFSET 0 holds the planner to look the
// membership up, where it might go through the whole list for each user.
func (c *selection) member(id userkit.SegmentID) {
	c.where.add("EXISTS (SELECT FROM ? AS m WHERE m.project = ? AND m.user_id = u.id AND m.segment_id = ? OFFSET 0)",
		c.store.table("memberships"), quoted(c.store.project), quotedID(id))
}

// today is the day of the filter's moment.
func (c *selection) today() userkit.Day {
	zone := c.users.Moment.Zone
	if zone == nil {
		zone = time.UTC
	}
	return userkit.DayOf(c.users.Moment.At, zone)
}

// trafficUsed returns what userkit.Traffic.UsedIn says at the filter's moment. When
// a period began depends on the limit in so few ways that all of them are written
// out; Go knows the calendar.
func (c *selection) trafficUsed() (expression string, args []any) {
	today := c.today()
	start := func(reset userkit.TrafficReset, anchor int) userkit.Day {
		return userkit.TrafficLimit{Reset: reset, AnchorDay: anchor}.PeriodStart(today)
	}
	const anchors = 31
	months := array{room: anchors}
	for anchor := 1; anchor <= anchors; anchor++ {
		months.day(start(userkit.ResetMonthly, anchor))
	}
	return "CASE WHEN CASE a.traffic_reset WHEN ? THEN ? WHEN ? THEN (?)[least(greatest(a.traffic_anchor_day, 1), 31)::integer] WHEN ? THEN ? ELSE ? END" +
			" > coalesce(a.traffic_period, ?) THEN 0 ELSE a.traffic_used END",
		[]any{
			quoted(string(userkit.ResetWeekly)), quotedDay(start(userkit.ResetWeekly, 0)),
			quoted(string(userkit.ResetMonthly)), months.of("date"),
			quoted(string(userkit.ResetNever)), quotedDay(start(userkit.ResetNever, 0)),
			quotedDay(today), quotedDay(userkit.Day{}),
		}
}

// access adds that a user has access, or what speaks against it.
func (c *selection) access(of userkit.Comparison) {
	if of.Operator == userkit.OpPresent {
		c.where.add("true")
		return
	}
	used, args := c.trafficUsed()
	reasons := []struct {
		code      userkit.Code
		condition string
		args      []any
	}{
		{userkit.CodeUserDisabled, "u.status = ?", []any{quoted(string(userkit.StatusDisabled))}},
		{userkit.CodeUserInactive, "u.status = ?", []any{quoted(string(userkit.StatusInactive))}},
		{userkit.CodeUserExpired, "a.expires_at <= ?", []any{quotedTime(c.users.Moment.At)}},
		{userkit.CodeTrafficLimit, "(a.traffic_limit > 0 AND " + used + " >= a.traffic_limit)", args},
	}
	if of.Value == userkit.AccessAllowed {
		c.where.add("(")
		for i, reason := range reasons {
			c.begin(i, " OR ")
			c.where.add(reason.condition, reason.args...)
		}
		c.where.add(") IS NOT TRUE)")
		return
	}
	for _, reason := range reasons {
		if of.Value == string(reason.code) {
			c.where.add(reason.condition, reason.args...)
			return
		}
	}
	c.where.add(never)
}

// attributesFolded is the expression of the index on attributes.
const attributesFolded = "coalesce(u.folded_attributes, u.attributes)"

// inObject is what comparisons inside of an element look into.
const inObject = "o.value"

// element adds that one of the objects at a path meets a condition. An index finds those
// that have what it has to be equal to.
func (c *selection) element(of userkit.ElementExpression) (served bool, err error) {
	c.where.add("(u.attributes IS NOT NULL AND ")
	if must, ok := equalInside(of.Of); ok {
		must.Path = slices.Concat(of.Path, must.Path)
		served = c.attribute(must)
		c.where.add(" AND ")
	}
	c.where.add("EXISTS (SELECT FROM jsonb_path_query("+attributesFolded+", ?::jsonpath) AS o(value) WHERE jsonb_typeof(o.value) = 'object' AND ",
		elementsAt(of.Path))
	c.inside = true
	c.optional++ // nothing in there finds a user
	_, err = c.expression(of.Of)
	c.optional--
	c.inside = false
	c.where.add("))")
	return served, err
}

// equalInside finds something that an object has to be equal to.
func equalInside(expression userkit.Expression) (userkit.Comparison, bool) {
	switch expression := expression.(type) {
	case userkit.AndExpression:
		for _, part := range expression {
			if found, ok := equalInside(part); ok {
				return found, true
			}
		}
	case userkit.Comparison:
		return expression, expression.Operator == userkit.OpEqual && expression.Value != nil
	}
	return userkit.Comparison{}, false
}

// valuesAt is the path of jsonb to the values that a path has: into objects, and into
// the objects of lists, as lax paths go.
func valuesAt(path []string) literal { return quoted(jsonPath(path)) }

// elementsAt is valuesAt with each element of a list by itself.
func elementsAt(path []string) literal { return quoted(jsonPath(path) + "[*]") }

func jsonPath(path []string) string {
	text := "lax $"
	for _, name := range path {
		text += "." + strconv.Quote(name) // of letters, digits, - and _
	}
	return text
}

// longestPattern is how many names a path has at most that an index finds: each of them
// may have a list or an object, and all of these patterns are looked for.
const longestPattern = 4

// attribute adds a comparison of an attribute.
func (c *selection) attribute(of userkit.Comparison) (served bool) {
	base, guard := attributesFolded, "u.attributes IS NOT NULL AND "
	if c.inside {
		base, guard = inObject, ""
	}
	if len(of.Path) == 0 {
		c.where.add("u.attributes IS NOT NULL")
		return false
	}
	names := array{}
	for _, name := range of.Path {
		names.text(name)
	}
	path := names.of("text")
	const nothing = ` NOT IN ('null'::jsonb, '""'::jsonb, '[]'::jsonb, '{}'::jsonb)`
	present, presentAt := "("+base+" #> ?)"+nothing, any(path)
	if len(of.Path) > 1 {
		present = "EXISTS (SELECT FROM jsonb_path_query(" + base + ", ?::jsonpath) AS p(value) WHERE p.value" + nothing + ")"
		presentAt = valuesAt(of.Path)
	}
	compared := of.Value
	text, isText := compared.(string)
	if isText {
		text = userkit.Fold(text)
		compared = text
	}
	switch {
	case of.Operator == userkit.OpPresent:
		c.where.add(present, presentAt)
		return false
	case of.Value == nil:
		c.where.add("(("+present+") IS NOT TRUE)", presentAt)
		return false
	case names.broken || !storable(text):
		c.where.add(never)
		return false
	case of.Operator == userkit.OpEqual && len(of.Path) <= longestPattern:
		// The condition on attributes is that of the index.
		c.where.add("(" + guard + "(")
		for lists := range 1 << len(of.Path) {
			if lists > 0 {
				c.where.add(" OR ")
			}
			c.where.add(base+" @> ?", holding(of.Path, lists, compared))
		}
		c.where.add("))")
		return true
	}
	element := "e.value #>> '{}'"
	var condition string
	var args []any
	switch {
	case of.Operator == userkit.OpEqual:
		condition = "WHEN ? THEN e.value = ?"
		kind := "number"
		switch compared.(type) {
		case string:
			kind = "string"
		case bool:
			kind = "boolean"
		}
		args = []any{quoted(kind), quotedJSON(compared)}
	case isText && (of.Operator == userkit.OpContains || of.Operator == userkit.OpStartsWith || of.Operator == userkit.OpEndsWith):
		condition = "WHEN 'string' THEN (" + element + `) COLLATE "C" LIKE ?`
		args = []any{pattern(of.Operator, text)}
	case isText:
		condition = "WHEN 'string' THEN " + element + " <> '' AND (" + element + `) COLLATE "C"` + sign(of.Operator) + "?"
		args = []any{quoted(text)}
	default:
		condition = "WHEN 'number' THEN (" + element + ")::numeric" + sign(of.Operator) + "(? #>> '{}')::numeric"
		args = []any{quotedJSON(compared)}
	}
	c.where.add("("+guard+"EXISTS (SELECT FROM jsonb_path_query("+base+", ?::jsonpath) AS e(value) WHERE CASE jsonb_typeof(e.value) "+condition+" ELSE false END))",
		append([]any{elementsAt(of.Path)}, args...)...)
	return false
}

// holding returns an object that has a value at a path and nothing else. The bits of lists
// say which of the names have a list of it.
func holding(path []string, lists int, value any) literal {
	for i, name := range slices.Backward(path) {
		if lists&(1<<(len(path)-1-i)) != 0 {
			value = []any{value}
		}
		value = map[string]any{name: value}
	}
	return quotedJSON(value)
}
