package userio_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

func TestExportWritesWhatIsAskedFor(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	manager := newManager(t, userkit.WithClock(func() time.Time { return now }))
	for _, user := range []userkit.NewUser{
		{Login: "ann", Name: "Ann", Phone: "+375291234567", Status: userkit.StatusActive, Attributes: userkit.Attributes{"plan": "pro", "seats": 3}},
		{Login: "bob", Name: "=cmd|' /C calc'!A0", Status: userkit.StatusDisabled, ExpiresAt: now.Add(-time.Hour), Attributes: userkit.Attributes{"seats": "3"}},
		{Login: "cat", Name: "Cat \"the cat\", Esq.", Status: userkit.StatusActive, ValidFor: userkit.Duration(time.Hour)},
	} {
		_, err := manager.CreateUser(t.Context(), user)
		require.NoError(t, err)
	}
	t.Run("columns in the order asked for, derived ones and single attributes too", func(t *testing.T) {
		file := export(t, manager, userio.ExportOptions{
			Query:   userkit.UserQuery{UserFilter: userkit.UserFilter{Moment: userkit.Moment{At: now}}},
			Columns: []string{"name", "login", "phone", "access", "traffic_used", "balance", "registered_at", "expires_at", "valid_for", "attributes.plan", "attributes.seats", "attributes"},
		})
		require.Equal(t, "name,login,phone,access,traffic_used,balance,registered_at,expires_at,valid_for,attributes.plan,attributes.seats,attributes\r\n"+
			"Ann,ann,+375291234567,allowed,0,0.00 EUR,2026-01-02T03:04:05Z,,0s,pro,3,\"{\"\"plan\"\":\"\"pro\"\",\"\"seats\"\":3}\"\r\n"+
			"'=cmd|' /C calc'!A0,bob,,user_disabled user_expired,0,0.00 EUR,2026-01-02T03:04:05Z,2026-01-02T02:04:05Z,0s,,\"\"\"3\"\"\",\"{\"\"seats\"\":\"\"3\"\"}\"\r\n"+
			"\"Cat \"\"the cat\"\", Esq.\",cat,,allowed,0,0.00 EUR,2026-01-02T03:04:05Z,,1h,,,\r\n", file)
	})
	t.Run("NDJSON has values of JSON", func(t *testing.T) {
		file := export(t, manager, userio.ExportOptions{Format: userio.NDJSON, Columns: []string{
			"login", "name", "email_verified", "access", "balance", "expires_at", "attributes.seats", "attributes", "traffic_limit",
		}})
		require.Equal(t, `{"login":"ann","name":"Ann","email_verified":false,"access":["allowed"],"balance":{"amount":0,"currency":"EUR"},"expires_at":null,"attributes.seats":3,"attributes":{"plan":"pro","seats":3},"traffic_limit":0}
{"login":"bob","name":"=cmd|' /C calc'!A0","email_verified":false,"access":["user_disabled","user_expired"],"balance":{"amount":0,"currency":"EUR"},"expires_at":"2026-01-02T02:04:05Z","attributes.seats":"3","attributes":{"seats":"3"},"traffic_limit":0}
{"login":"cat","name":"Cat \"the cat\", Esq.","email_verified":false,"access":["allowed"],"balance":{"amount":0,"currency":"EUR"},"expires_at":null,"attributes.seats":null,"attributes":null,"traffic_limit":0}
`, file)
	})
	t.Run("all stored fields, when no columns are named", func(t *testing.T) {
		report, err := userio.Export(t.Context(), manager, io.Discard, userio.ExportOptions{})
		require.NoError(t, err)
		var names []string
		for _, field := range userkit.UserFields() {
			names = append(names, field.Name)
		}
		require.Equal(t, names, report.Columns)
		require.EqualValues(t, 3, report.Rows)
	})
	t.Run("filtered and sorted, page by page", func(t *testing.T) {
		filter, err := userkit.ParseFilter(`status eq "active"`)
		require.NoError(t, err)
		var progress []userio.Progress
		file := export(t, manager, userio.ExportOptions{
			Query: userkit.UserQuery{
				UserFilter: userkit.UserFilter{Filter: filter}, PageQuery: userkit.PageQuery{Sort: "name", Descending: true, Limit: 1},
			},
			Columns: []string{"login"}, Progress: func(p userio.Progress) { progress = append(progress, p) },
		})
		require.Equal(t, "login\r\ncat\r\nann\r\n", file)
		require.Equal(t, []userio.Progress{{Rows: 1}, {Rows: 2}, {Rows: 2, Bytes: int64(len(file))}}, progress)
	})
	t.Run("a file of nobody has its headings", func(t *testing.T) {
		require.Equal(t, "login;name\r\n", export(t, newManager(t), userio.ExportOptions{Columns: []string{"login", "name"}, Comma: ';'}))
	})
	t.Run("an only value that is empty is no empty line", func(t *testing.T) {
		require.Equal(t, "phone\r\n+375291234567\r\n\"\"\r\n\"\"\r\n", export(t, manager, userio.ExportOptions{Columns: []string{"phone"}}))
	})
	t.Run("every reader of CSV reads it", func(t *testing.T) {
		oddUsers(t, manager)
		records, err := csv.NewReader(strings.NewReader(export(t, manager, userio.ExportOptions{Columns: []string{"login", "name", "attributes"}}))).ReadAll()
		require.NoError(t, err)
		require.Len(t, records, countUsers(t, manager)+1)
	})
	t.Run("no cell of a text runs as a formula", func(t *testing.T) {
		records, err := csv.NewReader(strings.NewReader(export(t, manager, userio.ExportOptions{}))).ReadAll()
		require.NoError(t, err)
		seen := 0
		for _, record := range records {
			for _, cell := range record {
				if cell != "" && strings.Contains("=+-@\t\r\n", cell[:1]) {
					require.Empty(t, strings.Trim(cell[1:], "0123456789"), cell)
					seen++
				}
			}
		}
		require.NotZero(t, seen, "telephone numbers stay as they are")
	})
	t.Run("every line of NDJSON is one object", func(t *testing.T) {
		for line := range strings.Lines(export(t, manager, userio.ExportOptions{Format: userio.NDJSON})) {
			require.True(t, json.Valid([]byte(line)), line)
		}
	})
}

