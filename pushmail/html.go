package pushmail

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// htmlText is the text of an HTML page as a person would read it: without scripts and styles,
// a line per block, the addresses of links and the descriptions of images beside them.
//
// It goes over the tokens once and builds no tree, so no nesting can cost it anything.
func htmlText(page string) string {
	tokens := html.NewTokenizer(strings.NewReader(page))
	var out htmlWriter
	skip := 0 // elements that are open and not shown
	var skipped atom.Atom
	href, linkStart := "", 0
	for {
		switch kind := tokens.Next(); kind {
		case html.ErrorToken:
			return strings.Trim(out.String(), " \n")
		case html.TextToken:
			if skip == 0 {
				out.text(string(tokens.Text()))
			}
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			name, more := tokens.TagName()
			tag := atom.Lookup(name)
			if hidden[tag] {
				switch {
				case kind == html.StartTagToken && (skip == 0 || tag == skipped):
					skip, skipped = skip+1, tag
				case kind == html.EndTagToken && tag == skipped && skip > 0:
					skip--
				}
				continue
			}
			if skip > 0 {
				if tag == atom.Body { // a head that nobody closed
					skip = 0
				}
				continue
			}
			end := kind == html.EndTagToken
			switch {
			case tag == atom.Br:
				out.newline(1)
			case tag == atom.A && !end:
				href, linkStart = attribute(tokens, more, "href"), out.Len()
			case tag == atom.A:
				shown := strings.TrimSpace(out.String()[min(linkStart, out.Len()):])
				if isLink(href) && shown != href && strings.TrimPrefix(href, "mailto:") != shown {
					out.text(" <" + href + ">")
				}
				href = ""
			case tag == atom.Img && !end:
				if alt := strings.TrimSpace(attribute(tokens, more, "alt")); alt != "" {
					out.text(" [" + alt + "] ")
				}
			case tag == atom.Li && !end:
				out.newline(1)
				out.text("- ")
			case tag == atom.Td || tag == atom.Th:
				out.text(" ")
			case tag == atom.Pre:
				out.newline(1)
				out.pre = !end
			case paragraphs[tag]:
				out.newline(2)
			case blocks[tag]:
				out.newline(1)
			}
		}
	}
}

// isLink reports whether an address may be shown for a person to follow.
func isLink(address string) bool {
	for _, scheme := range []string{"https://", "http://", "mailto:", "tel:"} {
		if len(address) > len(scheme) && strings.EqualFold(address[:len(scheme)], scheme) {
			return !strings.ContainsAny(address, " \n\t\r\x00")
		}
	}
	return false
}

func attribute(tokens *html.Tokenizer, more bool, name string) string {
	for more {
		var key, value []byte
		key, value, more = tokens.TagAttr()
		if string(key) == name {
			return string(value)
		}
	}
	return ""
}

var (
	hidden = map[atom.Atom]bool{
		atom.Script: true, atom.Style: true, atom.Head: true, atom.Title: true, atom.Template: true, atom.Noscript: true,
		atom.Object: true, atom.Iframe: true, atom.Svg: true, atom.Math: true, atom.Select: true, atom.Textarea: true,
	}
	paragraphs = map[atom.Atom]bool{
		atom.P: true, atom.H1: true, atom.H2: true, atom.H3: true, atom.H4: true, atom.H5: true, atom.H6: true,
		atom.Ul: true, atom.Ol: true, atom.Table: true, atom.Blockquote: true, atom.Hr: true,
	}
	blocks = map[atom.Atom]bool{
		atom.Div: true, atom.Tr: true, atom.Section: true, atom.Article: true, atom.Header: true, atom.Footer: true,
		atom.Address: true, atom.Dt: true, atom.Dd: true, atom.Dl: true, atom.Li: true, atom.Form: true, atom.Center: true, atom.Main: true,
	}
)

// htmlWriter collapses white space as a browser does.
type htmlWriter struct {
	strings.Builder
	lines int  // line ends that come before the next text
	space bool // a space comes before it
	pre   bool
}

func (w *htmlWriter) newline(lines int) { w.lines = max(w.lines, lines) }

func (w *htmlWriter) text(text string) {
	if w.pre {
		w.begin()
		w.WriteString(cleanText(text))
		return
	}
	for _, r := range cleanText(text) {
		switch r {
		case ' ', '\n', '\t', '\f', '\u00a0':
			w.space = true
		case '\u200b', '\u200c', '\u00ad', '\ufeff', '\u034f', '\u2007': // what newsletters fill their previews with
		default:
			w.begin()
			w.WriteRune(r)
		}
	}
}

func (w *htmlWriter) begin() {
	if w.Len() > 0 {
		if w.lines > 0 {
			w.WriteString("\n\n"[:min(w.lines, 2)])
		} else if w.space {
			w.WriteByte(' ')
		}
	}
	w.lines, w.space = 0, false
}

// calendarText is what an invitation (RFC 5545) says: the lines of its first event that a
// person reads.
func calendarText(calendar string) string {
	calendar = strings.NewReplacer("\n ", "", "\n\t", "").Replace(calendar)
	shown := map[string]string{"SUMMARY": "", "DTSTART": "Start: ", "DTEND": "End: ", "LOCATION": "Location: ", "DESCRIPTION": ""}
	unescape := strings.NewReplacer(`\n`, "\n", `\N`, "\n", `\,`, ",", `\;`, ";", `\\`, `\`)
	var lines []string
	inEvent := false
	for line := range strings.SplitSeq(calendar, "\n") {
		name, value, _ := strings.Cut(line, ":")
		name, parameters, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(name)), ";")
		value = strings.TrimSpace(value)
		switch {
		case name == "BEGIN":
			inEvent = strings.EqualFold(value, "VEVENT") || strings.EqualFold(value, "VTODO")
		case name == "END" && (strings.EqualFold(value, "VEVENT") || strings.EqualFold(value, "VTODO")):
			return strings.Join(lines, "\n")
		case inEvent && value != "" && len(lines) < 20:
			if label, found := shown[name]; found {
				value = unescape.Replace(value)
				if strings.HasPrefix(name, "DT") {
					if _, zone, found := strings.Cut(parameters, "TZID="); found {
						value += " " + strings.ToLower(zone)
					}
				}
				lines = append(lines, label+value)
			}
		}
	}
	return strings.Join(lines, "\n")
}
