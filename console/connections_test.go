package console

import (
	"context"
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/userkit/userkit"
)

// connect connects the administrator to a user, by the dialog.
func (s *site) connect(user userkit.User) {
	s.t.Helper()
	of := "/users/" + user.ID.String()
	s.get(of+"?do=connect").says(http.StatusOK, "Connect to this user?", `<option value="30m0s" selected>30 minutes`)
	s.post(of+"/connect", "do", "connect", "reason", "ticket 7", "duration", "15m0s").leads(of)
	s.get(of).says(http.StatusOK, "You are connected to the user.")
}

// bound is post from a page of the connection.
func (s *site) bound(path string, pairs ...string) answer {
	s.t.Helper()
	return s.post(path, append(pairs, connectedField, s.cookies[cookieConnection])...)
}

func TestConnectingToAUser(t *testing.T) {
	s := newSite(t)
	user, _, _, _, _ := s.full()
	eve := s.user("eve")
	of := "/users/" + user.ID.String()
	require.Contains(t, s.get(of).ok(), of+"?do=connect")
	s.post(of+"/connect", "do", "connect", "reason", " ", "duration", "5m0s").says(http.StatusUnprocessableEntity, "Please fill this in.", `<option value="5m0s" selected>5 minutes`)
	s.post(of+"/connect", "do", "connect", "reason", "ticket", "duration", "9h").says(http.StatusUnprocessableEntity, "This is too large or too small.", `value="ticket"`)
	s.post(of+"/connect", "do", "connect", "reason", "ticket", "duration", "long").says(http.StatusUnprocessableEntity, "This does not have the right form.")
	s.post(of+"/connect", "do", "connect", "reason", "", "duration", "9h").says(http.StatusUnprocessableEntity, "Please fill this in.", "This is too large or too small.")
	s.connect(user)

	body := s.get("/users?all=1").ok()
	require.Contains(t, body, user.Email)
	require.NotContains(t, body, eve.Email)
	s.get("/users/"+eve.ID.String()).says(http.StatusForbidden, "You are connected to another user.", user.Email)
	body = s.get(of + "?do=profile").ok()
	require.Contains(t, body, `name="description"`)
	require.NotContains(t, body, `name="email"`, "what the user signs in with is not offered")
	require.NotContains(t, body, "do=connect")
	require.NotContains(t, body, "do=delete")

	s.bound(of+"/balance/refill", "amount", "5", "key", "k7", "do", "refill").leads(of + "/balance")
	s.get(of+"/balance").says(http.StatusOK, "Alex Morgan", "on behalf of the user")
	s.bound("/disconnect").leads(of)
	body = s.get(of).ok()
	require.Contains(t, body, "You are disconnected from the user.")
	require.NotContains(t, body, `class="connected"`)
	s.get("/users/" + eve.ID.String()).ok()
	s.get("/audit").says(http.StatusOK, "on behalf of <bdi>Ada ada</bdi>")
	events, err := s.users.Events(t.Context(), userkit.EventQuery{EventFilter: userkit.EventFilter{Name: userkit.EventBalanceRefilled}})
	require.NoError(t, err)
	require.Equal(t, user.ID, events.Items[0].Actor.OnBehalfOf)
	require.Equal(t, administrator.ID, events.Items[0].Actor.ID)
	s.post("/disconnect").leads("/")
}

// TestEveryPageWhileConnected looks at every page: the bar is on it, it holds nothing of
// anybody else, every form says in which connection it was made, and nothing that it
// offers is refused.
func TestEveryPageWhileConnected(t *testing.T) {
	s := newSite(t)
	eve := s.user("eve")
	s.upload("a.csv", "login\r\nnew\r\n")
	user, device, session, purchase, segment := s.full()
	s.connect(user)
	resumed, err := s.users.Resume(userkit.WithActor(t.Context(), administrator), mustConnection(t, s.cookies[cookieConnection]))
	require.NoError(t, err)
	c := newConsole(s.users)
	links := map[string]string{}
	served := 0
	for _, path := range pages(user, device, session, purchase, segment) {
		a := s.get(path)
		require.Contains(t, a.body, `class="connected"`, path)
		require.Contains(t, a.body, "<b><bdi>"+user.Email+"</bdi></b>", path)
		require.Contains(t, a.body, "ticket 7", path)
		require.Contains(t, a.body, `data-seconds="900"`, path)
		require.NotContains(t, a.body, eve.Email, path)
		if a.status == http.StatusForbidden {
			continue
		}
		body := a.ok()
		served++
		require.Len(t, postForms.FindAllString(body, -1), strings.Count(body, `<input type="hidden" name="connected" value="`+s.cookies[cookieConnection]+`">`), path)
		for _, found := range regexp.MustCompile(`<(a|form)[^>]* (?:href|action)="/admin(/[^"]*)"[^>]*>`).FindAllStringSubmatch(body, -1) {
			method := http.MethodGet
			if found[1] == "form" && strings.Contains(found[0], `method="post"`) {
				method = http.MethodPost
			}
			links[method+" "+html.UnescapeString(found[2])] = path
		}
	}
	require.Greater(t, served, 45)
	for link, path := range links {
		method, address, _ := strings.Cut(link, " ")
		request := httptest.NewRequest(method, address, nil)
		_, pattern := c.mux.Handler(request)
		if operation := c.operations[pattern]; operation != "" {
			id := ""
			if operationTargets()[operation] == userkit.TargetUser && strings.Contains(address, user.ID.String()) {
				id = user.ID.String()
			}
			allowed, err := s.users.Allows(resumed, operation, id)
			require.NoError(t, err)
			require.True(t, allowed, "%s offers %s", path, link)
		}
	}
}

