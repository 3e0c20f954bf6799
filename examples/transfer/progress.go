package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

// bar shows how far a transfer is, how fast it goes and, when it is known where
// the end is, how long it will take. A nil bar shows nothing.
type bar struct {
	*progressbar.ProgressBar
	total int64
}

// unknown is the total of a bar whose end is not known.
const unknown = -1

// newBar begins a bar that ends at a total above 0, or unknown.
func newBar(to io.Writer, total int64, options ...progressbar.Option) *bar {
	options = append([]progressbar.Option{
		progressbar.OptionSetWriter(to),
		progressbar.OptionSetWidth(25),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // draw only when there is news
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true), // the clock runs from here
	}, options...)
	return &bar{progressbar.NewOptions64(total, options...), total}
}

// show shows how much is done. What the bar cannot show, it leaves out.
func (b *bar) show(done int64) {
	if b == nil {
		return
	}
	if b.total != unknown {
		done = min(done, b.total) // users may come, and files may grow, meanwhile
	}
	_ = b.Set64(done)
}

// showImport shows how much of a file is imported.
func (b *bar) showImport(progress userio.Progress) {
	switch {
	case b == nil:
	case b.total == unknown:
		b.show(progress.Rows)
	default:
		b.Describe(fmt.Sprintf("%d rows", progress.Rows))
		b.show(progress.Bytes)
	}
}

// end takes the bar away.
func (b *bar) end() {
	if b != nil {
		_ = b.Clear()
	}
}

// isTerminal reports whether somebody looks at what is written.
func isTerminal(to io.Writer) bool {
	file, ok := to.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// exportBar returns the bar of an export, which counts users.
func exportBar(ctx context.Context, users userkit.UserManager, filter userkit.UserFilter, stderr io.Writer) (*bar, error) {
	if !isTerminal(stderr) {
		return nil, nil
	}
	total, err := users.CountUsers(ctx, filter)
	if err != nil || total == 0 {
		return nil, err
	}
	return newBar(stderr, total, progressbar.OptionShowIts(), progressbar.OptionSetItsString("users")), nil
}

// importBar returns the bar of an import, which counts the bytes of the file. Where
// those say nothing, since a workbook is read whole before its first row and a
// pipe has no size, it counts rows, and the end is unknown.
func importBar(file *os.File, format userio.Format, stderr io.Writer) (*bar, error) {
	if !isTerminal(stderr) {
		return nil, nil
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	workbook := format == userio.XLSX || format == "" && strings.EqualFold(filepath.Ext(file.Name()), ".xlsx")
	if workbook || !info.Mode().IsRegular() || info.Size() == 0 {
		return newBar(stderr, unknown, progressbar.OptionShowIts(), progressbar.OptionSetItsString("rows")), nil
	}
	return newBar(stderr, info.Size(), progressbar.OptionShowBytes(true)), nil
}
