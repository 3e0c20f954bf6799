package userio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

// lines returns what rejections say, short: row, column, code.
func lines(report userio.ImportReport) (lines []string) {
	for _, r := range report.Rejections {
		lines = append(lines, fmt.Sprintf("%d %s %s", r.Row, r.Column, userkit.ErrorCode(r.Err)))
	}
	return lines
}

// uses returns what an import made of the columns, as "heading: field" or
// "heading! why it was ignored".
func uses(report userio.ImportReport) (uses []string) {
	for _, c := range report.Columns {
		if c.Ignored != "" {
			uses = append(uses, c.Heading+"! "+c.Ignored)
		} else {
			uses = append(uses, c.Heading+": "+c.Field)
		}
	}
	return uses
}

// refused requires that a file is refused as a whole, and that nothing of it
// went in.
func refused(t *testing.T, file string, options userio.ImportOptions, code userkit.Code, says string) {
	t.Helper()
	manager := newManager(t)
	_, err := userio.Import(t.Context(), manager, strings.NewReader(file), options)
	require.ErrorIs(t, err, userkit.ErrInvalid)
	require.Equal(t, code, userkit.ErrorCode(err), err)
	require.ErrorContains(t, err, says)
	require.Zero(t, countUsers(t, manager))
}

func TestImportReadsWhatOtherProgramsWrite(t *testing.T) {
	for name, file := range map[string]string{
		"plain":                      "login,name\nann,Ann\nbob,Bob\n",
		"without a last line break":  "login,name\nann,Ann\nbob,Bob",
		"with a byte-order mark":     "\xEF\xBB\xBFlogin,name\nann,Ann\nbob,Bob\n",
		"with CRLF":                  "login,name\r\nann,Ann\r\nbob,Bob\r\n",
		"with CR alone":              "login,name\rann,Ann\rbob,Bob\r",
		"with semicolons":            "login;name\nann;Ann\nbob;Bob\n",
		"with tabs":                  "login\tname\nann\tAnn\nbob\tBob\n",
		"with bars":                  "login|name\nann|Ann\nbob|Bob\n",
		"with a line that says sep=": "sep=;\r\nlogin;name\r\nann;Ann\r\nbob;Bob\r\n",
		"with all in quotes":         "\"login\",\"name\"\n\"ann\",\"Ann\"\n\"bob\",\"Bob\"\n",
		"with empty lines":           "\n\nlogin,name\n\nann,Ann\n\r\n,\nbob,Bob\n\n",
		"with columns turned around": "name,login\nAnn,ann\nBob,bob\n",
		"with headings in capitals":  " LOGIN ,Name\nann,Ann\nbob,Bob\n",
		"with empty values too many": "login,name\nann,Ann,,\nbob,Bob,\n",
		"with spaces behind quotes":  "login,name\n\"ann\" ,\"Ann\"  \nbob,Bob\n",
		"in NDJSON":                  `{"login":"ann","name":"Ann"}` + "\n\n" + `{"name":"Bob","login":"bob"}`,
		"in NDJSON with CRLF":        "\xEF\xBB\xBF\r\n{\"login\":\"ann\",\"name\":\"Ann\"}\r\n \t{\"login\":\"bob\",\"name\":\"Bob\"}\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for what, reader := range map[string]func(io.Reader) io.Reader{
				"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "with the end at once": iotest.DataErrReader,
			} {
				manager := newManager(t)
				report, err := userio.Import(t.Context(), manager, reader(strings.NewReader(file)), userio.ImportOptions{})
				require.NoError(t, err, what)
				require.Empty(t, report.Rejections, what)
				require.EqualValues(t, 2, report.Created, what)
				require.Equal(t, "Ann", login(t, manager, "ann").Name, what)
				require.Equal(t, "Bob", login(t, manager, "bob").Name, what)
			}
		})
	}
	t.Run("line breaks and separators in quotes stay as they are", func(t *testing.T) {
		manager := newManager(t)
		importText(t, manager, "login;description\r\nann;\"one\r\ntwo;\rthree\n\"\"four\"\"\"\r\nbob;a \"b\" c\r\n", userio.ImportOptions{})
		require.Equal(t, "one\r\ntwo;\rthree\n\"four\"", login(t, manager, "ann").Description)
		require.Equal(t, `a "b" c`, login(t, manager, "bob").Description)
	})
	t.Run("the separator is what the caller says", func(t *testing.T) {
		manager := newManager(t)
		importText(t, manager, "login^name\nann^A,B;C", userio.ImportOptions{Comma: '^'})
		require.Equal(t, "A,B;C", login(t, manager, "ann").Name)
	})
	t.Run("a row may be as long as the bound", func(t *testing.T) {
		report := importText(t, newManager(t), "login,note\nann,"+strings.Repeat("x", userio.MaxRowBytes-5)+"\nbob,", userio.ImportOptions{})
		require.Equal(t, []string{"2 note too_long"}, lines(report))
		require.EqualValues(t, 1, report.Created)
	})
}

