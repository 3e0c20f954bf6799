package stripe

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/userkit/userkit"
)

// subscription is what is read of a Subscription
// (https://docs.stripe.com/api/subscriptions/object).
type subscription struct {
	ID            string            `json:"id"`
	Object        string            `json:"object"`
	Status        string            `json:"status"`
	Livemode      *bool             `json:"livemode"`
	Created       moment            `json:"created"`
	CancelAt      moment            `json:"cancel_at"`
	EndedAt       moment            `json:"ended_at"`
	LatestInvoice reference         `json:"latest_invoice"`
	Metadata      map[string]string `json:"metadata"`

	CancellationDetails struct {
		Reason string `json:"reason"`
	} `json:"cancellation_details"`

	Items struct {
		Data []item `json:"data"`
	} `json:"items"`

	// Before API version 2025-03-31.basil the period was here.
	CurrentPeriodStart moment `json:"current_period_start"`
	CurrentPeriodEnd   moment `json:"current_period_end"`
}

// item is a SubscriptionItem.
type item struct {
	CurrentPeriodStart moment `json:"current_period_start"`
	CurrentPeriodEnd   moment `json:"current_period_end"`
	Price              price  `json:"price"`
	Plan               price  `json:"plan"` // what a price was called before 2020
}

// price is a Price or a Plan.
type price struct {
	ID      string    `json:"id"`
	Product reference `json:"product"`
}

// invoice is what is read of an Invoice (https://docs.stripe.com/api/invoices/object).
type invoice struct {
	ID      string `json:"id"`
	Created moment `json:"created"`
	DueDate moment `json:"due_date"` // of one that is sent to the customer
}

// invoiceList is a page of a list of invoices, the newest first.
type invoiceList struct {
	Object  string    `json:"object"`
	Data    []invoice `json:"data"`
	HasMore bool      `json:"has_more"`
}

// due is when an invoice was to be paid; one that is charged automatically at once.
func (i invoice) due() time.Time {
	if i.DueDate != 0 {
		return i.DueDate.time()
	}
	return i.Created.time()
}

// moment is a time in seconds since 1970; zero: none.
type moment int64

// UnmarshalJSON implements json.Unmarshaler. It refuses what is beyond the year 9999,
// which time.Time could not write as JSON again.
func (m *moment) UnmarshalJSON(text []byte) error {
	var seconds int64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return err
	}
	if seconds < 0 || seconds >= 253_402_300_800 {
		return errors.New("a time out of range")
	}
	*m = moment(seconds)
	return nil
}

// time is the moment as a time.Time.
func (m moment) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.Unix(int64(m), 0).UTC()
}

// reference is the id of another object, where Stripe has the id alone, the object in
// full when it was asked to expand it, or null (https://docs.stripe.com/api/expanding_objects).
type reference string

// UnmarshalJSON implements json.Unmarshaler.
func (r *reference) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("{")) {
		var expanded struct {
			ID string `json:"id"`
		}
		err := json.Unmarshal(text, &expanded)
		*r = reference(expanded.ID)
		return err
	}
	var id *string
	if err := json.Unmarshal(text, &id); err != nil {
		return err
	}
	*r = ""
	if id != nil {
		*r = reference(*id)
	}
	return nil
}

// The errors of the decoder are not passed on: they repeat what was read.
var (
	errSubscription = errors.New("stripe: the answer is not the subscription that was asked for")
	errPeriod       = errors.New("stripe: the subscription has no period")
	errInvoices     = errors.New("stripe: the answer is not a list of invoices")
)

// parseSubscription reads the answer to the question for a subscription.
func parseSubscription(body []byte, id string) (subscription, error) {
	var found subscription
	if !utf8.Valid(body) || json.Unmarshal(body, &found) != nil || found.Object != "subscription" || found.ID != id ||
		found.Livemode == nil || found.Created == 0 {
		return subscription{}, errSubscription
	}
	_, end, product := found.period()
	for _, name := range []string{product, string(found.LatestInvoice)} {
		if plain(name) != name {
			return subscription{}, errSubscription
		}
	}
	if end.IsZero() {
		return subscription{}, errPeriod
	}
	return found, nil
}

// parseInvoices reads a page of invoices. A page after which there are more ends with
// an invoice to go on from.
func parseInvoices(body []byte) (invoiceList, error) {
	var page invoiceList
	if json.Unmarshal(body, &page) != nil || page.Object != "list" {
		return invoiceList{}, errInvoices
	}
	for _, open := range page.Data {
		if open.ID == "" || open.Created == 0 {
			return invoiceList{}, errInvoices
		}
	}
	if page.HasMore && len(page.Data) == 0 {
		return invoiceList{}, errInvoices
	}
	return page, nil
}

// period returns when the subscription was renewed, until when it is good, and the
// product. The end is zero when Stripe names none.
func (s subscription) period() (begin, end time.Time, product string) {
	begin, end = s.CurrentPeriodStart.time(), s.CurrentPeriodEnd.time()
	for i, listed := range s.Items.Data {
		itemBegin, itemEnd := s.CurrentPeriodStart.time(), s.CurrentPeriodEnd.time()
		if listed.CurrentPeriodEnd != 0 {
			itemBegin, itemEnd = listed.CurrentPeriodStart.time(), listed.CurrentPeriodEnd.time()
		}
		if i == 0 || itemEnd.After(end) {
			begin, end, product = itemBegin, itemEnd, listed.product()
		}
	}
	if begin.IsZero() {
		begin = s.Created.time()
	}
	end = earliest(end, s.CancelAt.time())
	if s.Status == "canceled" || s.Status == "incomplete_expired" {
		end = earliest(end, s.EndedAt.time())
	}
	return begin, end, product
}

// product is what an item sells.
func (i item) product() string {
	for _, name := range []string{string(i.Price.Product), string(i.Plan.Product), i.Price.ID, i.Plan.ID} {
		if name != "" {
			return name
		}
	}
	return ""
}

// cancelReason tells why a subscription that was cancelled is no longer good.
func (s subscription) cancelReason() userkit.PurchaseReason {
	switch s.CancellationDetails.Reason {
	case "payment_failed":
		return userkit.ReasonUnpaid
	case "payment_disputed":
		return userkit.ReasonRevoked
	}
	return userkit.ReasonExpired
}

// raw is the answer, without spaces. Where that is too long, or a database could not
// keep it, it is what was read of it; and nothing where that does not help.
func (s subscription) raw(body []byte) json.RawMessage {
	fits := func(text []byte) bool {
		return len(text) <= userkit.MaxPurchaseRaw && !bytes.Contains(text, []byte(`\u0000`))
	}
	var compact bytes.Buffer
	if json.Compact(&compact, body) == nil && fits(compact.Bytes()) {
		return compact.Bytes()
	}
	if read, err := json.Marshal(s); err == nil && fits(read) {
		return read
	}
	return nil
}

// plain returns text that can be kept as a name; empty for any other.
func plain(text string) string {
	if utf8.RuneCountInString(text) > userkit.MaxPurchaseID || strings.ContainsFunc(text, unicode.IsControl) {
		return ""
	}
	return text
}
