package userio_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

// tenColumns are the columns of a usual file.
var tenColumns = []string{
	"id", "login", "name", "email", "email_verified", "phone", "status", "country", "registered_at", "traffic_limit",
}

// tenColumnFile makes a file of so many rows in a format.
func tenColumnFile(t testing.TB, format userio.Format, rows int) string {
	t.Helper()
	var file strings.Builder
	report, err := userio.Export(t.Context(), newCrowd(rows), &file, userio.ExportOptions{Format: format, Columns: tenColumns})
	require.NoError(t, err)
	require.EqualValues(t, rows, report.Rows)
	return file.String()
}

// crowd is a UserManager with so many users, all of which it makes up.
type crowd struct {
	userkit.UserManager
	users []userkit.User
	left  int
}

func (crowd) Project() userkit.Project { return userkit.Project{} }

func newCrowd(rows int) *crowd {
	c := &crowd{users: make([]userkit.User, userkit.MaxPageLimit), left: rows}
	for i := range c.users {
		c.users[i] = userkit.User{
			ID: userkit.NewID[userkit.User](), Login: fmt.Sprintf("user%06d", i), Name: fmt.Sprintf("Ann Number %d", i),
			Email: fmt.Sprintf("user%06d@example.com", i), EmailVerified: i%2 == 0, Phone: fmt.Sprintf("+37529%07d", i),
			Status: userkit.StatusActive, Country: "BY", RegisteredAt: userkit.NewID[userkit.User]().Time(),
		}
		c.users[i].Traffic.Limit.Bytes = int64(i) << 20
	}
	return c
}

func (c *crowd) Users(context.Context, userkit.UserQuery) (userkit.Page[userkit.User], error) {
	page := userkit.Page[userkit.User]{Items: c.users[:min(len(c.users), c.left)]}
	if c.left -= len(page.Items); c.left > 0 {
		page.Next = "more"
	}
	return page, nil
}

func BenchmarkImport(b *testing.B) {
	for _, format := range formats {
		b.Run(string(format), func(b *testing.B) {
			const rows = 100_000
			file := tenColumnFile(b, format, rows)
			b.ReportAllocs()
			for b.Loop() {
				_, err := userio.Import(b.Context(), &sink{}, strings.NewReader(file), userio.ImportOptions{})
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkExport(b *testing.B) {
	for _, format := range formats {
		b.Run(string(format), func(b *testing.B) {
			const rows = 100_000
			users := newCrowd(0)
			b.ReportAllocs()
			for b.Loop() {
				users.left = rows
				_, err := userio.Export(b.Context(), users, io.Discard, userio.ExportOptions{Format: format, Columns: tenColumns})
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
