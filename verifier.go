package userkit

import (
	"context"
	"encoding/json"
	"time"
)

// Receipt is what a client or a host submits as proof of a purchase.
type Receipt struct {
	// Store is the name of the verifier that knows the purchase, such as "apple".
	Store string `json:"store"`

	// Token identifies the purchase to its store: for Apple a transaction id or a signed
	// transaction, for Google a purchase token, for Stripe the id of a subscription; for a store of
	// the host, whatever its verifier reads. It has at most MaxReceipt bytes. It is a secret: it
	// appears in no error, event or log.
	Token string `json:"token"`

	// ProductID is the product that the client says it bought. It is needed if the store cannot
	// find the purchase without it (a one-time product of Google).
	ProductID string `json:"product_id,omitempty"`

	// Kept reports whether Token was returned by the verifier itself (see PurchaseFacts.Token) or
	// has been verified before, as opposed to a token that is submitted now. Only the manager sets
	// it.
	Kept bool `json:"-"`
}

// Environment is the environment in which a purchase was made.
type Environment string

// The environments.
const (
	Production Environment = "production"
	Sandbox    Environment = "sandbox" // nobody paid; refused unless WithSandboxPurchases
)

// VerdictOutcome is one of the three outcomes of a verification.
type VerdictOutcome string

// The outcomes. Only VerdictInvalid ever ends a purchase, and it ends one before its expiration
// only for a definite reason, not because the store knows no such purchase.
const (
	// VerdictValid means that the purchase is valid now according to the store.
	VerdictValid VerdictOutcome = "valid"
	// VerdictInvalid means that it is not valid according to the store, or does not exist.
	VerdictInvalid VerdictOutcome = "invalid"
	// VerdictUndecided means that the store gave no decisive answer: it is unreachable, refuses to
	// answer now, or its answer was not understood.
	VerdictUndecided VerdictOutcome = "undecided"
)

// PurchaseReason says why a purchase is not active.
type PurchaseReason string

// The reasons of verifiers. A verifier of the host may have others.
const (
	ReasonNotFound    PurchaseReason = "not_found"   // the store knows no such purchase
	ReasonForged      PurchaseReason = "forged"      // the receipt is not signed by the store
	ReasonWrongApp    PurchaseReason = "wrong_app"   // a purchase in another application
	ReasonExpired     PurchaseReason = "expired"     // its time is over
	ReasonRevoked     PurchaseReason = "revoked"     // refunded, or taken back from a family
	ReasonPending     PurchaseReason = "pending"     // not paid yet
	ReasonPaused      PurchaseReason = "paused"      // by the customer
	ReasonUnpaid      PurchaseReason = "unpaid"      // the renewal was not paid (on hold, in billing retry)
	ReasonSuperseded  PurchaseReason = "superseded"  // another purchase took its place (an upgrade)
	ReasonEnvironment PurchaseReason = "environment" // a sandbox purchase in production
	ReasonAccount     PurchaseReason = "account"     // it was made for another user
	ReasonDeactivated PurchaseReason = "deactivated" // by an administrator
)