func TestImportKnowsHeadings(t *testing.T) {
	manager := newManager(t)
	report := importText(t, manager, "External ID,Login,Full name,E-Mail Address,Mobile,Country Code,Created at,E-mail verified,Traffic-Limit,attributes.plan,Balance,Devices,revision,Last seen at,Access,Favourite Colour,,Телефон\n"+
		"7,ann,Ann Lee,ann@example.com,+375 (29) 123-45-67,by,2020-05-06 07:08:09,Yes, 1000 ,pro,1.00 EUR,3,9,2026-01-01,allowed,red,x,1\n", userio.ImportOptions{})
	require.Empty(t, report.Rejections)
	require.Equal(t, []string{
		"External ID: extref", "Login: login", "Full name: name", "E-Mail Address: email", "Mobile: phone", "Country Code: country",
		"Created at: registered_at", "E-mail verified: email_verified", "Traffic-Limit: traffic_limit", "attributes.plan: attributes.plan",
		"Balance! read-only", "Devices! read-only", "revision! read-only", "Last seen at! read-only", "Access! read-only",
		"Favourite Colour: attributes.favourite_colour", "! no heading", "Телефон: attributes.Телефон",
	}, uses(report))
	ann := login(t, manager, "ann")
	require.Equal(t, "7", ann.ExtRef)
	require.Equal(t, "Ann Lee", ann.Name)
	require.Equal(t, "ann@example.com", ann.Email)
	require.True(t, ann.EmailVerified)
	require.Equal(t, "+375291234567", ann.Phone)
	require.Equal(t, "BY", ann.Country)
	require.Equal(t, time.Date(2020, 5, 6, 7, 8, 9, 0, time.UTC), ann.RegisteredAt)
	require.EqualValues(t, 1000, ann.Traffic.Limit.Bytes)
	require.Equal(t, userkit.Attributes{"plan": "pro", "favourite_colour": "red", "Телефон": int64(1)}, ann.Attributes)
	require.Zero(t, ann.Balance.Amount)

	t.Run("of two columns for one field, the one with its name is it, and the other is kept", func(t *testing.T) {
		manager := newManager(t)
		report := importText(t, manager, "login,mobile,phone,mail,work e-mail\nann,+375291111111,+375292222222,a@example.com,b@example.com", userio.ImportOptions{})
		require.Equal(t, []string{
			"login: login", "mobile: attributes.mobile", "phone: phone", "mail: email", "work e-mail: attributes.work_e_mail",
		}, uses(report))
		require.Equal(t, "+375292222222", login(t, manager, "ann").Phone)
	})
	t.Run("unknown columns with names that come out alike stay apart", func(t *testing.T) {
		report := importText(t, newManager(t), "login,a b,a-b,a  b,2 fa,x-1\nann,1,2,3,4,5", userio.ImportOptions{})
		require.Equal(t, []string{
			"login: login", "a b: attributes.a_b", "a-b: attributes.a-b", "a  b: attributes.a_b_2", "2 fa: attributes.fa", "x-1: attributes.x-1",
		}, uses(report))
	})
	t.Run("unknown columns with long names get names that fit", func(t *testing.T) {
		long := strings.Repeat("long name ", 10)
		manager := newManager(t)
		report := importText(t, manager, "login,"+long+"x,"+long+"y\nann,1,2", userio.ImportOptions{})
		require.Empty(t, report.Rejections)
		require.Len(t, login(t, manager, "ann").Attributes, 2)
	})
	t.Run("an attribute keeps its name, whatever the case of what stands before it", func(t *testing.T) {
		report := importText(t, newManager(t), "login,ATTRIBUTES.Plan,attributes.no name\nann,1,2", userio.ImportOptions{})
		require.Equal(t, []string{"login: login", "ATTRIBUTES.Plan: attributes.Plan", "attributes.no name: attributes.attributes_no_name"}, uses(report))
	})
	t.Run("unknown columns can be ignored", func(t *testing.T) {
		manager := newManager(t)
		report := importText(t, manager, "login,color\nann,red", userio.ImportOptions{UnknownColumns: userio.UnknownIgnore})
		require.Equal(t, []string{"login: login", "color! unknown"}, uses(report))
		require.Empty(t, login(t, manager, "ann").Attributes)
	})
	t.Run("unknown columns can be refused", func(t *testing.T) {
		options := userio.ImportOptions{UnknownColumns: userio.UnknownRefuse}
		refused(t, "login,color\nann,red", options, userkit.CodeUnknownField, "color")
		report := importText(t, newManager(t), "{\"login\":\"ann\"}\n{\"login\":\"bob\",\"color\":\"red\"}", options)
		require.Equal(t, []string{"2 color unknown_field"}, lines(report))
		require.EqualValues(t, 1, report.Created)
	})
	t.Run("the caller says what a column is", func(t *testing.T) {
		manager := newManager(t)
		report := importText(t, manager, "Kennung,Paket,phone\nann,5,none", userio.ImportOptions{
			Columns: map[string]string{"Kennung": "login", "PAKET": "attributes.plan", "phone": "-"},
		})
		require.Equal(t, []string{"Kennung: login", "Paket: attributes.plan", "phone! by option"}, uses(report))
		require.Equal(t, userkit.Attributes{"plan": int64(5)}, login(t, manager, "ann").Attributes)
	})
	t.Run("what the caller says must be right", func(t *testing.T) {
		refused(t, "login\nann", userio.ImportOptions{Columns: map[string]string{"login": "devices"}}, userkit.CodeUnknownField, "devices")
		refused(t, "login\nann", userio.ImportOptions{Columns: map[string]string{"login": "attributes.1"}}, userkit.CodeUnknownField, "attributes.1")
		refused(t, "login\nann", userio.ImportOptions{Columns: map[string]string{"user": "login"}}, userkit.CodeUnknownField, "no column")
		refused(t, "login,x\nann,", userio.ImportOptions{Columns: map[string]string{"x": "login"}}, userkit.CodeBadFormat, "both")
		refused(t, "login\nann", userio.ImportOptions{Key: "name"}, userkit.CodeUnknownValue, "name")
		refused(t, "login\nann", userio.ImportOptions{Mode: "merge"}, userkit.CodeUnknownValue, "merge")
		refused(t, "login\nann", userio.ImportOptions{UnknownColumns: "drop"}, userkit.CodeUnknownValue, "drop")
		refused(t, "login\nann", userio.ImportOptions{Format: "ods"}, userkit.CodeUnknownValue, "ods")
		refused(t, "login\nann", userio.ImportOptions{Comma: '\n'}, userkit.CodeBadFormat, "separate")
		refused(t, "login\nann", userio.ImportOptions{Comma: 'é'}, userkit.CodeBadFormat, "separate")
	})
}

