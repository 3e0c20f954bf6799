package userio

import (
	"context"
	"io"

	"github.com/userkit/userkit"
)

// numberColumns reads a CSV file once more from the start, and marks the columns of other programs
// that contain only numbers, so that their values are kept as numbers and filters compare them as
// such. A file that cannot be read twice, such as a pipe, has only texts: what its last row
// contains is not known when the first row is imported.
func (im *importer) numberColumns(ctx context.Context, start int64) (err error) {
	file, seekable := im.from.from.(io.ReadSeeker)
	var candidates []int
	for at := range im.columns {
		if im.columns[at].kept {
			candidates = append(candidates, at)
		}
	}
	if !seekable || start < 0 || len(candidates) == 0 {
		return nil
	}
	back, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := file.Seek(start, io.SeekStart); err != nil {
		return err
	}
	defer func() {
		if _, seekErr := file.Seek(back, io.SeekStart); err == nil {
			err = seekErr
		}
	}()
	reader, err := openTable(&countingReader{from: onlyReader{file}}, &im.options)
	if err != nil {
		return nil // which the import itself met or will meet
	}
	defer reader.close() //nolint:errcheck // of CSV, there is nothing to give back
	held := map[int]bool{}
	var row tableRow
	for number := 0; len(candidates) > 0; number++ {
		if number%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		err := reader.next(&row)
		if err != nil && isRowError(err) {
			continue // the row stays out
		}
		if err != nil {
			break
		}
		kept := candidates[:0]
		for _, at := range candidates {
			text := ""
			if at < len(row.cells) {
				text = row.cells[at].text
			}
			if text != "" {
				switch userkit.ParseAttribute(text).(type) {
				case int64, float64:
					held[at] = true
				default:
					continue
				}
			}
			kept = append(kept, at)
		}
		candidates = kept
	}
	for _, at := range candidates {
		if held[at] {
			im.columns[at].Numbers = true
			im.columns[at].read = attributeCell
		}
	}
	return nil
}

// onlyReader hides all methods of a file except Read.
type onlyReader struct{ io.Reader }
