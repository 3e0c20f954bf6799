package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/userkit/userkit"
)

// fakePhone is a program in the place of a phone.
type fakePhone struct{ site, accessToken string }

// report reports where the phone is, and returns what the server said.
func (f fakePhone) report(ctx context.Context, location userkit.Location) (string, error) {
	body, err := json.Marshal(location)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.site+"/location", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", f.accessToken)
	said, err := ask(request)
	if len(said) == 0 && err == nil {
		said = []byte("kept")
	}
	return string(bytes.TrimSpace(said)), err
}

// fakeMap asks for what is in view, as a program in a browser does.
func fakeMap(ctx context.Context, site, bbox string) (shown userkit.FeatureCollection, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, site+"/devices?bbox="+bbox, nil)
	if err != nil {
		return shown, err
	}
	geoJSON, err := ask(request)
	if err != nil {
		return shown, err
	}
	return shown, json.Unmarshal(geoJSON, &shown)
}

func ask(request *http.Request) ([]byte, error) {
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}