func TestImportRefusesFilesThatAreNoTable(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		code userkit.Code
		says string
	}{
		"an empty file":                   {"", userkit.CodeRequired, "empty"},
		"only line breaks":                {"\r\n\n", userkit.CodeRequired, "empty"},
		"only a byte-order mark":          {"\xEF\xBB\xBF", userkit.CodeRequired, "empty"},
		"UTF-16 without a mark":           {"l\x00o\x00g\x00i\x00n\x00\n\x00", userkit.CodeBadText, "UTF-8"},
		"headings in Windows-1251":        {"login,\xD2\xE5\xEB\nann,1", userkit.CodeBadText, "UTF-8"},
		"a workbook of the old kind":      {"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", userkit.CodeBadFormat, ".xls"},
		"no column that says who it is":   {"name\nAnn", userkit.CodeRequired, "login"},
		"a heading twice":                 {"login,Login\nann,bob", userkit.CodeBadFormat, "both"},
		"too many columns":                {"login" + strings.Repeat(",x", userio.MaxColumns) + "\nann", userkit.CodeTooLong, "columns"},
		"a row of headings without end":   {"login," + strings.Repeat("x", userio.MaxRowBytes), userkit.CodeTooLong, "row 1"},
		"headings with a quote left open": {"login,\"name\nann,Ann\n", userkit.CodeBadFormat, "quote"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, test.file, userio.ImportOptions{}, test.code, test.says) })
	}
	t.Run("no column of the key", func(t *testing.T) {
		refused(t, "login\nann", userio.ImportOptions{Key: "extref"}, userkit.CodeRequired, "extref")
	})
}

