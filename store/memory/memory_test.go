package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) userkit.Store {
		store := memory.New()
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store
	})
}
