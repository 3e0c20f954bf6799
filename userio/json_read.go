package userio

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/userkit/userkit"
)

// listKeys are the names that programs use for the list in an object that contains nothing else.
var listKeys = []string{"users", "data", "items", "results", "members", "Resources", "resources", "value", "identities", "contacts", "records"}

// layout determines how the objects of a JSON file are arranged, one per line or anywhere in a list
// or in a sequence, and reads up to the first one.
func (r *ndjsonReader) layout() error {
	ahead, err := r.from.Peek(r.from.Size())
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return err
	}
	start := len(ahead) - len(bytes.TrimLeft(ahead, " \t\r\n"))
	text := ahead[start:]
	skip := func(count int) {
		r.number += int64(bytes.Count(ahead[:start+count], []byte("\n")))
		_, _ = r.from.Discard(start + count) // peeked
		r.free = true
	}
	switch {
	case len(text) == 0:
	case text[0] == '[':
		// A list of objects, in one line or in several.
		if startsList(text) || !json.Valid(firstLine(text)) {
			skip(1)
		}
	case text[0] == '{':
		if at := listStart(text); at > 0 {
			skip(at)
			return nil
		}
		line := firstLine(text)
		if !json.Valid(line) && len(line) < len(text) && unfinished(line) {
			next := bytes.TrimLeft(text[len(line):], " \t\r\n")
			if len(next) > 0 && (next[0] == '"' || next[0] == '}') {
				skip(0)
			}
		}
	}
	return nil
}

// startsList reports whether a text begins a list whose first element is an object.
func startsList(text []byte) bool {
	inner, ok := bytes.CutPrefix(text, []byte("["))
	return ok && bytes.HasPrefix(bytes.TrimLeft(inner, " \t\r\n"), []byte("{"))
}

func firstLine(text []byte) []byte {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return line
}

// unfinished reports whether a text is the beginning of a JSON value.
func unfinished(text []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(text))
	var value any
	return errors.Is(decoder.Decode(&value), io.ErrUnexpectedEOF)
}

// listStart returns the offset after the opening bracket of the list that is the first member of an
// object, or 0 if the member is no list.
func listStart(text []byte) int {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return 0
	}
	for range 50 {
		key, err := decoder.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return 0
		}
		before := decoder.InputOffset()
		rest := bytes.TrimLeft(text[before:], " \t\r\n:")
		if startsList(rest) && slices.Contains(listKeys, name) {
			if name == "identities" && bytes.IndexByte(text[:before], ',') >= 0 {
				return 0 // the identities of one user
			}
			return len(text) - len(rest) + 1
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return 0
		}
	}
	return 0
}

// readFree reads the next object of a list or of a sequence of objects.
func (r *ndjsonReader) readFree() ([]byte, error) {
	r.line = r.line[:0]
	for {
		c, err := r.byte()
		if err != nil {
			return nil, err
		}
		switch c {
		case ' ', '\t', '\r', '\n', ',':
			continue
		case ']':
			return nil, io.EOF // what stands behind the list is none of it
		}
		r.number = r.lines
		r.line = append(r.line, c)
		if c == '{' {
			break
		}
		return nil, notObject(nil).err
	}
	depth, quoted, escaped := 1, false, false
	for depth > 0 {
		c, err := r.byte()
		if errors.Is(err, io.EOF) {
			return nil, userkit.NewError(userkit.CodeBadFormat, "", "the object of line %d does not end", r.number)
		}
		if err != nil {
			return nil, err
		}
		if r.line = append(r.line, c); len(r.line) > MaxRowBytes {
			return nil, errRowTooLong(r.number)
		}
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return r.line, nil
}

// byte reads one byte and counts the lines.
func (r *ndjsonReader) byte() (byte, error) {
	c, err := r.from.ReadByte()
	if c == '\n' && err == nil {
		r.lines++
	}
	return c, err
}

// takePath removes the member at a path from a value. It returns the rest of the value, the member,
// and whether it exists. A number in a path is an index into a list, from 0.
func takePath(value any, path []string) (rest, member any, ok bool) {
	switch value := value.(type) {
	case map[string]any:
		inner, has := value[path[0]]
		if !has {
			return value, nil, false
		}
		if len(path) == 1 {
			delete(value, path[0])
			return value, inner, true
		}
		left, member, ok := takePath(inner, path[1:])
		value[path[0]] = left
		if object, isObject := left.(map[string]any); isObject && len(object) == 0 {
			delete(value, path[0])
		}
		return value, member, ok
	case []any:
		at, err := strconv.Atoi(path[0])
		if err != nil || at < 0 || at >= len(value) {
			return value, nil, false
		}
		if len(path) == 1 {
			member, value[at] = value[at], nil
			return value, member, true
		}
		left, member, ok := takePath(value[at], path[1:])
		value[at] = left
		return value, member, ok
	}
	return value, nil, false
}

// pathsOf returns the headings that are paths into objects, by their first key.
func pathsOf(columns map[string]string) map[string][]string {
	paths := map[string][]string{}
	for heading := range columns {
		if first, _, ok := strings.Cut(heading, "."); ok {
			paths[first] = append(paths[first], heading)
		}
	}
	for _, list := range paths {
		slices.Sort(list)
	}
	return paths
}
