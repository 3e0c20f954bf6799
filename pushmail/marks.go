package pushmail

import (
	"slices"
	"strings"

	"github.com/emersion/go-message"
)

// Mark says what a mail is, besides its text.
type Mark string

// The marks of a mail.
const (
	MarkAutomatic  Mark = "automatic"  // written by a program (RFC 3834), such as an alert
	MarkReply      Mark = "reply"      // an automatic reply, such as one about an absence
	MarkReport     Mark = "report"     // about another mail: a delivery report or a receipt
	MarkBulk       Mark = "bulk"       // sent to many
	MarkList       Mark = "list"       // came through a mailing list
	MarkBounce     Mark = "bounce"     // has no sender, so that nobody can answer it
	MarkLoop       Mark = "loop"       // was delivered here before, or was forwarded too often
	MarkIncomplete Mark = "incomplete" // truncated, damaged, or beyond the limits
)

// maxHops is how many servers a mail may have come through.
const maxHops = 50

// marks tells from the header and from the reports within a mail what wrote it.
func marks(header message.Header, reports []string) []Mark {
	var found []Mark
	add := func(mark Mark, when bool) {
		if when && !slices.Contains(found, mark) {
			found = append(found, mark)
		}
	}
	word := func(key string) string {
		value, _, _ := strings.Cut(header.Get(key), ";")
		return strings.ToLower(strings.TrimSpace(stripComments(value)))
	}
	submitted, precedence := word("Auto-Submitted"), word("Precedence")
	replied := submitted == "auto-replied" || precedence == "auto_reply" || header.Has("X-Autoreply") ||
		header.Has("X-Autorespond") || strings.EqualFold(word("X-Auto-Reply-From"), "yes")
	suppress := word("X-Auto-Response-Suppress")
	add(MarkAutomatic, submitted != "" && submitted != "no" || suppress != "" && suppress != "none")
	add(MarkReply, replied)
	add(MarkReport, len(reports) > 0 || header.Has("X-Failed-Recipients"))
	add(MarkBulk, precedence == "bulk" || precedence == "junk")
	add(MarkList, precedence == "list" || header.Has("List-Id") || header.Has("List-Post"))
	add(MarkBounce, header.Has("Return-Path") && strings.ReplaceAll(header.Get("Return-Path"), " ", "") == "<>")
	hops := header.FieldsByKey("Received")
	add(MarkLoop, hops.Len() > maxHops)
	return found
}

// order puts marks in the order of their constants, each once.
func order(found []Mark) []Mark {
	all := []Mark{MarkAutomatic, MarkReply, MarkReport, MarkBulk, MarkList, MarkBounce, MarkLoop, MarkIncomplete}
	return slices.DeleteFunc(all, func(mark Mark) bool { return !slices.Contains(found, mark) })
}

// delivered counts how often a mail names an address among those that it was delivered to.
func delivered(header message.Header, recipient string) int {
	count := 0
	for _, key := range []string{"Delivered-To", "X-Loop"} {
		for fields := header.FieldsByKey(key); fields.Next(); {
			if strings.EqualFold(strings.Trim(fields.Value(), " <>"), recipient) {
				count++
			}
		}
	}
	return count
}
