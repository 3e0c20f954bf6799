package userkit

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/userkit/userkit/internal/hostcall"
)

// Delivery is the delivery of one message to one device.
type Delivery struct {
	ID        DeliveryID `json:"id"` // derived from the message and the device
	UserID    UserID     `json:"user_id"`
	MessageID MessageID  `json:"message_id"`
	DeviceID  DeviceID   `json:"device_id"` // the device may have been deleted since

	// DeviceType is the type of the device when the message was sent, or when its delivery was
	// attempted last.
	DeviceType DeviceType `json:"device_type"`

	State    DeliveryState `json:"state"`
	Attempts int           `json:"attempts"` // how often a notifier was asked

	// Detail is what the notifier answered last, if it did not deliver: the text of its error as one
	// line of at most MaxDeliveryDetail characters, without what looks like a secret. It is empty
	// once the message is delivered, and for a notifier that gives no error.
	Detail string `json:"detail,omitempty"`

	CreatedAt   time.Time `json:"created_at"`            // when the message was sent
	AttemptedAt time.Time `json:"attempted_at,omitzero"` // the last time; zero: not yet
	DueAt       time.Time `json:"due_at,omitzero"`       // when it is tried next; zero: not again

	// LeasedUntil is set while a process is working on the delivery.
	LeasedUntil time.Time `json:"-"`
}

// DeliveryState is the state of a delivery.
type DeliveryState string

// The states. All but DeliveryWaiting are final.
const (
	DeliveryWaiting   DeliveryState = "waiting"   // it is attempted at DueAt
	DeliveryDelivered DeliveryState = "delivered" // the push service has taken it
	DeliveryGone      DeliveryState = "gone"      // the device has no valid push token, or was deleted
	DeliveryRefused   DeliveryState = "refused"   // the push service does not accept this message for this device
	DeliveryExpired   DeliveryState = "expired"   // the message expired, or MaxDeliveryAge was over, before it could be delivered
)

// Failed reports whether the device was not notified and will not be.
func (s DeliveryState) Failed() bool {
	return s == DeliveryGone || s == DeliveryRefused || s == DeliveryExpired
}

// MaxDeliveryAge is how long the delivery of a message is attempted, unless the message expires
// earlier.
const MaxDeliveryAge = 3 * 24 * time.Hour

// MaxDeliveryDetail is how many characters Delivery.Detail has at most.
const MaxDeliveryDetail = 200

// DeliveryQuery asks for a page of deliveries.
type DeliveryQuery struct {
	DeliveryFilter
	PageQuery // default order: newest first; any field of DeliveryFields
}

// DeliveryFilter says which deliveries; the zero filter means all of the project.
type DeliveryFilter struct {
	UserID     UserID    `json:"user_id,omitzero"`      // zero: of all users
	MessageID  MessageID `json:"message_id,omitzero"`   // zero: of all messages
	OnlyFailed bool      `json:"only_failed,omitempty"` // those whose state has Failed
}

// DeliveryReport counts the deliveries of a call of DeliverDueMessages by their outcomes.
type DeliveryReport struct {
	Delivered int `json:"delivered"`
	Gone      int `json:"gone"`
	Refused   int `json:"refused"`
	Expired   int `json:"expired"`
	Later     int `json:"later"`    // to be tried again
	Panicked  int `json:"panicked"` // of Later: those for which the notifier panicked
}

var deliveryFields = newFieldTable(
	func(d *Delivery) [16]byte { return d.ID },
	Order{Field: "created_at", Descending: true},
	Field[Delivery]{Name: "id", Kind: KindID, Get: func(d *Delivery) any { return d.ID.String() }},
	Field[Delivery]{Name: "user_id", Kind: KindID, Get: func(d *Delivery) any { return d.UserID.String() }},
	Field[Delivery]{Name: "message_id", Kind: KindID, Get: func(d *Delivery) any { return d.MessageID.String() }},
	Field[Delivery]{Name: "device_id", Kind: KindID, Get: func(d *Delivery) any { return d.DeviceID.String() }},
	Field[Delivery]{Name: "device_type", Kind: KindCode, Get: func(d *Delivery) any { return string(d.DeviceType) }},
	Field[Delivery]{Name: "state", Kind: KindCode, Get: func(d *Delivery) any { return string(d.State) }},
	Field[Delivery]{Name: "attempts", Kind: KindInteger, Get: func(d *Delivery) any { return int64(d.Attempts) }},
	Field[Delivery]{Name: "created_at", Kind: KindTime, Get: func(d *Delivery) any { return d.CreatedAt }},
	Field[Delivery]{Name: "attempted_at", Kind: KindTime, Get: func(d *Delivery) any { return d.AttemptedAt }},
	Field[Delivery]{Name: "due_at", Kind: KindTime, Get: func(d *Delivery) any { return d.DueAt }},
)