func TestImportRejectsRowsAndTakesTheOthers(t *testing.T) {
	t.Run("by row number and column", func(t *testing.T) {
		manager := newManager(t)
		var told []string
		report, err := userio.Import(t.Context(), manager, strings.NewReader("Login,E-mail,Phone,Status,Registered,Limit,Traffic limit,Verified email\n"+
			"ok1,ok1@example.com,00375291234567,Active,2026-01-02,,5,no\n"+ // 2
			"bad1,nowhere,,,,,,\n"+ // 3
			"bad2,,12,,,,,\n"+
			"\n"+ // 5 is empty
			"bad3,,,sleeping,,,,\n"+ // 6
			"bad4,,,,yesterday,,,\n"+
			"bad5,,,,,,many,\n"+ // 8
			"bad6,,,,,,99999999999999999999,\n"+
			"bad7,,,,,,-5,\n"+ // 10
			"bad8,,,,,,,perhaps\n"+
			",,,,,x,,\n"+ // 12
			"short,row@nowhere@\n"+
			"long,,,,,,,,row\n"+ // 14
			"text \"behind\" a quote,\"a\"b,,,,,,\n"+
			"\"two\nlines\",,,,,,,\n"+ // 16
			"latin\xE9,,,,,,,\n"+
			"ok2,ok1@example.com,,,,,,\n"+ // 18
			"ok3,,,,,,,\n"), userio.ImportOptions{Rejected: func(r userio.Rejection) error {
			told = append(told, r.String())
			return nil
		}})
		require.NoError(t, err)
		require.Equal(t, []string{
			"3 E-mail bad_format", "4 Phone bad_format", "6 Status unknown_value", "7 Registered bad_format", "8 Traffic limit bad_format",
			"9 Traffic limit out_of_range", "10 Traffic limit out_of_range", "11 Verified email bad_format", "12  required", "13 E-mail bad_format",
			"14  bad_format", "15  bad_format", "16 Login bad_text", "17 Login bad_text", "18 E-mail email_taken",
		}, lines(report))
		require.Len(t, told, 15)
		require.True(t, strings.HasPrefix(told[0], "row 3, E-mail: userkit: bad_format (email): "), told[0])
		require.EqualValues(t, 2, report.Created)
		require.EqualValues(t, 17, report.Rows)
		require.Equal(t, 2, countUsers(t, manager))
		require.Equal(t, "+375291234567", login(t, manager, "ok1").Phone)
	})
	t.Run("in NDJSON", func(t *testing.T) {
		manager := newManager(t)
		report := importText(t, manager, strings.Join([]string{
			`{"login":"ok1","phone":null,"attributes.x":1}`,
			`{"login":"bad1"`, // 2
			`[]`,
			`{"login":"bad2"}{}`, // 4
			`{"login":"bad3","login":"bad4"}`,
			`{"login":"bad5","Login":"bad6"}`, // 6
			`{"login":["bad7"]}`,
			`{"login":"bad8","attributes":5}`, // 8
			"{\"login\":\"bad\xE9\"}",
			`{"login":"bad9","` + strings.Repeat("k", 2000) + `":1}`, // 10
			`{"name":"nobody"}`,
			`{"login":"bad10","attributes.n":1e999}`, // 12
			`{"login":"ok2","extref":12,"attributes":{"plan":"pro"},"seats":3,"attributes.old":"5"}`,
			"\xEF\xBB\xBF{}", // 14
			`"text"`,
		}, "\n"), userio.ImportOptions{})
		require.Equal(t, []string{
			"2  bad_format", "3  bad_format", "4  bad_format", "5 login bad_format", "6 Login bad_format", "7 login bad_format", "8 attributes bad_format",
			"9  bad_text", "10  too_long", "11  required", "12 attributes out_of_range", "14  bad_format", "15  bad_format",
		}, lines(report))
		require.Equal(t, "12", login(t, manager, "ok2").ExtRef)
		require.Equal(t, userkit.Attributes{"plan": "pro", "seats": int64(3), "old": "5"}, login(t, manager, "ok2").Attributes)
	})
	t.Run("of more values than any table has", func(t *testing.T) {
		report := importText(t, newManager(t), "login,name\nann"+strings.Repeat(",x", userio.MaxColumns)+"\nbob,\n", userio.ImportOptions{})
		require.Equal(t, []string{"2  bad_format"}, lines(report))
		require.ErrorContains(t, report.Rejections[0].Err, "more than 1000 values for 2 columns")
	})
	t.Run("a quote left open ends the import, and tells the lines", func(t *testing.T) {
		var file strings.Builder
		file.WriteString("login,name\nann,Ann\nbob,\"Bob\n")
		for i := range 997 {
			fmt.Fprintf(&file, "user%d,Cat\n", i)
		}
		manager := newManager(t)
		report, err := userio.Import(t.Context(), manager, strings.NewReader(file.String()), userio.ImportOptions{})
		require.Equal(t, userkit.CodeBadFormat, userkit.ErrorCode(err))
		require.ErrorContains(t, err, "lines 3 to 1000")
		require.EqualValues(t, 1, report.Created)
		report = importText(t, newManager(t), file.String(), userio.ImportOptions{ReadOn: true})
		require.Equal(t, []string{"3  bad_format"}, lines(report))
		require.ErrorContains(t, report.Rejections[0].Err, "lines 3 to 1000")

		_, err = userio.Import(t.Context(), newManager(t), strings.NewReader("login,name\nann,\"Ann\nbob,Bob\ncat,\"Cat\"\ndan,Dan\n"), userio.ImportOptions{})
		require.ErrorContains(t, err, "lines 2 to 4")
	})
	t.Run("in the order of the file, of which the report keeps the first", func(t *testing.T) {
		var file strings.Builder
		file.WriteString("login,phone\n")
		var want []int64
		for i := range 5000 {
			phone := ""
			if i%7 == 0 {
				phone = "+1" // the manager rejects it
				want = append(want, int64(i+2))
			}
			if i%11 == 0 {
				phone += ",too many" // the reader rejects it
				if i%7 != 0 {
					want = append(want, int64(i+2))
				}
			}
			fmt.Fprintf(&file, "user%d,%s\n", i, phone)
		}
		var got []int64
		report := importText(t, newManager(t), file.String(), userio.ImportOptions{Rejected: func(r userio.Rejection) error {
			got = append(got, r.Row)
			return nil
		}})
		require.Equal(t, want, got)
		require.EqualValues(t, len(want), report.Rejected)
		require.Len(t, report.Rejections, userio.MaxRejections)
		require.EqualValues(t, 5000, report.Rows)
	})
	t.Run("an error of Rejected ends the import", func(t *testing.T) {
		enough := errors.New("enough")
		_, err := userio.Import(t.Context(), newManager(t), strings.NewReader("login,phone\nbob,+1\nann,\n"), userio.ImportOptions{
			Rejected: func(userio.Rejection) error { return enough },
		})
		require.ErrorIs(t, err, enough)
	})
}

