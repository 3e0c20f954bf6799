package userhttp_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/userhttp"
)

// A handler that edits a user: what the client read is what it changes, and what is wrong
// comes back as a problem.
func Example() {
	manager, err := userkit.New(memory.New())
	if err != nil {
		panic(err)
	}
	edit := func(w http.ResponseWriter, r *http.Request) {
		var patch userkit.UserPatch
		id, err := userkit.ParseID[userkit.User](r.PathValue("id"))
		if err == nil {
			err = userhttp.ReadJSON(w, r, 1<<20, &patch)
		}
		if err == nil {
			patch.Revision, err = userhttp.IfMatch(r)
		}
		var user userkit.User
		if err == nil {
			user, err = manager.UpdateUser(r.Context(), id, patch)
		}
		if err != nil {
			userhttp.WriteProblem(w, err)
			return
		}
		w.Header().Set("ETag", userhttp.ETag(user.Revision))
		_ = json.NewEncoder(w).Encode(user)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("PATCH /users/{id}", edit)
	user, err := manager.CreateUser(httptest.NewRequest(http.MethodPost, "/", nil).Context(), userkit.NewUser{Login: "ada"})
	if err != nil {
		panic(err)
	}
	send := func(tag, body string) {
		r := httptest.NewRequest(http.MethodPatch, "/users/"+user.ID.String(), strings.NewReader(body))
		r.Header.Set("If-Match", tag)
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, r)
		var said struct {
			Name string       `json:"name"`
			Code userkit.Code `json:"code"`
		}
		if err := json.Unmarshal(answer.Body.Bytes(), &said); err != nil {
			panic(err)
		}
		fmt.Println(answer.Code, said.Name+string(said.Code))
	}
	send(userhttp.ETag(user.Revision), `{"name": "Ada"}`)
	send(userhttp.ETag(user.Revision), `{"name": "Ada L."}`)
	// Output:
	// 200 Ada
	// 412 revision_mismatch
}

// A handler for devices: a client that has tried too many wrong tokens has to wait.
func ExampleAttempt() {
	manager, err := userkit.New(memory.New())
	if err != nil {
		panic(err)
	}
	attempts, err := userhttp.NewAttempts(userhttp.AttemptPolicy{Failures: 2})
	if err != nil {
		panic(err)
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		proof, err := userhttp.Attempt(attempts, r, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), manager.Authenticate)
		if err != nil {
			userhttp.WriteProblem(w, err)
			return
		}
		fmt.Fprintln(w, proof.User.Login)
	}
	for guess := range 3 {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", fmt.Sprintf("Bearer guess-%d", guess))
		answer := httptest.NewRecorder()
		handler(answer, r)
		fmt.Println(answer.Code, answer.Header().Get("Retry-After") != "")
	}
	// Output:
	// 401 false
	// 401 false
	// 429 true
}