func mustConnection(t *testing.T, text string) userkit.ConnectionID {
	t.Helper()
	id, err := userkit.ParseID[userkit.Connection](text)
	require.NoError(t, err)
	return id
}

// TestConnectionsEndAtOnce ends a connection in every way that there is: nothing is done
// in it any more, neither as the user nor as oneself.
func TestConnectionsEndAtOnce(t *testing.T) {
	for name, end := range map[string]func(s *site, id userkit.ConnectionID, user userkit.User){
		"its time is over": func(s *site, _ userkit.ConnectionID, _ userkit.User) { s.now = s.now.Add(15 * time.Minute) },
		"somebody revoked it": func(s *site, id userkit.ConnectionID, _ userkit.User) {
			_, err := s.users.Disconnect(s.t.Context(), id)
			require.NoError(s.t, err)
		},
		"the user was deleted": func(s *site, _ userkit.ConnectionID, user userkit.User) {
			_, err := s.users.DeleteUser(s.t.Context(), user.ID, user.ID.String())
			require.NoError(s.t, err)
		},
		"the cookie is damaged": func(s *site, _ userkit.ConnectionID, _ userkit.User) { s.cookies[cookieConnection] = "no-id" },
		"somebody else signed in": func(s *site, _ userkit.ConnectionID, user userkit.User) {
			other := userkit.WithActor(s.t.Context(), userkit.Actor{Kind: userkit.ActorAdministrator, ID: "other"})
			connection, err := s.users.Connect(other, user.ID, userkit.ConnectOptions{Reason: "r"})
			require.NoError(s.t, err)
			s.cookies[cookieConnection] = connection.ID.String()
		},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(name+"/"+method, func(t *testing.T) {
				s := newSite(t)
				user := s.user("ada")
				s.connect(user)
				field := s.cookies[cookieConnection]
				end(s, mustConnection(t, field), user)

				// A part of a page makes the browser open the page again, which then says why.
				s.header.Set("HX-Request", "true")
				require.Equal(t, "true", s.get("/sessions").header.Get("HX-Refresh"))
				s.header = http.Header{}
				require.Contains(t, s.cookies, cookieConnection)

				of := "/users/" + user.ID.String()
				if method == http.MethodGet {
					a := s.get("/users").says(http.StatusForbidden, "The connection to the user has ended.")
					require.NotContains(t, a.body, `class="connected"`)
				} else {
					s.post(of+"/deactivate", connectedField, field).says(http.StatusForbidden, "The connection to the user has ended. Nothing was done.")
				}
				require.NotContains(t, s.cookies, cookieConnection)
				require.Equal(t, http.StatusOK, s.get("/users").status, "one goes on as oneself")

				// A page that is left from the connection does nothing as oneself.
				if found, err := s.users.User(t.Context(), user.ID); err == nil {
					require.Equal(t, userkit.StatusActive, found.Status)
					s.post(of+"/deactivate", connectedField, field).says(http.StatusConflict, "Nothing was done.")
					found, err = s.users.User(t.Context(), user.ID)
					require.NoError(t, err)
					require.Equal(t, userkit.StatusActive, found.Status)
				}
			})
		}
	}
}

func TestAFormOfBeforeTheConnectionDoesNothing(t *testing.T) {
	s := newSite(t)
	user := s.user("ada")
	s.connect(user)
	of := "/users/" + user.ID.String()
	s.post(of+"/deactivate").says(http.StatusConflict, "You have connected to a user, or disconnected, since this page was loaded.")
	s.post("/preferences", "theme", "dark").says(http.StatusConflict, "Nothing was done.")
	s.post(of+"/deactivate", connectedField, userkit.NewID[userkit.Connection]().String()).says(http.StatusConflict, "Nothing was done.")
	s.bound(of + "/deactivate").leads(of)
}

