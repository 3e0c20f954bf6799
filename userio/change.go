package userio

import (
	"reflect"
	"slices"
	"strings"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/jsonvalue"
)

// MaxChanges is how many rows an ImportReport of a dry run lists with what they would change.
const MaxChanges = 100

// RowChange is what a row of a dry run would make of its user.
type RowChange struct {
	Sheet  string                         `json:"sheet,omitempty"`  // as in Rejection
	Row    int64                          `json:"row"`              // as in Rejection
	Key    userkit.UserKey                `json:"key"`              // by which the row finds its user
	UserID userkit.UserID                 `json:"user_id,omitzero"` // zero: there is no such user yet
	Action userkit.ImportAction           `json:"action"`           // userkit.ImportCreated or userkit.ImportUpdated
	Fields map[string]userkit.FieldChange `json:"fields,omitempty"` // see userkit.ImportOutcome.Changes
	Secret []string                       `json:"secret,omitempty"` // fields that would change and whose values are not told: they look like passwords
}

// change adds a row that would create or update a user to the report of a dry run.
func (im *importer) change(at place, record *userkit.UserImport, outcome userkit.ImportOutcome) {
	if !im.options.DryRun || len(im.report.Changes) >= MaxChanges {
		return
	}
	row := RowChange{Sheet: at.sheet, Row: at.number, Key: record.Key, UserID: outcome.UserID, Action: outcome.Action}
	for name, change := range outcome.Changes {
		if im.isSecretField(name) || looksHashed(change.Old) || looksHashed(change.New) {
			row.Secret = append(row.Secret, name)
			continue
		}
		change = userkit.FieldChange{Old: told(change.Old), New: told(change.New)}
		if reflect.DeepEqual(change.Old, change.New) { // what differs is a secret inside
			row.Secret = append(row.Secret, name)
			continue
		}
		if row.Fields == nil {
			row.Fields = map[string]userkit.FieldChange{}
		}
		row.Fields[name] = change
	}
	slices.Sort(row.Secret)
	im.report.Changes = append(im.report.Changes, row)
}

// isSecretField reports whether the name of a field or the heading of its column is one of
// passwords.
func (im *importer) isSecretField(name string) bool {
	attribute, single := strings.CutPrefix(name, attributePrefix)
	return single && isSecret(attribute) || slices.ContainsFunc(im.columns, func(c column) bool { return c.Field == name && isSecret(c.Heading) })
}

func looksHashed(value any) bool {
	text, _ := value.(string)
	return isHash(text)
}

// told returns a copy of a value without the secrets in it.
func told(value any) any {
	switch value.(type) {
	case map[string]any, []any: // which may be those of the store
		copied, err := jsonvalue.Decode(jsonvalue.Append(nil, value))
		if err != nil {
			return nil
		}
		value = jsonvalue.Plain(copied)
	}
	kept, _ := withoutSecrets(value)
	return kept
}
