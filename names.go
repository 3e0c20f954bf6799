package userkit

import (
	"context"
	"strings"
)

// A login may not be the email address of another user, nor an email address the login of
// another: whoever logs in by either would be taken for the other. The two are unique
// each by itself in the store; that one is not the other is looked at before the change,
// so of two calls at the same moment both may go through.

// nameHolders are the users whose login is an email address that another user wants, or the other
// way round.
type nameHolders map[UserKey]UserID

// names are the login and the email address that a user is to have; empty: none, or as
// before.
type names struct{ login, email string }

// asLogin returns the key of the login that the email address would be; empty where it is
// the user's own login, which nobody else can have.
func (n names) asLogin() string {
	if n.email == "" || LoginKey(n.email) == LoginKey(n.login) {
		return ""
	}
	return LoginKey(n.email)
}

// asEmail returns the key of the email address that the login would be.
func (n names) asEmail() string {
	if !strings.Contains(n.login, "@") || EmailKey(n.login) == EmailKey(n.email) {
		return ""
	}
	return EmailKey(n.login)
}

// findNameHolders finds who has the names that some users are to have as the other kind
// of name.
func findNameHolders(ctx context.Context, store Store, wanted ...names) (nameHolders, error) {
	var logins, emails []string
	for _, n := range wanted {
		if login := n.asLogin(); login != "" {
			logins = append(logins, login)
		}
		if email := n.asEmail(); email != "" {
			emails = append(emails, email)
		}
	}
	holders := nameHolders{}
	for field, values := range map[string][]string{"login": logins, "email": emails} {
		if len(values) == 0 {
			continue
		}
		users, err := store.FindUsers(ctx, field, values)
		if err != nil {
			return nil, err
		}
		for _, user := range users {
			holders[user.key(field)] = user.ID
		}
	}
	return holders, nil
}

// check returns an error when a name that a user is to have is the other kind of name of
// somebody else.
func (h nameHolders) check(user UserID, n names) error {
	if email := n.asEmail(); email != "" {
		if holder, held := h[UserKey{"email", email}]; held && holder != user {
			return NewError(CodeLoginTaken, "login", "another user has this login as their email address")
		}
	}
	if login := n.asLogin(); login != "" {
		if holder, held := h[UserKey{"login", login}]; held && holder != user {
			return NewError(CodeEmailTaken, "email", "another user has this email address as their login")
		}
	}
	return nil
}

// take notes the names that a user of the same import is about to have.
func (h nameHolders) take(user UserID, n names) {
	if n.login != "" {
		h[UserKey{"login", LoginKey(n.login)}] = user
	}
	if n.email != "" {
		h[UserKey{"email", EmailKey(n.email)}] = user
	}
}

// names returns the login and the email address that the patch changes.
func (p UserPatch) names(before User) (n names) {
	if login, set := p.Login.Get(); set && login != before.Login {
		n.login = login
	}
	if email, set := p.Email.Get(); set && email != before.Email {
		n.email = email
	}
	return n
}
