package userio

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/tempfile"
)

// The bounds of a workbook that is read. Sheets are read as a stream, so these
// bound the time and the space on disk; memory has bounds of its own.
const (
	xlsxMaxFile  = 2 << 30 // bytes of the file
	xlsxMaxParts = 10_000
	// The parts that are read may have xlsxFreeBytes, and beyond that xlsxMaxRatio times the bytes
	// of the file: workbooks have 10 to 30 times, a ZIP bomb has 1000. A row that is not empty
	// counts as at most xlsxRowBytes, since users may well have the same long texts.
	xlsxFreeBytes = 8 << 20
	xlsxMaxRatio  = 100
	xlsxRowBytes  = 1 << 10
	xlsxMaxDepth  = 64 // of XML elements
)

// errNotXLSX is the error about a file that is no workbook or is damaged.
func errNotXLSX(format string, args ...any) *userkit.Error {
	return userkit.NewError(userkit.CodeBadFormat, "", format, args...)
}

// xlsxArchive is an open workbook as a ZIP of parts.
type xlsxArchive struct {
	parts  map[string]*zip.File // by their names in lower case, as names of parts compare
	budget int64                // bytes of parts that may still be read
	close  func() error
}

// openXLSXArchive opens a workbook. A reader without random access is copied into a temporary file
// first.
func openXLSXArchive(from io.Reader) (*xlsxArchive, error) {
	file, size, done, err := randomAccess(from)
	if err != nil {
		return nil, err
	}
	archive, err := readXLSXDirectory(file, size)
	if err != nil {
		return nil, errors.Join(err, done())
	}
	archive.close = done
	return archive, nil
}

// randomAccess returns the rest of a reader with random access, its size, and a function that
// releases it.
func randomAccess(from io.Reader) (file io.ReaderAt, size int64, done func() error, err error) {
	if seeker, ok := from.(io.ReadSeeker); ok {
		if at, ok := from.(io.ReaderAt); ok {
			start, startErr := seeker.Seek(0, io.SeekCurrent)
			end, endErr := seeker.Seek(0, io.SeekEnd)
			if startErr == nil && endErr == nil {
				size = max(0, end-start)
				if size > xlsxMaxFile {
					return nil, 0, nil, errXLSXTooLarge()
				}
				return io.NewSectionReader(at, start, size), size, func() error { return nil }, nil
			}
		}
	}
	spool, err := tempfile.Create()
	if err != nil {
		return nil, 0, nil, err
	}
	size, err = io.Copy(spool, io.LimitReader(from, xlsxMaxFile+1))
	if err == nil && size > xlsxMaxFile {
		err = errXLSXTooLarge()
	}
	if err != nil {
		return nil, 0, nil, errors.Join(err, spool.Close())
	}
	return spool, size, spool.Close, nil
}

func errXLSXTooLarge() *userkit.Error {
	return userkit.NewError(userkit.CodeTooLong, "", "the workbook is larger than %d bytes", xlsxMaxFile)
}

