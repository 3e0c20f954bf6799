package console

import (
	"net/http"
	"strings"

	"github.com/userkit/userkit"
)

// devicesPage is the tab of a user's devices.
type devicesPage struct {
	*userPage
	List    list
	Rows    []deviceRow
	Device  userkit.Device // of the open dialog
	Secret  string         // the access token, shown once
	Rotated bool
}

type deviceRow struct {
	Device userkit.Device
	Slot   int // counted from 1 in the order of registration; 0: not known on this page
	NoSlot bool
}

func (c *console) showDevices(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showDevicesPage(v, w, r, http.StatusOK, nil, nil)
}

// showDevicesPage shows the tab, with a form that was refused or with a token.
func (c *console) showDevicesPage(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form, revealed *userkit.Device) error {
	base, err := c.loadUser(v, r, "devices")
	if err != nil {
		return err
	}
	base.Form = refused
	p := devicesPage{userPage: base, List: v.newList("registered_at", false)}
	query := p.List.page()
	if r.Method == http.MethodPost {
		query.Cursor = ""
	}
	devices, err := c.users.Devices(r.Context(), userkit.DeviceQuery{DeviceFilter: userkit.DeviceFilter{UserID: base.User.ID}, PageQuery: query})
	if err != nil {
		return err
	}
	p.List.beside(devices.Next, devices.Previous)
	inOrder := query.Sort == "registered_at" && !query.Descending && query.Cursor == ""
	for i, device := range devices.Items {
		row := deviceRow{Device: device}
		if inOrder {
			row.Slot = i + 1
			row.NoSlot = base.License.Devices > 0 && row.Slot > base.License.Devices
		}
		p.Rows = append(p.Rows, row)
	}
	if base.Target != "" {
		id, err := userkit.ParseID[userkit.Device](base.Target)
		if err != nil {
			return userkit.NewError(userkit.CodeDeviceNotFound, "device", "no id")
		}
		if p.Device, err = c.deviceOf(r, base.User.ID, id); err != nil {
			return err
		}
	}
	if revealed != nil {
		v.secret = true
		p.Device, p.Secret = *revealed, revealed.AccessToken
	}
	return v.render(w, status, "user_devices", p)
}

// deviceOf reads a device of a user; that of another user is not found.
func (c *console) deviceOf(r *http.Request, user userkit.UserID, id userkit.DeviceID) (userkit.Device, error) {
	device, err := c.users.Device(r.Context(), id)
	if err == nil && device.UserID != user {
		err = userkit.NewError(userkit.CodeDeviceNotFound, "device", "of another user")
	}
	return device, err
}

// actOnDevice is an action on the device that a dialog is about. A device that it returns
// with a token is shown once.
func (c *console) actOnDevice(done string, act func(r *http.Request, device userkit.Device) (*userkit.Device, error)) page {
	return func(v *view, w http.ResponseWriter, r *http.Request) error {
		id, err := userkit.ParseID[userkit.Device](r.PostForm.Get("target"))
		if err != nil {
			return userkit.NewError(userkit.CodeDeviceNotFound, "device", "no id")
		}
		device, err := c.deviceOf(r, userOf(r), id)
		if err != nil {
			return err
		}
		shownOnce, err := act(r, device)
		if err != nil {
			if !shown(err) {
				return err
			}
			return c.showDevicesPage(v, w, r, statusOf(err), v.rejected(r, err, "name", "type"), nil)
		}
		if shownOnce != nil {
			return c.showDevicesPage(v, w, r, http.StatusOK, nil, shownOnce)
		}
		return v.done(w, "/users/"+userOf(r).String()+"/devices", v.T(done))
	}
}

func (c *console) deleteDevice(r *http.Request, device userkit.Device) (*userkit.Device, error) {
	_, err := c.users.DeleteDevice(r.Context(), device.ID)
	return nil, err
}

func (c *console) rotateToken(r *http.Request, device userkit.Device) (*userkit.Device, error) {
	rotated, err := c.users.RotateToken(r.Context(), device.ID)
	return &rotated, err
}

func (c *console) revealToken(r *http.Request, device userkit.Device) (*userkit.Device, error) {
	token, err := c.users.RevealToken(r.Context(), device.ID)
	device.AccessToken = token
	return &device, err
}

func (c *console) updateDevice(r *http.Request, device userkit.Device) (*userkit.Device, error) {
	_, err := c.users.UpdateDevice(r.Context(), device.ID, userkit.DevicePatch{
		Name: userkit.Set(strings.TrimSpace(r.PostForm.Get("name"))),
		Type: userkit.Set(userkit.DeviceType(r.PostForm.Get("type"))),
	})
	return nil, err
}

// withdrawConsent takes back that the device's location may be kept. To give it is for
// whoever uses the device.
func (c *console) withdrawConsent(r *http.Request, device userkit.Device) (*userkit.Device, error) {
	_, err := c.users.UpdateDevice(r.Context(), device.ID, userkit.DevicePatch{LocationConsent: userkit.Set(false)})
	return nil, err
}

// registerDevice gives the user a device, and shows its token once.
func (c *console) registerDevice(v *view, w http.ResponseWriter, r *http.Request) error {
	device, err := c.users.RegisterDevice(r.Context(), userOf(r), userkit.NewDevice{
		Name: strings.TrimSpace(r.PostForm.Get("name")), Type: userkit.DeviceType(r.PostForm.Get("type")),
	})
	if err != nil {
		if !shown(err) {
			return err
		}
		return c.showDevicesPage(v, w, r, statusOf(err), v.rejected(r, err, "name", "type"), nil)
	}
	return c.showDevicesPage(v, w, r, http.StatusOK, nil, &device)
}

// TypeChoices are the types of device.
func (p devicesPage) TypeChoices() []choice {
	current := p.Form.Value("type", string(p.Device.Type))
	var all []choice
	for _, kind := range []userkit.DeviceType{
		userkit.DeviceAndroid, userkit.DeviceIOS, userkit.DeviceMacOS, userkit.DeviceWindows,
		userkit.DeviceLinux, userkit.DeviceRouter, userkit.DeviceWeb, userkit.DeviceOther,
	} {
		all = append(all, choice{string(kind), p.Label(kind), string(kind) == current})
	}
	return all
}
