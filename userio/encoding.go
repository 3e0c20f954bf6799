package userio

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"github.com/userkit/userkit"
)

// encodingOf returns the encoding that ImportOptions.Encoding names, or nil for UTF-8.
func encodingOf(name string) (encoding.Encoding, error) {
	if name == "" {
		return nil, nil
	}
	found, err := htmlindex.Get(name)
	if err != nil {
		return nil, userkit.NewError(userkit.CodeUnknownValue, "encoding", "unknown encoding %q; examples are utf-8, utf-16le, windows-1251 and shift_jis", clip(name))
	}
	switch canonical, err := htmlindex.Name(found); {
	case err == nil && canonical == "utf-8":
		return nil, nil
	case err == nil && canonical == "replacement": // WHATWG's stand-in for encodings that are unsafe to read
		return nil, userkit.NewError(userkit.CodeUnknownValue, "encoding", "the encoding %q cannot be read", clip(name))
	}
	return found, nil
}

// decoded converts a text to UTF-8 from the encoding that the options or its byte-order mark name.
// A byte sequence that is invalid in the encoding becomes a byte that is invalid in UTF-8, so that
// the value is refused and not silently changed.
func decoded(from *bufio.Reader, named encoding.Encoding) (*bufio.Reader, error) {
	start, err := from.Peek(len(byteOrderMark))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.Equal(start, []byte(byteOrderMark)):
		return from, nil
	case bytes.HasPrefix(start, []byte("\xFF\xFE")):
		named = unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM)
	case bytes.HasPrefix(start, []byte("\xFE\xFF")):
		named = unicode.UTF16(unicode.BigEndian, unicode.ExpectBOM)
	case named == nil:
		return from, nil
	}
	decoder := transform.Chain(named.NewDecoder(), replacementsToBadBytes{})
	return bufio.NewReaderSize(transform.NewReader(from, decoder), from.Size()), nil
}

// replacementsToBadBytes replaces each U+FFFD, which decoders write for what they cannot read, with
// a byte that is invalid in UTF-8.
type replacementsToBadBytes struct{ transform.NopResetter }

func (replacementsToBadBytes) Transform(to, from []byte, atEnd bool) (written, read int, err error) {
	replacement := []byte(string(utf8.RuneError))
	for read < len(from) {
		rest := from[read:]
		whole := bytes.Index(rest, replacement)
		if whole == 0 {
			if written == len(to) {
				return written, read, transform.ErrShortDst
			}
			to[written] = 0xFF
			written++
			read += len(replacement)
			continue
		}
		take := len(rest)
		if whole > 0 {
			take = whole
		} else if !atEnd { // the last bytes may begin a replacement
			for size := min(len(replacement)-1, len(rest)); size > 0; size-- {
				if bytes.HasPrefix(replacement, rest[len(rest)-size:]) {
					take -= size
					break
				}
			}
			if take == 0 {
				return written, read, transform.ErrShortSrc
			}
		}
		copied := copy(to[written:], rest[:take])
		written += copied
		read += copied
		if copied < take {
			return written, read, transform.ErrShortDst
		}
	}
	return written, read, nil
}
