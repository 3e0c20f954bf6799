package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"time"
)

// fakeService is a push service that is none: a server on this machine only.
type fakeService struct {
	url    string
	server *http.Server
	ended  chan error
}

func startFake(ctx context.Context, handler http.Handler) (*fakeService, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // the real ones have certificates
	f := &fakeService{
		url:    "http://" + listener.Addr().String(),
		server: &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second},
		ended:  make(chan error, 1),
	}
	go func() { f.ended <- f.server.Serve(listener) }()
	return f, nil
}

func (f *fakeService) close() error {
	err := f.server.Close()
	if ended := <-f.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// inPEM writes a key as the files of both services have it.
func inPEM(key any) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}