func TestImportEndsAtWhatCannotBeReadOn(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		code userkit.Code
	}{
		"a row that is too long":      {"login,note\nann,\nbob," + strings.Repeat("x", userio.MaxRowBytes), userkit.CodeTooLong},
		"a quote that is too long":    {"login,note\nann,\nbob,\"" + strings.Repeat("x\n", userio.MaxRowBytes/2), userkit.CodeTooLong},
		"a line of JSON too long":     {"{\"login\":\"ann\"}\n{\"login\":\"" + strings.Repeat("x", userio.MaxRowBytes), userkit.CodeTooLong},
		"keys without end, in NDJSON": {"{\"login\":\"ann\"}\n" + manyKeys(), userkit.CodeTooLong},
	} {
		t.Run(name+": the rows before it went in", func(t *testing.T) {
			manager := newManager(t)
			report, err := userio.Import(t.Context(), manager, strings.NewReader(test.file), userio.ImportOptions{})
			require.ErrorIs(t, err, userkit.ErrInvalid)
			require.Equal(t, test.code, userkit.ErrorCode(err))
			require.EqualValues(t, 1, report.Created)
			require.Equal(t, 1, countUsers(t, manager))
		})
	}
	t.Run("an error of the reader", func(t *testing.T) {
		broken := errors.New("broken")
		manager := newManager(t)
		report, err := userio.Import(t.Context(), manager, io.MultiReader(strings.NewReader("login\nann\n"), iotest.ErrReader(broken)), userio.ImportOptions{Comma: ','})
		require.ErrorIs(t, err, broken)
		require.Zero(t, report.Created) // it came while the separator was looked for
	})
}

// failing is an ImportManager whose store fails from the second call on.
type failing struct {
	sink
	err error
}

func (f *failing) ImportUsers(ctx context.Context, options userkit.ImportOptions, records []userkit.UserImport) ([]userkit.ImportOutcome, error) {
	if records[0].Key != userkit.ByLogin("user0") {
		return nil, f.err
	}
	return f.sink.ImportUsers(ctx, options, records)
}

func TestImportEndsWithTheErrorOfTheStore(t *testing.T) {
	down := userkit.NewError(userkit.CodeStoreUnavailable, "", "down")
	for name, rows := range map[string]int{"in the middle": 20_000, "at the last call": 1500} {
		t.Run(name, func(t *testing.T) {
			report, err := userio.Import(t.Context(), &failing{err: down}, strings.NewReader(distinctFile(rows)), userio.ImportOptions{})
			require.ErrorIs(t, err, userkit.ErrUnavailable)
			require.EqualValues(t, userkit.MaxImport, report.Created)
			require.EqualValues(t, userkit.MaxImport, report.Rows)
		})
	}
	t.Run("rather than with the error of the file behind it", func(t *testing.T) {
		file := distinctFile(1500) + "x," + strings.Repeat("x", userio.MaxRowBytes)
		_, err := userio.Import(t.Context(), &failing{err: down}, strings.NewReader(file), userio.ImportOptions{})
		require.ErrorIs(t, err, userkit.ErrUnavailable)
	})
}

func manyKeys() string {
	var text strings.Builder
	for i := range userio.MaxColumns {
		fmt.Fprintf(&text, "{\"k%d\":1}\n", i)
	}
	return text.String()
}

func TestImportFindsUsersByKey(t *testing.T) {
	manager := newManager(t)
	importText(t, manager, "login,email,extref\nann,ann@example.com,1\nbob,bob@example.com,2\n", userio.ImportOptions{})
	id := login(t, manager, "ann").ID.String()
	for _, test := range []struct{ file, key, want string }{
		{"id,name\n" + strings.ToUpper(id) + ",By id\n", "", "By id"},
		{"extref,name\n1,By extref\n", "", "By extref"},
		{"login,name\n ANN ,By login\n", "", "By login"},
		{"email,name\nAnn@Example.com,By email\n", "", "By email"},
		{"email,login,extref,name\nann@example.com,ann,1,By the chosen key\n", "email", "By the chosen key"},
		{"id,login,name\n,ann,By what the row has\n", "", "By what the row has"},
	} {
		report := importText(t, manager, test.file, userio.ImportOptions{Key: test.key, UnknownColumns: userio.UnknownRefuse})
		require.Empty(t, report.Rejections, test.want)
		require.EqualValues(t, 1, report.Updated, test.want)
		user, err := manager.FindUser(t.Context(), userkit.ByExtRef("1"))
		require.NoError(t, err)
		require.Equal(t, test.want, user.Name)
	}
	t.Run("a row without the chosen key is rejected", func(t *testing.T) {
		report := importText(t, manager, "External ID,login\n,ann\n", userio.ImportOptions{Key: "extref", Columns: map[string]string{"External ID": "extref"}})
		require.Equal(t, []string{"2 External ID required"}, lines(report))
	})
	t.Run("modes", func(t *testing.T) {
		report := importText(t, manager, "login,name\nann,x\nnew,x\n", userio.ImportOptions{Mode: userkit.ImportUpdate})
		require.Equal(t, []string{"3 login user_not_found"}, lines(report))
		report = importText(t, manager, "login,name\nann,x\nnew,x\n", userio.ImportOptions{Mode: userkit.ImportCreate})
		require.Equal(t, []string{"2 login login_taken"}, lines(report))
		require.EqualValues(t, 1, report.Created)
	})
}

