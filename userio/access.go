package userio

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/jsonvalue"
)

// The parts of a status beside enabled and disabled.
const (
	partState   = "status.words"   // a status beside the column of that name, or under a heading that may be of something else
	partUntil   = "disabled.until" // the time until when a user may not log in
	partControl = "disabled.bits"  // userAccountControl of Active Directory
)

// The words by which programs in languages other than English say whether a user may log in, as
// headings and as values of status columns.
const (
	foreignActive = "aktiv, aktiviert, freigeschaltet, actif, activo, activa, habilitado, attivo, abilitato, ativo, aktywny, aktywne, wlaczony, " +
		"активен, активна, активный, включен, включён, разблокирован, активний, увімкнено, actief, aktif, etkin, aktivni, aktivovany, activat, " +
		"启用, 啟用, 已启用, 激活, 有効, 활성, 활성화, نشط"
	foreignDisabled = "gesperrt, blockiert, deaktiviert, gelöscht, bloqué, bloquée, désactivé, désactivée, suspendu, suspendue, supprimé, bloqueado, bloqueada, desactivado, " +
		"deshabilitado, suspendido, eliminado, bloccato, disattivato, disabilitato, sospeso, desativado, desabilitado, suspenso, zablokowany, zawieszony, wyłączony, usunięty, " +
		"заблокирован, заблокирована, заблокировано, заблокированный, блокировка, отключен, отключён, отключена, приостановлен, удален, удалён, забанен, бан, " +
		"заблоковано, заблокований, вимкнено, geblokkeerd, gedeactiveerd, uitgeschakeld, blokkeret, spærret, deaktiveret, sperret, deaktivert, spärrad, blockerad, inaktiverad, " +
		"engellendi, devre dışı, zablokován, blokován, deaktivovaný, letiltva, blocat, dezactivat, 禁用, 已禁用, 停用, 已停用, 冻结, 封禁, 無効, 停止, 차단, 비활성, محظور, معطل"
	foreignInactive = "inaktiv, inactif, inactivo, inactiva, inattivo, inativo, nieaktywny, неактивен, неактивна, неактивный, не активен, неактивний, inactief, pasif, inactiv"
	foreignInvited  = "eingeladen, invité, invitado, invitato, convidado, zaproszony, приглашен, приглашён, ausstehend, ожидает"
)

// foreignStatuses maps the normal headings of the words above to statuses.
var foreignStatuses = func() map[string]userkit.Status {
	statuses := map[string]userkit.Status{}
	for status, list := range map[userkit.Status]string{
		userkit.StatusActive: foreignActive, userkit.StatusDisabled: foreignDisabled, userkit.StatusInactive: foreignInactive, userkit.StatusInvited: foreignInvited,
	} {
		for word := range strings.SplitSeq(list, ", ") {
			statuses[normalHeading(word)] = status
		}
	}
	return statuses
}()

// truths are the truth values in languages other than English, and the marks that stand for them.
var truths = func() map[string]bool {
	values := map[string]bool{}
	for value, list := range map[bool]string{
		true:  "ja, oui, si, sí, sim, tak, da, да, так, evet, ano, igen, kyllä, 是, はい, 예, نعم, wahr, vrai, verdadero, verdadeiro, vero, prawda, истина, t, true(), on, x, ✓, ✔, ☑, ✅",
		false: "nein, non, não, nie, nu, нет, ні, nee, nej, nei, hayır, ne, nem, ei, 否, いいえ, 아니요, لا, falsch, faux, falso, fałsz, ложь, f, false(), off, ☐, ✗, ✘, ❌",
	} {
		for word := range strings.SplitSeq(list, ", ") {
			values[userkit.Fold(word)] = value
		}
	}
	return values
}()

// truth reads a truth value.
func truth(text string) (any, error) {
	text = strings.TrimSpace(text)
	if value, ok := truths[userkit.Fold(text)]; ok {
		return value, nil
	}
	if number := oneOrZero.FindStringSubmatch(text); number != nil {
		text = number[1]
	}
	return truthField.Parse(text, nil)
}

// oneOrZero matches a truth value that a program has made a number of, such as 1.0.
var oneOrZero = regexp.MustCompile(`^\+?0*([01])(?:[.,]0*)?$`)

// mayBeStatus are headings that may mean a status in another language, or something else, such as
// the state of an address. They mean a status if each of the first values is one.
var mayBeStatus = func() map[string]bool {
	headings := map[string]bool{}
	for heading := range strings.SplitSeq("state, lifecycle state, condition, user access, статус, состояние, доступ, zustand, kontostatus, statut, état, "+
		"estado, situación, situação, stato, stan, durum, tila, stav, állapot, stare, 状态, 狀態, 状態, 상태, حالة", ", ") {
		headings[normalHeading(heading)] = true
	}
	return headings
}()

// bracketed matches what a heading says about itself in brackets, such as [Required] or (yes/no).
var bracketed = regexp.MustCompile(`[(\[{][^)\]}]*[)\]}]`)

// plainHeading returns the letters and digits of a heading without its remarks in brackets, so that
// "Active?", "Enabled (yes/no)" and "Status [READ ONLY]" are the same as the plain words.
func plainHeading(heading string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, normalHeading(bracketed.ReplaceAllString(heading, "")))
}

