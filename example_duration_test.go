package userkit_test

import (
	"encoding/json"
	"fmt"
	"log"
	"time"

	"github.com/userkit/userkit"
)

// A span of time is written with its unit, and a number without one is refused.
func ExampleDuration() {
	month := userkit.Duration(30 * 24 * time.Hour)
	text, err := json.Marshal(userkit.NewUser{Login: "ada", ValidFor: month})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))

	var user userkit.NewUser
	if err := json.Unmarshal([]byte(`{"login": "ada", "valid_for": "1h30m"}`), &user); err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.ValidFor, time.Duration(user.ValidFor).Minutes())

	err = json.Unmarshal([]byte(`{"login": "ada", "valid_for": 2592000}`), &user)
	fmt.Println(userkit.ErrorCode(err))
	// Output:
	// {"login":"ada","valid_for":"720h"}
	// 1h30m 90
	// bad_format
}
