package userkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Reasons of userkit itself why a purchase is not active, beside those of the
// verifiers.
const (
	// ReasonUndecided: the store has not said anything about it yet.
	ReasonUndecided PurchaseReason = "undecided"
	// ReasonTaken: when the store said whose it is, another user had it.
	ReasonTaken PurchaseReason = "taken"
)

// Purchase is what a user bought from a store: one row for all renewals of a
// subscription. What the store says is the truth; it is asked when the purchase
// is submitted, and again on time (see PurchaseManager.VerifyDuePurchases).
type Purchase struct {
	ID     PurchaseID `json:"id"`
	UserID UserID     `json:"user_id"`

	Store         string      `json:"store"`     // the name of the verifier
	StableID      string      `json:"stable_id"` // stays the same through all renewals
	TransactionID string      `json:"transaction_id,omitempty"`
	ProductID     string      `json:"product_id,omitempty"`
	Environment   Environment `json:"environment,omitempty"`

	PurchasedAt  time.Time `json:"purchased_at,omitzero"` // of the newest transaction
	ExpiresAt    time.Time `json:"expires_at,omitzero"`   // as the store said; zero: never
	Trial        bool      `json:"trial,omitempty"`
	FamilyShared bool      `json:"family_shared,omitempty"`

	// Active is what the newest verification found. That it ends by the clock is
	// in ActiveAt.
	Active bool           `json:"active"`
	Reason PurchaseReason `json:"reason,omitempty"` // why not active

	Raw json.RawMessage `json:"raw,omitempty"` // what the store said

	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	FactsAt    time.Time `json:"facts_at,omitzero"`    // as of when the facts are, by the store's clock
	VerifiedAt time.Time `json:"verified_at,omitzero"` // when the store last said something
	DueAt      time.Time `json:"due_at,omitzero"`      // when it is verified again; zero: not by itself

	// These are for the work of verifying.
	Token        string    `json:"-"` // what it is verified with, a secret
	LeasedUntil  time.Time `json:"-"` // one process has it in work
	Undecided    int       `json:"-"` // verifications in a row that found nothing out
	Acknowledged bool      `json:"-"` // the store has heard that it was granted
}

// EndsAt is when the purchase stops counting by the clock alone, with the grace
// of WithPurchaseGrace; zero: never.
func (p Purchase) EndsAt(grace time.Duration) time.Time {
	if p.ExpiresAt.IsZero() {
		return time.Time{}
	}
	return p.ExpiresAt.Add(grace)
}

// ActiveAt reports whether the purchase counts at a moment: the newest
// verification found it good, and its time with the grace is not over, whether
// or not the store could be asked since.
func (p Purchase) ActiveAt(now time.Time, grace time.Duration) bool {
	end := p.EndsAt(grace)
	return p.Active && (end.IsZero() || now.Before(end))
}

// ProjectKind says what a project is for.
type ProjectKind string

// The kinds of project.
const (
	ProjectPublic   ProjectKind = "public"   // its users buy in stores
	ProjectBusiness ProjectKind = "business" // it has no purchases
)

// PurchasePolicy says what happens when a user shows the purchase of another.
type PurchasePolicy string

// The purchase policies.
const (
	PurchaseRefuse   PurchasePolicy = "refuse"
	PurchaseTransfer PurchasePolicy = "transfer" // the user who shows it last has it
)

// PurchaseFilter says which purchases; the zero filter means all of the project.
type PurchaseFilter struct {
	UserID     UserID `json:"user_id,omitzero"`      // zero: of all users
	Store      string `json:"store,omitempty"`       // empty: of all stores
	OnlyActive bool   `json:"only_active,omitempty"` // leave out those whose Active is false
}

// PurchaseQuery asks for a page of purchases.
type PurchaseQuery struct {
	PurchaseFilter
	PageQuery // default order: by purchased_at, newest first; any field of PurchaseFields
}

// VerificationReport is what VerifyDuePurchases did.
type VerificationReport struct {
	Verified  int `json:"verified"`  // good
	Ended     int `json:"ended"`     // not good
	Undecided int `json:"undecided"` // to be asked again later
	Panicked  int `json:"panicked"`  // of those that are undecided: the verifier panicked
}