func TestImportOfEmptyCells(t *testing.T) {
	const head = "login,name,phone,country,status,license,expires_at,email_verified,traffic_limit,attributes.a,attributes.b,kind\n"
	prepare := func() userkit.Manager {
		manager := newManager(t)
		report := importText(t, manager, head+"ann,Ann,+375291234567,BY,active,pro,2030-01-01,,7,1,2,legal_entity\n", userio.ImportOptions{})
		require.Empty(t, report.Rejections)
		return manager
	}
	t.Run("leaves the fields as they are", func(t *testing.T) {
		report := importText(t, prepare(), head+"ann,,,,,,,,,,,\n", userio.ImportOptions{})
		require.EqualValues(t, 1, report.Unchanged)
	})
	t.Run("empties those that can be empty, when asked to", func(t *testing.T) {
		manager := prepare()
		report := importText(t, manager, head+"ann,,,,,,,,,,,\n", userio.ImportOptions{ClearEmpty: true})
		require.EqualValues(t, 1, report.Updated)
		ann := login(t, manager, "ann")
		require.Empty(t, ann.Name+ann.Phone+ann.Country+ann.License)
		require.True(t, ann.ExpiresAt.IsZero())
		require.Empty(t, ann.Attributes)
		require.Equal(t, userkit.StatusActive, ann.Status)
		require.Equal(t, userkit.UserLegalEntity, ann.Kind)
		require.EqualValues(t, 7, ann.Traffic.Limit.Bytes)
	})
	t.Run("of NDJSON is null, and a key that is not there says nothing", func(t *testing.T) {
		manager := prepare()
		importText(t, manager, `{"login":"ann","phone":null,"attributes":null}`, userio.ImportOptions{ClearEmpty: true})
		ann := login(t, manager, "ann")
		require.Empty(t, ann.Phone)
		require.Empty(t, ann.Attributes)
		require.Equal(t, "Ann", ann.Name)
	})
}

func TestImportReadsValuesLeniently(t *testing.T) {
	manager := newManager(t)
	minsk := time.FixedZone("", 3*60*60)
	for i, test := range []struct {
		column, cell string
		want         any
	}{
		{"email_verified", " YES ", true}, {"email_verified", "1", true}, {"email_verified", "False", false}, {"email_verified", "n", false},
		{"phone", "+375 29 123-45-67", "+375291234567"}, {"phone", "00375(29)123.45.67", "+375291234567"}, {"phone", "'+375291234567", "+375291234567"},
		{"phone", "+375\u00A029\u2011123 45 67", "+375291234567"},
		{"country", " by ", "BY"}, {"status", " Active ", "active"}, {"kind", "Legal Entity", "legal_entity"}, {"kind", "LEGAL-ENTITY", "legal_entity"},
		{"currency", "usd", "USD"}, {"traffic_limit", " 12 ", int64(12)}, {"traffic_reset", "Monthly", "monthly"}, {"valid_for", " 720h ", userkit.Duration(720 * time.Hour)},
		{"expires_at", "2030-01-02T03:04:05+03:00", time.Date(2030, 1, 2, 0, 4, 5, 0, time.UTC)},
		{"expires_at", "2030-01-02T03:04:05.123456Z", time.Date(2030, 1, 2, 3, 4, 5, 123456000, time.UTC)},
		{"expires_at", "2030-01-02", time.Date(2030, 1, 2, 0, 0, 0, 0, minsk).UTC()},
		{"expires_at", " 2030-01-02 15:04:05 ", time.Date(2030, 1, 2, 15, 4, 5, 0, minsk).UTC()},
		{"expires_at", "2030-01-02 15:04", time.Date(2030, 1, 2, 15, 4, 0, 0, minsk).UTC()},
		{"expires_at", "2030-01-02 15:04:05.25+00", time.Date(2030, 1, 2, 15, 4, 5, 250_000_000, time.UTC)},
		{"name", "'=1+1", "=1+1"}, {"name", "'plain", "'plain"}, {"name", " Ann ", " Ann "},
		{"attributes", `{"a": 9007199254740993}`, userkit.Attributes{"a": int64(9007199254740993)}},
	} {
		name := fmt.Sprintf("user%d", i)
		report := importText(t, manager, fmt.Sprintf("login;email;%s\n%s;%s@example.com;\"%s\"\n", test.column, name, name, strings.ReplaceAll(test.cell, `"`, `""`)),
			userio.ImportOptions{Zone: minsk})
		require.Empty(t, report.Rejections, test.cell)
		field, _ := userkit.UserField(test.column)
		user := login(t, manager, name)
		require.Equal(t, test.want, field.Get(&user), test.cell)
	}
	t.Run("an attribute is a number or a truth value in the form of JSON only", func(t *testing.T) {
		for cell, want := range map[string]any{
			"5": int64(5), "-1": int64(-1), "1.5": 1.5, "true": true, `"5"`: "5", `"[1]"`: "[1]", "[1]": []any{int64(1)},
			"007": "007", "1.50": "1.50", "1e5": "1e5", "+5": "+5", "True": "True", "null": "null", "[1": "[1", "NaN": "NaN", "-": "-", "18446744073709551616": "18446744073709551616",
		} {
			importText(t, manager, fmt.Sprintf("login;attributes.x;kept\nann;\"%[1]s\";\"%[1]s\"\n", strings.ReplaceAll(cell, `"`, `""`)), userio.ImportOptions{})
			kept := any(cell)
			switch want.(type) {
			case int64, float64:
				kept = want
			}
			require.Equal(t, userkit.Attributes{"x": want, "kept": kept}, login(t, manager, "ann").Attributes, cell)
		}
	})
}

