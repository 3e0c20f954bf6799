package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// fakeFCM is a Firebase project that does not exist, with one phone that does not either. It
// asks for what the real one asks for: an assertion signed with the key of the service
// account, and the access token that it gives for it.
type fakeFCM struct {
	*fakeService
	keyFile []byte // of the service account
	key     *rsa.PrivateKey
	now     func() time.Time
	out     io.Writer

	mutex       sync.Mutex
	accessToken string
	uninstalled map[string]bool // registrations
}

func startFakeFCM(ctx context.Context, out io.Writer, now func() time.Time) (*fakeFCM, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	f := &fakeFCM{key: key, now: now, out: out, accessToken: rand.Text(), uninstalled: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", f.token)
	mux.HandleFunc("POST /v1/projects/fake-project/messages:send", f.send)
	if f.fakeService, err = startFake(ctx, mux); err != nil {
		return nil, err
	}
	text, err := inPEM(key)
	if err == nil {
		f.keyFile, err = json.Marshal(map[string]string{
			"type": "service_account", "project_id": "fake-project", "private_key_id": "fake-key", "private_key": text,
			"client_email": "fake@fake-project.iam.gserviceaccount.com", "token_uri": f.url + "/token",
		})
	}
	return f, err
}

// token gives an access token for an assertion (RFC 7523).
func (f *fakeFCM) token(w http.ResponseWriter, r *http.Request) {
	_, err := jwt.Parse(r.PostFormValue("assertion"), func(*jwt.Token) (any, error) { return &f.key.PublicKey, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience(f.url+"/token"), jwt.WithTimeFunc(f.now))
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	answer(w, http.StatusOK, map[string]any{"access_token": f.accessToken, "expires_in": 3599, "token_type": "Bearer"})
}

// send takes a message for the phone.
func (f *fakeFCM) send(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+f.accessToken {
		answer(w, http.StatusUnauthorized, map[string]any{"error": map[string]any{"code": 401, "status": "UNAUTHENTICATED"}})
		return
	}
	var request struct {
		Message struct {
			Token        string
			Notification struct{ Title, Body string }
			Data         map[string]string
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"code": 400, "status": "INVALID_ARGUMENT"}})
		return
	}
	f.mutex.Lock()
	gone := f.uninstalled[request.Message.Token]
	f.mutex.Unlock()
	if gone {
		fmt.Fprintln(f.out, "   fake FCM answers UNREGISTERED")
		answer(w, http.StatusNotFound, map[string]any{"error": map[string]any{
			"code": 404, "status": "NOT_FOUND",
			"details": []any{map[string]any{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}},
		}})
		return
	}
	message := request.Message
	fmt.Fprintf(f.out, "   a fake phone shows: %s – %s (screen: %s)\n", message.Notification.Title, message.Notification.Body, message.Data["screen"])
	answer(w, http.StatusOK, map[string]any{"name": "projects/fake-project/messages/1"})
}

// uninstall makes a registration one that is good no more.
func (f *fakeFCM) uninstall(registration string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.uninstalled[registration] = true
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone hears nothing
}
