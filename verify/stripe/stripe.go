package stripe

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/internal/vendorapi"
)

const (
	// DefaultBaseURL is the address of the Stripe API.
	DefaultBaseURL = "https://api.stripe.com"

	// DefaultAPIVersion is the version of the Stripe API that requests ask for in the
	// Stripe-Version header, whatever the account's own version is
	// (https://docs.stripe.com/api/versioning).
	DefaultAPIVersion = "2026-08-26.dahlia"

	// DefaultMetadataKey is the metadata of a subscription that names its user.
	DefaultMetadataKey = "user_id"

	// DefaultPastDueGrace is how long a subscription that is past due stays good: as
	// long as Stripe tries again by default
	// (https://docs.stripe.com/billing/revenue-recovery/smart-retries).
	DefaultPastDueGrace = 14 * 24 * time.Hour

	// DefaultTolerance is how far the time of a webhook's signature may be from the
	// clock, in either direction (https://docs.stripe.com/webhooks#replay-attacks).
	DefaultTolerance = 5 * time.Minute

	defaultTimeout = 20 * time.Second
	maxAnswer      = 1024 * 1024 // bytes
)

// Config says how to reach Stripe and what to accept. SecretKey is required; the zero
// value of each other field is its default.
type Config struct {
	// Store is the verifier's name, 1 to 32 characters of a-z, 0-9, '_' and '-'.
	// Default: "stripe". It is stored with every purchase and must not change. Hosts with several
	// Stripe accounts need a Verifier with a different name for each.
	Store string

	// SecretKey is a secret key ("sk_live_…", "sk_test_…") or, better, a restricted one
	// ("rk_live_…", "rk_test_…") that may read Subscriptions and Invoices. It says
	// whether the Verifier is for live mode, which is userkit.Production, or for test
	// mode, which is userkit.Sandbox.
	SecretKey string

	// WebhookSecrets are the signing secrets of the webhook endpoints ("whsec_…"): one
	// for each endpoint, and the new one beside the old one while a secret is rolled.
	// Default: none, and every notification is refused.
	WebhookSecrets []string

	// Tolerance is how far the time of a signature may be from the clock, in either
	// direction. It bounds how long a recorded request can be replayed. Not negative.
	// Default: DefaultTolerance.
	Tolerance time.Duration

	// MetadataKey names the metadata of a subscription that holds the id or the extref
	// of its user, 1 to 40 characters. Default: DefaultMetadataKey.
	MetadataKey string

	// PastDueGrace is how long a subscription stays good after the oldest unpaid
	// invoice was due. Negative: not at all. Default: DefaultPastDueGrace.
	PastDueGrace time.Duration

	// APIVersion is the version of the Stripe API to ask for, such as
	// "2025-02-24.acacia". Default: DefaultAPIVersion.
	APIVersion string

	// HTTPClient makes the requests; its CheckRedirect is not used, as no redirect is
	// followed. Default: a client with a time limit of 20 seconds.
	HTTPClient *http.Client

	// BaseURL is the address of the API: https, or http on this machine (a loopback address
	// or "localhost"). Default: DefaultBaseURL.
	BaseURL string

	// Clock returns the current time. It is called by many goroutines at once. Default: time.Now.
	Clock func() time.Time
}

// Verifier is the userkit.Verifier and NotificationReader of one Stripe account in one
// mode. It is safe for use by many goroutines at once.
type Verifier struct {
	store       string
	secretKey   string
	live        bool
	secrets     []string
	tolerance   time.Duration
	metadataKey string
	grace       time.Duration // negative: none
	apiVersion  string
	api         *vendorapi.Client
	baseURL     string
	clock       func() time.Time
}

var (
	_ userkit.Verifier           = (*Verifier)(nil)
	_ userkit.ReceiptChecker     = (*Verifier)(nil)
	_ userkit.NotificationReader = (*Verifier)(nil)
)