// bigFile makes a CSV file of users, of whom some stand twice and some rows are
// wrong.
func bigFile(rows int) string {
	random := rand.New(rand.NewPCG(1, 2))
	var file strings.Builder
	file.WriteString("login,name,phone,attributes.step\n")
	for i := range rows {
		user := random.IntN(rows)
		phone := ""
		if random.IntN(50) == 0 {
			phone = "wrong"
		}
		fmt.Fprintf(&file, "user%d,Name %d,%s,%d\n", user, i, phone, i)
	}
	return file.String()
}

func TestImportIsSafeToRunTwice(t *testing.T) {
	file := bigFile(6000)
	columns := []string{"login", "name", "phone", "attributes.step"}
	whole := newManager(t)
	once := importText(t, whole, file, userio.ImportOptions{})
	require.Zero(t, once.Updated, "a row was merged with another")
	require.Greater(t, once.Rejected, int64(1000), "no user stood twice")
	byLogin := userio.ExportOptions{Columns: columns, Query: userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "login"}}}
	want := export(t, whole, byLogin)

	t.Run("of the rows about one user, the first counts", func(t *testing.T) {
		first := map[string][]string{}
		for line := range strings.Lines(file) {
			cells := strings.Split(strings.TrimSpace(line), ",")
			if first[cells[0]] == nil {
				first[cells[0]] = cells
			}
		}
		delete(first, "login")
		for name, cells := range first {
			if cells[2] == "" {
				require.Equal(t, cells[1], login(t, whole, name).Name)
			}
		}
	})
	t.Run("cut short by the context and run again ends like one run", func(t *testing.T) {
		for _, rows := range []int64{1, 1000} {
			manager := newManager(t)
			ctx, cancel := context.WithCancel(t.Context())
			report, err := userio.Import(ctx, manager, strings.NewReader(file), userio.ImportOptions{Progress: func(p userio.Progress) {
				if p.Rows >= rows {
					cancel()
				}
			}})
			cancel()
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, report.Rows, int64(6000))
			importText(t, manager, file, userio.ImportOptions{})
			require.Equal(t, want, export(t, manager, byLogin))
		}
	})
	t.Run("cut short by a failing reader and run again ends like one run", func(t *testing.T) {
		manager := newManager(t)
		broken := errors.New("broken")
		_, err := userio.Import(t.Context(), manager, io.MultiReader(strings.NewReader(file[:len(file)/2]), iotest.ErrReader(broken)), userio.ImportOptions{})
		require.ErrorIs(t, err, broken)
		require.NotZero(t, countUsers(t, manager))
		importText(t, manager, file, userio.ImportOptions{})
		require.Equal(t, want, export(t, manager, byLogin))
	})
	t.Run("a dry run writes nothing and reports what the run does", func(t *testing.T) {
		manager := newManager(t)
		importText(t, manager, file[:len(file)/3], userio.ImportOptions{})
		before, events := export(t, manager, byLogin), countEvents(t, manager)
		dry := importText(t, manager, file, userio.ImportOptions{DryRun: true})
		require.Equal(t, before, export(t, manager, byLogin))
		require.Equal(t, events, countEvents(t, manager))
		real := importText(t, manager, file, userio.ImportOptions{})
		require.Equal(t, real.Created, dry.Created)
		require.Equal(t, real.Rejected, dry.Rejected)
		require.Equal(t, lines(real), lines(dry))
	})
}

func TestDryRunFindsValuesThatStandTwice(t *testing.T) {
	var file strings.Builder
	file.WriteString("extref,login,email\n")
	for i := range 3500 {
		fmt.Fprintf(&file, "%d,user%d,user%d@example.com\n", i, i, i)
	}
	file.WriteString("9001,USER7,\n")               // 3502: another user has the login
	file.WriteString("9002,,User8@example.com\n")   // 3503: another user has the address
	file.WriteString("9,user9,user9@example.com\n") // 3504: the same user again
	for name, options := range map[string]userio.ImportOptions{"upsert": {}, "create": {Mode: userkit.ImportCreate}} {
		t.Run(name, func(t *testing.T) {
			want := []string{"3502 login login_taken", "3503 email email_taken", "3504 extref extref_taken", "3505 extref extref_taken"}
			file := file.String() + "9002,fresh,\n" // 3505: the user whose row was rejected
			manager := newManager(t)
			options.DryRun = true
			dry := importText(t, manager, file, options)
			require.Zero(t, countUsers(t, manager))
			options.DryRun = false
			real := importText(t, manager, file, options)
			require.Equal(t, want, lines(real))
			require.Equal(t, want, lines(dry))
			require.Equal(t, real.Created, dry.Created)
		})
	}
}