// guess returns the field, or the part of a field, that other programs mean by a heading. It
// returns "" if it knows none.
func guess(heading string) string {
	if field, ok := guesses[normalHeading(heading)]; ok {
		return field
	}
	plain := plainHeading(heading)
	if field, ok := guesses[plain]; ok {
		return field
	}
	if mayBeStatus[plain] {
		return partState
	}
	switch foreignStatuses[plain] {
	case userkit.StatusActive:
		return partEnabled
	case userkit.StatusDisabled, userkit.StatusInactive:
		return partDisabled
	}
	if field := fieldNames[plain]; field != "" && field != "id" && plain != normalHeading(heading) {
		if known, ok := userkit.UserField(field); ok && known.Settable() {
			return field
		}
	}
	return ""
}

// statesOnly reports whether the first values of a column are all statuses.
func (p *plan) statesOnly(at int) bool {
	found := false
	for i := range p.sample {
		if cells := p.sample[i].cells; at < len(cells) && !cells[at].empty() {
			if _, err := readStatus(cells[at].text); err != nil {
				return false
			}
			if _, err := truth(cells[at].text); err == nil { // a truth value says nothing here
				return false
			}
			// A column of OK may be about anything, and OK is also a part of a country.
			found = found || !slices.Contains([]string{"ok", "normal", "confirmed"}, enumeration(cells[at].text))
		}
	}
	return found
}

// foreverWords are the values of a column of end times that mean that something never ends.
var foreverWords = []string{"infinity", "+infinity", "inf", "forever", "permanent", "permanently", "indefinite", "indefinitely"}

// zeroTime matches the texts that programs write for no time and that package time does not parse.
var zeroTime = regexp.MustCompile(`^\s*(?:[+-]?0+(?:\.0*)?|-infinity|0000-00-00(?:[ T]00:00:00.*)?|0001-01-01(?:[ T]00:00:00.*)?)\s*$`)

// readUntil reads the time until which a user may not log in.
func (p *plan) readUntil(c *cell) (any, error) {
	switch {
	case zeroTime.MatchString(c.text):
		return string(userkit.StatusActive), nil
	case slices.Contains(foreverWords, userkit.Fold(strings.TrimSpace(c.text))):
		return string(userkit.StatusDisabled), nil
	}
	until, err := p.time(timeField, c)
	if err != nil {
		return nil, err
	}
	if until.(time.Time).After(time.Now()) {
		return string(userkit.StatusDisabled), nil
	}
	return string(userkit.StatusActive), nil
}

// readControl reads userAccountControl, in which bit 2 means that the account is disabled and bit
// 16 that it is locked out.
func readControl(text string) (any, error) {
	text = strings.TrimSpace(text)
	bits, err := strconv.ParseInt(text, 0, 64)
	if number, floatErr := strconv.ParseFloat(text, 64); err != nil && floatErr == nil { // a program has made 514.0 of it
		if whole, ok := jsonvalue.Whole(number); ok {
			bits, err = whole, nil
		}
	}
	switch {
	case err != nil:
		return nil, userkit.NewError(userkit.CodeBadFormat, "status", "%q is not a number such as 512 or 514", clip(text))
	case bits&(2|16) != 0:
		return string(userkit.StatusDisabled), nil
	}
	return string(userkit.StatusActive), nil
}

// hashBegins are the beginnings of the password hashes that programs store.
var hashBegins = []string{
	"$2a$", "$2b$", "$2x$", "$2y$", "$P$", "$H$", "$S$", "$1$", "$5$", "$6$", "$y$", "$7$", "$apr1$", "$argon2", "$scrypt$", "$pbkdf2", "$wp$", "$bcrypt",
	"{ssha", "{sha", "{smd5}", "{md5}", "{crypt}", "{bcrypt}", "{pbkdf2", "{argon2", "{scrypt}", "{noop}",
	"pbkdf2_sha", "pbkdf2:", "pbkdf2$", "bcrypt$", "bcrypt_sha256$", "argon2$", "scrypt$", "scrypt:", "sha1$", "md5$",
	"scram-sha-", "{pkcs5s2}", "{x-issha", "$pkcs5s2", "$sha1$", "$md5", "$gy$", "$sm3$", "$2$",
}

// isHash reports whether a text looks like the hash of a password.
func isHash(text string) bool {
	text = strings.TrimSpace(text)
	return len(text) >= 20 && !strings.ContainsAny(text, " \n") && slices.ContainsFunc(hashBegins, func(begin string) bool {
		return len(text) > len(begin) && strings.EqualFold(text[:len(begin)], begin)
	})
}

// holdsHashes reports whether at least half of the first values of a column are password hashes,
// whatever the heading says. If they are fewer, keptCell leaves out the single values.
func (p *plan) holdsHashes(at int) bool {
	hashes, others := 0, 0
	for _, row := range p.sample {
		switch {
		case at >= len(row.cells) || row.cells[at].empty():
		case isHash(row.cells[at].text):
			hashes++
		default:
			others++
		}
	}
	return hashes > 0 && hashes >= others
}