// PurchaseManager keeps what users bought from stores. In a business project
// (see WithProjectKind) every call returns ErrRefused with CodeBusinessProject.
type PurchaseManager interface {
	// SubmitPurchase verifies a receipt with its store and keeps the purchase.
	//
	// A purchase that the store says is good is active; so is one that the user
	// submits again. When the store does not say anything now, the purchase is kept
	// with ReasonUndecided, not active, and verified again by itself; one that was
	// active stays so. A user who has MaxWaitingReceipts of them gets ErrUnavailable
	// with CodePurchaseUndecided instead. When the store says that it is not good, nothing new is
	// kept, and the call returns ErrRefused with CodePurchaseInvalid, the reason in
	// Error.Field; an active purchase of the user that this is about ends. That its
	// store does not know it (ReasonNotFound, ReasonForged, ReasonWrongApp) is no such
	// word: an active purchase stays, and is returned.
	//
	// It returns ErrInvalid with CodeUnknownStore, CodeRequired and CodeTooLong;
	// ErrRefused with CodePurchaseInvalid and ReasonEnvironment for a sandbox
	// purchase (see WithSandboxPurchases) or ReasonAccount for one that was made for
	// another user, and with CodePurchaseDeactivated for one that an administrator
	// took away, be it from a user who has been deleted since: then the purchase is kept,
	// for ActivatePurchase; and ErrExists with CodePurchaseTaken for the purchase of another
	// user, unless the policy is to transfer it, or the store says that it was made for
	// this one (see PurchaseFacts.AccountToken). That holds for a family-shared purchase
	// as well: each member of the family has a stable id of its own to show.
	SubmitPurchase(ctx context.Context, user UserID, receipt Receipt) (Purchase, error)

	// Purchase returns one purchase, or ErrNotFound with CodePurchaseNotFound.
	Purchase(ctx context.Context, id PurchaseID) (Purchase, error)

	// Purchases returns a page of purchases.
	Purchases(ctx context.Context, query PurchaseQuery) (Page[Purchase], error)

	// ActivatePurchase verifies a purchase and makes it active again, also one
	// that was deactivated. It returns ErrRefused with CodePurchaseInvalid when the
	// store says that it is not good, and ErrUnavailable with CodePurchaseUndecided
	// when it does not say; then the purchase stays as it was.
	ActivatePurchase(ctx context.Context, id PurchaseID) (Purchase, error)

	// DeactivatePurchase takes a purchase away from its user, until
	// ActivatePurchase. No verification and no notification makes it active again.
	DeactivatePurchase(ctx context.Context, id PurchaseID) (Purchase, error)

	// VerifyDuePurchases verifies the purchases whose time has come: active ones a
	// day after the last verification and shortly after their expiration, those
	// that may come back (pending, unpaid) once a day for sixty days, paused ones for a
	// hundred, since Google Play lets customers pause for three months, and
	// undecided ones by a back-off that doubles up to six hours (a receipt of which
	// nothing was found out in sixty days is given up). Each is leased for
	// a short time, so that many processes share the work and none is done twice; the
	// work of a process that ends is free again after the lease. Run does this.
	//
	// A purchase that its store does not know now (ReasonNotFound, ReasonForged,
	// ReasonWrongApp) stays active until its own end, and the store is asked again by
	// the same back-off, until two weeks after that end. A store that says so of most of
	// the purchases that this process has seen it confirm counts as misconfigured: its
	// refusals change nothing, and the log says so once an hour. Stores do not wait for
	// one another.
	VerifyDuePurchases(ctx context.Context) (VerificationReport, error)

	// HandleStoreNotification takes a notification that a store sent to the host:
	// the purchase that it is about is verified again now. A repeated one does
	// nothing, and so does one about a purchase that nobody has submitted. It
	// returns ErrForbidden with CodeInvalidSignature, ErrInvalid with
	// CodeUnknownStore, CodeBadFormat and CodeTooLong, and ErrUnavailable where
	// the store should send it again.
	HandleStoreNotification(ctx context.Context, store string, notification StoreNotification) error
}

// MaxWaitingReceipts is how many receipts of one user are kept that their stores
// have not said anything about.
const MaxWaitingReceipts = 10

// The times of verification.
const (
	verifyEvery     = 24 * time.Hour
	verifyAfterEnd  = time.Minute // after the expiration, when the renewal is known to the store
	verifyLostFor   = 60 * 24 * time.Hour
	verifyPausedFor = 100 * 24 * time.Hour // Google Play lets a customer pause for up to three months
	unknownFor      = 14 * 24 * time.Hour  // after its end, or after it was shown, of what its store does not know
	maxClockAhead   = 5 * time.Minute
	firstBackOff    = time.Minute
	longestBackOff  = 6 * time.Hour
	longestRetryAt  = 24 * time.Hour // a store that asks for more is asked sooner
	verifyTimeout   = 20 * time.Second
	purchaseLease   = 2 * time.Minute
	purchasesLeased = 50 // at once, by one process
	verifiersAtWork = 8
)

// verification is a verdict on its way through the rules.
type verification struct {
	receipt Receipt
	verdict Verdict
	grace   time.Duration
	jitter  float64 // from 0 to 1; drawn before, since rules draw nothing

	owns     bool // the store says that it was made for this user
	moves    bool // the purchase comes from another user, with what an administrator made of it
	late     bool // the store took all the time that it had
	panicked bool // the verifier did
}

// provisionalID is the stable id of a purchase whose store has not said yet what
// it is.
func provisionalID(token string) string {
	digest := sha256.Sum256([]byte(token))
	return provisional + hex.EncodeToString(digest[:16])
}

const provisional = "receipt:"

