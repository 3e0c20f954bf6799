package userio_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/userio"
)

var formats = []userio.Format{userio.CSV, userio.XLSX, userio.NDJSON}

// newManager returns a manager of an empty project.
func newManager(t testing.TB, opts ...userkit.Option) userkit.Manager {
	t.Helper()
	store := memory.New()
	manager, err := userkit.New(store, append([]userkit.Option{
		userkit.WithLicenses(userkit.License{Name: "basic"}, userkit.License{Name: "pro"}), userkit.WithOptionalPayer(),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, manager.Close(context.Background()))
		require.NoError(t, store.Close())
	})
	return manager
}

// export returns what Export writes.
func export(t testing.TB, users userkit.UserManager, options userio.ExportOptions) string {
	t.Helper()
	var file bytes.Buffer
	report, err := userio.Export(t.Context(), users, &file, options)
	require.NoError(t, err)
	require.EqualValues(t, file.Len(), report.Bytes)
	return file.String()
}

// importText imports a file and requires that nothing keeps it from being read.
func importText(t testing.TB, users userkit.ImportManager, file string, options userio.ImportOptions) userio.ImportReport {
	t.Helper()
	report, err := userio.Import(t.Context(), users, strings.NewReader(file), options)
	require.NoError(t, err)
	require.Equal(t, report.Rows, report.Created+report.Updated+report.Unchanged+report.Rejected)
	return report
}

// login finds a user by its login.
func login(t testing.TB, users userkit.UserManager, login string) userkit.User {
	t.Helper()
	user, err := users.FindUser(t.Context(), userkit.ByLogin(login))
	require.NoError(t, err)
	return user
}

func countUsers(t testing.TB, users userkit.UserManager) int {
	t.Helper()
	count, err := users.CountUsers(t.Context(), userkit.UserFilter{})
	require.NoError(t, err)
	return int(count)
}

func countEvents(t testing.TB, manager userkit.ActivityManager) (count int) {
	t.Helper()
	for _, err := range manager.Feed(t.Context(), "") { // in memory, where it never waits
		require.NoError(t, err)
		count++
	}
	return count
}

// settable are the columns that an import takes over.
func settable() (columns []string) {
	for _, field := range userkit.UserFields() {
		if field.Settable() {
			columns = append(columns, field.Name)
		}
	}
	return columns
}

// oddTexts are values that some step on the way could change.
var oddTexts = []string{
	"plain", "=1+1", "=HYPERLINK(\"http://evil\",\"x\")", "@SUM(A1)", "+1+1", "-1-1|cmd", "-", "-5", "+375291234567", "'", "'=x", "''@y", "'quoted'",
	" spaces around ", "comma, semicolon; tab", `say "hello"`, `"`, `""`, "007", "1.50", "1e5", "true", "null", "{}", "[1]", `"quoted"`, `{"a":1`, "5", "-0",
	"9007199254740993", "Ünïcödé", "日本語", "عربي", "🙂", "＝full width", "sep=;", "#", "_x0041_", "2026-01-02", "<b>&amp;</b>", "a\u00a0b",
}

// oddUsers creates users with values that some step on the way could change.
func oddUsers(t testing.TB, manager userkit.Manager) {
	t.Helper()
	for i, text := range oddTexts {
		_, err := manager.CreateUser(t.Context(), userkit.NewUser{
			Login: fmt.Sprintf("odd%03d", i), Name: text, ExtRef: fmt.Sprintf("%s #%d", text, i), AuthMethod: text,
			Description:  text + "\r\n" + text + "\n\r" + text + "\ttab",
			Attributes:   userkit.Attributes{"text": text, "list": []any{text, int64(i), nil, true}, "deep": map[string]any{"text": text}},
			RegisteredAt: time.Date(2020, 2, 3, 4, 5, 6, 789_012_000, time.UTC),
		})
		require.NoError(t, err)
	}
	for i, word := range []string{"NULL", "'NULL", `\N`, "N/A", "n/a", "'n/a", "#N/A", "#REF!", "'#REF!", "''#REF!", "#NAME?", "(null)", "<null>", "[NULL]", "none", "-", "nan"} {
		_, err := manager.CreateUser(t.Context(), userkit.NewUser{
			Login: fmt.Sprintf("word%03d", i), Name: word, Description: word, AuthMethod: word, Attributes: userkit.Attributes{"text": word},
		})
		require.NoError(t, err)
	}
	for i, value := range []any{int64(0), int64(-1), int64(1) << 53, int64(1)<<53 + 1, int64(-1 << 63), 0.1, 1.5e300, -2.5e-7, true, false, "", map[string]any{}, []any{}} {
		_, err := manager.CreateUser(t.Context(), userkit.NewUser{
			Login: fmt.Sprintf("value%03d", i), Attributes: userkit.Attributes{"text": value, "list": []any{value}},
		})
		require.NoError(t, err)
	}
	for i, user := range []userkit.NewUser{
		{Email: "verified@example.com", EmailVerified: true, Phone: "+375291234567", Country: "by", Currency: "BHD"},
		{Status: userkit.StatusDisabled, Kind: userkit.UserLegalEntity, License: "pro", Payer: userkit.Payer{
			AccountNumber: "0012", LegalAddress: "one\ntwo", PostalAddress: "=three", Bank: "@bank", BankAccount: "-1",
		}},
		{Status: userkit.StatusActive, ExpiresAt: time.Date(2031, 12, 31, 23, 59, 59, 999_999_000, time.UTC)},
		{ExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 123_457_000, time.UTC)},
		{ExpiresAt: time.Date(1899, 1, 1, 0, 0, 0, 1000, time.UTC), RegisteredAt: time.Date(1900, 2, 28, 1, 2, 3, 0, time.UTC)},
		{ValidFor: userkit.Duration(30*24*time.Hour + time.Nanosecond)},
		{TrafficLimit: userkit.Set(userkit.TrafficLimit{Bytes: 1<<62 + 1, Reset: userkit.ResetMonthly, AnchorDay: 31})},
		{TrafficLimit: userkit.Set(userkit.TrafficLimit{Reset: userkit.ResetNever})},
		{PreferredMap: "=map", AdditionalInfo: "\r"},
	} {
		user.Login = fmt.Sprintf("kind%03d", i)
		_, err := manager.CreateUser(t.Context(), user)
		require.NoError(t, err)
	}
}

