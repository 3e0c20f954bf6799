package userkit

import (
	"database/sql/driver"
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// The types of values implement driver.Valuer and the Scan method of sql.Scanner, so
// that a host can keep them in columns of its own tables, whatever library it reads them
// with. What means "none" is NULL.

// Value writes the id for a column of a host's own table, of type uuid or text; the zero
// id is NULL.
func (id ID[T]) Value() (driver.Value, error) {
	if id.IsZero() {
		return nil, nil
	}
	return id.String(), nil
}

// Scan reads what Value writes, and the 16 bytes of a UUID as some databases keep
// them. NULL is the zero id.
func (id *ID[T]) Scan(source any) error {
	switch source := source.(type) {
	case nil:
		*id = ID[T]{}
		return nil
	case [16]byte:
		*id = source
		return nil
	case []byte:
		if len(source) == len(id) {
			*id = ID[T](source)
			return nil
		}
	}
	return scanText(id, source)
}

// Value writes the amount for a text column of a host's own table, in the form of
// String; zero Money, without a currency, is NULL. A host that computes with amounts in SQL should
// keep Amount and Currency in separate columns.
func (m Money) Value() (driver.Value, error) {
	if m == (Money{}) {
		return nil, nil
	}
	if _, err := CurrencyDigits(m.Currency); err != nil {
		return nil, err
	}
	return m.String(), nil
}

// Scan reads what Value writes. NULL is zero Money.
func (m *Money) Scan(source any) error {
	if source == nil {
		*m = Money{}
		return nil
	}
	text, err := sourceText(m, source)
	if err != nil {
		return err
	}
	read, err := readMoney(text)
	if err != nil {
		return err
	}
	*m = read
	return nil
}

// Value writes the day for a column of a host's own table, of type date or text; the
// zero Day is NULL.
func (d Day) Value() (driver.Value, error) {
	if d.IsZero() {
		return nil, nil
	}
	return d.String(), nil
}

// Scan reads what Value writes, and the time at midnight UTC that drivers return for a date. NULL
// is the zero Day.
func (d *Day) Scan(source any) error {
	switch source := source.(type) {
	case nil:
		*d = Day{}
		return nil
	case time.Time:
		*d = DayOf(source, source.Location())
		return nil
	}
	return scanText(d, source)
}

// Value writes the value for a column of a host's own table, as the type of the value is written. A
// value that is not set is NULL.
func (o Optional[T]) Value() (driver.Value, error) {
	if !o.set {
		return nil, nil
	}
	return driver.DefaultParameterConverter.ConvertValue(o.value)
}

// Scan reads what Value writes. NULL sets nothing.
func (o *Optional[T]) Scan(source any) error {
	if source == nil {
		*o = Optional[T]{}
		return nil
	}
	var value T
	if err := scanValue(&value, source); err != nil {
		return err
	}
	*o = Set(value)
	return nil
}

// scanText reads a value that is kept as a text.
func scanText(target encoding.TextUnmarshaler, source any) error {
	text, err := sourceText(target, source)
	if err != nil {
		return err
	}
	return target.UnmarshalText([]byte(text))
}

// sourceText returns the text that a driver has read.
func sourceText(target, source any) (string, error) {
	switch source := source.(type) {
	case string:
		return source, nil
	case []byte:
		return string(source), nil
	}
	return "", cannotScan(target, source)
}

func cannotScan(target, source any) error {
	return NewError(CodeBadFormat, "", "a value of type %T cannot be read into %s", source, reflect.TypeOf(target).Elem())
}

// scanValue reads what a driver returns, which is one of the types of driver.Value, into
// a value of any type that such a column can hold.
func scanValue(target, source any) error {
	if scanner, ok := target.(interface{ Scan(source any) error }); ok {
		return scanner.Scan(source)
	}
	into, from := reflect.ValueOf(target).Elem(), reflect.ValueOf(source)
	if data, ok := source.([]byte); ok {
		from = reflect.ValueOf(append([]byte{}, data...)) // the driver uses its memory again
	}
	if from.Type().AssignableTo(into.Type()) {
		into.Set(from)
		return nil
	}
	text := ""
	switch source := source.(type) {
	case string:
		text = source
	case []byte:
		text = string(source)
	case bool, int64, float64:
		text = fmt.Sprint(source)
	default:
		return cannotScan(target, source)
	}
	if reader, ok := target.(encoding.TextUnmarshaler); ok {
		return reader.UnmarshalText([]byte(text))
	}
	var err error
	switch into.Kind() {
	case reflect.String:
		into.SetString(text)
	case reflect.Bool:
		var value bool
		value, err = strconv.ParseBool(text)
		into.SetBool(value)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var value int64
		value, err = strconv.ParseInt(text, 10, into.Type().Bits())
		into.SetInt(value)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var value uint64
		value, err = strconv.ParseUint(text, 10, into.Type().Bits())
		into.SetUint(value)
	case reflect.Float32, reflect.Float64:
		var value float64
		value, err = strconv.ParseFloat(text, into.Type().Bits())
		into.SetFloat(value)
	default:
		return cannotScan(target, source)
	}
	if err != nil {
		return NewError(CodeBadFormat, "", "%q cannot be read into %s", clip(text), into.Type()).Because(err)
	}
	return nil
}
