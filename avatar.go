package userkit

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode"
)

// The bounds of the size of an avatar, in pixels, by Gravatar's own.
const (
	minAvatar = 1
	maxAvatar = 2048
)

// DisplayName returns what to call the user: the first of the name, the login, the email address, the
// phone number, the external reference and the id that is not empty.
func (u User) DisplayName() string {
	return cmp.Or(u.Name, u.Login, u.Email, u.Phone, u.ExtRef, u.ID.String())
}

// GravatarURL returns the address of the user's picture at Gravatar, square, of
// the given size in pixels (clamped to 1 to 2048); it returns "" for a user without an email
// address. The URL returns 404 if there is no picture; show Initials then. It contains the SHA-256
// of the trimmed lower-case address, see https://docs.gravatar.com/rest/hash/.
func (u User) GravatarURL(size int) string {
	if u.Email == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.ToLower(strings.TrimSpace(u.Email))))
	size = min(max(size, minAvatar), maxAvatar)
	return "https://gravatar.com/avatar/" + hex.EncodeToString(sum[:]) + "?d=404&s=" + strconv.Itoa(size)
}

// Initials returns one or two capital letters to show in place of a picture: those of the first and
// the last word of the name, or else the first letter of the login or of the email address, or else
// "?".
func (u User) Initials() string {
	for _, text := range []string{u.Name, u.Login, u.Email} {
		words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) })
		switch {
		case len(words) == 0:
			continue
		case len(words) == 1 || text != u.Name:
			return initial(words[0])
		default:
			return initial(words[0]) + initial(words[len(words)-1])
		}
	}
	return "?"
}

// initial returns the first letter of a word with the marks that belong to it, in
// title case.
func initial(word string) string {
	runes := []rune(word)
	end := 1
	for end < len(runes) && unicode.IsMark(runes[end]) {
		end++
	}
	runes[0] = unicode.ToTitle(runes[0])
	return string(runes[:end])
}