func TestRoundTrip(t *testing.T) {
	manager := newManager(t)
	oddUsers(t, manager)
	count := countUsers(t, manager)
	single := []string{"id", "attributes.text", "attributes.list", "attributes.deep"}
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) {
			for what, columns := range map[string][]string{
				"all fields": nil, "single attributes": single, "all attributes and single ones": append(single, "attributes", "login"),
			} {
				t.Run("importing an export of "+what+" changes nothing and writes no event", func(t *testing.T) {
					before := countEvents(t, manager)
					file := export(t, manager, userio.ExportOptions{Format: format, Columns: columns})
					for _, options := range []userio.ImportOptions{{}, {Format: format}, {ClearEmpty: true}, {DryRun: true}, {Mode: userkit.ImportUpdate, Key: "id"}} {
						report := importText(t, manager, file, options)
						require.Empty(t, report.Rejections)
						require.EqualValues(t, count, report.Unchanged)
					}
					require.Equal(t, before, countEvents(t, manager))
				})
			}
			t.Run("what is exported, imported elsewhere and exported again is the same", func(t *testing.T) {
				options := userio.ExportOptions{Format: format, Columns: settable()}
				file := export(t, manager, options)
				other := newManager(t)
				report := importText(t, other, file, userio.ImportOptions{})
				require.Empty(t, report.Rejections)
				require.EqualValues(t, count, report.Created)
				again := export(t, other, options)
				if format == userio.XLSX { // a ZIP has times of its own
					options.Format = userio.NDJSON
					file, again = export(t, manager, options), export(t, other, options)
				}
				require.Equal(t, file, again)
			})
		})
	}
	t.Run("a workbook that comes as a stream is the same as one from a file", func(t *testing.T) {
		file := export(t, manager, userio.ExportOptions{Format: userio.XLSX})
		for _, reader := range []io.Reader{strings.NewReader(file), io.MultiReader(strings.NewReader(file))} {
			var last userio.Progress
			report, err := userio.Import(t.Context(), manager, reader, userio.ImportOptions{Progress: func(p userio.Progress) { last = p }})
			require.NoError(t, err)
			require.EqualValues(t, count, report.Unchanged)
			require.GreaterOrEqual(t, last.Bytes, int64(len(file)/2))
		}
	})
	t.Run("separators and a byte-order mark make no difference", func(t *testing.T) {
		for _, comma := range ",;\t|" {
			for _, mark := range []bool{false, true} {
				file := export(t, manager, userio.ExportOptions{Comma: comma, BOM: mark})
				report := importText(t, manager, file, userio.ImportOptions{})
				require.Empty(t, report.Rejections)
				require.EqualValues(t, count, report.Unchanged)
			}
		}
	})
}

// sink is an ImportManager that does nothing and remembers what it was asked for.
type sink struct {
	userkit.ImportManager
	mutex   sync.Mutex
	calls   [][]userkit.UserImport // while keep
	keep    bool
	records int64
	outcome func(userkit.UserImport) userkit.ImportOutcome // nil: all are created
}

func (s *sink) ImportUsers(_ context.Context, _ userkit.ImportOptions, records []userkit.UserImport) ([]userkit.ImportOutcome, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.records += int64(len(records))
	if s.keep {
		s.calls = append(s.calls, append([]userkit.UserImport(nil), records...))
	}
	outcomes := make([]userkit.ImportOutcome, len(records))
	for i, record := range records {
		outcomes[i].Action = userkit.ImportCreated
		if s.outcome != nil {
			outcomes[i] = s.outcome(record)
		}
	}
	return outcomes, nil
}

// endless is a reader of a text that comes again and again, up to a size.
type endless struct {
	head, part string
	left       int64
	rest       string
}

func (e *endless) Read(to []byte) (int, error) {
	if e.rest == "" {
		e.rest, e.head = e.head, ""
	}
	if e.rest == "" {
		e.rest = e.part
	}
	if e.left <= 0 {
		return 0, io.EOF
	}
	count := copy(to[:min(int64(len(to)), e.left)], e.rest)
	e.rest = e.rest[count:]
	e.left -= int64(count)
	return count, nil
}