// check gives the verdict as it can be kept: what a verifier must not return
// counts as undecided.
func (v Verdict) check() Verdict {
	broken := func(format string, args ...any) Verdict {
		return Undecided(fmt.Errorf("the verifier returned "+format, args...), time.Time{})
	}
	facts := &v.Facts
	facts.PurchasedAt, facts.ExpiresAt, facts.At = storedTime(facts.PurchasedAt), storedTime(facts.ExpiresAt), storedTime(facts.At)
	if facts.Environment == "" {
		facts.Environment = Production
	}
	switch v.Outcome {
	case VerdictUndecided:
		return v
	case VerdictInvalid:
		if v.Reason == "" || checkLine("reason", string(v.Reason), MaxLine) != nil {
			return broken("a refusal without a reason")
		}
	case VerdictValid:
		if facts.StableID == "" {
			return broken("no stable id")
		}
	default:
		return broken("the outcome %q", clip(string(v.Outcome)))
	}
	err := firstError(
		checkLine("stable_id", facts.StableID, MaxPurchaseID), checkLine("transaction_id", facts.TransactionID, MaxPurchaseID),
		checkLine("product_id", facts.ProductID, MaxPurchaseID), checkTime("purchased_at", facts.PurchasedAt),
		checkTime("expires_at", facts.ExpiresAt), checkTime("at", facts.At),
	)
	switch {
	case err != nil:
		return broken("facts that cannot be kept: %w", err)
	case facts.Environment != Production && facts.Environment != Sandbox:
		return broken("the environment %q", clip(string(facts.Environment)))
	case len(facts.Token) > MaxReceipt:
		return broken("a token of %d bytes", len(facts.Token))
	}
	if len(facts.Raw) > 0 {
		raw, err := readJSON("raw", facts.Raw, MaxPurchaseRaw)
		if err != nil {
			return broken("raw data that cannot be kept: %w", err)
		}
		facts.Raw, _ = json.Marshal(raw) // it was read from JSON
	}
	return v
}

