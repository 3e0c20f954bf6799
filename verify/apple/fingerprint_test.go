package apple

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFingerprintOfAppleRootG3(t *testing.T) {
	require.Equal(t, "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179", hex.EncodeToString(appleRootG3[:]))
}
