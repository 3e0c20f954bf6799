//go:build race

package postgres_test

import (
	"testing"

	"github.com/userkit/userkit/store/storetest"
)

func TestConformanceOverPgdriver(t *testing.T) {
	conformOverPgdriver(t, storetest.Options{Brief: true})
}
