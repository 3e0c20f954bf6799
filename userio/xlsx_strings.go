package userio

import (
	"encoding/binary"
	"encoding/xml"
	"errors"
	"io"
	"sort"

	"github.com/userkit/userkit/internal/tempfile"
)

// The bounds of the texts that the cells of a workbook share.
const (
	xlsxMaxTexts      = 1 << 26
	xlsxMaxTextsBytes = 2 << 30
	xlsxTextsInMemory = 4 << 20 // bytes; what comes behind goes to a temporary file
	xlsxTextOverhead  = 16      // bytes that a text in memory takes beside itself
	xlsxBlockTexts    = 64
	xlsxBlockBytes    = 64 << 10
)

// xlsxTexts are the texts that the cells of a workbook share: the first ones in memory, and the
// others in blocks in a temporary file, some of which are cached. A workbook lists its texts in the
// order in which its cells first use them, so the common ones come first and the rest is read in
// order.
type xlsxTexts struct {
	memory []string
	size   int64 // of all texts, with their overhead
	count  int

	file   *tempfile.File // nil while all are in memory
	blocks []xlsxBlock
	filled int    // texts in the block that is being filled
	buffer []byte // the bytes of that block: of each text its length and itself
	kept   [16]struct {
		number int // of the block, from 1
		texts  []string
	}
}

// xlsxBlock is the position of a block.
type xlsxBlock struct {
	first int   // of its texts
	at    int64 // in the file
	size  int
}

// readXLSXTexts reads the part of shared texts; a workbook may have none.
func readXLSXTexts(archive *xlsxArchive, name string) (*xlsxTexts, error) {
	t := &xlsxTexts{}
	part, err := archive.open(name)
	if err != nil || part == nil {
		return t, err
	}
	for err == nil {
		var token xml.Token
		if token, err = part.token(); err != nil {
			break
		}
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "si" {
			var text string
			if text, err = part.richText(); err == nil {
				err = t.add(text)
			}
		}
	}
	if errors.Is(err, io.EOF) {
		err = t.flush()
	}
	if err = errors.Join(err, part.close()); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *xlsxTexts) add(text string) error {
	t.size += int64(len(text)) + xlsxTextOverhead
	if t.size > xlsxMaxTextsBytes || t.count == xlsxMaxTexts {
		return errNotXLSX("the shared texts of the workbook are more than %d or longer than %d bytes", xlsxMaxTexts, xlsxMaxTextsBytes)
	}
	t.count++
	if t.size <= xlsxTextsInMemory {
		t.memory = append(t.memory, text)
		return nil
	}
	t.buffer = binary.AppendUvarint(t.buffer, uint64(len(text)))
	t.buffer = append(t.buffer, text...)
	if t.filled++; t.filled < xlsxBlockTexts && len(t.buffer) < xlsxBlockBytes {
		return nil
	}
	return t.flush()
}

// flush writes the block that is being filled.
func (t *xlsxTexts) flush() (err error) {
	if t.filled == 0 {
		return nil
	}
	if t.file == nil {
		if t.file, err = tempfile.Create(); err != nil {
			return err
		}
	}
	block := xlsxBlock{first: t.count - t.filled, size: len(t.buffer)}
	if n := len(t.blocks); n > 0 {
		block.at = t.blocks[n-1].at + int64(t.blocks[n-1].size)
	}
	t.blocks = append(t.blocks, block)
	_, err = t.file.Write(t.buffer)
	t.filled, t.buffer = 0, t.buffer[:0]
	return err
}

// text returns the text with a number, from 0, and reports whether there is one.
func (t *xlsxTexts) text(number int) (string, bool, error) {
	if number < 0 || number >= t.count {
		return "", false, nil
	}
	if number < len(t.memory) {
		return t.memory[number], true, nil
	}
	i := sort.Search(len(t.blocks), func(i int) bool { return t.blocks[i].first > number }) - 1
	block, kept := t.blocks[i], &t.kept[i%len(t.kept)]
	if kept.number != i+1 {
		data := make([]byte, block.size)
		if _, err := t.file.ReadAt(data, block.at); err != nil {
			return "", false, err
		}
		kept.number, kept.texts = i+1, kept.texts[:0]
		for len(data) > 0 {
			length, n := binary.Uvarint(data)
			kept.texts = append(kept.texts, string(data[n:n+int(length)]))
			data = data[n+int(length):]
		}
	}
	return kept.texts[number-block.first], true, nil
}

func (t *xlsxTexts) close() error {
	if t.file == nil {
		return nil
	}
	file := t.file
	t.file = nil
	return file.Close()
}
