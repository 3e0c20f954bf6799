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

func TestTheLinkSignsInOnceAndMailsArePrinted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, writer, "", "", "127.0.0.1:0", 60)
		_ = writer.CloseWithError(err) // never fails
		ended <- err
	}()
	// says reads what is printed up to a line that ends in a pattern.
	says := func(pattern string) string {
		t.Helper()
		var said strings.Builder
		for buffer := make([]byte, 512); ; {
			n, err := reader.Read(buffer)
			require.NoError(t, err)
			said.Write(buffer[:n])
			if link := regexp.MustCompile(pattern + `\n`).FindString(said.String()); link != "" {
				return strings.TrimSpace(link)
			}
		}
	}
	const origin = `http://127\.0\.0\.1:\d+`
	link := says(origin + `/sign-in\?token=\w+`)
	says(`The demo data is complete\.`)
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
	status, body := get(base + "/admin/users?all=1&count=1")
	require.Equal(t, http.StatusOK, status)
	require.Regexp(t, `id="count"><span[^>]*>60<`, body)
	status, _ = get(link)
	require.Equal(t, http.StatusForbidden, status, "a link works once")

	// A mail to confirm an address is printed, and its link works once.
	status, body = get(base + "/admin/users?all=1&filter=" + url.QueryEscape("email_verified eq false and status eq \"active\""))
	require.Equal(t, http.StatusOK, status)
	user := regexp.MustCompile(`/admin/users/[0-9a-f-]{36}`).FindString(body)
	require.NotEmpty(t, user)
	post := func(address string, form url.Values) (int, string) {
		response, err := client.PostForm(address, form)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	printed := make(chan string, 1)
	go func() { printed <- says(origin + `/confirm\?token=[\w-]+`) }()
	status, body = post(base+user+"/send-activation", nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "The activation mail is sent.")
	link = <-printed
	status, body = get(link)
	require.Equal(t, http.StatusOK, status)
	token := regexp.MustCompile(`name="token" value="([\w-]+)"`).FindStringSubmatch(body)
	require.NotNil(t, token)
	status, body = post(link, url.Values{"token": token[1:]})
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "is confirmed.")
	status, _ = post(link, url.Values{"token": token[1:]})
	require.Equal(t, http.StatusForbidden, status)

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
