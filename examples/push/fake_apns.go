package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// fakeAPNs is no service of Apple's. It asks for what the real one asks for: HTTP/2, a token
// signed with the key, and the topic of the application. Of the notifications with one
// collapse id its tablet shows the newest.
type fakeAPNs struct {
	*fakeService
	client  *http.Client // speaks HTTP/2 without TLS
	keyFile []byte
	key     *ecdsa.PrivateKey
	now     func() time.Time
	out     io.Writer

	mutex sync.Mutex
	lose  bool              // the next answer
	told  int               // notifications
	shown map[string]string // by their collapse ids
}

func startFakeAPNs(ctx context.Context, out io.Writer, now func() time.Time) (*fakeAPNs, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	text, err := inPEM(key)
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	f := &fakeAPNs{
		client:  &http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: 20 * time.Second},
		keyFile: []byte(text), key: key, now: now, out: out, shown: map[string]string{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /3/device/{token}", f.send)
	f.fakeService, err = startFake(ctx, mux)
	return f, err
}

// send takes a notification for the tablet.
func (f *fakeAPNs) send(w http.ResponseWriter, r *http.Request) {
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	_, err := jwt.Parse(bearer, func(*jwt.Token) (any, error) { return &f.key.PublicKey, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithTimeFunc(f.now))
	var payload struct {
		APS struct{ Alert struct{ Title, Body string } }
	}
	switch {
	case r.ProtoMajor != 2:
		answer(w, http.StatusHTTPVersionNotSupported, nil)
		return
	case err != nil:
		answer(w, http.StatusForbidden, map[string]string{"reason": "InvalidProviderToken"})
		return
	case r.Header.Get("apns-topic") != "org.example.app":
		answer(w, http.StatusBadRequest, map[string]string{"reason": "DeviceTokenNotForTopic"})
		return
	case json.NewDecoder(r.Body).Decode(&payload) != nil:
		answer(w, http.StatusBadRequest, map[string]string{"reason": "BadMessage"})
		return
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.told++
	f.shown[r.Header.Get("apns-collapse-id")] = payload.APS.Alert.Title
	if f.lose {
		f.lose = false
		fmt.Fprintf(f.out, "   a fake tablet shows: %s – %s; the answer is lost\n", payload.APS.Alert.Title, payload.APS.Alert.Body)
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(f.out, "   a fake tablet shows: %s – %s, in the place of it\n", payload.APS.Alert.Title, payload.APS.Alert.Body)
}

// loseNextAnswer lets the connection break before the next answer.
func (f *fakeAPNs) loseNextAnswer() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.lose = true
}

// counts tells how many notifications came, and how many of them the tablet shows.
func (f *fakeAPNs) counts() (told, shown int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.told, len(f.shown)
}
