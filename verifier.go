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

// VerdictOutcome is one of the three things that a verification can find.
type VerdictOutcome string

// The outcomes. Only VerdictInvalid ever ends a purchase, and before its own end only
// with a reason that is a fact: not that the store knows no such purchase.
const (
	// VerdictValid: the store says that the purchase is good now.
	VerdictValid VerdictOutcome = "valid"
	// VerdictInvalid: the store says that it is not, or that there is none.
	VerdictInvalid VerdictOutcome = "invalid"
	// VerdictUndecided: the store did not say: it is unreachable, refuses to
	// answer now, or answered what nobody understands.
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

// Verdict is what a verification found.
type Verdict struct {
	Outcome VerdictOutcome

	// Facts go with VerdictValid, and with VerdictInvalid where the store knows
	// the purchase (StableID is not empty then).
	Facts PurchaseFacts

	Reason PurchaseReason // of VerdictInvalid

	// Final says of VerdictInvalid that nothing brings the purchase back, whatever the
	// reason, such as a subscription that its store has deleted after payments failed:
	// it is not asked about again.
	Final bool

	// AskAt is when to ask next of VerdictValid and VerdictInvalid, where the store has said
	// when something will change, such as the end of a pause; zero: by the manager's rules
	// alone (see PurchaseManager.VerifyDuePurchases). A purchase that is good is asked about
	// by these rules as well. At most a hundred days ahead.
	AskAt time.Time

	// RetryAt is when VerdictUndecided may be asked again, as the store said;
	// zero: the manager's own back-off.
	RetryAt time.Time

	// Busy says of VerdictUndecided that the store asked to be asked about nothing before
	// RetryAt, as Retry-After of HTTP means: for so long, but an hour at most, this process
	// asks it about no other purchase either.
	Busy bool

	// Err is the error, for the log; it must not contain a secret. It may be nil.
	Err error
}

// Valid returns the verdict of a purchase that is good now.
func Valid(facts PurchaseFacts) Verdict { return Verdict{Outcome: VerdictValid, Facts: facts} }

// Invalid returns the verdict of a purchase that is not good, with what is known
// of it.
func Invalid(reason PurchaseReason, facts PurchaseFacts) Verdict {
	return Verdict{Outcome: VerdictInvalid, Reason: reason, Facts: facts}
}

// Busy returns the verdict of a store that asked to be asked about nothing before retryAt;
// where that is zero, it is Undecided.
func Busy(err error, retryAt time.Time) Verdict {
	verdict := Undecided(err, retryAt)
	verdict.Busy = !retryAt.IsZero()
	return verdict
}

// Undecided returns the verdict of a store that did not say. retryAt may be zero.
func Undecided(err error, retryAt time.Time) Verdict {
	return Verdict{Outcome: VerdictUndecided, Err: err, RetryAt: retryAt}
}

// Verifier asks one store about purchases. The packages verify/apple,
// verify/google and verify/stripe are verifiers; a host adds its own. It is called
// by many goroutines at once, never inside of a change, and gives up when the
// context ends, with VerdictUndecided.
type Verifier interface {
	// Store is the verifier's name, 1 to 32 characters of a-z, 0-9, '_' and '-'. It
	// is kept with every purchase and must stay the same.
	Store() string

	// Verify asks the store what is true of a purchase now.
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

// StoreNotification is a request that a store sent to the host.
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
		return NewError(CodeRequired, "token", "a receipt has a token")
	case len(r.Token) > MaxReceipt:
		return NewError(CodeTooLong, "token", "%d bytes, at most %d", len(r.Token), MaxReceipt)
	}
	return firstError(checkLines("token", r.Token, MaxReceipt), checkLine("product_id", r.ProductID, MaxPurchaseID))
}
