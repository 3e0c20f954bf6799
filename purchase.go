package userkit

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// Reasons of userkit itself why a purchase is not active, in addition to those of the verifiers.
const (
	// ReasonUndecided means that the store has not answered yet.
	ReasonUndecided PurchaseReason = "undecided"
	// ReasonTaken means that the purchase belonged to another user when the store answered.
	ReasonTaken PurchaseReason = "taken"
)

// Purchase is a purchase of a user from a store: one record for all renewals of a subscription. The
// store is authoritative: it is queried when the purchase is submitted, and again when the purchase
// is due (see PurchaseManager.VerifyDuePurchases).
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

	Items      []PurchaseItem `json:"items,omitempty"`      // see PurchaseFacts; ActiveProducts returns those that are active
	Supersedes []string       `json:"supersedes,omitempty"` // stable ids of those that it has replaced

	// Active is the result of the newest verification. ActiveAt also takes the expiration into
	// account.
	Active bool           `json:"active"`
	Reason PurchaseReason `json:"reason,omitempty"` // why not active

	Raw json.RawMessage `json:"raw,omitempty"` // what the store said

	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	FactsAt    time.Time `json:"facts_at,omitzero"`    // the time of the facts, by the store's clock
	VerifiedAt time.Time `json:"verified_at,omitzero"` // when the store last answered
	DueAt      time.Time `json:"due_at,omitzero"`      // when it is verified again; zero: not automatically

	// These are for the work of verifying.
	Token        string    `json:"-"` // the secret that it is verified with
	LeasedUntil  time.Time `json:"-"` // set while a process is working on it
	Undecided    int       `json:"-"` // consecutive verifications without a result
	Acknowledged bool      `json:"-"` // the store was told that it was granted
}

// EndsAt is when the purchase stops counting by the clock alone, with the grace
// of WithPurchaseGrace; zero: never.
func (p Purchase) EndsAt(grace time.Duration) time.Time {
	if p.ExpiresAt.IsZero() {
		return time.Time{}
	}
	return p.ExpiresAt.Add(grace)
}

// ActiveAt reports whether the purchase counts at a moment: the newest verification found it valid,
// and its expiration and the grace period have not passed, whether or not the store could be
// reached since.
func (p Purchase) ActiveAt(now time.Time, grace time.Duration) bool {
	end := p.EndsAt(grace)
	return p.Active && (end.IsZero() || now.Before(end))
}

// ActiveProducts returns the products of the purchase that count at a moment, by the same
// rule as ActiveAt, in the order of the items. It returns none if the purchase does not count.
func (p Purchase) ActiveProducts(now time.Time, grace time.Duration) []string {
	if !p.ActiveAt(now, grace) {
		return nil
	}
	if len(p.Items) == 0 {
		return []string{p.ProductID}
	}
	var products []string
	for _, item := range p.Items {
		if !item.ExpiresAt.IsZero() && now.Before(item.ExpiresAt.Add(grace)) && !slices.Contains(products, item.ProductID) {
			products = append(products, item.ProductID)
		}
	}
	return products
}

// ProjectKind says what a project is for.
type ProjectKind string

// The kinds of project.
const (
	ProjectPublic   ProjectKind = "public"   // its users buy in stores
	ProjectBusiness ProjectKind = "business" // it has no purchases
)

// PurchasePolicy says what happens when a user submits the purchase of another user.
type PurchasePolicy string

