package userkit

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/userkit/userkit/internal/hostcall"
)

// How stores are asked.
const (
	longestAskAt    = verifyPausedFor
	verifyTimeout   = 20 * time.Second
	purchaseLease   = 2 * time.Minute
	purchasesLeased = 50 // at once, of each store, by one process
	verifiersAtWork = 8  // for each store
	verifyInterval  = 15 * time.Second
)

// verifierOf returns the verifier of a store.
func (m *manager) verifierOf(store string) (Verifier, error) {
	for _, verifier := range m.verifiers {
		if verifier.Store() == store {
			return verifier, nil
		}
	}
	return nil, NewError(CodeUnknownStore, "store", "the project has no verifier for the store %q", clip(store))
}

// verify asks a store about a purchase of a user, at the pace of the store, unless the
// receipt alone decides. known is the purchase as it is kept; nil: one is submitted. It
// returns an error when the context ends or the store of userkit fails, and errPatience.
func (m *manager) verify(ctx context.Context, verifier Verifier, receipt Receipt, user *User, known *Purchase, by turn) (verification, error) {
	v := verification{receipt: receipt, grace: m.purchaseGrace, jitter: rand.Float64()}
	verdict, decided := lookAt(ctx, verifier, receipt)
	store := m.pace.at(receipt.Store)
	if !decided {
		verdict, decided = store.busy(m.now())
	}
	if !decided {
		if err := m.pace.wait(ctx, receipt.Store, by, user.ID); err != nil {
			return v, err
		}
		// Others may have been told meanwhile that the store is busy.
		verdict, decided = store.busy(m.now())
	}
	if !decided {
		limited, cancel := context.WithTimeout(ctx, verifyTimeout)
		verdict = ask(limited, verifier, receipt)
		v.late = limited.Err() != nil
		cancel()
		store.heed(verdict, m.now())
	}
	v.verdict = verdict.check()
	if err := ctx.Err(); err != nil {
		return v, err
	}
	_, v.panicked = errors.AsType[*hostcall.PanicError](v.verdict.Err)
	m.doubt(ctx, &v, known)
	if v.verdict.Outcome == VerdictUndecided && v.verdict.Err != nil {
		m.logger.WarnContext(ctx, "userkit: a store did not verify a purchase", "store", receipt.Store, "error", v.verdict.Err)
	}
	stranger, byExtRef := false, false
	if token := v.verdict.Facts.AccountToken; token != "" {
		named, through, err := m.named(ctx, token, user)
		if err != nil {
			return v, err
		}
		v.owns, byExtRef = named == user.ID, through
		stranger = !named.IsZero() && !v.owns
	}
	unnamed := v.verdict.Facts.OnlyNamed && !v.owns
	if known == nil && v.verdict.Outcome == VerdictValid && (stranger && byExtRef || unnamed) {
		// Whoever shows a purchase again that is theirs keeps it.
		held, err := m.store.FindPurchases(ctx, receipt.Store, v.verdict.Facts.StableID)
		if err != nil {
			return v, err
		}
		if at := slices.IndexFunc(held, func(p Purchase) bool { return p.UserID == user.ID }); at >= 0 {
			known, v.holds = &held[at], true
		}
	}
	if stranger && byExtRef && known != nil && known.Active && known.told(v.verdict.Facts.AccountToken) {
		stranger = false
	}
	if unnamed && (known == nil || !known.identified()) {
		stranger = true
	}
	return v.judge(m.sandboxPurchases, stranger), nil
}

