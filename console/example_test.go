package console_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/console"
	"github.com/userkit/userkit/store/memory"
)

// fakeStaff takes everybody for the same administrator. A host knows who has signed in.
type fakeStaff struct{}

func (fakeStaff) FromSession(*http.Request) (userkit.Actor, error) {
	return userkit.Actor{Kind: userkit.ActorAdministrator, ID: "grace"}, nil
}

// The console is mounted beside the pages of the host.
func ExampleNew() {
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	var staff fakeStaff
	mux := http.NewServeMux()
	mux.Handle("/admin/", console.New(users, console.WithActor(func(r *http.Request) (userkit.Actor, error) {
		return staff.FromSession(r) // an error refuses the request
	})))

	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/admin/", nil))
	fmt.Println(answer.Code)
	// Output: 200
}