// judge makes a purchase that is good for its store, and not for this user, an
// invalid one. stranger tells that its account token names another user.
func (v verification) judge(sandbox, stranger bool) verification {
	facts := v.verdict.Facts
	switch {
	case v.verdict.Outcome != VerdictValid:
	case facts.Environment == Sandbox && !sandbox:
		v.verdict = Invalid(ReasonEnvironment, facts)
	case stranger:
		v.verdict = Invalid(ReasonAccount, facts)
	}
	return v
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

// named finds the user whom an account token names, by id or extref; zero: nobody, who
// is not somebody else. user is the one who is asked about.
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

// told reports whether a purchase was taken with the account token that the store names
// now: then it is the extref that has changed hands since, not the purchase.
func (p *Purchase) told(token string) bool {
	text, err := json.Marshal(token)
	return err == nil && (len(p.Raw) == 0 || strings.Contains(string(p.Raw), string(text)))
}

// purchaseRow finds the purchase that a verification is about: the one of the id,
// or else of the stable id, or else the one that is verified with this receipt, or
// that waits under it.
func (v verification) purchaseRow(rows []Purchase, id PurchaseID) int {
	if !id.IsZero() {
		return indexID(rows, id, purchaseID)
	}
	for _, is := range []func(*Purchase) bool{
		func(p *Purchase) bool { return p.StableID == v.verdict.Facts.StableID },
		func(p *Purchase) bool { return p.Token == v.receipt.Token },
		func(p *Purchase) bool { return p.StableID == provisionalID(v.receipt.Token) },
	} {
		if at := slices.IndexFunc(rows, func(p Purchase) bool { return p.Store == v.receipt.Store && is(&p) }); at >= 0 {
			return at
		}
	}
	return -1
}

// apply decides what a verification makes of a user's purchases, all of which
// must be loaded. id is the purchase that was verified; zero: one is submitted.
// revive makes a purchase active again that an administrator took away.
func (v verification) apply(state *State, o origin, id PurchaseID, fresh PurchaseID, revive bool) (Purchase, Change, error) {
	at := v.purchaseRow(state.Purchases, id)
	submitted := id.IsZero()
	if at < 0 && !submitted {
		return Purchase{}, Change{}, NewError(CodePurchaseNotFound, "", "no purchase %s", id)
	}
	if at < 0 && v.verdict.Outcome == VerdictInvalid {
		return Purchase{}, Change{}, v.refusal()
	}
	if at < 0 && v.verdict.Outcome == VerdictUndecided && waitingReceipts(state.Purchases) >= MaxWaitingReceipts {
		return Purchase{}, Change{}, v.undecided()
	}
	before := Purchase{
		ID: fresh, UserID: state.User.ID, Store: v.receipt.Store, StableID: provisionalID(v.receipt.Token),
		ProductID: v.receipt.ProductID, Reason: ReasonUndecided, Token: v.receipt.Token, CreatedAt: o.now, UpdatedAt: o.now,
	}
	if at >= 0 {
		before = state.Purchases[at]
	}
	if before.Reason == ReasonDeactivated && submitted && v.verdict.Outcome == VerdictValid {
		return Purchase{}, Change{}, takenAway()
	}
	after := v.become(before, o.now, revive)
	c := state.change()

	// A receipt that waited may turn out to be a purchase that is known.
	twin := -1
	if after.StableID != before.StableID {
		twin = slices.IndexFunc(state.Purchases, func(p Purchase) bool { return p.Store == after.Store && p.StableID == after.StableID })
	}
	if twin >= 0 {
		c.Purchases.Delete = append(c.Purchases.Delete, before.ID)
		before = state.Purchases[twin]
		after = v.become(before, o.now, revive)
	}
	switch {
	case at >= 0 || twin >= 0:
		c.Purchases.Update = append(c.Purchases.Update, after)
	default:
		c.Purchases.Insert = append(c.Purchases.Insert, after)
	}
	if (at < 0 || strings.HasPrefix(before.StableID, provisional) && twin < 0) && !v.moves {
		v.withhold(state, &after)
		c.putPurchase(after)
	}
	superseded := v.supersede(state, &c, after, o.now)
	c.countPurchases(state, v.grace)
	if name, tells := purchaseEvent(before, after, at < 0); tells || len(superseded) > 0 {
		after.UpdatedAt = latest(before.UpdatedAt, o.now)
		c.putPurchase(after)
		data := []any{"purchase_id", after.ID.String(), "store", after.Store, "product_id", after.ProductID,
			"active", after.Active, "reason", after.Reason, "superseded", superseded}
		if !after.ExpiresAt.IsZero() {
			data = append(data, "expires_at", after.ExpiresAt)
		}
		o.record(&c, name, DeviceID{}, data...)
	}
	return after, c, nil
}

// putPurchase changes the purchase that a change is about, the first of it.
func (c *Change) putPurchase(p Purchase) {
	if len(c.Purchases.Insert) > 0 {
		c.Purchases.Insert[0] = p
	} else {
		c.Purchases.Update[0] = p
	}
}

// takenAway is the error of a purchase that an administrator deactivated.
func takenAway() error {
	return NewError(CodePurchaseDeactivated, "", "an administrator took this purchase away")
}

// waitingReceipts counts the receipts whose stores have not said anything yet.
func waitingReceipts(rows []Purchase) (count int) {
	for _, p := range rows {
		if p.Reason == ReasonUndecided {
			count++
		}
	}
	return count
}

// undecided is the error of a store that does not say anything now.
func (v verification) undecided() error {
	err := NewError(CodePurchaseUndecided, "", "the store %s does not say now", v.receipt.Store)
	err.Until = v.verdict.RetryAt
	return err
}

// refusal is the error of a purchase that is not good.
func (v verification) refusal() error {
	return NewError(CodePurchaseInvalid, string(v.verdict.Reason), "the store %s says: %s", v.receipt.Store, v.verdict.Reason)
}

// become gives the purchase as the verdict makes it.
func (v verification) become(p Purchase, now time.Time, revive bool) Purchase {
	p.LeasedUntil = time.Time{}
	facts := v.verdict.Facts
	if v.verdict.Outcome == VerdictUndecided {
		p.Undecided++
		p.DueAt = v.retryAt(p.Undecided, now)
		if p.Reason == ReasonUndecided && now.After(p.CreatedAt.Add(verifyLostFor)) {
			p.DueAt = time.Time{}
		}
		return p
	}
	if v.verdict.Outcome == VerdictInvalid && v.verdict.Reason.weak() {
		return v.unknown(p, now)
	}
	p.Undecided, p.VerifiedAt = 0, now
	facts.At = noLater(facts.At, now)
	// What a store said earlier than what is known tells nothing new.
	if news := !facts.At.Before(noLater(p.FactsAt, now)); news || p.FactsAt.IsZero() {
		if facts.StableID != "" {
			waits := p.StableID
			p.takeFacts(facts)
			// What turned out not to be the user's must not keep others from it.
			if v.verdict.Outcome != VerdictValid && strings.HasPrefix(waits, provisional) {
				p.StableID = waits
			}
		}
		p.FactsAt = facts.At
		switch {
		case p.Reason == ReasonDeactivated && !(revive && v.verdict.Outcome == VerdictValid):
		case v.verdict.Outcome == VerdictValid:
			p.Active, p.Reason = true, ""
		default:
			p.Active, p.Reason = false, v.verdict.Reason
		}
	}
	p.DueAt = p.nextDue(now, v.jitter)
	if v.verdict.Outcome == VerdictInvalid && v.verdict.Final {
		p.DueAt = time.Time{}
	}
	return p
}

// noLater gives as of when facts are: now, where their store does not say or has a clock
// that is far ahead. Facts from the future would keep out all that come until then.
func noLater(at, now time.Time) time.Time {
	if at.IsZero() || at.After(now.Add(maxClockAhead)) {
		return now
	}
	return at
}

// weak reports whether a reason is no fact about the purchase, and may as well be a fault
// of the configuration: a wrong key, another application, another root. It ends nothing
// that has not ended by itself.
func (r PurchaseReason) weak() bool {
	return r == ReasonNotFound || r == ReasonForged || r == ReasonWrongApp
}

// unknown gives the purchase that its store does not know now. It stays what it is, and
// the store is asked again by the back-off of one that does not say. When its time is
// over, it ends, and is asked about for some days still.
func (v verification) unknown(p Purchase, now time.Time) Purchase {
	switch {
	case p.ActiveAt(now, v.grace):
	case p.Active, p.Reason == ReasonUndecided:
		p.Active, p.Reason = false, v.verdict.Reason
	case !p.Reason.mayEnd() && !p.Reason.weak():
		p.DueAt = time.Time{}
		return p
	}
	p.Undecided++
	p.DueAt = v.retryAt(p.Undecided, now)
	lost := p.ExpiresAt
	if lost.IsZero() {
		lost = p.CreatedAt
	}
	if !p.Active && !now.Before(lost.Add(unknownFor)) {
		p.DueAt = time.Time{}
	}
	return p
}

func (p *Purchase) takeFacts(facts PurchaseFacts) {
	if facts.StableID != p.StableID { // such as a subscription that was bought again
		p.Acknowledged = false
	}
	p.StableID, p.TransactionID, p.ProductID = facts.StableID, facts.TransactionID, facts.ProductID
	p.Environment, p.PurchasedAt, p.ExpiresAt = facts.Environment, facts.PurchasedAt, facts.ExpiresAt
	p.Trial, p.FamilyShared = facts.Trial, facts.FamilyShared
	if facts.Token != "" {
		p.Token = facts.Token
	}
	if len(facts.Raw) > 0 {
		p.Raw = facts.Raw
	}
}

// nextDue gives when a purchase is verified again after its store has answered;
// zero: not by itself.
func (p Purchase) nextDue(now time.Time, jitter float64) time.Time {
	// Up to a tenth earlier, so that what was bought together does not stay together.
	every := verifyEvery - time.Duration(jitter*float64(verifyEvery)/10)
	if !p.Active {
		lost := p.ExpiresAt
		if lost.IsZero() {
			lost = p.CreatedAt
		}
		within := verifyLostFor
		if p.Reason == ReasonPaused {
			within = verifyPausedFor
		}
		if p.Reason.mayEnd() && now.Before(lost.Add(within)) {
			return storedTime(now.Add(every))
		}
		return time.Time{}
	}
	due := now.Add(every)
	if end := p.ExpiresAt.Add(verifyAfterEnd + time.Duration(jitter*float64(verifyAfterEnd))); !p.ExpiresAt.IsZero() && end.Before(due) {
		// A store that still calls it good after its end is asked again soon.
		due = end
		if soon := now.Add(verifyAfterEnd); due.Before(soon) {
			due = soon
		}
	}
	return storedTime(due)
}

// acknowledgeAgain gives when to tell the store again that a purchase was granted, the later
// the older the purchase is; zero: when it is due anyway.
func (p Purchase) acknowledgeAgain(now time.Time) time.Time {
	age := now.Sub(latest(p.CreatedAt, p.PurchasedAt))
	for _, step := range []struct{ until, after time.Duration }{
		{10 * time.Minute, time.Minute},
		{time.Hour, 5 * time.Minute},
		{12 * time.Hour, 15 * time.Minute},
		{72 * time.Hour, time.Hour},
	} {
		if age < step.until {
			return storedTime(now.Add(step.after))
		}
	}
	return time.Time{}
}

// mayEnd reports whether a purchase that is not active for this reason may become
// active again by itself.
func (r PurchaseReason) mayEnd() bool {
	return r == ReasonPending || r == ReasonPaused || r == ReasonUnpaid
}

// retryAt gives when a store that did not say is asked again.
func (v verification) retryAt(tries int, now time.Time) time.Time {
	wait := min(firstBackOff<<min(tries-1, 20), longestBackOff)
	at := now.Add(wait - time.Duration(v.jitter*float64(wait)/4))
	if asked := v.verdict.RetryAt; asked.After(at) {
		at = asked
		if latest := now.Add(longestRetryAt); at.After(latest) {
			at = latest
		}
	}
	return storedTime(at)
}

// supersede ends the purchases of the user that a good one has replaced.
func (v verification) supersede(state *State, c *Change, by Purchase, now time.Time) (superseded []PurchaseID) {
	if v.verdict.Outcome != VerdictValid || !by.Active {
		return nil
	}
	for _, p := range state.Purchases {
		if p.ID == by.ID || p.Store != by.Store || !p.Active || !slices.Contains(v.verdict.Facts.Supersedes, p.StableID) {
			continue
		}
		p.Active, p.Reason, p.DueAt, p.UpdatedAt = false, ReasonSuperseded, time.Time{}, latest(p.UpdatedAt, now)
		c.Purchases.Update = append(c.Purchases.Update, p)
		superseded = append(superseded, p.ID)
	}
	return superseded
}

// countPurchases makes the account tell what the change makes of the purchases.
func (c *Change) countPurchases(state *State, grace time.Duration) {
	c.Account.ActivePurchases, c.Account.PurchasesEndAt = 0, time.Time{}
	endless := false
	for _, p := range c.Purchases.apply(slices.Clone(state.Purchases), purchaseID) {
		if !p.Active {
			continue
		}
		c.Account.ActivePurchases++
		end := p.EndsAt(grace)
		endless = endless || end.IsZero()
		if end.After(c.Account.PurchasesEndAt) {
			c.Account.PurchasesEndAt = end
		}
	}
	if endless {
		c.Account.PurchasesEndAt = time.Time{}
	}
}

// purchaseEvent names what a verification did, and reports whether that is worth
// an event: that nothing has changed is not.
func purchaseEvent(before, after Purchase, created bool) (EventName, bool) {
	switch {
	case created:
		return EventPurchaseSubmitted, true
	case !before.Active && after.Active:
		return EventPurchaseActivated, true
	case before.Active && !after.Active:
		return EventPurchaseDeactivated, true
	}
	changed := before.Reason != after.Reason || before.StableID != after.StableID || before.TransactionID != after.TransactionID ||
		before.ProductID != after.ProductID || !before.ExpiresAt.Equal(after.ExpiresAt) || before.Trial != after.Trial
	return EventPurchaseUpdated, changed
}

// endPurchase decides that a purchase is not active, and not verified again by
// itself: an administrator takes it away, or what waited turned out to be the
// purchase of somebody else.
func endPurchase(state *State, o origin, id PurchaseID, reason PurchaseReason, grace time.Duration) (Purchase, Change, error) {
	at := indexID(state.Purchases, id, purchaseID)
	if at < 0 {
		return Purchase{}, Change{}, NewError(CodePurchaseNotFound, "", "no purchase %s", id)
	}
	p := state.Purchases[at]
	if p.Reason == reason || p.Reason == ReasonDeactivated {
		return p, Change{}, nil
	}
	p.Active, p.Reason, p.DueAt, p.LeasedUntil, p.Undecided, p.UpdatedAt = false, reason, time.Time{}, time.Time{}, 0, latest(p.UpdatedAt, o.now)
	c := state.change()
	c.Purchases.Update = append(c.Purchases.Update, p)
	c.countPurchases(state, grace)
	o.record(&c, EventPurchaseDeactivated, DeviceID{}, "purchase_id", p.ID.String(), "store", p.Store, "product_id", p.ProductID,
		"active", false, "reason", p.Reason)
	return p, c, nil
}

// take decides that a purchase leaves a user for another.
func (v verification) take(from *State, o origin, to UserID) (Change, error) {
	at := slices.IndexFunc(from.Purchases, v.owned)
	if at < 0 {
		return Change{}, errMoved // it left the user between two reads
	}
	old := from.Purchases[at]
	if old.Reason == ReasonDeactivated {
		return Change{}, takenAway()
	}
	c := from.change()
	c.Purchases.Delete = []PurchaseID{old.ID}
	c.countPurchases(from, v.grace)
	o.record(&c, EventPurchaseTransferred, DeviceID{}, "purchase_id", old.ID.String(), "store", old.Store,
		"product_id", old.ProductID, "to", to.String())
	c.Events[len(c.Events)-1].Mentions = []UserID{to}
	return c, nil
}

// owned reports whether a purchase is the one that a verification is about.
func (v verification) owned(p Purchase) bool {
	return p.Store == v.receipt.Store && p.StableID == v.verdict.Facts.StableID
}

// verifierOf gives the verifier of a store.
func (m *manager) verifierOf(store string) (Verifier, error) {
	for _, verifier := range m.verifiers {
		if verifier.Store() == store {
			return verifier, nil
		}
	}
	return nil, NewError(CodeUnknownStore, "store", "the project has no verifier for the store %q", clip(store))
}

// public refuses what only public projects have.
func (m *manager) public() error {
	if m.projectKind == ProjectBusiness {
		return NewError(CodeBusinessProject, "", "a business project has no purchases")
	}
	return nil
}

func (r Receipt) check() error {
	switch {
	case r.Token == "":
		return NewError(CodeRequired, "token", "a receipt has a token")
	case len(r.Token) > MaxReceipt:
		return NewError(CodeTooLong, "token", "%d bytes, at most %d", len(r.Token), MaxReceipt)
	}
	return firstError(checkLines("token", r.Token, MaxReceipt), checkLine("product_id", r.ProductID, MaxPurchaseID))
}

// verify asks a store about a purchase of a user, at the pace of the store, unless the
// receipt alone decides. known is the purchase as it is kept; nil: one is submitted. It
// returns an error when the context ends or the store of userkit fails.
func (m *manager) verify(ctx context.Context, verifier Verifier, receipt Receipt, user *User, known *Purchase, by share) (verification, error) {
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
	_, v.panicked = errors.AsType[*panicError](v.verdict.Err)
	m.doubt(ctx, &v, known)
	if v.verdict.Outcome == VerdictUndecided && v.verdict.Err != nil {
		m.logger.WarnContext(ctx, "userkit: a store did not verify a purchase", "store", receipt.Store, "error", v.verdict.Err)
	}
	stranger := false
	if token := v.verdict.Facts.AccountToken; token != "" {
		named, byExtRef, err := m.named(ctx, token, user)
		if err != nil {
			return v, err
		}
		v.owns = named == user.ID
		stranger = !named.IsZero() && !v.owns
		if stranger && byExtRef && known != nil && known.Active && known.told(token) {
			stranger = false
		}
	}
	return v.judge(m.sandboxPurchases, stranger), nil
}

// doubt makes the answer that a purchase is unknown no answer where the store says so of
// most purchases that it has confirmed before.
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

// lookAt lets a verifier decide by the receipt alone, which costs no turn at the store.
func lookAt(ctx context.Context, verifier Verifier, receipt Receipt) (verdict Verdict, decided bool) {
	checker, ok := verifier.(ReceiptChecker)
	if !ok {
		return Verdict{}, false
	}
	defer func() {
		if reason := recover(); reason != nil {
			verdict, decided = Undecided(&panicError{panicked(reason)}, time.Time{}), true
		}
	}()
	return checker.CheckReceipt(ctx, receipt)
}

// ask asks a verifier, which is code of the host's: what panics there did not say
// whether the purchase is good, and neither did one that does not come back in time.
func ask(ctx context.Context, verifier Verifier, receipt Receipt) Verdict {
	return askHost(ctx, func() Verdict { return verifier.Verify(ctx, receipt) }, func(err error) Verdict {
		return Undecided(err, time.Time{})
	})
}

func (m *manager) SubmitPurchase(ctx context.Context, user UserID, receipt Receipt) (_ Purchase, err error) {
	ctx, call, err := enter(ctx, m, opSubmitPurchase, user)
	if err != nil {
		return Purchase{}, err
	}
	defer call.leave(ctx, &err)
	if err := firstError(m.public(), receipt.check()); err != nil {
		return Purchase{}, err
	}
	verifier, err := m.verifierOf(receipt.Store)
	if err != nil {
		return Purchase{}, err
	}
	owner, err := m.store.User(ctx, user)
	if err != nil {
		return Purchase{}, err
	}
	v, err := m.verify(ctx, verifier, receipt, &owner, nil, submissions)
	if err != nil {
		return Purchase{}, err
	}
	o := call.origin
	o.now = m.now()
	fresh := NewID[Purchase]()
	want := Want{User: user, Purchases: true, Marks: v.marks()}
	purchase, err := change(ctx, m, command{want: want}, func(state *State) (Purchase, Change, error) {
		return v.apply(state, o, PurchaseID{}, fresh, false)
	})
	if ErrorCode(err) == CodePurchaseTaken && (v.owns || m.purchasePolicy == PurchaseTransfer) && v.verdict.Outcome == VerdictValid {
		purchase, err = m.transferPurchase(ctx, user, v, o, fresh)
	}
	if err != nil {
		return Purchase{}, err
	}
	switch {
	case v.verdict.Outcome == VerdictInvalid && v.verdict.Reason.weak() && purchase.ActiveAt(o.now, m.purchaseGrace):
		return purchase, nil
	case v.verdict.Outcome == VerdictInvalid:
		return Purchase{}, v.refusal()
	case v.verdict.Outcome == VerdictValid && purchase.Reason == ReasonDeactivated:
		return Purchase{}, takenAway()
	case v.verdict.Outcome == VerdictValid && !purchase.Active: // by what the store said later
		v.verdict.Reason = purchase.Reason
		return Purchase{}, v.refusal()
	}
	return m.acknowledge(ctx, verifier, purchase, v), nil
}

// transferPurchase moves the purchase that a verification is about to a user from
// the one who has it.
func (m *manager) transferPurchase(ctx context.Context, to UserID, v verification, o origin, fresh PurchaseID) (purchase Purchase, err error) {
	taken := o.again() // the event of the user who loses it
	c := command{subject: &together{
		wants: func(ctx context.Context) ([]Want, error) {
			wants := []Want{{User: to, Purchases: true, Marks: v.marks()}}
			known, err := m.store.FindPurchases(ctx, v.receipt.Store, v.verdict.Facts.StableID)
			if at := slices.IndexFunc(known, v.owned); at >= 0 && known[at].UserID != to {
				wants = append(wants, Want{User: known[at].UserID, Purchases: true})
			}
			return wants, err
		},
		choose: func(states []State) (changes []Change, err error) {
			if !states[0].Exists {
				return nil, NewError(CodeUserNotFound, "", "no user %s", to)
			}
			if len(states) == 2 {
				change, err := v.take(&states[1], taken, to)
				if err != nil {
					return nil, err
				}
				changes = append(changes, change)
			}
			var given Change
			moving := v
			moving.moves = len(states) == 2
			if purchase, given, err = moving.apply(&states[0], o, PurchaseID{}, fresh, false); err != nil {
				return nil, err
			}
			if given.writes() {
				changes = append(changes, given)
			}
			return changes, nil
		},
		moved: func(outcome error) bool { return ErrorCode(outcome) == CodePurchaseTaken },
	}}
	if err := m.pipeline.do(ctx, &c); err != nil {
		return Purchase{}, err
	}
	return purchase, c.err
}

// tell calls an acknowledger, which is code of the host's.
func tell(ctx context.Context, acknowledger Acknowledger, receipt Receipt, facts PurchaseFacts) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = panicked(reason)
		}
	}()
	return acknowledger.Acknowledge(ctx, receipt, facts)
}

