// Package pushtext fits the text of a notification into what a push service takes.
package pushtext

import (
	"sort"
	"unicode/utf8"
)

// Fit returns the longest beginning of body with which size is at most most, with an
// ellipsis where something was cut. It returns false when even no body is too much. size
// must grow with the body.
func Fit(body string, most int, size func(body string) int) (string, bool) {
	if size(body) <= most {
		return body, true
	}
	ends := []int{0} // where the body may be cut
	for at := range body {
		if at > 0 {
			ends = append(ends, at)
		}
	}
	cut := func(i int) string {
		if i == 0 {
			return ""
		}
		return body[:ends[i]] + "…"
	}
	// An ellipsis can take more than the character that it stands for, but no beginning
	// takes less than a shorter one.
	i := sort.Search(len(ends), func(i int) bool { return size(cut(i)) > most }) - 1
	if i < 0 {
		return "", false
	}
	return cut(i), utf8.ValidString(body)
}
