package console

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// usedTexts returns the texts that templates and code ask the catalogue for: those without
// a number, and those with one.
func usedTexts(t *testing.T) (texts, plurals map[string]bool) {
	t.Helper()
	texts, plurals = map[string]bool{}, map[string]bool{}
	names, err := fs.Glob(templateFiles, "*.html")
	require.NoError(t, err)
	call := regexp.MustCompile(`\.(T|N) ("(?:[^"\\]|\\.)*")`)
	for _, name := range names {
		content, err := fs.ReadFile(templateFiles, name)
		require.NoError(t, err)
		for _, found := range call.FindAllStringSubmatch(string(content), -1) {
			text, err := strconv.Unquote(found[2])
			require.NoError(t, err, found[2])
			if found[1] == "T" {
				texts[text] = true
			} else {
				plurals[text] = true
			}
		}
	}
	packages, err := parser.ParseDir(token.NewFileSet(), ".", func(info fs.FileInfo) bool { return !strings.HasSuffix(info.Name(), "_test.go") }, 0) //nolint:staticcheck // the files of one folder are all that is asked for
	require.NoError(t, err)
	literal := func(expression ast.Expr, into map[string]bool) {
		if value, ok := expression.(*ast.BasicLit); ok && value.Kind == token.STRING {
			text, err := strconv.Unquote(value.Value)
			require.NoError(t, err)
			if text != "" {
				into[text] = true
			}
		}
	}
	ast.Inspect(packages["console"], func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.CallExpr:
			name := ""
			if selector, ok := node.Fun.(*ast.SelectorExpr); ok {
				name = selector.Sel.Name
			}
			switch {
			case len(node.Args) == 0:
			case name == "T" || name == "actOnUser" || name == "actOnDevice" || name == "actOnPurchase" || name == "move":
				literal(node.Args[0], texts)
			case name == "N":
				literal(node.Args[0], plurals)
			}
		case *ast.CompositeLit:
			if kind, ok := node.Type.(*ast.Ident); ok && kind.Name == "refusal" && len(node.Elts) == 2 {
				literal(node.Elts[1], texts)
			}
		}
		return true
	})
	for _, text := range errorTexts {
		texts[text] = true
	}
	for _, text := range reasons {
		texts[text] = true
	}
	for _, o := range operators {
		texts[o.text] = true
	}
	for _, t := range userTabs {
		texts[t.Text] = true
	}
	for _, place := range places {
		texts[place.text] = true
	}
	for _, watched := range watchedUsers {
		plurals[watched.text] = true
	}
	plurals[silentSessions], plurals[undecidedPurchases], plurals[failedDeliveries] = true, true, true
	label := func(identifier string) { texts[englishLabel(identifier)] = true }
	for _, field := range userkit.UserFields() {
		label(field.Name)
		for _, value := range field.Values {
			label(value)
		}
	}
	for _, field := range userkit.DerivedUserFields() {
		label(field.Name)
		for _, value := range field.Values {
			label(value)
		}
	}
	for _, name := range userkit.EventNames() {
		label(string(name))
	}
	for _, kind := range userkit.RecordKinds() {
		label(kind)
	}
	for reason := range reasons {
		label(string(reason))
	}
	for _, format := range []userkit.MessageFormat{userkit.MessagePlain, userkit.MessageMarkdown} {
		label(string(format))
	}
	for _, state := range []userkit.DeliveryState{
		userkit.DeliveryWaiting, userkit.DeliveryDelivered, userkit.DeliveryGone, userkit.DeliveryRefused, userkit.DeliveryExpired,
	} {
		label(string(state))
	}
	for action := range bulkOperations {
		label(string(action))
	}
	return texts, plurals
}

func TestEveryLanguageHasEveryText(t *testing.T) {
	texts, plurals := usedTexts(t)
	require.Greater(t, len(texts), 400)
	for _, c := range catalogues()[1:] {
		var missing []string
		for text := range texts {
			if translated, ok := c.texts[text]; !ok {
				missing = append(missing, text)
			} else {
				require.Equal(t, strings.Count(text, "%s"), strings.Count(translated, "%s"), text)
			}
		}
		for text := range plurals {
			forms, ok := c.plurals[text]
			if !ok {
				missing = append(missing, text)
			}
			for _, form := range forms {
				require.Equal(t, 1, strings.Count(form, "%s"), form)
			}
		}
		require.Empty(t, missing, c.name)
	}
}

func TestNumbersHaveTheirForms(t *testing.T) {
	all := catalogues()
	require.Equal(t, "en", all[0].tag.String())
	for n, want := range map[int64][2]string{
		0: {"0 users", "0 пользователей"}, 1: {"1 user", "1 пользователь"}, 2: {"2 users", "2 пользователя"}, 11: {"11 users", "11 пользователей"},
		21: {"21 users", "21 пользователь"}, 1234567: {"1,234,567 users", "1 234 567 пользователей"},
	} {
		require.Equal(t, want[0], all[0].count("%s users", n))
		require.Equal(t, want[1], strings.ReplaceAll(all[1].count("%s users", n), "\u00a0", " "))
	}
}

func TestSizesAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]int64{"5": 5, "5 B": 5, "1.5 GB": 1_500_000_000, "500mb": 500_000_000, "2 kB": 2000, "0,5 TB": 500_000_000_000, "9223372036854775807": 9223372036854775807} {
		n, ok := parseSize(text)
		require.True(t, ok, text)
		require.Equal(t, want, n, text)
	}
	for _, text := range []string{"", "much", "GB", "1e400", "99999999999 EB", "NaN"} {
		_, ok := parseSize(text)
		require.False(t, ok, text)
	}
	require.Equal(t, []string{"0 B", "999 B", "1 kB", "1.5 MB", "100 GB", "9.2 EB"},
		[]string{readable(0), readable(999), readable(1000), readable(1_500_000), readable(100_000_000_000), readable(9223372036854775807)})
}