// acknowledge tells the store of a purchase that it was granted. Where that fails, the next
// verification does it, which is soon while the purchase is young: Google takes back what
// nobody has acknowledged after three days, of a prepaid plan of a day after twelve hours,
// and of a test after five minutes.
func (m *manager) acknowledge(ctx context.Context, verifier Verifier, purchase Purchase, v verification) Purchase {
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
		soon := purchase.acknowledgeAgain(m.now())
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

// changePurchases moves a command about the purchases of a user, all of which its
// decision gets, through the corridor.
func changePurchases(ctx context.Context, m *manager, user UserID, decide func(*State) (Purchase, Change, error)) (Purchase, error) {
	return change(ctx, m, command{want: Want{User: user, Purchases: true}}, decide)
}

// updatePurchase decides a change of a purchase that is nobody's news.
func updatePurchase(state *State, id PurchaseID, set func(*Purchase)) (Purchase, Change, error) {
	at := indexID(state.Purchases, id, purchaseID)
	if at < 0 {
		return Purchase{}, Change{}, NewError(CodePurchaseNotFound, "", "no purchase %s", id)
	}
	c := state.change()
	p := state.Purchases[at]
	set(&p)
	c.Purchases.Update = []Purchase{p}
	return p, c, nil
}

func (m *manager) Purchase(ctx context.Context, id PurchaseID) (_ Purchase, err error) {
	ctx, call, err := enter(ctx, m, opPurchase, id)
	if err != nil {
		return Purchase{}, err
	}
	defer call.leave(ctx, &err)
	if err := m.public(); err != nil {
		return Purchase{}, err
	}
	return m.store.Purchase(ctx, id)
}

func (m *manager) Purchases(ctx context.Context, query PurchaseQuery) (_ Page[Purchase], err error) {
	ctx, call, err := enterOf(ctx, m, opPurchases, &query.UserID)
	if err != nil {
		return Page[Purchase]{}, err
	}
	defer call.leave(ctx, &err)
	if err := m.public(); err != nil {
		return Page[Purchase]{}, err
	}
	return readPage(query.PageQuery, purchaseFields, "purchases", query.PurchaseFilter, func(list List) ([]Purchase, error) {
		return m.store.Purchases(ctx, query.PurchaseFilter, list)
	})
}

func (m *manager) ActivatePurchase(ctx context.Context, id PurchaseID) (_ Purchase, err error) {
	ctx, call, err := enter(ctx, m, opActivatePurchase, id)
	if err != nil {
		return Purchase{}, err
	}
	defer call.leave(ctx, &err)
	if err := m.public(); err != nil {
		return Purchase{}, err
	}
	purchase, err := m.store.Purchase(ctx, id)
	if err != nil {
		return Purchase{}, err
	}
	after, v, err := m.verifyAgain(ctx, call.origin, purchase, EventID{}, true, submissions)
	switch {
	case err != nil:
		return Purchase{}, err
	case v.verdict.Outcome == VerdictInvalid:
		return Purchase{}, v.refusal()
	case v.verdict.Outcome == VerdictUndecided:
		return Purchase{}, v.undecided()
	}
	return after, nil
}

func (m *manager) DeactivatePurchase(ctx context.Context, id PurchaseID) (_ Purchase, err error) {
	ctx, call, err := enter(ctx, m, opDeactivatePurchase, id)
	if err != nil {
		return Purchase{}, err
	}
	defer call.leave(ctx, &err)
	if err := m.public(); err != nil {
		return Purchase{}, err
	}
	purchase, err := m.store.Purchase(ctx, id)
	if err != nil {
		return Purchase{}, err
	}
	return changePurchases(ctx, m, purchase.UserID, func(state *State) (Purchase, Change, error) {
		return endPurchase(state, call.origin, id, ReasonDeactivated, m.purchaseGrace)
	})
}

// verifyAgain verifies a purchase and keeps what that finds. event, unless zero,
// is the id of the event: where it is recorded already, nothing is done.
func (m *manager) verifyAgain(ctx context.Context, o origin, purchase Purchase, event EventID, revive bool, by share) (Purchase, verification, error) {
	verifier, err := m.verifierOf(purchase.Store)
	if err != nil {
		return Purchase{}, verification{}, err
	}
	owner, err := m.store.User(ctx, purchase.UserID)
	if err != nil {
		return Purchase{}, verification{}, err
	}
	receipt := Receipt{Store: purchase.Store, Token: purchase.Token, ProductID: purchase.ProductID}
	v, err := m.verify(ctx, verifier, receipt, &owner, &purchase, by)
	if err != nil || revive && v.verdict.Outcome == VerdictUndecided {
		return purchase, v, err
	}
	o.now = m.now()
	want := Want{User: purchase.UserID, Purchases: true}
	if strings.HasPrefix(purchase.StableID, provisional) {
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
		// What waited turned out to be the purchase of somebody else.
		after, err = change(ctx, m, command{want: want}, func(state *State) (Purchase, Change, error) {
			return endPurchase(state, o, purchase.ID, ReasonTaken, m.purchaseGrace)
		})
	}
	if err != nil {
		return Purchase{}, v, err
	}
	if v.verdict.Outcome == VerdictValid {
		after = m.acknowledge(ctx, verifier, after, v)
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
		now: m.now, lease: purchaseLease, timeout: verifyTimeout, workers: verifiersAtWork,
		take: func(ctx context.Context, now, until time.Time) ([]Purchase, error) {
			return m.store.LeasePurchases(ctx, now, until, purchasesLeased)
		},
		service: func(p *Purchase) string { return p.Store },
		do: func(ctx context.Context, purchase Purchase) (late bool, err error) {
			after, v, err := m.verifyAgain(ctx, call.again(), purchase, EventID{}, false, dueWork)
			if ErrorCode(err) == CodeUnknownStore {
				err = m.postpone(ctx, purchase)
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

// postpone lets a purchase wait for a day whose verifier the host has no longer:
// it must not stand in the way of the others that are due.
func (m *manager) postpone(ctx context.Context, purchase Purchase) error {
	due := m.now().Add(verifyEvery)
	_, err := changePurchases(ctx, m, purchase.UserID, func(state *State) (Purchase, Change, error) {
		return updatePurchase(state, purchase.ID, func(p *Purchase) { p.DueAt, p.LeasedUntil = due, time.Time{} })
	})
	return err
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
		return NewError(CodeTooLong, "body", "%d bytes, at most %d", len(notification.Body), MaxStoreNotification)
	}
	verifier, err := m.verifierOf(store)
	if err != nil {
		return err
	}
	reader, ok := verifier.(NotificationReader)
	if !ok {
		return NewError(CodeUnknownStore, "store", "the store %q sends no notifications", clip(store))
	}
	content, err := reader.ReadNotification(ctx, notification)
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
		if _, _, err := m.verifyAgain(ctx, call.again(), purchase, event, false, notifications); err != nil && !errors.Is(err, ErrNotFound) {
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

// digestEvent makes the id of an event out of what it is about.
func digestEvent(about ...string) EventID {
	return digestID[Event]([]byte(strings.Join(about, "\n")))
}
