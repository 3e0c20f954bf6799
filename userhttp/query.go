package userhttp

import (
	"encoding"
	"encoding/json"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/userkit/userkit"
)

// The parameters of a query have the names that its fields have in JSON, such as
//
//	?search=ada&filter=country+eq+"BY"&sort=name&descending=true&limit=20
//
// Times are those of RFC 3339, and an empty parameter says nothing. All of the functions
// below return ErrInvalid with CodeUnknownField for a parameter that the query does not
// have and CodeBadFormat for a value that it cannot have or that is given twice; several
// wrong parameters are all in Error.Fields. What a query may ask for is checked when it is
// used.

// ParseUserQuery reads a query for Users, AllUsers and CountUsers.
func ParseUserQuery(values url.Values) (userkit.UserQuery, error) {
	return parse[userkit.UserQuery](values)
}

// ParseDeviceQuery reads a query for Devices.
func ParseDeviceQuery(values url.Values) (userkit.DeviceQuery, error) {
	return parse[userkit.DeviceQuery](values)
}

// ParseSessionQuery reads a query for Sessions.
func ParseSessionQuery(values url.Values) (userkit.SessionQuery, error) {
	return parse[userkit.SessionQuery](values)
}

// ParseTransactionQuery reads a query for Transactions.
func ParseTransactionQuery(values url.Values) (userkit.TransactionQuery, error) {
	return parse[userkit.TransactionQuery](values)
}

// ParsePurchaseQuery reads a query for Purchases.
func ParsePurchaseQuery(values url.Values) (userkit.PurchaseQuery, error) {
	return parse[userkit.PurchaseQuery](values)
}

// ParseSegmentQuery reads a query for Segments.
func ParseSegmentQuery(values url.Values) (userkit.SegmentQuery, error) {
	return parse[userkit.SegmentQuery](values)
}

// ParseEventQuery reads a query for Events.
func ParseEventQuery(values url.Values) (userkit.EventQuery, error) {
	return parse[userkit.EventQuery](values)
}

// ParseMessageQuery reads a query for Messages.
func ParseMessageQuery(values url.Values) (userkit.MessageQuery, error) {
	return parse[userkit.MessageQuery](values)
}

// ParseDeliveryQuery reads a query for Deliveries.
func ParseDeliveryQuery(values url.Values) (userkit.DeliveryQuery, error) {
	return parse[userkit.DeliveryQuery](values)
}

// ParseConnectionQuery reads a query for Connections.
func ParseConnectionQuery(values url.Values) (userkit.ConnectionQuery, error) {
	return parse[userkit.ConnectionQuery](values)
}

// ParseLocationQuery reads a query for Locations. The box of bbox is west,south,east,north, as in
// GeoJSON and OGC API Features.
func ParseLocationQuery(values url.Values) (userkit.LocationQuery, error) {
	return parse[userkit.LocationQuery](values)
}

// Query is the constraint of the queries for lists.
type Query interface {
	userkit.UserQuery | userkit.DeviceQuery | userkit.SessionQuery | userkit.TransactionQuery |
		userkit.PurchaseQuery | userkit.SegmentQuery | userkit.EventQuery | userkit.MessageQuery |
		userkit.ConnectionQuery | userkit.LocationQuery | userkit.DeliveryQuery
}

// Values returns the URL parameters of a query, such as that for the next page. The function that
// parses such queries reads them back.
func Values[Q Query](query Q) url.Values {
	values := url.Values{}
	eachParameter(reflect.ValueOf(&query).Elem(), func(name string, field reflect.Value) {
		if field.IsZero() {
			return
		}
		switch value := field.Interface().(type) {
		case time.Time:
			values.Set(name, value.Format(time.RFC3339Nano))
			return
		case userkit.Optional[userkit.BoundingBox]:
			if box, set := value.Get(); set {
				text, err := json.Marshal(box)
				if err != nil {
					return // no number, which no box has that was read
				}
				values.Set(name, strings.Trim(string(text), "[]"))
			}
			return
		case encoding.TextMarshaler:
			if text, err := value.MarshalText(); err == nil && len(text) > 0 {
				values.Set(name, string(text))
			}
			return
		}
		switch field.Kind() {
		case reflect.Bool:
			values.Set(name, "true")
		case reflect.Int:
			values.Set(name, strconv.FormatInt(field.Int(), 10))
		default:
			values.Set(name, field.String())
		}
	})
	return values
}

