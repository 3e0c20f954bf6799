package userkit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// A device that agreed reports where it is. A map asks for what is in view; here it shows
// Fiji, which the antimeridian runs through.
func ExampleLocationManager() {
	ctx := context.Background()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	users, err := userkit.New(memory.New(), userkit.WithClock(func() time.Time { return noon }))
	if err != nil {
		log.Fatal(err)
	}
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	phone, err := users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "Ada's phone", LocationConsent: true})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := users.ReportLocation(ctx, phone.ID, userkit.Location{Latitude: -17.8, Longitude: 178.4, Accuracy: 30}); err != nil {
		log.Fatal(err)
	}

	view := userkit.BoundingBox{West: 177, South: -20, East: -178, North: -16}
	onMap, err := users.Locations(ctx, userkit.LocationQuery{LocationFilter: userkit.LocationFilter{Box: userkit.Set(view)}})
	if err != nil {
		log.Fatal(err)
	}
	for _, feature := range onMap.Features {
		fmt.Println(feature.Properties.Name, "at", feature.Properties.At.Format(time.TimeOnly))
		_ = json.NewEncoder(os.Stdout).Encode(feature.Geometry)
	}
	forgotten, err := users.ForgetLocations(ctx, ada.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("forgotten:", forgotten)
	// Output:
	// Ada's phone at 12:00:00
	// {"type":"Point","coordinates":[178.4,-17.8]}
	// forgotten: 1
}
