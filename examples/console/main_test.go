package main

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheLinkSignsInOnce(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, writer, "", "", "127.0.0.1:0", 60)
		_ = writer.CloseWithError(err) // never fails
		ended <- err
	}()
	var said strings.Builder
	link := ""
	for buffer := make([]byte, 512); link == ""; {
		n, err := reader.Read(buffer)
		require.NoError(t, err)
		said.Write(buffer[:n])
		link = regexp.MustCompile(`http://127\.0\.0\.1:\d+/sign-in\?token=\w+\n`).FindString(said.String())
	}
	link = strings.TrimSpace(link)
	address, err := url.Parse(link)
	require.NoError(t, err)
	base := "http://" + address.Host

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	get := func(address string) (int, string) {
		response, err := client.Get(address)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	status, _ := get(base + "/admin/users")
	require.Equal(t, http.StatusForbidden, status)
	status, _ = get(base + "/sign-in?token=wrong")
	require.Equal(t, http.StatusForbidden, status)
	status, _ = get(link)
	require.Equal(t, http.StatusOK, status)
	status, body := get(base + "/admin/users?all=1")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `id="count">60<`)
	status, _ = get(link)
	require.Equal(t, http.StatusForbidden, status, "a link works once")

	stop()
	require.NoError(t, <-ended)
	client.CloseIdleConnections()
}

func TestOnlyThisMachineIsListenedOn(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:80", "[::]:0", "nonsense"} {
		_, err := listen(t.Context(), address)
		require.Error(t, err, address)
	}
}