// doubt makes the answer that a purchase is unknown undecided if the store says so of most
// purchases that it has confirmed before.
func (m *manager) doubt(ctx context.Context, v *verification, known *Purchase) {
	now := m.now()
	unknown := v.verdict.Outcome == VerdictInvalid && v.verdict.Reason.weak()
	c := &m.pace.at(v.receipt.Store).witness
	if known != nil && known.Active && !known.VerifiedAt.IsZero() && v.verdict.Outcome != VerdictUndecided {
		c.note(known.ID, unknown, now)
	}
	if !unknown {
		return
	}
	wrong, alarm := c.misconfigured(now)
	if !wrong {
		return
	}
	if alarm {
		m.logger.ErrorContext(ctx, "userkit: a store does not know most of the purchases that it has confirmed, so its answers change nothing: "+
			"check the credentials and the application of its verifier", "store", v.receipt.Store, "reason", v.verdict.Reason)
	}
	v.verdict = Undecided(v.verdict.Err, v.verdict.RetryAt)
}

// lookAt lets a verifier decide by the receipt alone, without a request to the store. If it panics
// or does not return in time, the verdict is undecided.
func lookAt(ctx context.Context, verifier Verifier, receipt Receipt) (verdict Verdict, decided bool) {
	checker, ok := verifier.(ReceiptChecker)
	if !ok {
		return Verdict{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	type opinion struct {
		Verdict
		decided bool
	}
	o := hostcall.Ask(ctx, func() (o opinion) {
		o.Verdict, o.decided = checker.CheckReceipt(ctx, receipt)
		return o
	}, func(err error) opinion { return opinion{Undecided(err, time.Time{}), true} })
	return o.Verdict, o.decided
}

// ask calls a verifier, which is code of the host's. If it panics or does not return in time, the
// verdict is undecided.
func ask(ctx context.Context, verifier Verifier, receipt Receipt) Verdict {
	return hostcall.Ask(ctx, func() Verdict { return verifier.Verify(ctx, receipt) }, func(err error) Verdict {
		return Undecided(err, time.Time{})
	})
}

// named finds the user whom an account token names, by id or extref. Zero means that it names no
// user, which does not count as another user. user is the one who is asked about.
func (m *manager) named(ctx context.Context, token string, user *User) (_ UserID, byExtRef bool, err error) {
	if token == "" || user.ExtRef != "" && token == user.ExtRef {
		return user.ID, true, nil
	}
	id, err := uuid.Parse(token)
	isID := err == nil
	if isID && id == uuid.Nil {
		return UserID{}, false, nil
	}
	forms := spellings(token)
	if isID {
		if UserID(id) == user.ID {
			return user.ID, false, nil
		}
		if own, err := uuid.Parse(user.ExtRef); err == nil && own == id {
			return user.ID, true, nil
		}
		switch _, err := m.store.User(ctx, UserID(id)); {
		case err == nil:
			return UserID(id), false, nil
		case !errors.Is(err, ErrNotFound):
			return UserID{}, false, err
		}
	}
	for _, form := range forms {
		if checkLine("extref", form, MaxExtRef) != nil {
			continue
		}
		switch found, err := m.store.FindUser(ctx, ByExtRef(form)); {
		case err == nil:
			return found.ID, true, nil
		case !errors.Is(err, ErrNotFound):
			return UserID{}, false, err
		}
	}
	return UserID{}, false, nil
}

// spellings are the forms in which a token may be kept as an extref: a UUID is the same
// one in any case, with hyphens and without.
func spellings(token string) []string {
	id, err := uuid.Parse(token)
	if err != nil {
		return []string{token}
	}
	plain := id.String()
	bare := strings.ReplaceAll(plain, "-", "")
	all := []string{token}
	for _, form := range []string{plain, strings.ToUpper(plain), bare, strings.ToUpper(bare)} {
		if !slices.Contains(all, form) {
			all = append(all, form)
		}
	}
	return all
}

// tell calls an acknowledger, which is code of the host's.
func tell(ctx context.Context, acknowledger Acknowledger, receipt Receipt, facts PurchaseFacts) error {
	return hostcall.Ask(ctx, func() error { return acknowledger.Acknowledge(ctx, receipt, facts) }, func(err error) error { return err })
}

// acknowledge tells the store of a purchase that it was granted. Where that fails, the next
// verification does it, which is soon while the purchase is young: Google takes back what
// nobody has acknowledged after three days, of a prepaid plan of a day after twelve hours,
// and of a test after five minutes.
func (m *manager) acknowledge(ctx context.Context, now time.Time, verifier Verifier, purchase Purchase, v verification) Purchase {
	acknowledger, ok := verifier.(Acknowledger)
	if !ok || purchase.Acknowledged || !purchase.Active {
		return purchase
	}
	receipt := v.receipt
	receipt.Token = purchase.Token
	limited, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	if err := tell(limited, acknowledger, receipt, v.verdict.Facts); err != nil {
		m.logger.WarnContext(ctx, "userkit: a purchase was not acknowledged", "store", purchase.Store, "purchase", purchase.ID, "error", err)
		soon := purchase.acknowledgeAgain(now)
		if soon.IsZero() || !purchase.DueAt.IsZero() && !soon.Before(purchase.DueAt) {
			return purchase
		}
		put, err := changePurchases(ctx, m, purchase.UserID, func(state *State) (Purchase, Change, error) {
			return updatePurchase(state, purchase.ID, func(p *Purchase) {
				if p.Active && !p.Acknowledged && (p.DueAt.IsZero() || soon.Before(p.DueAt)) {
					p.DueAt = soon
				}
			})
		})
		if err != nil {
			return purchase // the store hears it when the purchase is due
		}
		return put
	}
	told, err := changePurchases(ctx, m, purchase.UserID, func(state *State) (Purchase, Change, error) {
		return updatePurchase(state, purchase.ID, func(p *Purchase) { p.Acknowledged = true })
	})
	if err != nil {
		return purchase // it is kept; the store hears it again
	}
	return told
}

// verifyAgain verifies a purchase and keeps the result. event, unless zero, is the id of the event:
// where it is recorded already, nothing is done.
func (m *manager) verifyAgain(ctx context.Context, clock dutyClock, o origin, purchase Purchase, event EventID, revive bool, by turn) (Purchase, verification, error) {
	verifier, err := m.verifierOf(purchase.Store)
	if err != nil {
		return Purchase{}, verification{}, err
	}
	owner, err := m.store.User(ctx, purchase.UserID)
	if err != nil {
		return Purchase{}, verification{}, err
	}
	receipt := Receipt{Store: purchase.Store, Token: purchase.Token, ProductID: purchase.ProductID, Kept: purchase.identified()}
	v, err := m.verify(ctx, verifier, receipt, &owner, &purchase, by)
	if err != nil || revive && v.verdict.Outcome == VerdictUndecided {
		return purchase, v, err
	}
	o.now = clock.now()
	want := Want{User: purchase.UserID, Purchases: true}
	if !purchase.identified() {
		want.Marks = v.marks()
	}
	if !event.IsZero() {
		o.event = event
		want.Events = []EventID{event}
	}
	after, err := change(ctx, m, command{want: want}, func(state *State) (Purchase, Change, error) {
		if !event.IsZero() && slices.Contains(state.Events, event) {
			return purchase, Change{}, nil
		}
		after, c, err := v.apply(state, o, purchase.ID, PurchaseID{}, revive)
		if err == nil && !event.IsZero() && len(c.Events) == 0 {
			o.record(&c, EventPurchaseUpdated, DeviceID{}, "purchase_id", after.ID.String(), "store", after.Store, "active", after.Active)
		}
		return after, c, err
	})
	if ErrorCode(err) == CodePurchaseTaken && !revive {
		// The receipt that waited turned out to be the purchase of another user.
		after, err = change(ctx, m, command{want: want}, func(state *State) (Purchase, Change, error) {
			return endPurchase(state, o, purchase.ID, ReasonTaken, m.purchaseGrace)
		})
	}
	if err != nil {
		return Purchase{}, v, err
	}
	if v.verdict.Outcome == VerdictValid {
		after = m.acknowledge(ctx, o.now, verifier, after, v)
	}
	return after, v, nil
}

func (m *manager) VerifyDuePurchases(ctx context.Context) (_ VerificationReport, err error) {
	ctx, call, err := enter(ctx, m, opVerifyDuePurchases, noTarget)
	if err != nil {
		return VerificationReport{}, err
	}
	defer call.leave(ctx, &err)
	var report VerificationReport
	if err := m.public(); err != nil {
		return report, err
	}
	if len(m.verifiers) == 0 {
		return report, nil
	}
	var mu sync.Mutex // of the report
	d := &dispatcher[Purchase]{
		clock: m.dutyClock, lease: purchaseLease, timeout: 3 * verifyTimeout, // it is looked at, verified, and acknowledged
		workers: verifiersAtWork, interval: verifyInterval,
		take: func(ctx context.Context, stores []string, now, until time.Time) ([]Purchase, error) {
			return m.store.LeasePurchases(ctx, stores, now, until, purchasesLeased)
		},
		service: func(p *Purchase) string { return p.Store },
		do: func(ctx context.Context, clock dutyClock, purchase Purchase, patience time.Duration) (late bool, err error) {
			after, v, err := m.verifyAgain(ctx, clock, call.again(), purchase, EventID{}, false, turn{dueWork, patience})
			if errors.Is(err, errPatience) { // it is due still, for whoever leases it next
				return false, nil
			}
			mu.Lock()
			defer mu.Unlock()
			return v.late, report.count(after, v, err)
		},
		panicked: func(ctx context.Context, purchase Purchase, reason error) {
			mu.Lock()
			report.Undecided++
			report.Panicked++
			mu.Unlock()
			m.logger.ErrorContext(ctx, "userkit: verifying a purchase failed", "store", purchase.Store, "purchase", purchase.ID, "error", reason)
		},
	}
	for _, verifier := range m.verifiers {
		d.services = append(d.services, verifier.Store())
	}
	err = d.run(ctx)
	return report, err
}

// count adds the result of a verification to the report, and returns the error that ends the run,
// or nil.
func (r *VerificationReport) count(after Purchase, v verification, err error) error {
	if v.panicked {
		r.Panicked++
	}
	switch {
	case errors.Is(err, ErrNotFound): // deleted meanwhile
	case err != nil:
		return err
	case v.verdict.Outcome == VerdictValid:
		r.Verified++
	case v.verdict.Outcome == VerdictInvalid && !(v.verdict.Reason.weak() && !after.DueAt.IsZero()):
		r.Ended++
	default:
		r.Undecided++
	}
	return nil
}

// readNotification calls a reader of notifications, which is code of the host's. If it panics or
// does not return in time, the store should send the notification again.
func (m *manager) readNotification(ctx context.Context, reader NotificationReader, notification StoreNotification) (NotificationContent, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	type reading struct {
		NotificationContent
		err error
	}
	read := hostcall.Ask(ctx, func() (r reading) {
		r.NotificationContent, r.err = reader.ReadNotification(ctx, notification)
		return r
	}, func(err error) reading { return reading{err: err} })
	if _, panicked := errors.AsType[*hostcall.PanicError](read.err); panicked {
		m.logger.ErrorContext(ctx, "userkit: reading a notification of a store failed", "error", read.err)
		return NotificationContent{}, NewError(CodeStoreUnavailable, "", "the reader of notifications panicked")
	}
	return read.NotificationContent, read.err
}

func (m *manager) HandleStoreNotification(ctx context.Context, store string, notification StoreNotification) (err error) {
	ctx, call, err := enter(ctx, m, opHandleStoreNotification, noTarget)
	if err != nil {
		return err
	}
	defer call.leave(ctx, &err)
	if err := m.public(); err != nil {
		return err
	}
	if len(notification.Body) > MaxStoreNotification {
		return NewError(CodeTooLong, "body", "%d bytes exceed the limit of %d", len(notification.Body), MaxStoreNotification)
	}
	verifier, err := m.verifierOf(store)
	if err != nil {
		return err
	}
	reader, ok := verifier.(NotificationReader)
	if !ok {
		return NewError(CodeUnknownStore, "store", "the store %q sends no notifications", clip(store))
	}
	content, err := m.readNotification(ctx, reader, notification)
	if err != nil {
		return unavailable(err)
	}
	if content.StableID == "" && content.Receipt.Token == "" && content.RefundRequest == nil {
		return nil
	}
	purchases, err := m.notified(ctx, store, content)
	if err != nil {
		return err
	}
	if content.RefundRequest != nil && len(purchases) == 0 {
		return m.refundRequested(ctx, call.again(), store, content, Purchase{})
	}
	for _, purchase := range purchases {
		if content.RefundRequest != nil {
			if err := m.refundRequested(ctx, call.again(), store, content, purchase); err != nil {
				return err
			}
		}
		if purchase.Reason == ReasonDeactivated {
			continue
		}
		var event EventID
		if content.ID != "" {
			event = notificationEvent(store, content.ID, purchase.ID)
			states, err := m.store.Load(ctx, []Want{{User: purchase.UserID, Events: []EventID{event}}})
			if err != nil {
				return err
			}
			if len(states[0].Events) > 0 {
				continue
			}
		}
		clock, err := m.dutyClock(ctx)
		if err != nil {
			return err
		}
		if _, _, err := m.verifyAgain(ctx, clock, call.again(), purchase, event, false, turn{share: notifications}); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// refundRequested records that a store asks before it refunds, once for each notification.
// Without a purchase, the event is of the user whom the store names, or else of none: the
// host has to hear of it in time.
func (m *manager) refundRequested(ctx context.Context, o origin, store string, content NotificationContent, purchase Purchase) error {
	request := content.RefundRequest
	user := purchase.UserID
	if user.IsZero() && request.AccountToken != "" {
		var err error
		if user, _, err = m.named(ctx, request.AccountToken, &User{}); err != nil {
			return err
		}
	}
	var shown any // nil, which the event leaves out
	if !purchase.ID.IsZero() {
		shown = purchase.ID.String()
	}
	data := []any{"purchase_id", shown, "store", store, "transaction_id", orLeftOut(request.TransactionID), "reply", orLeftOut(request.Reply)}
	want := Want{User: user}
	if content.ID != "" {
		o.event = digestEvent(store, content.ID, purchase.ID.String(), "refund requested")
		want.Events = []EventID{o.event}
	}
	if !user.IsZero() {
		_, err := change(ctx, m, command{want: want}, func(state *State) (struct{}, Change, error) {
			if slices.Contains(state.Events, o.event) {
				return struct{}{}, Change{}, nil
			}
			c := state.change()
			o.record(&c, EventPurchaseRefundRequested, DeviceID{}, data...)
			return struct{}{}, c, nil
		})
		if ErrorCode(err) != CodeUserNotFound { // deleted meanwhile
			return err
		}
	}
	return m.tell(ctx, Event{ID: o.event, Name: EventPurchaseRefundRequested, Actor: o.actor, At: o.now, Data: eventData(data)})
}

// notified finds the purchases that a notification is about.
func (m *manager) notified(ctx context.Context, store string, content NotificationContent) (purchases []Purchase, err error) {
	if content.StableID != "" {
		purchases, err = m.store.FindPurchases(ctx, store, content.StableID)
	}
	if err == nil && len(purchases) == 0 && content.Receipt.Token != "" {
		purchases, err = m.store.FindPurchases(ctx, store, provisionalID(content.Receipt.Token))
	}
	return purchases, err
}

// notificationEvent is the id of the event that a notification writes. It follows
// from the notification, so that a repeated one is known.
func notificationEvent(store, id string, purchase PurchaseID) EventID {
	return digestEvent(store, id, purchase.String())
}
