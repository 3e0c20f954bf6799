package postgres

import (
	"context"
	"encoding/json"

	"github.com/userkit/userkit"
)

var messageReads = messageColumns.reads("m")

// document reads JSON into a value. It is kept as text, since nothing looks into it.
type document[T any] struct{ value *T }

// Scan implements sql.Scanner.
func (d document[T]) Scan(source any) error {
	var spelled text
	if err := spelled.Scan(source); err != nil {
		return err
	}
	var read T
	if spelled != "" {
		if err := json.Unmarshal([]byte(spelled), &read); err != nil {
			return err
		}
	}
	*d.value = read
	return nil
}

// documentColumn holds a value as JSON, and NULL where empty says so.
func documentColumn[R, T any](name string, at func(*R) *T, empty func(*T) bool) column[R] {
	return column[R]{name: name, kind: "text",
		put: func(values *array, record *R) {
			if empty(at(record)) {
				values.null()
				return
			}
			written, err := json.Marshal(at(record))
			if err != nil { // these are texts, numbers and times
				panic(err)
			}
			values.text(string(written))
		},
		get: func(record *R) any { return document[T]{at(record)} }}
}

// selectMessages adds a statement over the messages of the project; a condition may
// follow.
func (s *Store) selectMessages(q *statement) {
	q.add("SELECT "+messageReads+"\nFROM ? AS m\nWHERE m.project = ?", s.table("messages"), quoted(s.project))
}

// Message implements userkit.Store.
func (s *Store) Message(ctx context.Context, id userkit.MessageID) (userkit.Message, error) {
	q := &statement{}
	s.selectMessages(q)
	q.add(" AND m.id = ?", quotedID(id))
	return selectOne(ctx, s, q, userkit.CodeMessageNotFound, messageColumns.targets)
}

// isUnread is the condition that a message is neither read nor expired at a moment.
const isUnread = " AND m.read_at IS NULL AND coalesce(m.expires_at, 'infinity'::timestamptz) > ?"

// Messages implements userkit.Store.
func (s *Store) Messages(ctx context.Context, filter userkit.MessageFilter, list userkit.ListRange) ([]userkit.Message, error) {
	return readList(ctx, s, s.messages, filter, list, messageColumns.targets)
}

// CountMessages implements userkit.Store.
func (s *Store) CountMessages(ctx context.Context, filter userkit.MessageFilter) (int64, error) {
	return countList(ctx, s, s.messages, filter)
}

// messages is the listing of Messages.
func (s *Store) messages(filter userkit.MessageFilter, list userkit.ListRange) (*statement, error) {
	q := &statement{}
	s.selectMessages(q)
	q.within("m", filter.UserID, messageSortings, list, "sent_at")
	if filter.OnlyUnread {
		q.add(isUnread, quotedTime(filter.Now))
	}
	return q, q.page(list, messageSortings, "m.id")
}
