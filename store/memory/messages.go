package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/userkit/userkit"
)

// messages holds the messages of all users and their indexes. The messages of one user
// are among its belongings.
type messages struct {
	byID   map[userkit.MessageID]*message
	byTime set[message, byMessageTime]
}

// mailbox is the messages of one user.
type mailbox struct {
	byTime set[message, byMessageTime]
	byKey  map[string]*message // those with a key
	unread set[message, byMessageTime]
}

// message is a userkit.Message as it is kept. It is never changed.
type message struct {
	userkit.Message
	sentAt micros
}

type byMessageTime struct{}

func (byMessageTime) compare(a, b *message) int {
	if c := cmp.Compare(a.sentAt, b.sentAt); c != 0 {
		return c
	}
	return compareIDs(&a.ID, &b.ID)
}

// copyMessage copies what two messages could share.
func copyMessage(m userkit.Message) userkit.Message {
	m.Data = maps.Clone(m.Data)
	m.Origin.Mail.Marks = slices.Clone(m.Origin.Mail.Marks)
	return m
}

func messageOf(user userkit.UserID, from *userkit.Message) *message {
	m := &message{copyMessage(*from), microsOf(from.SentAt)}
	m.UserID = user
	return m
}

// fill writes what lists sort by.
func (m *message) fill(to *userkit.Message) { *to = m.Message }

func (m *message) out() userkit.Message { return copyMessage(m.Message) }

// put adds a message, or puts it in the place of the one with its id, whose key is
// released.
func (m *messages) put(own *belongings, next *message) {
	if own.mailbox == nil {
		own.mailbox = &mailbox{byKey: map[string]*message{}}
	}
	if before := m.byID[next.ID]; before != nil {
		if before.sentAt != next.sentAt {
			m.byTime.remove(before)
			own.mailbox.byTime.remove(before)
		}
		if before.ReadAt.IsZero() {
			own.mailbox.unread.remove(before)
		}
	}
	m.byID[next.ID] = next
	m.byTime.put(next)
	own.mailbox.byTime.put(next)
	if next.ReadAt.IsZero() {
		own.mailbox.unread.put(next)
	}
	if next.Key != "" {
		own.mailbox.byKey[next.Key] = next
	}
}

// remove takes a message out of the indexes of the project.
func (m *messages) remove(gone *message) {
	delete(m.byID, gone.ID)
	m.byTime.remove(gone)
}

// remove takes a message out of the mailbox.
func (b *mailbox) remove(gone *message) {
	b.byTime.remove(gone)
	if gone.ReadAt.IsZero() {
		b.unread.remove(gone)
	}
	b.release(gone)
}

func (b *mailbox) release(gone *message) {
	if gone.Key != "" {
		delete(b.byKey, gone.Key)
	}
}

// messageKey is what is unique of a message.
type messageKey struct {
	user userkit.UserID
	key  string
	id   userkit.MessageID // of a message without a key, so that it is like no other
}

func (m *message) key() any {
	if m.Key == "" {
		return messageKey{m.UserID, "", m.ID}
	}
	return messageKey{user: m.UserID, key: m.Key}
}

func loadMessages(s *Store, want *userkit.Want, own *belongings, state *userkit.State) {
	if own.mailbox == nil {
		return
	}
	var found []*message
	for _, id := range want.Messages {
		if m := s.messages.byID[id]; m != nil && m.UserID == want.User {
			found = append(found, m)
		}
	}
	for _, key := range want.MessageKeys {
		if m := own.mailbox.byKey[key]; m != nil {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b *message) int { return a.ID.Compare(b.ID) })
	for _, m := range slices.Compact(found) {
		state.Messages = append(state.Messages, m.out())
	}
}

// Message returns one message.
func (s *Store) Message(ctx context.Context, id userkit.MessageID) (userkit.Message, error) {
	if err := s.ready(ctx); err != nil {
		return userkit.Message{}, err
	}
	s.mu.RLock()
	found := s.messages.byID[id]
	s.mu.RUnlock()
	if found == nil {
		return userkit.Message{}, userkit.NewError(userkit.CodeMessageNotFound, "", "no message %s", id)
	}
	return found.out(), nil
}

var messageFields = fieldsByName(userkit.MessageFields())

// Messages lists messages by any sortable field of userkit.MessageFields. The order
// sent_at has an index.
func (s *Store) Messages(ctx context.Context, filter userkit.MessageFilter, list userkit.ListRange) ([]userkit.Message, error) {
	return messageQuery.page(ctx, s, list, s.openMessages(filter, list))
}

// CountMessages counts the messages of a filter.
func (s *Store) CountMessages(ctx context.Context, filter userkit.MessageFilter) (int64, error) {
	return count(ctx, s, s.openMessages(filter, userkit.ListRange{}))
}

var messageQuery = query[message, userkit.Message]{
	fields: messageFields,
	id:     func(m *message) [16]byte { return m.ID },
	fill:   (*message).fill,
	out:    (*message).out,
}

// openMessages returns what opens the messages of a filter for a list.
func (s *Store) openMessages(filter userkit.MessageFilter, list userkit.ListRange) func(snapshot bool) source[message] {
	return func(snapshot bool) source[message] {
		from := source[message]{}
		if filter.OnlyUnread {
			from.match = func(m *message) bool { return m.ReadAt.IsZero() && !m.Expired(filter.Now) }
		}
		messages := &s.messages.byTime
		if !filter.UserID.IsZero() {
			messages = &set[message, byMessageTime]{}
			if own := s.users.belongings(filter.UserID); own != nil && own.mailbox != nil {
				messages = &own.mailbox.byTime
				if filter.OnlyUnread {
					messages = &own.mailbox.unread
				}
			}
		}
		view := messages.view(snapshot)
		if list.Order.Field != "sent_at" {
			from.all = view.each
			return from
		}
		var part span[message]
		if list.After != nil {
			part.after = &message{userkit.Message{ID: list.After.ID}, microsOf(list.After.Key.(time.Time))}
		}
		from.rows = view.cursor(part, list.Order.Descending).next
		return from
	}
}