// The times of delivering.
const (
	firstDeliveryBackOff   = 30 * time.Second
	longestDeliveryBackOff = time.Hour
	notifyTimeout          = 20 * time.Second
	deliveryLease          = 2 * time.Minute
	deliveriesLeased       = 200 // at once, of each type of device, by one process
	notifiersAtWork        = 16  // for each notifier
	deliveryInterval       = 5 * time.Second

	// strayAfter is how long a delivery is due before it is taken by a process that has no notifier
	// for it: no process seems to have one.
	strayAfter = time.Hour
)

// notifiers are those of WithNotifiers.
type notifiers map[DeviceType]*notifying

// notifying is a notifier with what this process has learned about its answers.
type notifying struct {
	Notifier
	witness witness // of devices that it has reached
}

// of returns the notifier for a type of device, or nil if there is none.
func (n notifiers) of(device DeviceType) *notifying { return cmp.Or(n[device], n[""]) }

// stray is the service of the deliveries that no notifier is there for.
const stray = "stray"

// service returns the name of the service that notifies the devices of a type: the type under which
// its notifier is registered, or stray.
func (n notifiers) service(device DeviceType) string {
	switch {
	case n[device] != nil:
		return string(device)
	case n[""] != nil:
		return ""
	}
	return stray
}

// services returns the names of all services, stray included.
func (n notifiers) services() []string {
	services := []string{stray}
	for device := range n {
		services = append(services, string(device))
	}
	return services
}

// newDelivery makes the delivery of a message to a device. Its id follows from both, and
// begins with the time of the message's.
func newDelivery(message *Message, device *Device) Delivery {
	id := digestID[Delivery](slices.Concat(message.ID[:], device.ID[:]))
	copy(id[:6], message.ID[:6])
	return Delivery{
		ID: id, UserID: message.UserID, MessageID: message.ID, DeviceID: device.ID, DeviceType: device.Type,
		State: DeliveryWaiting, CreatedAt: message.SentAt, DueAt: message.SentAt,
	}
}

// outgoing is a delivery on its way, with what it needs.
type outgoing struct {
	Delivery
	message *Message // nil: it is not there any more
	device  *Device  // nil: it is not there any more
	jitter  float64  // random, from 0 to 1; drawn beforehand, since rules are pure
}

// endsAt is the time after which notifying the device no longer makes sense.
func (out *outgoing) endsAt() time.Time {
	end := out.CreatedAt.Add(MaxDeliveryAge)
	if out.message != nil && !out.message.ExpiresAt.IsZero() && out.message.ExpiresAt.Before(end) {
		end = out.message.ExpiresAt
	}
	return end
}

// notification is what the device is to show.
func (out *outgoing) notification() Notification {
	data := maps.Clone(out.message.Data)
	if data == nil {
		data = map[string]string{}
	}
	data[messageIDKey] = out.message.ID.String()
	return Notification{
		PushToken: out.device.PushToken, Title: out.message.Subject, Body: cutText(out.message.Body, MaxNotificationBody),
		Data: data, CollapseID: hex.EncodeToString(out.message.ID[:]), ExpiresAt: out.message.ExpiresAt,
	}
}

