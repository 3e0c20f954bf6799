package userkit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// A license bounds how many devices a user has.
func ExampleDeviceManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New(),
		userkit.WithLicenses(userkit.License{Name: "Solo", Devices: 1}, userkit.License{Name: "Duo", Devices: 2}),
		userkit.WithDefaultLicense("Solo"),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())
	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada"})
	if err != nil {
		log.Fatal(err)
	}

	phone, err := users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "phone", HardwareID: "A1"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "laptop", HardwareID: "B2"})
	fmt.Println("laptop:", userkit.ErrorCode(err))

	// The same machine comes back into its own slot, with a new token.
	again, err := users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "phone", HardwareID: "A1"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = users.Authenticate(ctx, phone.AccessToken)
	fmt.Println("same device:", again.ID == phone.ID, "old token:", userkit.ErrorCode(err))

	if _, err := users.SetLicense(ctx, ada.ID, "Duo"); err != nil {
		log.Fatal(err)
	}
	if _, err := users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "laptop", HardwareID: "B2"}); err != nil {
		log.Fatal(err)
	}
	devices, err := users.Devices(ctx, userkit.DeviceQuery{DeviceFilter: userkit.DeviceFilter{UserID: ada.ID}})
	if err != nil {
		log.Fatal(err)
	}
	for _, device := range devices.Items {
		fmt.Println("has:", device.Name)
	}
	// Output:
	// laptop: device_limit
	// same device: true old token: invalid_token
	// has: phone
	// has: laptop
}