func TestExportRefusesWhatItCannotWrite(t *testing.T) {
	manager := newManager(t)
	for name, test := range map[string]struct {
		options userio.ExportOptions
		code    userkit.Code
	}{
		"an unknown column":              {userio.ExportOptions{Columns: []string{"login", "shoe_size"}}, userkit.CodeUnknownField},
		"a name that no attribute has":   {userio.ExportOptions{Columns: []string{"attributes.1"}}, userkit.CodeBadFormat},
		"a column twice":                 {userio.ExportOptions{Columns: []string{"login", "login"}}, userkit.CodeBadFormat},
		"no column":                      {userio.ExportOptions{Columns: []string{}}, userkit.CodeRequired},
		"an unknown format":              {userio.ExportOptions{Format: "pdf"}, userkit.CodeUnknownValue},
		"a quote as the separator":       {userio.ExportOptions{Comma: '"'}, userkit.CodeBadFormat},
		"a separator that is not ASCII":  {userio.ExportOptions{Comma: '；'}, userkit.CodeBadFormat},
		"a field that is no sort order":  {userio.ExportOptions{Query: userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "attributes"}}}, userkit.CodeUnknownField},
		"a page that is larger than all": {userio.ExportOptions{Query: userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: userkit.MaxPageLimit + 1}}}, userkit.CodeOutOfRange},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := userio.Export(t.Context(), manager, io.Discard, test.options)
			require.ErrorIs(t, err, userkit.ErrInvalid)
			require.Equal(t, test.code, userkit.ErrorCode(err))
		})
	}
}

// full is a writer that takes nothing any more.
type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

func TestExportEndsWithTheFirstError(t *testing.T) {
	noSpace := errors.New("no space left")
	for _, format := range formats {
		t.Run("of the writer, in "+string(format), func(t *testing.T) {
			_, err := userio.Export(t.Context(), newCrowd(100_000), full{noSpace}, userio.ExportOptions{Format: format})
			require.ErrorIs(t, err, noSpace)
		})
		t.Run("of the context, in "+string(format), func(t *testing.T) {
			manager := newManager(t)
			oddUsers(t, manager)
			ctx, cancel := context.WithCancel(t.Context())
			_, err := userio.Export(ctx, manager, io.Discard, userio.ExportOptions{
				Format: format, Query: userkit.UserQuery{PageQuery: userkit.PageQuery{Limit: 1}}, Progress: func(userio.Progress) { cancel() },
			})
			require.ErrorIs(t, err, context.Canceled)
		})
	}
}

func TestFormatsHaveContentTypes(t *testing.T) {
	for _, format := range formats {
		require.NotEmpty(t, format.ContentType())
	}
	require.Empty(t, userio.Format("pdf").ContentType())
}

func FuzzImportCSV(f *testing.F) {
	for _, seed := range []string{
		"", "login\nann\n", "login,name\r\nann,\"A\r\nB\"\r\n", "login;name\rann;'=1\r", "sep=\t\nlogin\tx\nann\t1", "\xEF\xBB\xBFlogin\n\"a\"\"b\"", "login,\"\n\"\n\"", "\xFF\xFEl",
		"id,login,login\n", "login,phone,registered_at,status,traffic_limit,attributes,attributes.a,email_verified\nann,00375,2026-01-02,ACTIVE,5,\"{\"\"a\"\":1}\",2,yes",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) { fuzzImport(t, userio.CSV, file) })
}

