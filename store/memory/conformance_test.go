//go:build !race

package memory_test

import (
	"testing"

	"github.com/userkit/userkit/store/storetest"
)

func TestStore(t *testing.T) { storetest.Run(t, openMemory) }