func readXLSXDirectory(file io.ReaderAt, size int64) (*xlsxArchive, error) {
	start := make([]byte, 8)
	if n, err := file.ReadAt(start, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	} else if n == 0 {
		return nil, errEmptyFile()
	}
	if string(start) == "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1" {
		return nil, errNotXLSX("a workbook of Excel 97 to 2003 (.xls), or one with a password: save it as .xlsx without a password")
	}
	if !bytes.HasPrefix(start, []byte("PK")) {
		return nil, errNotXLSX("the file is not an XLSX workbook")
	}
	count, err := zipEntries(file, size)
	if err != nil {
		return nil, err
	}
	if count > xlsxMaxParts {
		return nil, errNotXLSX("the workbook says that it has %d parts, and at most %d are read", count, xlsxMaxParts)
	}
	directory := &boundedReaderAt{from: file, left: 16 << 20}
	archive, err := zip.NewReader(directory, size)
	if err != nil {
		return nil, errNotXLSX("the file is not an XLSX workbook, or it is damaged").Because(err)
	}
	directory.left = -1
	parts := make(map[string]*zip.File, len(archive.File))
	for _, part := range archive.File {
		name := strings.ToLower(strings.ReplaceAll(part.Name, `\`, "/"))
		if parts[name] != nil {
			return nil, errNotXLSX("the workbook has two parts of the name %q", clip(part.Name))
		}
		parts[name] = part
	}
	return &xlsxArchive{parts: parts, budget: xlsxFreeBytes + xlsxMaxRatio*size}, nil
}

// zipEntries returns the number of entries that the end of a ZIP declares, for which archive/zip
// allocates memory before it has read one.
func zipEntries(file io.ReaderAt, size int64) (uint64, error) {
	const endSize, locatorSize, end64Size = 22, 20, 56
	tail := make([]byte, min(size, endSize+0xFFFF+locatorSize))
	if _, err := file.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	at := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	if at < 0 || len(tail)-at < endSize {
		return 0, errNotXLSX("the file is not an XLSX workbook, or it is cut short")
	}
	count := uint64(binary.LittleEndian.Uint16(tail[at+10:]))
	if at >= locatorSize && bytes.HasPrefix(tail[at-locatorSize:], []byte("PK\x06\x07")) {
		end := make([]byte, end64Size)
		place := binary.LittleEndian.Uint64(tail[at-locatorSize+8:])
		if place > uint64(size) {
			return 0, errNotXLSX("the workbook is damaged")
		}
		if _, err := file.ReadAt(end, int64(place)); err != nil {
			return 0, errNotXLSX("the workbook is damaged").Because(err)
		}
		count = max(count, binary.LittleEndian.Uint64(end[32:]))
	}
	return count, nil
}

// boundedReaderAt reads at most left bytes; a negative left means no bound.
type boundedReaderAt struct {
	from io.ReaderAt
	left int64
}

func (r *boundedReaderAt) ReadAt(data []byte, at int64) (int, error) {
	if r.left >= 0 {
		if r.left -= int64(len(data)); r.left < 0 {
			r.left = 0
			return 0, errors.New("the directory of the archive is too large")
		}
	}
	return r.from.ReadAt(data, at)
}

// xlsxPart reads the XML of one part element by element, in bounded memory.
type xlsxPart struct {
	name    string
	decoder *xml.Decoder
	content io.ReadCloser
	buffer  *bufio.Reader
	archive *xlsxArchive
	left    int // bytes that the token that is being read may still have
	depth   int // of open elements
	failed  error
}

// open opens a part; it returns nil if there is none of the name.
func (a *xlsxArchive) open(name string) (*xlsxPart, error) {
	file := a.parts[strings.ToLower(strings.TrimPrefix(name, "/"))]
	if file == nil {
		return nil, nil
	}
	content, err := file.Open()
	if err != nil {
		return nil, errNotXLSX("the part %q of the workbook cannot be read", clip(name)).Because(err)
	}
	part := &xlsxPart{name: name, content: content, buffer: bufio.NewReaderSize(content, 32<<10), archive: a}
	part.decoder = xml.NewDecoder(part)
	return part, nil
}

// ReadByte is the method by which the decoder reads.
func (p *xlsxPart) ReadByte() (byte, error) {
	if p.left--; p.left < 0 {
		return 0, p.fail(p.tooLong())
	}
	if p.archive.budget--; p.archive.budget < 0 {
		return 0, p.fail(errNotXLSX("the workbook unpacks to more than %d times its size", xlsxMaxRatio))
	}
	return p.buffer.ReadByte()
}

// Read exists because a decoder demands an io.Reader.
func (p *xlsxPart) Read(data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	c, err := p.ReadByte()
	if err != nil {
		return 0, err
	}
	data[0] = c
	return 1, nil
}

func (p *xlsxPart) tooLong() *userkit.Error {
	return userkit.NewError(userkit.CodeTooLong, "", "the part %q of the workbook has a value longer than %d bytes", clip(p.name), MaxRowBytes)
}

func (p *xlsxPart) fail(err *userkit.Error) error {
	p.failed = err
	return err
}

func (p *xlsxPart) close() error { return p.content.Close() }

// token returns the next token, which is valid until the next call, and io.EOF at the end of a
// complete part.
func (p *xlsxPart) token() (xml.Token, error) {
	p.left = MaxRowBytes
	token, err := p.decoder.Token()
	switch {
	case err == nil:
	case p.failed != nil:
		return nil, p.failed
	case errors.Is(err, io.EOF) && p.depth == 0:
		return nil, io.EOF
	default:
		return nil, errNotXLSX("the part %q of the workbook is damaged", clip(p.name)).Because(err)
	}
	switch token.(type) {
	case xml.StartElement:
		if p.depth++; p.depth > xlsxMaxDepth {
			return nil, errNotXLSX("the part %q of the workbook nests deeper than %d elements", clip(p.name), xlsxMaxDepth)
		}
	case xml.EndElement:
		p.depth--
	case xml.Directive:
		return nil, errNotXLSX("the part %q of the workbook has a document type definition", clip(p.name))
	}
	return token, nil
}

// child returns the next direct child of the element that is open at a depth, and false after the
// last one. Whatever the caller has not read of the previous child is skipped.
func (p *xlsxPart) child(depth int) (xml.StartElement, bool, error) {
	for {
		token, err := p.token()
		if err != nil {
			return xml.StartElement{}, false, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if p.depth == depth+1 {
				return token, true, nil
			}
		case xml.EndElement:
			if p.depth < depth {
				return xml.StartElement{}, false, nil
			}
		}
	}
}

// elements calls visit for each element of the part, at any depth.
func (p *xlsxPart) elements(visit func(element xml.StartElement) error) error {
	for {
		token, err := p.token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if element, ok := token.(xml.StartElement); ok {
			if err := visit(element); err != nil {
				return err
			}
		}
	}
}

// visit reads a complete part; a missing part has no elements.
func (a *xlsxArchive) visit(name string, visit func(element xml.StartElement) error) error {
	part, err := a.open(name)
	if err != nil || part == nil {
		return err
	}
	return errors.Join(part.elements(visit), part.close())
}

// attribute returns the attribute of an element with a local name, or "".
func attribute(element xml.StartElement, name string) string {
	for _, attribute := range element.Attr {
		if attribute.Name.Local == name {
			return attribute.Value
		}
	}
	return ""
}

// xlsxRelation is a reference from one part to another.
type xlsxRelation struct {
	kind   string // the end of its type, such as "worksheet"
	target string // the name of the other part
}

// relations reads the references of a part to others.
func (a *xlsxArchive) relations(name string) (map[string]xlsxRelation, error) {
	relations := map[string]xlsxRelation{}
	directory, base := path.Split(name)
	err := a.visit(path.Join(directory, "_rels", base+".rels"), func(element xml.StartElement) error {
		if element.Name.Local != "Relationship" || attribute(element, "TargetMode") == "External" {
			return nil
		}
		target := strings.ReplaceAll(attribute(element, "Target"), `\`, "/")
		if !strings.HasPrefix(target, "/") {
			target = path.Join(directory, target)
		}
		if relations[attribute(element, "Id")] = (xlsxRelation{
			kind:   path.Base(attribute(element, "Type")),
			target: strings.TrimPrefix(path.Clean(target), "/"),
		}); len(relations) > xlsxMaxParts {
			return errNotXLSX("the workbook has more than %d relations", xlsxMaxParts)
		}
		return nil
	})
	return relations, err
}