// PurchaseFacts are the facts that a store reports about a purchase.
type PurchaseFacts struct {
	// StableID stays the same through all renewals: the original transaction id,
	// the purchase token's first link, the id of the subscription. With the store
	// it names the purchase in the project. At most MaxPurchaseID characters.
	StableID      string
	TransactionID string // of the newest transaction
	ProductID     string
	Environment   Environment

	PurchasedAt time.Time // of the newest transaction
	ExpiresAt   time.Time // the expiration reported by the store, including the store's own grace period; zero: never
	Trial       bool      // free of charge, as a trial

	// FamilyShared reports whether the purchase is shared by the family member who made it. The
	// store must identify the purchase of each member by a different StableID, as the App Store
	// does, because one StableID belongs to one user.
	FamilyShared bool

	// AccountToken identifies the user for whom the purchase was made, as the client told the
	// store: the id or the extref of a user; empty: unknown. UUIDs compare without regard to case
	// and hyphens. A purchase that was made for another user is refused; that user gets it, even if
	// a third one had it before. A token that identifies no existing user is ignored.
	AccountToken string

	// OnlyNamed means that only the user whom AccountToken identifies may have the purchase: if it
	// identifies nobody, or is empty, the purchase is refused with ReasonAccount. This is checked
	// when the purchase is submitted; one that is already kept stays.
	OnlyNamed bool

	// Supersedes are the stable ids of purchases that this one has replaced; at most
	// MaxSuperseded. As long as this one is active, they are not, even if they are submitted later;
	// the same holds for those that they have replaced themselves.
	Supersedes []string

	// Items are the parts of the purchase that have their own expirations, such as a plan and its
	// add-ons; at most MaxPurchaseItems. ExpiresAt is then the latest of their expirations. Empty:
	// the purchase has one part.
	Items []PurchaseItem

	// Token is the token for the next verification of the purchase (see Receipt.Token); empty: the
	// same as before.
	Token string

	// At is the time of these facts, by the store's clock. Older facts never overwrite newer ones.
	// A zero time, or one that is more than five minutes ahead, means now.
	At time.Time

	Raw json.RawMessage // the store's answer, without secrets; at most MaxPurchaseRaw bytes
}

// PurchaseItem is a part of a purchase: a product with its own expiration.
type PurchaseItem struct {
	ProductID string    `json:"product_id"`          // at most MaxPurchaseID characters
	ExpiresAt time.Time `json:"expires_at,omitzero"` // when it expires; zero: it has not begun, or does not expire by itself
	Trial     bool      `json:"trial,omitempty"`     // free of charge, as a trial
}

// Verdict is the result of a verification.
type Verdict struct {
	Outcome VerdictOutcome

	// Facts are set with VerdictValid, and with VerdictInvalid if the store knows the purchase, in
	// which case StableID is not empty.
	Facts PurchaseFacts

	Reason PurchaseReason // of VerdictInvalid

	// Final means, with VerdictInvalid, that the purchase cannot become valid again, whatever the
	// reason, such as a subscription that its store has deleted after failed payments. It is not
	// verified again.
	Final bool

	// AskAt is when to verify next, with VerdictValid and VerdictInvalid, if the store has reported
	// when something will change, such as the end of a pause. Zero: only by the manager's rules
	// (see PurchaseManager.VerifyDuePurchases). A valid purchase is verified by these rules as
	// well. It is at most a hundred days ahead.
	AskAt time.Time

	// RetryAt is, with VerdictUndecided, when the store may be queried again, as the store
	// requested; zero: by the manager's own back-off.
	RetryAt time.Time

	// Busy means, with VerdictUndecided, that the store asked for no requests at all before
	// RetryAt, as by Retry-After of HTTP. Until then, but for at most an hour, this process makes
	// no requests to the store about other purchases either.
	Busy bool

	// Err is the error, for the log; it must not contain a secret. It may be nil.
	Err error
}

// Valid returns the verdict on a purchase that is valid now.
func Valid(facts PurchaseFacts) Verdict { return Verdict{Outcome: VerdictValid, Facts: facts} }

// Invalid returns the verdict on a purchase that is not valid, with the known facts.
func Invalid(reason PurchaseReason, facts PurchaseFacts) Verdict {
	return Verdict{Outcome: VerdictInvalid, Reason: reason, Facts: facts}
}

// Busy returns the verdict of a store that asked for no requests before retryAt. If that is zero,
// it is the same as Undecided.
func Busy(err error, retryAt time.Time) Verdict {
	verdict := Undecided(err, retryAt)
	verdict.Busy = !retryAt.IsZero()
	return verdict
}

// Undecided returns the verdict of a store that gave no decisive answer. retryAt may be zero.
func Undecided(err error, retryAt time.Time) Verdict {
	return Verdict{Outcome: VerdictUndecided, Err: err, RetryAt: retryAt}
}