var (
	storePattern      = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)
	secretKeyPattern  = regexp.MustCompile(`^[sr]k_(live|test)_[A-Za-z0-9_]{1,240}$`)
	webhookPattern    = regexp.MustCompile(`^whsec_[!-~]{1,250}$`)
	apiVersionPattern = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z]{1,32})?$`)

	// A prefix with a second underscore, as in "sub_sched_…", is another kind of object.
	subscriptionPattern = regexp.MustCompile(`^sub_[A-Za-z0-9]{1,251}$`)
)

// New checks config and returns a Verifier. It makes no request. It returns
// ErrInvalid with CodeInvalidOption, naming the field.
func New(config Config) (*Verifier, error) {
	v := &Verifier{
		store:       orDefault(config.Store, "stripe"),
		secretKey:   config.SecretKey,
		secrets:     slices.Clone(config.WebhookSecrets),
		tolerance:   orDefault(config.Tolerance, DefaultTolerance),
		metadataKey: orDefault(config.MetadataKey, DefaultMetadataKey),
		grace:       orDefault(config.PastDueGrace, DefaultPastDueGrace),
		apiVersion:  orDefault(config.APIVersion, DefaultAPIVersion),
		baseURL:     orDefault(config.BaseURL, DefaultBaseURL),
		clock:       config.Clock,
	}
	if !storePattern.MatchString(v.store) {
		return nil, invalidOption("Store", "1 to 32 characters of a-z, 0-9, '_' and '-' are needed")
	}
	mode := secretKeyPattern.FindStringSubmatch(v.secretKey)
	if mode == nil {
		return nil, invalidOption("SecretKey", "a secret key (sk_…) or a restricted key (rk_…) of one account is needed")
	}
	v.live = mode[1] == "live"
	for _, secret := range v.secrets {
		if !webhookPattern.MatchString(secret) {
			return nil, invalidOption("WebhookSecrets", "signing secrets (whsec_…) are needed")
		}
	}
	if v.tolerance < 0 {
		return nil, invalidOption("Tolerance", "it is negative")
	}
	if len(v.metadataKey) > 40 {
		return nil, invalidOption("MetadataKey", "at most 40 characters are possible")
	}
	if !apiVersionPattern.MatchString(v.apiVersion) {
		return nil, invalidOption("APIVersion", "a version such as %q is needed", DefaultAPIVersion)
	}
	if err := vendorapi.CheckURL(v.baseURL); err != nil {
		return nil, invalidOption("BaseURL", "%s", err)
	}
	v.baseURL = strings.TrimRight(v.baseURL, "/")
	v.api = vendorapi.NewClient("stripe", config.HTTPClient, defaultTimeout, maxAnswer)
	if v.clock == nil {
		v.clock = time.Now
	}
	return v, nil
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}

func invalidOption(field, format string, args ...any) error {
	return userkit.NewError(userkit.CodeInvalidOption, field, format, args...)
}

// Store returns the name of the verifier.
func (v *Verifier) Store() string { return v.store }

// String identifies the verifier, without its secrets.
func (v *Verifier) String() string { return "stripe.Verifier(" + v.store + ")" }

// GoString returns String, so that printing a Verifier never shows its secrets.
func (v *Verifier) GoString() string { return v.String() }

// Verify queries Stripe about the current state of a subscription; see the package comment for what
// is valid, invalid and undecided. It makes one request, and for a subscription that is past due a
// second one, for the open invoices. A token that is not the id of a subscription is invalid
// without a request.
//
// The facts: StableID is the id of the subscription, TransactionID that of its newest
// invoice (empty where there is none), ProductID the product of the item, or its price
// where Stripe names no product. PurchasedAt is when the period began. ExpiresAt is
// when the period ends, or the grace of a subscription that is past due, or when it was
// ended. Trial is of a subscription that is trialing. At is the time of Stripe's server.
// Raw is the subscription as Stripe answered, which holds no secrets.
func (v *Verifier) Verify(ctx context.Context, receipt userkit.Receipt) userkit.Verdict {
	id := receipt.Token
	if !subscriptionPattern.MatchString(id) {
		return userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{})
	}
	answered, err := v.get(ctx, "subscription", "/v1/subscriptions/"+id, id)
	if err != nil {
		return userkit.Undecided(err, time.Time{})
	}
	if answered.Status != http.StatusOK {
		return v.notFound(answered)
	}
	found, err := parseSubscription(answered.Body, id)
	if err != nil {
		return userkit.Undecided(err, time.Time{})
	}
	facts := v.facts(found, answered)

	switch found.Status {
	case "active", "trialing":
		return v.good(facts)
	case "past_due":
		return v.pastDue(ctx, facts)
	case "incomplete":
		return userkit.Invalid(userkit.ReasonPending, facts)
	case "incomplete_expired":
		return final(userkit.ReasonExpired, facts)
	case "unpaid":
		return userkit.Invalid(userkit.ReasonUnpaid, facts)
	case "paused":
		return userkit.Invalid(userkit.ReasonPaused, facts)
	case "canceled":
		return final(found.cancelReason(), facts)
	}
	return userkit.Undecided(errors.New("stripe: the subscription has a status that is not known"), time.Time{})
}

// final is the verdict of a subscription in a state that Stripe lets it never leave.
func final(reason userkit.PurchaseReason, facts userkit.PurchaseFacts) userkit.Verdict {
	verdict := userkit.Invalid(reason, facts)
	verdict.Final = true
	return verdict
}

// CheckReceipt returns the verdict on a receipt that cannot be one of this store, by its
// form. It makes no request.
func (v *Verifier) CheckReceipt(_ context.Context, receipt userkit.Receipt) (userkit.Verdict, bool) {
	if subscriptionPattern.MatchString(receipt.Token) {
		return userkit.Verdict{}, false
	}
	return userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{}), true
}

// notFound returns the verdict on a subscription that Stripe refuses to show.
func (v *Verifier) notFound(answered vendorapi.Answer) userkit.Verdict {
	refusal := readRefusal(answered)
	if answered.Status != http.StatusNotFound || refusal.Code != "resource_missing" {
		return userkit.Busy(refused(answered), answered.RetryAt(v.clock()))
	}
	// Stripe has no code for this, only the text: "No such subscription: 'sub_…'; a
	// similar object exists in live mode, but a test mode key was used to make this
	// request."
	switch {
	case strings.Contains(refusal.Message, "exists in test mode"):
		return userkit.Invalid(userkit.ReasonEnvironment, userkit.PurchaseFacts{})
	case strings.Contains(refusal.Message, "exists in live mode"):
		return userkit.Undecided(errors.New("stripe: the subscription is one of live mode, and the key is of test mode"), time.Time{})
	}
	return userkit.Invalid(userkit.ReasonNotFound, userkit.PurchaseFacts{})
}

// facts are what a subscription says, whatever its status.
func (v *Verifier) facts(found subscription, answered vendorapi.Answer) userkit.PurchaseFacts {
	begin, end, product := found.period()
	facts := userkit.PurchaseFacts{
		StableID:      found.ID,
		TransactionID: string(found.LatestInvoice),
		ProductID:     product,
		Environment:   userkit.Sandbox,
		PurchasedAt:   begin,
		ExpiresAt:     end,
		Trial:         found.Status == "trialing",
		AccountToken:  plain(found.Metadata[v.metadataKey]),
		At:            answered.Date(v.clock()),
		Raw:           found.raw(answered.Body),
	}
	if *found.Livemode {
		facts.Environment = userkit.Production
	}
	return facts
}

// good is the verdict on a subscription that Stripe serves. A renewal moves the period
// on before it is paid for, so one that is over means that Stripe has not come to the
// renewal, or to the end.
func (v *Verifier) good(facts userkit.PurchaseFacts) userkit.Verdict {
	if !facts.ExpiresAt.After(v.clock()) {
		return userkit.Undecided(errors.New("stripe: the subscription is active and its period is over"), time.Time{})
	}
	return userkit.Valid(facts)
}

// pastDue is the verdict on a subscription with an unpaid invoice.
func (v *Verifier) pastDue(ctx context.Context, facts userkit.PurchaseFacts) userkit.Verdict {
	if v.grace < 0 {
		return userkit.Invalid(userkit.ReasonUnpaid, facts)
	}
	since, undecided := v.unpaidSince(ctx, facts.StableID)
	if undecided != nil {
		return *undecided
	}
	if since.IsZero() {
		since = facts.PurchasedAt
	}
	facts.ExpiresAt = earliest(facts.ExpiresAt, since.Add(v.grace))
	if !since.Add(v.grace).After(v.clock()) {
		return userkit.Invalid(userkit.ReasonUnpaid, facts)
	}
	return v.good(facts)
}

// maxInvoicePages bounds how far back open invoices are looked for.
const maxInvoicePages = 20

// unpaidSince returns when the oldest open invoice of a subscription was due; zero when
// there is none. Stripe lists the newest first; what is older than the grace need not
// be known exactly.
func (v *Verifier) unpaidSince(ctx context.Context, id string) (time.Time, *userkit.Verdict) {
	undecided := func(err error, retryAt time.Time) *userkit.Verdict {
		verdict := userkit.Busy(err, retryAt)
		return &verdict
	}
	query := url.Values{"subscription": {id}, "status": {"open"}, "limit": {"20"}}
	var since time.Time
	for range maxInvoicePages {
		answered, err := v.get(ctx, "invoices", "/v1/invoices?"+query.Encode(), id)
		if err != nil {
			return since, undecided(err, time.Time{})
		}
		if answered.Status != http.StatusOK {
			return since, undecided(refused(answered), answered.RetryAt(v.clock()))
		}
		page, err := parseInvoices(answered.Body)
		if err != nil {
			return since, undecided(err, time.Time{})
		}
		for _, open := range page.Data {
			since = earliest(since, open.due())
		}
		if !page.HasMore || !since.Add(v.grace).After(v.clock()) {
			break
		}
		query.Set("starting_after", page.Data[len(page.Data)-1].ID)
	}
	return since, nil
}

// earliest returns the earliest of the times that are not zero.
func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}
