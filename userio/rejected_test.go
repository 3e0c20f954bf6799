package userio_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit/userio"
)

// brokenWriter takes nothing.
type brokenWriter struct{}

var errBrokenWriter = errors.New("the disk is full")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBrokenWriter }

// Rows that are rejected come back in a form that can be mended and imported.
func TestRejectedRowsCanBeMendedAndImported(t *testing.T) {
	for name, test := range map[string]struct {
		file, rejected string
		mend           *strings.Replacer
	}{
		"CSV": {
			"login;E-mail;password;attributes.shoe;Tariff\n" +
				"ada;ada@example.org;x;37;Gold\n" +
				"bob;nobody;x;\"\"\"007\"\"\";\"a;b\"\n" +
				"cyd;ADA@example.org;x;\"{\"\"eu\"\":39}\";'=1+1\n" +
				"dan\n" +
				";eve@example.org\n",
			"\uFEFFlogin;E-mail;attributes.shoe;Tariff;rejected_because\r\n" +
				"bob;nobody;\"\"\"007\"\"\";\"a;b\";\"E-mail: userkit: bad_format",
			strings.NewReplacer("nobody", "bob@example.org", ";ADA@", ";cyd@"),
		},
		"NDJSON": {
			`{"login":"ada","email":"ada@example.org"}` + "\n" +
				`{"login":"bob","email":"nobody","password":"x","shoe":{"eu":39,"password":"x"},"big":9007199254740993,"none":null,"code":"007"}` + "\n",
			`{"login":"bob","email":"nobody","shoe":{"eu":39},"big":9007199254740993,"none":null,"code":"007","rejected_because":"email: userkit: bad_format`,
			strings.NewReplacer("nobody", "bob@example.org"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			manager := newManager(t)
			var rejected bytes.Buffer
			report := importText(t, manager, test.file, userio.ImportOptions{RejectedRows: &rejected, Key: "login"})
			require.Positive(t, report.Rejected)
			require.True(t, strings.HasPrefix(rejected.String(), test.rejected), rejected.String())
			require.NotContains(t, rejected.String(), "password")
			lines := strings.Count(rejected.String(), "\n")

			mended := test.mend.Replace(rejected.String())
			var again bytes.Buffer
			second := importText(t, manager, mended, userio.ImportOptions{RejectedRows: &again, Key: "login"})
			require.Equal(t, report.Rejected, second.Rows)
			require.Contains(t, second.Columns, userio.ColumnUse{Heading: userio.ReasonHeading, Ignored: userio.IgnoredReason})
			if name == "NDJSON" {
				require.Zero(t, second.Rejected)
				require.Equal(t, 1, lines)
				bob := login(t, manager, "bob")
				require.Equal(t, map[string]any{"shoe": map[string]any{"eu": int64(39)}, "big": int64(9007199254740993), "code": "007"}, map[string]any(bob.Attributes))
				return
			}
			require.EqualValues(t, 1, second.Rejected, "the row without a login cannot be mended by replacing texts")
			require.Equal(t, 4, lines)
			require.Equal(t, 2, strings.Count(again.String(), "\n"))
			require.Equal(t, "007", login(t, manager, "bob").Attributes["shoe"])
			require.Equal(t, "a;b", login(t, manager, "bob").Attributes["Tariff"])
			require.Equal(t, "=1+1", login(t, manager, "cyd").Attributes["Tariff"])
		})
	}
}

func TestNothingIsWrittenWhereNoRowIsRejected(t *testing.T) {
	importText(t, newManager(t), "login\nada\n", userio.ImportOptions{RejectedRows: brokenWriter{}})
}

func TestRejectedRowsThatCannotBeWrittenEndTheImport(t *testing.T) {
	_, err := userio.Import(t.Context(), newManager(t), strings.NewReader("login,email\nada,nobody\n"), userio.ImportOptions{RejectedRows: brokenWriter{}})
	require.ErrorIs(t, err, errBrokenWriter)
}

// A row whose values are too many for the columns, or of another encoding, comes back with
// what it held. Which of its values is a password is not known then.
func TestRejectedRowsKeepWhatTheyHeld(t *testing.T) {
	for file, rejected := range map[string]string{
		"login,name\nada,Lovelace, Ada,Countess\n":               "ada,Lovelace,userkit: bad_format: 4 values for 2 columns,\" Ada\",Countess\r\n",
		"login,name,city\nada,\xCF,Minsk\n":                      "ada,,Minsk,\"name: userkit: bad_text",
		"login,name,password,city\nada,Love,lace,secret,Minsk\n": "ada,Love,,userkit: bad_format: 5 values for 4 columns\r\n",
	} {
		var written bytes.Buffer
		importText(t, newManager(t), file, userio.ImportOptions{RejectedRows: &written})
		_, rows, _ := strings.Cut(written.String(), "\r\n")
		require.Equal(t, rejected, rows[:min(len(rows), len(rejected))])

		var again bytes.Buffer
		report := importText(t, newManager(t), written.String(), userio.ImportOptions{RejectedRows: &again})
		if strings.HasSuffix(rejected, "Countess\r\n") {
			require.EqualValues(t, 1, report.Rejected)
			require.Contains(t, again.String(), "\" Ada\",Countess")
		}
	}
}