// cutText cuts a text to so many characters.
func cutText(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// attempt is an attempt to deliver.
type attempt struct {
	state   DeliveryState // the resulting state; DeliveryWaiting: it is tried again
	retryAt time.Time     // with DeliveryWaiting, not before; zero: by the back-off
	again   bool          // with DeliveryWaiting, at once
	asked   bool          // the notifier was
	token   string        // with which push token
	detail  string        // what the notifier said
	since   time.Time     // with DeliveryGone: a push token that was set after this is good; zero: not known

	late, panicked bool
}

// maxPushTokenAhead is how far ahead of the clock PushTokenSetAt may be and still be compared with
// what a service reports. A clock that is a day ahead is wrong, and a process whose clock is a day
// behind gets no answers: services refuse credentials that were signed by it.
const maxPushTokenAhead = 24 * time.Hour

// settle decides how an attempt changes a delivery and its device.
func (out *outgoing) settle(state *State, o origin, a attempt) (Delivery, Change, error) {
	at := indexID(state.Deliveries, out.ID, deliveryID)
	if at < 0 {
		return Delivery{}, Change{}, NewError(CodeUserNotFound, "", "no delivery %s", out.ID)
	}
	d := state.Deliveries[at]
	if d.State != DeliveryWaiting {
		return d, Change{}, nil // another process, which had it when the lease was over
	}
	c := state.change()
	d.LeasedUntil = time.Time{}
	if a.asked {
		d.Attempts++
		d.AttemptedAt = latest(d.AttemptedAt, o.now)
		d.Detail = a.detail
	}
	device, err := state.device(out.DeviceID)
	if err == nil {
		d.DeviceType = device.Type
	}
	if err == nil && a.asked && device.PushToken != "" {
		switch {
		case device.PushToken != a.token:
			// The device has since got another push token, to which nothing was sent.
			a.state, a.again = DeliveryWaiting, true
		case a.state == DeliveryGone && (!device.PushTokenSetAt.Equal(out.device.PushTokenSetAt) ||
			!a.since.IsZero() && device.PushTokenSetAt.After(a.since) && !device.PushTokenSetAt.After(o.now.Add(maxPushTokenAhead))):
			// The token was set again while the notifier was called, or after the time as of which
			// the service reports it as gone.
			a.state = DeliveryWaiting
		case a.state == DeliveryGone:
			device.setPushToken("", o.now)
			c.Devices.Update = append(c.Devices.Update, device)
			o.record(&c, EventPushTokenGone, device.ID, "message_id", d.MessageID.String())
		}
	}
	if a.state == DeliveryWaiting {
		d.DueAt = out.nextDue(d.Attempts, o.now, a)
		if !d.DueAt.Before(out.endsAt()) {
			a.state = DeliveryExpired
		}
	}
	if d.State = a.state; d.State != DeliveryWaiting {
		d.DueAt = time.Time{}
	}
	c.Deliveries.Update = append(c.Deliveries.Update, d)
	return d, c, nil
}

// nextDue returns when a delivery is tried again.
func (out *outgoing) nextDue(attempts int, now time.Time, a attempt) time.Time {
	if a.again {
		return now
	}
	wait := min(firstDeliveryBackOff<<min(max(attempts-1, 0), 20), longestDeliveryBackOff)
	at := now.Add(wait - time.Duration(out.jitter*float64(wait)/4))
	if a.retryAt.After(at) {
		at = a.retryAt
		if latest := now.Add(longestRetryAt); at.After(latest) {
			at = latest
		}
	}
	return storedTime(at)
}

// attempt notifies a device of a message, if the message and the device still exist.
func (m *manager) attemptDelivery(ctx context.Context, now time.Time, out *outgoing) attempt {
	switch {
	case out.message == nil || !now.Before(out.endsAt()):
		return attempt{state: DeliveryExpired}
	case out.device == nil || out.device.PushToken == "":
		return attempt{state: DeliveryGone}
	}
	if m.notifiers.service(out.device.Type) != m.notifiers.service(out.DeviceType) {
		// The type of the device was changed: its delivery is up to another service.
		return attempt{state: DeliveryWaiting, again: true}
	}
	notifier := m.notifiers.of(out.device.Type)
	if notifier == nil { // this process has no notifier for it; another may
		return attempt{state: DeliveryWaiting, retryAt: now.Add(longestDeliveryBackOff)}
	}
	limited, cancel := context.WithTimeout(ctx, notifyTimeout)
	defer cancel()
	result := notify(limited, notifier, out.notification())
	a := attempt{asked: true, token: out.device.PushToken, late: limited.Err() != nil}
	_, a.panicked = errors.AsType[*hostcall.PanicError](result.Err)
	switch {
	case result.Outcome == NotificationDelivered:
	case a.panicked:
		a.detail = "the notifier panicked"
	case a.late:
		a.detail = "the notifier did not answer in time"
	case result.Err != nil:
		a.detail = deliveryDetail(result.Err.Error())
	}
	switch result.Outcome {
	case NotificationDelivered:
		a.state = DeliveryDelivered
		notifier.witness.note(out.DeviceID, false, now)
	case NotificationRefused:
		a.state = DeliveryRefused
	case NotificationGone:
		a.state = DeliveryGone
		if since := storedTime(result.GoneSince); since.Before(now) { // a time that is yet to come says nothing
			a.since = since
		}
		if m.doubtGone(ctx, notifier, out, now) {
			a.state = DeliveryWaiting
		}
	default:
		a.state, a.retryAt = DeliveryWaiting, storedTime(result.RetryAt)
	}
	if result.Outcome != NotificationDelivered && result.Err != nil {
		m.logger.WarnContext(ctx, "userkit: a device was not told of a message", "device", out.DeviceID, "device_type", out.device.Type,
			"delivery", out.ID, "outcome", result.Outcome, "error", result.Err)
	}
	return a
}

// How many letters, digits and signs in a row a detail has at most: longer ones are tokens, keys
// and signatures, which have digits nearly always, while the names that services give to errors
// have letters and hyphens.
const (
	longestWord = 64
	longestCode = 24 // with a digit among them
)

// deliveryDetail returns the answer of a notifier in the form in which a delivery keeps it.
func deliveryDetail(text string) string {
	var detail strings.Builder
	for word := range strings.FieldsSeq(strings.ToValidUTF8(text, " ")) {
		word = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) { // also what turns the direction of a text
				return -1
			}
			return r
		}, word)
		if word == "" {
			continue
		}
		if detail.Len() > 0 {
			detail.WriteByte(' ')
		}
		run, isCode := 0, false // of letters, digits and the signs of encodings
		start := detail.Len()
		for _, r := range word {
			if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_+/=%~", r) {
				run, isCode = run+1, isCode || unicode.IsDigit(r)
			} else {
				run, isCode = 0, false
			}
			if run > longestWord || isCode && run > longestCode {
				kept := detail.String()[:start]
				detail.Reset()
				detail.WriteString(kept + "…")
				break
			}
			detail.WriteRune(r)
		}
	}
	return cutText(detail.String(), MaxDeliveryDetail)
}