func TestImportCallsWhileItReads(t *testing.T) {
	t.Run("several calls are under way when their users differ", func(t *testing.T) {
		calls := make(chan int, 16)
		release := make(chan struct{})
		slow := &slowImports{calls: calls, release: release}
		done := make(chan error, 1)
		go func() {
			_, err := userio.Import(t.Context(), slow, strings.NewReader(distinctFile(5000)), userio.ImportOptions{})
			done <- err
		}()
		require.Equal(t, []int{1000, 1000, 1000}, []int{<-calls, <-calls, <-calls}) // none has returned
		close(release)
		require.NoError(t, <-done)
	})
	t.Run("a call waits for one that has one of its unique values", func(t *testing.T) {
		sink := &sink{keep: true}
		var rows strings.Builder
		rows.WriteString("login,extref,name\n")
		for i := range 3000 {
			fmt.Fprintf(&rows, "user%d,%d,Name %d\n", i/1500, i, i)
		}
		file := rows.String()
		_, err := userio.Import(t.Context(), sink, strings.NewReader(file), userio.ImportOptions{})
		require.NoError(t, err)
		var names []string
		for _, call := range sink.calls {
			for _, record := range call {
				names = append(names, record.Draft.Create.Name)
			}
		}
		require.Len(t, names, 3000)
		for i, name := range names {
			require.Equal(t, fmt.Sprintf("Name %d", i), name)
		}
	})
}

func distinctFile(rows int) string {
	var file strings.Builder
	file.WriteString("login,name\n")
	for i := range rows {
		fmt.Fprintf(&file, "user%d,Name %d\n", i, i)
	}
	return file.String()
}

// slowImports is an ImportManager whose calls return when they are released.
type slowImports struct {
	userkit.ImportManager
	calls   chan<- int
	release <-chan struct{}
}

func (s *slowImports) ImportUsers(_ context.Context, _ userkit.ImportOptions, records []userkit.UserImport) ([]userkit.ImportOutcome, error) {
	s.calls <- len(records)
	<-s.release
	return slices.Repeat([]userkit.ImportOutcome{{Action: userkit.ImportCreated}}, len(records)), nil
}

func TestImportTellsHowFarItIs(t *testing.T) {
	file := distinctFile(2500)
	var last userio.Progress
	calls := 0
	importText(t, newManager(t), file, userio.ImportOptions{Progress: func(p userio.Progress) {
		require.GreaterOrEqual(t, p.Rows, last.Rows)
		require.GreaterOrEqual(t, p.Bytes, last.Bytes)
		last = p
		calls++
	}})
	require.Equal(t, userio.Progress{Rows: 2500, Bytes: int64(len(file))}, last)
	require.GreaterOrEqual(t, calls, 3)
}

func TestADryRunListsWhatRowsWouldChange(t *testing.T) {
	manager := newManager(t)
	importText(t, manager, "login,name,plan\nada,Ada,gold\nbob,Bob,gold\n", userio.ImportOptions{})
	const hash = "$2y$10$abcdefghijklmnopqrstuuK"
	file := "login,name,plan,Password,more,deep\nada,Ada L.,silver,hunter2," + hash + ",\"{\"\"a\"\":1,\"\"password\"\":\"\"hunter2\"\"}\"\nbob,Bob,gold,,,\nADA,again,,,,\ncyd,Cyd,,,,\n"
	options := userio.ImportOptions{DryRun: true, Columns: map[string]string{"Password": "attributes.x", "more": "attributes.more", "deep": "attributes.deep"}}
	report := importText(t, manager, file, options)
	ada, err := manager.FindUser(t.Context(), userkit.ByLogin("ada"))
	require.NoError(t, err)
	require.Len(t, report.Changes, 2, "neither the unchanged row nor the rejected one")
	first := report.Changes[0]
	require.Equal(t, []any{int64(2), ada.ID, userkit.ByLogin("ada"), userkit.ImportUpdated}, []any{first.Row, first.UserID, first.Key, first.Action})
	require.Equal(t, userkit.FieldChange{Old: "Ada", New: "Ada L."}, first.Fields["name"])
	require.Equal(t, userkit.FieldChange{Old: "gold", New: "silver"}, first.Fields["attributes.plan"])
	require.Equal(t, []string{"attributes.more", "attributes.x"}, first.Secret)
	require.NotContains(t, fmt.Sprint(report.Changes), "hunter2")
	second := report.Changes[1]
	require.Equal(t, userkit.ImportCreated, second.Action)
	require.True(t, second.UserID.IsZero())
	require.Equal(t, userkit.FieldChange{New: "Cyd"}, second.Fields["name"])

	options.DryRun = false
	require.Empty(t, importText(t, manager, file, options).Changes, "of a dry run only")
	many := importText(t, manager, distinctFile(userio.MaxChanges+20), userio.ImportOptions{DryRun: true})
	require.Len(t, many.Changes, userio.MaxChanges)
	require.EqualValues(t, userio.MaxChanges+20, many.Created)
}
