package userkit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

// A user, a device, and the device's token: the shortest program that does
// something real.
func ExampleManager() {
	ctx := context.Background()
	users, err := userkit.New(memory.New())
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(context.Background())

	ada, err := users.CreateUser(ctx, userkit.NewUser{Login: "ada", Email: "ada@example.org"})
	if err != nil {
		log.Fatal(err)
	}
	phone, err := users.RegisterDevice(ctx, ada.ID, userkit.NewDevice{Name: "phone", Type: userkit.DeviceAndroid})
	if err != nil {
		log.Fatal(err)
	}
	proof, err := users.Authenticate(ctx, phone.AccessToken)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("the %s of %s, access allowed: %t\n", proof.Device.Name, proof.User.Login, proof.Access.Allowed)
	// Output: the phone of ada, access allowed: true
}