// doubtGone reports whether a notifier reports as gone most of the devices that it has reached
// before. Its reports are then not trusted, and no push tokens are cleared.
func (m *manager) doubtGone(ctx context.Context, notifier *notifying, out *outgoing, now time.Time) bool {
	if notifier.witness.heard(out.DeviceID) {
		notifier.witness.note(out.DeviceID, true, now)
	}
	wrong, alarm := notifier.witness.misconfigured(now)
	if alarm {
		m.logger.ErrorContext(ctx, "userkit: a notifier reports as gone most of the devices that it has reached before, so no push tokens are cleared: "+
			"check its credentials and its application", "device_type", out.device.Type)
	}
	return wrong
}

// notify calls a notifier, which is code of the host's. A call that panics, does not return in time
// or returns an unknown outcome is tried again later. The errors of the result do not contain the
// push token.
func notify(ctx context.Context, notifier Notifier, notification Notification) NotificationResult {
	const longest = 2000 // bytes of an error
	told := func(err error) string {
		text := strings.ReplaceAll(err.Error(), notification.PushToken, "(the push token)")
		return strings.ToValidUTF8(text[:min(len(text), longest)], "")
	}
	return hostcall.Ask(ctx, func() NotificationResult {
		result := notifier.Notify(ctx, notification)
		if result.Err != nil {
			result.Err = errors.New(told(result.Err))
		}
		switch result.Outcome {
		case NotificationDelivered, NotificationGone, NotificationRefused, NotificationLater:
			return result
		}
		return Later(NewError(CodeUnknownValue, "outcome", "the notifier returned the unknown outcome %q", clip(string(result.Outcome))), time.Time{})
	}, func(err error) NotificationResult {
		if _, panicked := errors.AsType[*hostcall.PanicError](err); panicked {
			return Later(&hostcall.PanicError{Err: errors.New(told(err))}, time.Time{})
		}
		return Later(err, time.Time{})
	})
}

// wakeDelivery lets Run deliver at once. Other processes look every few seconds.
func (m *manager) wakeDelivery() {
	if len(m.notifiers) == 0 {
		return
	}
	select {
	case m.undelivered <- struct{}{}:
	default:
	}
}