func FuzzImportNDJSON(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "{\"login\":\"ann\"}\n{\"login\":\"bob\",\"attributes\":{\"a\":[1,2.5,null]}}", "{\"login\":\"ann\",\"login\":1}", "[{}]", "{\"a\":1e999}", "{\"attributes.a\":\"\"}",
		"{\"id\":\"x\",\"status\":\"ACTIVE\",\"traffic_limit\":1.5,\"registered_at\":5,\"valid_for\":\"1h\",\"email_verified\":1}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) { fuzzImport(t, userio.NDJSON, file) })
}

// fuzzImport imports a file of whatever bytes: it must not panic, count every
// row, and give only userkit's errors. What went in must come out again.
func fuzzImport(t *testing.T, format userio.Format, file []byte) {
	sink := &sink{keep: true}
	report, err := userio.Import(t.Context(), sink, bytes.NewReader(file), userio.ImportOptions{Format: format})
	if err != nil {
		require.NotEmpty(t, userkit.ErrorCode(err), err)
	}
	for _, rejection := range report.Rejections {
		require.NotEmpty(t, userkit.ErrorCode(rejection.Err), rejection)
	}
	require.Equal(t, report.Rows, report.Created+report.Rejected)
	require.LessOrEqual(t, report.Rows, int64(bytes.Count(file, []byte{'\n'})+bytes.Count(file, []byte{'\r'})+1))

	var users []userkit.User
	for _, record := range slices.Concat(sink.calls...) {
		create := record.Draft.Create
		users = append(users, userkit.User{ID: create.ID, Login: create.Login, Name: create.Name, ExtRef: create.ExtRef, Description: create.Description})
	}
	if len(users) > userkit.MaxImport { // calls may have come in another order
		return
	}
	columns := []string{"id", "extref", "login", "name", "description"}
	var again bytes.Buffer
	_, err = userio.Export(t.Context(), fixed{users: users}, &again, userio.ExportOptions{Format: format, Columns: columns})
	require.NoError(t, err)
	sink.calls = nil
	_, err = userio.Import(t.Context(), sink, &again, userio.ImportOptions{Format: format})
	require.NoError(t, err)
	imported := slices.Concat(sink.calls...)
	require.Len(t, imported, len(users))
	for i, record := range imported {
		want := users[i]
		create := record.Draft.Create
		got := userkit.User{ID: create.ID, Login: create.Login, Name: create.Name, ExtRef: create.ExtRef, Description: create.Description}
		require.Equal(t, want, got)
	}
}

// fixed is a UserManager with the given users.
type fixed struct {
	userkit.UserManager
	users []userkit.User
}

func (fixed) Project() userkit.Project { return userkit.Project{} }

func (f fixed) Users(context.Context, userkit.UserQuery) (userkit.Page[userkit.User], error) {
	return userkit.Page[userkit.User]{Items: f.users}, nil
}

// One long text costs nobody the export, and what is left of it replaces nothing.
func TestTextsLongerThanACellAreCut(t *testing.T) {
	long := "😀" + strings.Repeat("x", 32_800)
	manager := newManager(t)
	for _, name := range []string{"ada", "bob"} {
		_, err := manager.CreateUser(t.Context(), userkit.NewUser{Login: name, Attributes: userkit.Attributes{"long": name + long, "short": long[:16_000]}})
		require.NoError(t, err)
	}
	var file bytes.Buffer
	options := userio.ExportOptions{Format: userio.XLSX, Columns: []string{"login", "attributes.long", "attributes.short", "attributes"}}
	options.Query.Sort = "login"
	report, err := userio.Export(t.Context(), manager, &file, options)
	require.NoError(t, err)
	require.EqualValues(t, 2, report.Rows)
	require.EqualValues(t, 4, report.Cut)
	require.Equal(t, userio.CutCell{Sheet: "Users", Row: 2, Column: "attributes.long"}, report.CutCells[0])
	require.Equal(t, userio.CutCell{Sheet: "Users", Row: 3, Column: "attributes"}, report.CutCells[3])

	again := importText(t, manager, file.String(), userio.ImportOptions{ClearEmpty: true})
	require.EqualValues(t, 2, again.Unchanged)
	require.EqualValues(t, 4, again.Cut)
	require.Equal(t, "bob"+long, login(t, manager, "bob").Attributes["long"])

	fresh := newManager(t)
	require.EqualValues(t, 2, importText(t, fresh, file.String(), userio.ImportOptions{}).Created)
	require.NotContains(t, login(t, fresh, "bob").Attributes, "long")
}
