package console

import (
	"cmp"
	"html/template"
	"net/http"
	"strings"

	"github.com/userkit/userkit"
)

// devicesPage is the tab of a user's devices.
type devicesPage struct {
	*userPage
	List    list
	Device  userkit.Device // of the open dialog
	Secret  string         // the access token, shown once
	Rotated bool
}

// deviceRow is a device with its slot. Slots are counted from 1 in the order of registration; 0
// means that the slot is not known on this page.
type deviceRow struct {
	userkit.Device
	slot int
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
	var rows []deviceRow
	for i, device := range devices.Items {
		row := deviceRow{Device: device}
		if inOrder {
			row.slot = i + 1
		}
		rows = append(rows, row)
	}
	p.fill(rows)
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

// fill makes the table of devices.
func (p *devicesPage) fill(rows []deviceRow) {
	v, l := p.view, p.List
	p.List.Table = table[deviceRow]{label: v.T("Devices"), columns: []tableColumn[deviceRow]{
		{l.sorted("name", v.T("Device")), "", func(d *deviceRow) template.HTML {
			return `<span class="row">` + v.DeviceIcon(d.Type) + `<b>` + isolated(cmp.Or(d.Name, v.T("without a name"))) + `</b></span>`
		}},
		{l.sorted("type", v.T("Type")), "", func(d *deviceRow) template.HTML { return escaped(v.Label(d.Type)) }},
		{plain(v.T("Token")), "mono", func(d *deviceRow) template.HTML { return escaped("····" + d.TokenHint) }},
		{l.sorted("hardware_id", v.T("Hardware id")), "mono", func(d *deviceRow) template.HTML { return isolated(d.HardwareID) }},
		{l.sorted("registered_at", v.T("Registered")), "", func(d *deviceRow) template.HTML { return v.Time(d.RegisteredAt) }},
		{l.sorted("last_seen_at", v.T("Last seen")), "", func(d *deviceRow) template.HTML { return v.Ago(d.LastSeenAt) }},
		{plain(v.T("Slot")), "", func(d *deviceRow) template.HTML {
			switch {
			case d.slot == 0:
				return ""
			case p.License.Devices > 0 && d.slot > p.License.Devices:
				return v.Badge("no_device_slot")
			}
			return escaped(v.Number(d.slot))
		}},
		{plain(v.T("Location")), "", func(d *deviceRow) template.HTML {
			if d.LocationConsentAt.IsZero() {
				return muted(escaped(v.T("not agreed to")))
			}
			return escaped(v.T("agreed to")) + " " + v.Ago(d.LocationConsentAt)
		}},
		{hidden(v.T("Actions")), "number", func(d *deviceRow) template.HTML {
			var actions template.HTML
			offer := func(operation, icon, text, dialog string) {
				if v.May(operation, d.ID) {
					actions += v.action(icon, text, d.Name, p.Dialog(dialog, d.ID.String()))
				}
			}
			offer("devices.reveal_token", "eye", v.T("Show token"), "reveal")
			offer("devices.rotate_token", "refresh-cw", v.T("New token"), "rotate")
			offer("devices.update", "pencil", v.T("Edit"), "edit")
			if !d.LocationConsentAt.IsZero() {
				offer("devices.update", "ban", v.T("Withdraw the consent to keep its location"), "withdraw")
			}
			offer("devices.delete", "trash-2", v.T("Delete"), "delete-device")
			return actions
		}},
	}}.of(rows)
}

// deviceOf reads a device of a user. It does not find a device of another user.
func (c *console) deviceOf(r *http.Request, user userkit.UserID, id userkit.DeviceID) (userkit.Device, error) {
	device, err := c.users.Device(r.Context(), id)
	if err == nil && device.UserID != user {
		err = userkit.NewError(userkit.CodeDeviceNotFound, "device", "of another user")
	}
	return device, err
}

// actOnDevice returns a page that acts on the device of a dialog. If act returns the device with a
// token, the token is shown once.
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

// withdrawConsent withdraws the consent to keep the location of the device. Only the person who
// uses the device can give it.
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

// TypeChoices returns the types of device.
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
