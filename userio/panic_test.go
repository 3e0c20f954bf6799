package userio_test

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

// brokenUsers is a manager of the host's whose calls on goroutines of userio's do what a
// test says.
type brokenUsers struct {
	userkit.Manager
	does func()
}

func (b brokenUsers) ImportUsers(context.Context, userkit.ImportOptions, []userkit.UserImport) ([]userkit.ImportOutcome, error) {
	b.does()
	return nil, nil
}

func (b brokenUsers) Users(context.Context, userkit.UserQuery) (userkit.Page[userkit.User], error) {
	b.does()
	return userkit.Page[userkit.User]{}, nil
}

func TestManagersThatPanicCostTheCallAlone(t *testing.T) {
	for name, does := range map[string]func(){"panic": func() { panic("broken") }, "end": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			users := brokenUsers{newManager(t), does}
			_, err := userio.Import(t.Context(), users, strings.NewReader("login\nada\n"), userio.ImportOptions{})
			require.Error(t, err)
			var file bytes.Buffer
			_, err = userio.Export(t.Context(), users, &file, userio.ExportOptions{})
			require.Error(t, err)
		})
	}
}