// The purchase policies.
const (
	PurchaseRefuse   PurchasePolicy = "refuse"
	PurchaseTransfer PurchasePolicy = "transfer" // the purchase moves to the user who submitted it last
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

// VerificationReport counts the purchases of a call of VerifyDuePurchases by their outcomes.
type VerificationReport struct {
	Verified  int `json:"verified"`  // good
	Ended     int `json:"ended"`     // not good
	Undecided int `json:"undecided"` // to be verified again later
	Panicked  int `json:"panicked"`  // of those that are undecided: the verifier panicked
}

// PurchaseManager keeps the purchases of users from stores. In a business project
// (see WithProjectKind) every call returns ErrRefused with CodeBusinessProject.
type PurchaseManager interface {
	// SubmitPurchase verifies a receipt with its store and stores the purchase.
	//
	// A purchase that the store confirms is active, also if the user submits it again. If the store
	// does not answer now, the purchase is stored as not active, with ReasonUndecided, and is
	// verified again automatically; a purchase that was active stays active. For a user who has
	// MaxWaitingReceipts such purchases, the call returns ErrUnavailable with CodePurchaseUndecided
	// instead. If the store rejects the purchase, nothing new is stored, the call returns
	// ErrRefused with CodePurchaseInvalid and the reason in Error.Reason, and an active purchase of
	// the user that the receipt is about ends. If the store does not know the purchase
	// (ReasonNotFound, ReasonForged, ReasonWrongApp), an active purchase does not end, and is
	// returned. A confirmed purchase that an active purchase of the user has replaced is stored as
	// not active, and the call returns ErrRefused with CodePurchaseInvalid and ReasonSuperseded.
	//
	// It returns ErrInvalid with CodeUnknownStore, CodeRequired and CodeTooLong;
	// ErrRefused with CodePurchaseInvalid and ReasonEnvironment for a sandbox
	// purchase (see WithSandboxPurchases) or ReasonAccount for one that was made for
	// another user, and with CodePurchaseDeactivated for one that an administrator took away, even
	// from a user who has since been deleted, in which case the purchase is stored for
	// ActivatePurchase. It returns ErrExists with CodePurchaseTaken for the purchase of another
	// user, unless the policy is to transfer it, or the store reports that it was made for this
	// user (see PurchaseFacts.AccountToken). This also holds for a family-shared purchase: each
	// member of the family has a separate stable id.
	SubmitPurchase(ctx context.Context, user UserID, receipt Receipt) (Purchase, error)

	// Purchase returns one purchase, or ErrNotFound with CodePurchaseNotFound.
	Purchase(ctx context.Context, id PurchaseID) (Purchase, error)

	// Purchases returns a page of purchases.
	Purchases(ctx context.Context, query PurchaseQuery) (Page[Purchase], error)

	// CountPurchases returns how many purchases a query has on all of its pages together, as they are now.
	// The PageQuery of the query does not matter.
	CountPurchases(ctx context.Context, query PurchaseQuery) (int64, error)

	// ActivatePurchase verifies a purchase and makes it active again, even if it was deactivated.
	// It returns ErrRefused with CodePurchaseInvalid if the store rejects the purchase, and
	// ErrUnavailable with CodePurchaseUndecided if the store does not answer, in which case the
	// purchase is unchanged. It is also unchanged if an active purchase has replaced it; the call
	// then returns ErrRefused with CodePurchaseInvalid and ReasonSuperseded.
	ActivatePurchase(ctx context.Context, id PurchaseID) (Purchase, error)

	// DeactivatePurchase takes a purchase away from its user until ActivatePurchase is called.
	// Neither a verification nor a notification makes it active again.
	DeactivatePurchase(ctx context.Context, id PurchaseID) (Purchase, error)

	// VerifyDuePurchases verifies the purchases that are due. Active purchases are due a day after
	// the last verification and shortly after their expiration. Purchases that may become active
	// again (pending, unpaid) are due once a day for sixty days. Paused purchases are due once a
	// day for a hundred days, since Google Play lets customers pause for three months, or when the
	// pause ends according to their store (see Verdict.AskAt). Undecided purchases are due by a
	// back-off that doubles up to six hours; a receipt without a result after sixty days is given
	// up. Each purchase is leased for a short time, so that many processes share the work and none
	// is verified twice; the leases of a process that ends expire, and its work is taken over. Run
	// calls this method.
	//
	// A purchase that its store does not know now (ReasonNotFound, ReasonForged, ReasonWrongApp)
	// stays active until it expires, and is verified again by the same back-off until two weeks
	// after that. A store that answers so for most of the purchases that it has confirmed to this
	// process is taken for misconfigured: its refusals change nothing, and this is logged once an
	// hour. Stores do not wait for one another. Purchases of stores for which this process has no
	// verifier are left to others.
	VerifyDuePurchases(ctx context.Context) (VerificationReport, error)

	// HandleStoreNotification handles a notification that a store sent to the host, and verifies
	// the purchase that it is about. A repeated notification does nothing, nor does one about a
	// purchase that nobody has submitted. It returns ErrForbidden with CodeInvalidSignature,
	// ErrInvalid with CodeUnknownStore, CodeBadFormat and CodeTooLong, and ErrUnavailable if the
	// store should send it again.
	HandleStoreNotification(ctx context.Context, store string, notification StoreNotification) error
}

// MaxWaitingReceipts is the maximum number of receipts of one user that are kept while their stores
// have not answered.
const MaxWaitingReceipts = 10

// public refuses what only public projects have.
func (m *manager) public() error {
	if m.projectKind == ProjectBusiness {
		return NewError(CodeBusinessProject, "", "a business project has no purchases")
	}
	return nil
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
	receipt.Kept = false
	verifier, err := m.verifierOf(receipt.Store)
	if err != nil {
		return Purchase{}, err
	}
	owner, err := m.store.User(ctx, user)
	if err != nil {
		return Purchase{}, err
	}
	clock, err := m.dutyClock(ctx)
	if err != nil {
		return Purchase{}, err
	}
	v, err := m.verify(ctx, verifier, receipt, &owner, nil, turn{share: submissions})
	if err != nil {
		return Purchase{}, err
	}
	o := call.origin
	o.now = clock.now()
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
	return m.acknowledge(ctx, o.now, verifier, purchase, v), nil
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

// changePurchases moves a command about the purchases of a user, all of which its
// decision gets, through the corridor.
func changePurchases(ctx context.Context, m *manager, user UserID, decide func(*State) (Purchase, Change, error)) (Purchase, error) {
	return change(ctx, m, command{want: Want{User: user, Purchases: true}}, decide)
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
	return readPage(query.PageQuery, purchaseFields, "purchases", query.PurchaseFilter, func(list ListRange) ([]Purchase, error) {
		return m.store.Purchases(ctx, query.PurchaseFilter, list)
	})
}

func (m *manager) CountPurchases(ctx context.Context, query PurchaseQuery) (_ int64, err error) {
	ctx, call, err := enterOf(ctx, m, opCountPurchases, &query.UserID)
	if err != nil {
		return 0, err
	}
	defer call.leave(ctx, &err)
	if err := m.public(); err != nil {
		return 0, err
	}
	return m.store.CountPurchases(ctx, query.PurchaseFilter)
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
	clock, err := m.dutyClock(ctx)
	if err != nil {
		return Purchase{}, err
	}
	after, v, err := m.verifyAgain(ctx, clock, call.origin, purchase, EventID{}, true, turn{share: submissions})
	switch {
	case err != nil:
		return Purchase{}, err
	case v.verdict.Outcome == VerdictInvalid:
		return Purchase{}, v.refusal()
	case v.verdict.Outcome == VerdictUndecided:
		return Purchase{}, v.undecided()
	case !after.Active: // replaced by another one
		v.verdict.Reason = ReasonSuperseded
		return Purchase{}, v.refusal()
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