// parse reads the parameters of a query.
func parse[Q Query](values url.Values) (Q, error) {
	var query Q
	var wrong []*userkit.Error
	known := map[string]bool{}
	eachParameter(reflect.ValueOf(&query).Elem(), func(name string, field reflect.Value) {
		known[name] = true
		texts := slices.DeleteFunc(slices.Clone(values[name]), func(text string) bool { return text == "" })
		switch {
		case len(texts) == 0:
		case len(texts) > 1:
			wrong = append(wrong, userkit.NewError(userkit.CodeBadFormat, name, "%d values", len(texts)))
		default:
			if err := set(field, texts[0]); err != nil {
				err.Field = name
				wrong = append(wrong, err)
			}
		}
	})
	for name := range values {
		if !known[name] {
			wrong = append(wrong, userkit.NewError(userkit.CodeUnknownField, name, "the query has no such parameter"))
		}
	}
	if len(wrong) == 0 {
		return query, nil
	}
	slices.SortFunc(wrong, func(a, b *userkit.Error) int { return strings.Compare(a.Field, b.Field) })
	if len(wrong) > 1 {
		for _, err := range wrong {
			wrong[0].Fields = append(wrong[0].Fields, userkit.FieldError{Field: err.Field, Code: err.Code, Message: err.Message})
		}
	}
	var none Q
	return none, wrong[0]
}

// eachParameter walks the fields of a query that have a name in JSON, those of what it
// embeds included.
func eachParameter(query reflect.Value, each func(name string, field reflect.Value)) {
	for kind, field := range query.Fields() {
		name, _, _ := strings.Cut(kind.Tag.Get("json"), ",")
		switch {
		case kind.Anonymous:
			eachParameter(field, each)
		case name != "" && name != "-":
			each(name, field)
		}
	}
}

// set reads one value from its text.
func set(field reflect.Value, text string) *userkit.Error {
	switch target := field.Addr().Interface().(type) {
	case *time.Time:
		at, err := userkit.KindTime.Parse(text)
		if err != nil {
			return userkit.AsError(err)
		}
		*target = at.(time.Time)
		return nil
	case *userkit.Optional[userkit.BoundingBox]:
		var box userkit.BoundingBox
		if err := json.Unmarshal([]byte("["+text+"]"), &box); err != nil {
			return userkit.NewError(userkit.CodeBadFormat, "", "not four numbers, west,south,east,north").Because(err)
		}
		*target = userkit.Set(box)
		return nil
	case encoding.TextUnmarshaler:
		err := target.UnmarshalText([]byte(text))
		if err == nil {
			return nil
		}
		if e := userkit.AsError(err); e.Code != "" {
			return e
		}
		return userkit.NewError(userkit.CodeBadFormat, "", "no value of this parameter").Because(err)
	}
	switch field.Kind() {
	case reflect.Bool:
		on, err := strconv.ParseBool(text)
		if err != nil && text != "on" {
			return userkit.NewError(userkit.CodeBadFormat, "", "neither true nor false")
		}
		field.SetBool(on || text == "on")
	case reflect.Int:
		number, err := strconv.Atoi(text)
		if err != nil {
			return userkit.NewError(userkit.CodeBadFormat, "", "not a whole number")
		}
		field.SetInt(int64(number))
	default:
		field.SetString(text)
	}
	return nil
}