// leaseDeliveries leases deliveries of services that are due, and loads what they need.
func (m *manager) leaseDeliveries(ctx context.Context, services []string, now, until time.Time) ([]outgoing, error) {
	var types, strays []DeviceType
	for _, device := range deviceTypes {
		switch service := m.notifiers.service(device); {
		case !slices.Contains(services, service):
		case service == stray:
			strays = append(strays, device)
		default:
			types = append(types, device)
		}
	}
	leased, err := m.store.LeaseDeliveries(ctx, types, now, until, deliveriesLeased)
	if err != nil {
		return nil, err
	}
	strayed, err := m.store.LeaseDeliveries(ctx, strays, now.Add(-strayAfter), until, deliveriesLeased)
	if err != nil {
		return nil, err
	}
	leased = append(leased, strayed...)
	places := map[UserID]int{}
	var wants []Want
	for _, d := range leased {
		at, known := places[d.UserID]
		if !known {
			at = len(wants)
			places[d.UserID] = at
			wants = append(wants, Want{User: d.UserID})
		}
		wants[at].Messages = append(wants[at].Messages, d.MessageID)
		wants[at].Devices = append(wants[at].Devices, d.DeviceID)
	}
	states, err := m.store.Load(ctx, wants)
	if err != nil {
		return nil, err
	}
	going := make([]outgoing, len(leased))
	for i, d := range leased {
		state := &states[places[d.UserID]]
		going[i] = outgoing{Delivery: d, jitter: rand.Float64()}
		if at := indexID(state.Messages, d.MessageID, messageID); at >= 0 {
			going[i].message = &state.Messages[at]
		}
		if device, err := state.device(d.DeviceID); err == nil {
			going[i].device = &device.Device
		}
	}
	return going, nil
}

func (m *manager) DeliverDueMessages(ctx context.Context) (_ DeliveryReport, err error) {
	ctx, call, err := enter(ctx, m, opDeliverDue, noTarget)
	if err != nil {
		return DeliveryReport{}, err
	}
	defer call.leave(ctx, &err)
	var report DeliveryReport
	if len(m.notifiers) == 0 {
		return report, nil
	}
	var mu sync.Mutex // of the report
	d := &dispatcher[outgoing]{
		clock: m.dutyClock, services: m.notifiers.services(), lease: deliveryLease, timeout: notifyTimeout, workers: notifiersAtWork,
		interval: deliveryInterval, woken: m.undelivered,
		take:    m.leaseDeliveries,
		service: func(out *outgoing) string { return m.notifiers.service(out.DeviceType) },
		do: func(ctx context.Context, clock dutyClock, out outgoing, _ time.Duration) (late bool, err error) {
			a := m.attemptDelivery(ctx, clock.now(), &out)
			if err := ctx.Err(); err != nil {
				return a.late, err
			}
			o := call.again()
			o.now = clock.now()
			want := Want{User: out.UserID, Deliveries: []DeliveryID{out.ID}, Devices: []DeviceID{out.DeviceID}}
			settled, err := change(ctx, m, command{want: want}, func(state *State) (Delivery, Change, error) {
				return out.settle(state, o, a)
			})
			mu.Lock()
			defer mu.Unlock()
			return a.late, report.count(settled, a, err)
		},
		panicked: func(ctx context.Context, out outgoing, reason error) {
			mu.Lock()
			report.Later++
			report.Panicked++
			mu.Unlock()
			m.logger.ErrorContext(ctx, "userkit: delivering a message failed", "device", out.DeviceID, "delivery", out.ID, "error", reason)
		},
	}
	err = d.run(ctx)
	return report, err
}

// count adds the outcome of a delivery to the report, and returns the error that ends the run, or
// nil.
func (r *DeliveryReport) count(d Delivery, a attempt, err error) error {
	if a.panicked {
		r.Panicked++
	}
	switch {
	case errors.Is(err, ErrNotFound): // the user was deleted meanwhile
	case err != nil:
		return err
	case d.State == DeliveryDelivered:
		r.Delivered++
	case d.State == DeliveryGone:
		r.Gone++
	case d.State == DeliveryRefused:
		r.Refused++
	case d.State == DeliveryExpired:
		r.Expired++
	default:
		r.Later++
	}
	return nil
}

func (m *manager) Deliveries(ctx context.Context, query DeliveryQuery) (_ Page[Delivery], err error) {
	ctx, call, err := enterOf(ctx, m, opDeliveries, &query.UserID)
	if err != nil {
		return Page[Delivery]{}, err
	}
	defer call.leave(ctx, &err)
	return readPage(query.PageQuery, deliveryFields, "deliveries", query.DeliveryFilter, func(list ListRange) ([]Delivery, error) {
		return m.store.Deliveries(ctx, query.DeliveryFilter, list)
	})
}

func (m *manager) CountDeliveries(ctx context.Context, query DeliveryQuery) (_ int64, err error) {
	ctx, call, err := enterOf(ctx, m, opCountDeliveries, &query.UserID)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	return m.store.CountDeliveries(ctx, query.DeliveryFilter)
}
