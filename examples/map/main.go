// Map shows where the devices of users are, those that agreed to it: fake phones report
// where they are to a server on this machine, and a fake map asks it for what is in view.
//
// Usage:
//
//	map
//
// Each chapter is one function that makes a few calls of userkit; docs/reach.md explains
// them. The console has a map of its own, on the same calls.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
	"github.com/userkit/userkit/userhttp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "map:", err)
		os.Exit(1)
	}
}

// story is what the chapters share.
type story struct {
	out   io.Writer
	users userkit.Manager
	site  string // the address of the host's server
	ada   userkit.User
	phone userkit.Device
	fake  fakePhone

	attempts *userhttp.Attempts // of phones to authenticate
}

// run tells the story.
func run(ctx context.Context, out io.Writer) (err error) {
	noon := time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	s := &story{out: out}
	if s.attempts, err = userhttp.NewAttempts(userhttp.AttemptPolicy{}); err != nil {
		return err
	}
	s.users, err = userkit.New(memory.New(),
		userkit.WithClock(func() time.Time { return noon })) // so that every run prints the same; a host leaves this out
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.users.Close(context.Background())) }()

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.site = "http://" + listener.Addr().String()
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer func() {
		err = errors.Join(err, server.Close())
		if failed := <-ended; !errors.Is(failed, http.ErrServerClosed) {
			err = errors.Join(err, failed)
		}
	}()
	for _, chapter := range []func(context.Context) error{s.report, s.show, s.forget} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

// handler is the host's: phones report to it, and maps ask it. A host lets only
// administrators ask.
func (s *story) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /location", func(w http.ResponseWriter, r *http.Request) {
		proof, err := userhttp.Attempt(s.attempts, r, r.Header.Get("Authorization"), s.users.Authenticate)
		if err != nil {
			userhttp.WriteProblem(w, err)
			return
		}
		var location userkit.Location
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1000)).Decode(&location); err != nil {
			http.Error(w, "no location", http.StatusBadRequest)
			return
		}
		if _, err := s.users.ReportLocation(r.Context(), proof.Device.ID, location); err != nil {
			http.Error(w, string(userkit.ErrorCode(err)), http.StatusConflict)
		}
	})
	mux.HandleFunc("GET /devices", func(w http.ResponseWriter, r *http.Request) {
		var view userkit.BoundingBox
		if err := json.Unmarshal([]byte("["+r.FormValue("bbox")+"]"), &view); err != nil {
			http.Error(w, "bbox=west,south,east,north", http.StatusBadRequest)
			return
		}
		devices, err := s.users.Locations(r.Context(), userkit.LocationQuery{LocationFilter: userkit.LocationFilter{Box: userkit.Set(view)}})
		if err != nil {
			http.Error(w, string(userkit.ErrorCode(err)), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", userkit.GeoJSONType)
		_ = json.NewEncoder(w).Encode(devices) // a map that has gone needs none
	})
	return mux
}

func (s *story) report(ctx context.Context) (err error) {
	fmt.Fprintln(s.out, "1. Map: a phone reports where it is, once its owner agrees")
	s.ada, err = s.users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		return err
	}
	s.phone, err = s.users.RegisterDevice(ctx, s.ada.ID, userkit.NewDevice{Name: "Ada's phone"})
	if err != nil {
		return err
	}
	s.fake = fakePhone{site: s.site, accessToken: s.phone.AccessToken}
	suva := userkit.Location{Latitude: -18.14, Longitude: 178.44, Accuracy: 30}
	said, err := s.fake.report(ctx, suva)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   a fake phone reports from Suva: %s\n", said)

	_, err = s.users.UpdateDevice(ctx, s.phone.ID, userkit.DevicePatch{LocationConsent: userkit.Set(true)})
	if err != nil {
		return err
	}
	if said, err = s.fake.report(ctx, suva); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   she agrees, and it reports again: %s\n", said)
	return nil
}

func (s *story) show(ctx context.Context) error {
	fmt.Fprintln(s.out, "\n2. Map: what is in view")
	// Fiji lies on both sides of the antimeridian, so West is greater than East.
	for _, view := range []struct{ name, bbox string }{{"Fiji", "177,-20,-178,-16"}, {"Europe", "-10,35,30,60"}} {
		shown, err := fakeMap(ctx, s.site, view.bbox)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "   a fake map of %s: %d\n", view.name, len(shown.Features))
		for _, feature := range shown.Features {
			fmt.Fprintf(s.out, "   %s: %.2f° east, %.2f° north, within %.0f m, at %s\n", feature.Properties.Name,
				feature.Geometry.Coordinates[0], feature.Geometry.Coordinates[1], feature.Properties.Accuracy, feature.Properties.At.Format("15:04"))
		}
	}
	return nil
}

func (s *story) forget(ctx context.Context) error {
	fmt.Fprintln(s.out, "\n3. Map: nothing is kept of who withdraws")
	_, err := s.users.UpdateDevice(ctx, s.phone.ID, userkit.DevicePatch{LocationConsent: userkit.Set(false)})
	if err != nil {
		return err
	}
	shown, err := fakeMap(ctx, s.site, "177,-20,-178,-16")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   a fake map of Fiji: %d\n", len(shown.Features))
	said, err := s.fake.report(ctx, userkit.Location{Latitude: -18.14, Longitude: 178.44})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   a fake phone reports from Suva: %s\n", said)
	return nil
}
