package console

import (
	"html/template"
	"strconv"
	"strings"

	"github.com/userkit/userkit"
)

// table says how the items of a list are shown. Tables are written in Go because a template takes ten
// times as long for a row. Cells are of the type template.HTML, into which only escaped and isolated
// turn a text.
type table[T any] struct {
	label   string // for those who do not see the table
	columns []tableColumn[T]
	id      func(item *T) string        // of the row in the page; nil: rows have none
	details func(item *T) template.HTML // what stands below the row over the whole width; nil or empty: nothing
}

// tableColumn is a column of a table.
type tableColumn[T any] struct {
	head  head
	class string // of the cells, in the style sheet
	show  func(item *T) template.HTML
}

// head is a heading of a table.
type head struct {
	Text  template.HTML
	URL   string // sorts the table by the column; empty: it cannot be sorted by it
	Order string // as in the attribute aria-sort; empty: the table is not sorted by it
}

// plain returns the heading of a column by which the table cannot be sorted.
func plain(text string) head { return head{Text: escaped(text)} }

// hidden returns a heading for screen readers only, for a column that explains itself.
func hidden(text string) head { return head{Text: `<span class="sr">` + escaped(text) + `</span>`} }

// sorted returns the heading of a column by which the table can be sorted.
func (l list) sorted(field, text string) head {
	h := head{Text: escaped(text)}
	descending := ""
	switch {
	case l.Sort != field:
	case l.Descending:
		h.Order = "descending"
	default:
		h.Order, descending = "ascending", "1"
	}
	h.URL = l.Here("sort", field, "desc", descending, "cursor", "", "open", "", "do", "")
	return h
}

// of returns the table of some items. It returns nothing if there are none, and the page then says
// what to do next.
func (t table[T]) of(items []T) template.HTML {
	if len(items) == 0 {
		return ""
	}
	var text strings.Builder
	write := func(parts ...template.HTML) {
		for _, part := range parts {
			text.WriteString(string(part))
		}
	}
	write(`<div class="scroll" tabindex="0" role="region" hx-boost:inherited="false" aria-label="`, escaped(t.label), `"><table><thead><tr>`)
	opening := make([]template.HTML, len(t.columns)) // of the cells
	for i, column := range t.columns {
		opening[i] = `<td>`
		if column.class != "" {
			opening[i] = `<td class="` + escaped(column.class) + `">`
		}
		write(column.heading())
	}
	write("</tr></thead>\n<tbody>")
	for i := range items {
		item := &items[i]
		var details template.HTML
		if t.details != nil {
			details = t.details(item)
		}
		write(`<tr data-row`)
		if t.id != nil {
			write(` id="`, escaped(t.id(item)), `"`)
		}
		if details != "" {
			write(` class="current"`)
		}
		write(`>`)
		for n, column := range t.columns {
			write(opening[n], column.show(item), `</td>`)
		}
		write("</tr>\n")
		if details != "" {
			write(`<tr class="details"><td colspan="`, escaped(strconv.Itoa(len(t.columns))), `">`, details, "</td></tr>\n")
		}
		if i == 0 { // the other rows are about as long
			text.Grow(text.Len() * len(items))
		}
	}
	write("</tbody></table></div>\n")
	return template.HTML(text.String()) //nolint:gosec // every part is template.HTML
}

// heading returns the heading of a column as HTML.
func (c tableColumn[T]) heading() template.HTML {
	attributes := template.HTML(` scope="col"`)
	if c.head.Order != "" {
		attributes += ` aria-sort="` + escaped(c.head.Order) + `"`
	}
	if c.class == "number" || c.class == "narrow" { // the heading stands where the cells do
		attributes += ` class="` + escaped(c.class) + `"`
	}
	text := c.head.Text
	switch c.head.Order {
	case "ascending":
		text += `<span aria-hidden="true"> ↑</span>`
	case "descending":
		text += `<span aria-hidden="true"> ↓</span>`
	}
	if c.head.URL != "" {
		text = `<a href="` + escaped(c.head.URL) + `">` + text + `</a>`
	}
	return `<th` + attributes + `>` + text + `</th>`
}

// escaped returns a text as HTML.
func escaped(text string) template.HTML {
	return template.HTML(template.HTMLEscapeString(text)) //nolint:gosec // it is escaped
}

// isolated returns a text of unknown direction as an element.
func isolated(text string) template.HTML { return `<bdi>` + escaped(text) + `</bdi>` }

// brief returns a long text of unknown direction as an element that shows its first two lines, and
// the whole of it on hover.
func brief(text string) template.HTML {
	if text == "" {
		return ""
	}
	said := escaped(text)
	return `<bdi class="brief" title="` + said + `">` + said + `</bdi>`
}

// muted returns HTML in the colour of secondary text.
func muted(html template.HTML) template.HTML { return `<span class="muted">` + html + `</span>` }

// None returns what is shown in the place of a value that is missing.
func (v *view) None() template.HTML {
	return `<span class="none" aria-label="` + escaped(v.T("none")) + `">—</span>`
}

// badge returns a text as a badge of a tone: good, warn, bad or plain.
func badge(tone, text string) template.HTML {
	return `<span class="badge ` + escaped(tone) + `">` + escaped(text) + `</span>`
}

// action returns a link to an action on the thing that a row is about: an icon, with words for
// those who do not know it or do not see it.
func (v *view) action(icon, text, about, address string) template.HTML {
	said := escaped(text)
	return `<a class="button quiet small" href="` + escaped(address) + `" title="` + said + `" aria-label="` + said + ` ` + escaped(about) + `">` + v.Icon(icon) + `</a>`
}

// userColumn returns the column of the users that the items of a table belong to, with links to a
// tab of theirs.
func userColumn[T any](v *view, people names, heading, tab string, of func(item *T) userkit.UserID) tableColumn[T] {
	return tableColumn[T]{plain(heading), "", func(item *T) template.HTML {
		id := of(item)
		if id.IsZero() {
			return ""
		}
		return v.UserLink(id, tab, people.of(id))
	}}
}