// TestAFaultDoesNotEndAConnection: whoever is connected never goes on as oneself because
// something does not answer.
func TestAFaultDoesNotEndAConnection(t *testing.T) {
	down := false
	s := newSiteOf(t, []userkit.Option{userkit.WithAuthorizer(userkit.AuthorizerFunc(func(_ context.Context, request userkit.AuthorizationRequest) (userkit.Authorization, error) {
		if down && request.Operation.Name == "connections.resume" {
			return userkit.Authorization{}, errors.New("down")
		}
		return userkit.Authorization{Allowed: true}, nil
	}))})
	user := s.user("ada")
	s.connect(user)
	down = true
	require.Equal(t, http.StatusServiceUnavailable, s.get("/users").status)
	require.Equal(t, http.StatusServiceUnavailable, s.bound("/users/"+user.ID.String()+"/deactivate").status)
	down = false
	require.Contains(t, s.get("/users").ok(), `class="connected"`)
}

func TestConnectionsOfTheProject(t *testing.T) {
	s := newSite(t)
	ada, eve := s.user("ada"), s.user("eve")
	ctx := userkit.WithActor(t.Context(), userkit.Actor{Kind: userkit.ActorAdministrator, ID: "other", Name: "Grace"})
	s.get("/connections").says(http.StatusOK, "No administrator is connected to a user.")
	open, err := s.users.Connect(ctx, ada.ID, userkit.ConnectOptions{Reason: "first ticket"})
	require.NoError(t, err)
	_, err = s.users.Connect(ctx, eve.ID, userkit.ConnectOptions{Reason: "second ticket", Duration: userkit.Duration(time.Minute)})
	require.NoError(t, err)
	s.now = s.now.Add(2 * time.Minute)
	body := s.get("/connections").says(http.StatusOK, "Ada ada", "Grace", "first ticket").body
	require.NotContains(t, body, "second ticket")
	s.get("/connections?all=1").says(http.StatusOK, "second ticket", "Over", "Open")
	require.NotContains(t, s.get("/connections?all=1&user="+ada.ID.String()).ok(), "second ticket")
	require.Equal(t, http.StatusNotFound, s.get("/connections?user=x").status)
	s.get("/connections?do=end&target="+open.ID.String()).says(http.StatusOK, "End this connection?", "first ticket")
	s.post("/connections/end", "target", open.ID.String()).leads("/connections")
	s.get("/connections?all=1").says(http.StatusOK, "Disconnected", "Alex Morgan")
	require.Equal(t, http.StatusNotFound, s.post("/connections/end", "target", "x").status)
	require.Equal(t, http.StatusNotFound, s.post("/connections/end", "target", userkit.NewID[userkit.Connection]().String()).status)
	_, err = s.users.Resume(ctx, open.ID)
	require.Equal(t, userkit.CodeConnectionEnded, userkit.ErrorCode(err))
}

func TestWhoIsOfferedToConnect(t *testing.T) {
	actor := administrator
	s := newSiteOf(t, []userkit.Option{userkit.WithConnections(userkit.ConnectionPolicy{Duration: 20 * time.Minute, MaxDuration: 40 * time.Minute})},
		WithActor(func(*http.Request) (userkit.Actor, error) { return actor, nil }))
	of := "/users/" + s.user("alex").ID.String()
	body := s.get(of + "?do=connect").ok()
	require.Equal(t, []string{"5m0s", "15m0s", "20m0s", "30m0s", "40m0s"}, values(body, "duration"))
	require.Contains(t, body, `<option value="20m0s" selected>20 minutes`)
	actor.ID = "alex@example.org"
	s.post(of+"/connect", "do", "connect", "reason", "r", "duration", "5m0s").says(http.StatusForbidden, "You cannot connect to yourself.", `value="r"`)
	actor = userkit.Actor{Kind: userkit.ActorUser, ID: "ada"}
	require.NotContains(t, s.get(of).ok(), "do=connect")

	off := newSiteOf(t, []userkit.Option{userkit.WithConnections(userkit.ConnectionPolicy{Off: true})})
	of = "/users/" + off.user("ada").ID.String()
	require.NotContains(t, off.get(of).ok(), "do=connect")
	require.NotContains(t, off.get(of+"?do=connect").ok(), "<dialog")
	off.post(of+"/connect", "do", "connect", "reason", "r", "duration", "5m0s").says(http.StatusForbidden, "Connecting to users is switched off here.")
}

// values are the choices of a select.
func values(body, name string) []string {
	body = body[strings.Index(body, `name="`+name+`"`):]
	var all []string
	for _, found := range regexp.MustCompile(`<option value="([^"]*)"`).FindAllStringSubmatch(body[:strings.Index(body, "</select>")], -1) {
		all = append(all, found[1])
	}
	return all
}