// Verifier verifies purchases with one store. The packages verify/apple, verify/google and
// verify/stripe implement verifiers; a host may implement others. It is called by many goroutines
// at once, never inside a change, and must return VerdictUndecided when the context ends.
type Verifier interface {
	// Store returns the name of the verifier, 1 to 32 characters of a-z, 0-9, '_' and '-'. It is
	// stored with every purchase and must not change.
	Store() string

	// Verify queries the store about the current state of a purchase.
	Verify(ctx context.Context, receipt Receipt) Verdict
}

// ReceiptChecker is a Verifier that can refuse some receipts without querying its store: those that
// are malformed, or not signed by the store. They do not count towards the rate of
// WithVerificationRate.
type ReceiptChecker interface {
	// CheckReceipt returns a verdict and true if the receipt alone decides, and false if the store
	// has to be queried. It makes no request.
	CheckReceipt(ctx context.Context, receipt Receipt) (Verdict, bool)
}

// Acknowledger is a Verifier whose store refunds a purchase unless it is acknowledged as granted
// (Google, within three days).
type Acknowledger interface {
	// Acknowledge reports the purchase to the store as granted. It is called after the purchase has
	// been stored, and again until it returns nil; acknowledging twice must be harmless.
	Acknowledge(ctx context.Context, receipt Receipt, facts PurchaseFacts) error
}

// StoreNotification is an HTTP request from a store to the host.
type StoreNotification struct {
	Header map[string][]string `json:"header"` // as in http.Request
	Body   []byte              `json:"body"`   // at most MaxStoreNotification bytes
}

// NotificationReader is a Verifier whose store sends notifications.
type NotificationReader interface {
	// ReadNotification verifies that a notification is from the store and returns its content. It
	// returns ErrForbidden with CodeInvalidSignature for a notification that is not from the store,
	// ErrInvalid with CodeBadFormat for one that cannot be parsed, and ErrUnavailable if it could
	// not be verified now.
	ReadNotification(ctx context.Context, notification StoreNotification) (NotificationContent, error)
}

// NotificationContent is what a notification is about.
type NotificationContent struct {
	ID string // the store's id of the notification: a repeated one does nothing; empty: every notification counts

	// Receipt identifies the purchase to verify again. If its Token is empty, the notification is
	// about no purchase (a test notification). StableID identifies the purchase among those that
	// are kept.
	StableID string
	Receipt  Receipt

	// RefundRequest is set if the customer has requested a refund and the store waits for
	// information from the host, such as how much was used; otherwise it is nil. It is recorded as
	// EventPurchaseRefundRequested; the host answers the store itself.
	RefundRequest *RefundRequest
}

// RefundRequest describes a refund about which a store asks the host for information.
type RefundRequest struct {
	// TransactionID identifies the purchase among those of AccountToken if the notification
	// contains no receipt.
	TransactionID string
	AccountToken  string // see PurchaseFacts

	// Reply is the value that the store expects in the answer; empty: nothing but the purchase.
	Reply string
}

// Bounds of the contents of purchases.
const (
	MaxReceipt           = 64 * 1024  // bytes
	MaxStoreNotification = 256 * 1024 // bytes
	MaxPurchaseRaw       = 64 * 1024  // bytes
	MaxPurchaseID        = 512        // characters
	MaxPurchaseItems     = 100
	MaxSuperseded        = 100 // stable ids that one purchase has replaced
)

func (r Receipt) check() error {
	switch {
	case r.Token == "":
		return NewError(CodeRequired, "token", "a receipt needs a token")
	case len(r.Token) > MaxReceipt:
		return NewError(CodeTooLong, "token", "%d bytes exceed the limit of %d", len(r.Token), MaxReceipt)
	}
	return firstError(checkLines("token", r.Token, MaxReceipt), checkLine("product_id", r.ProductID, MaxPurchaseID))
}
