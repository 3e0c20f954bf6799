package confusable_test

import (
	"context"
	"fmt"
	"log"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/confusable"
	"github.com/userkit/userkit/store/memory"
)

// Logins that a person cannot tell apart are one, in any script, and others are not.
func TestLoginsThatLookTheSame(t *testing.T) {
	users, err := userkit.New(memory.New(), userkit.WithConfusableCheck(confusable.Skeleton))
	require.NoError(t, err)
	for _, login := range []string{"paypal", "Сергей", "bob0", "modern", "小明", "naïve", "ada@example.org"} {
		_, err := users.CreateUser(t.Context(), userkit.NewUser{Login: login})
		require.NoError(t, err, login)
	}
	for _, login := range []string{
		"раураl", "PАYPAL", "paypaI", "ｐaypaI", "paypa1", "payрal", // Cyrillic letters, and a digit
		"Cергей", "bobo", "bobО", "modem", "naïvе", "adа@example.org",
	} {
		_, err := users.CreateUser(t.Context(), userkit.NewUser{Login: login})
		require.Equal(t, userkit.CodeLoginConfusable, userkit.ErrorCode(err), login)
	}
	for written, others := range map[string][]string{"lll": {"Ill", "IlI", "1ll"}, "Ian": {"lan", "Iаn"}, "Modes": {"rnodes", "Мodes"}} {
		_, err := users.CreateUser(t.Context(), userkit.NewUser{Login: written})
		require.NoError(t, err, written)
		for _, login := range others {
			_, err := users.CreateUser(t.Context(), userkit.NewUser{Login: login})
			require.Equal(t, userkit.CodeLoginConfusable, userkit.ErrorCode(err), login)
		}
	}
	for _, login := range []string{"klm", "paypai", "paypal2", "Сергеи", "bobb", "大明", "naive", "ada"} {
		_, err := users.CreateUser(t.Context(), userkit.NewUser{Login: login})
		require.NoError(t, err, login)
	}
}

func ExampleSkeleton() {
	ctx := context.Background()
	users, err := userkit.New(memory.New(), userkit.WithConfusableCheck(confusable.Skeleton))
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(ctx)
	if _, err := users.CreateUser(ctx, userkit.NewUser{Login: "paypal"}); err != nil {
		log.Fatal(err)
	}
	_, err = users.CreateUser(ctx, userkit.NewUser{Login: "pаypаl"}) // with Cyrillic letters
	fmt.Println(userkit.ErrorCode(err))
	// Output: login_confusable
}
