//go:build !race

package userio_test

// Large files are read and written without the race detector, which would take ten
// times as long and uses memory of its own: no test of this file has goroutines that
// share anything. "make test" runs them by the name TestLarge.

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

// heapGrowth returns by how much the heap in use grew at most while work ran; work
// calls look now and then.
func heapGrowth(work func(look func())) (growth int64) {
	inUse := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	before := inUse()
	work(func() { growth = max(growth, inUse()-before) })
	return growth
}

// counted is a file whose rows say their numbers.
type counted struct {
	rest, part string
	rows, done int
}

func (c *counted) Read(to []byte) (int, error) {
	if c.rest == "" {
		if c.done == c.rows {
			return 0, io.EOF
		}
		c.rest = fmt.Sprintf(c.part, c.done)
		c.done++
	}
	count := copy(to, c.rest)
	c.rest = c.rest[count:]
	return count, nil
}

func TestLargeFilesTakeBoundedMemory(t *testing.T) {
	const bound = 24 << 20
	t.Run("an import of many rows", func(t *testing.T) {
		for format, part := range map[userio.Format]string{
			userio.CSV:    "user%07d,Ann,ann%[1]d@example.com,+375291234567,active,BY,2026-01-02T03:04:05Z,\"text, more text\",1,x\n",
			userio.NDJSON: "{\"login\":\"user%07d\",\"name\":\"Ann\",\"attributes\":{\"plan\":\"pro\"}}\n",
		} {
			head := ""
			if format == userio.CSV {
				head = "login,name,email,phone,status,country,registered_at,description,traffic_limit,unknown\n"
			}
			const rows = 300_000
			sink := &sink{}
			growth := heapGrowth(func(look func()) {
				calls := 0
				report, err := userio.Import(t.Context(), sink, &counted{rest: head, part: part, rows: rows}, userio.ImportOptions{
					Progress: func(userio.Progress) {
						if calls++; calls%50 == 0 {
							look()
						}
					},
				})
				require.NoError(t, err)
				require.EqualValues(t, rows, report.Created)
			})
			require.EqualValues(t, rows, sink.records)
			require.Less(t, growth, int64(bound), format)
		}
	})
	t.Run("an import of a line of a gigabyte", func(t *testing.T) {
		for _, head := range []string{"login\n", "login\n\"", "{\"login\":\"", "", "login\n,", "login\n\"\n"} {
			file := &endless{head: head, part: strings.Repeat("x", 4096), left: 1 << 30}
			_, err := userio.Import(t.Context(), &sink{}, file, userio.ImportOptions{})
			require.Equal(t, userkit.CodeTooLong, userkit.ErrorCode(err), head)
			require.Greater(t, file.left, int64(1<<30-4*userio.MaxRowBytes), "it read on, beyond the bound")
		}
	})
	t.Run("an import of separators without end", func(t *testing.T) {
		for _, part := range []string{",", ";", "\"\","} {
			growth := heapGrowth(func(look func()) {
				_, err := userio.Import(t.Context(), &sink{}, &endless{head: "login,x\nann,y\n", part: strings.Repeat(part, 1000), left: 1 << 30}, userio.ImportOptions{})
				look()
				require.Equal(t, userkit.CodeTooLong, userkit.ErrorCode(err))
			})
			require.Less(t, growth, int64(bound))
		}
	})
	t.Run("an export of many rows", func(t *testing.T) {
		for _, format := range []userio.Format{userio.CSV, userio.NDJSON} {
			users := newCrowd(300_000)
			growth := heapGrowth(func(look func()) {
				calls := 0
				_, err := userio.Export(t.Context(), users, io.Discard, userio.ExportOptions{Format: format, Progress: func(userio.Progress) {
					if calls++; calls%50 == 0 {
						look()
					}
				}})
				require.NoError(t, err)
			})
			require.Less(t, growth, int64(bound), format)
		}
	})
}
