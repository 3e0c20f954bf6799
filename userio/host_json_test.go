package userio

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

func TestReportsHaveNamesInJSON(t *testing.T) {
	snake := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	for _, of := range []reflect.Type{
		reflect.TypeFor[ImportReport](), reflect.TypeFor[ExportReport](), reflect.TypeFor[Rejection](), reflect.TypeFor[ColumnUse](),
		reflect.TypeFor[Inspection](), reflect.TypeFor[Progress](), reflect.TypeFor[RowChange](),
	} {
		for field := range of.Fields() {
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "-" {
				require.Regexp(t, snake, name, "%s.%s", of, field.Name)
			}
		}
	}
}

func TestRejectionInJSON(t *testing.T) {
	report := ImportReport{Rows: 1, Rejected: 1, Columns: []ColumnUse{}, Rejections: []Rejection{
		{Row: 12, Column: "E-mail", Err: userkit.NewError(userkit.CodeBadFormat, "email", "no address")},
	}}
	written, err := json.Marshal(report)
	require.NoError(t, err)
	require.JSONEq(t, `{"rows":1,"created":0,"updated":0,"unchanged":0,"rejected":1,"columns":[],"rejections":[
		{"row":12,"column":"E-mail","error":{"kind":"invalid","code":"bad_format","field":"email","message":"no address"}}]}`, string(written))
	var read ImportReport
	require.NoError(t, json.Unmarshal(written, &read))
	require.Equal(t, report, read)
}

func TestBareNumbersAreNoSpans(t *testing.T) {
	for _, bare := range []string{"30", "2592000", "1.5"} {
		_, err := userkit.KindSpan.Parse(bare)
		require.Equal(t, userkit.CodeBadFormat, userkit.ErrorCode(err), bare)
	}
}
