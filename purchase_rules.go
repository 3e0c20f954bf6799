package userkit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The times at which a purchase is verified.
const (
	verifyEvery     = 24 * time.Hour
	verifyAfterEnd  = time.Minute // after the expiration, when the renewal is known to the store
	verifyLostFor   = 60 * 24 * time.Hour
	verifyPausedFor = 100 * 24 * time.Hour // Google Play lets a customer pause for up to three months
	unknownFor      = 14 * 24 * time.Hour  // after its end, or after it was submitted, for a purchase that its store does not know
	maxClockAhead   = 5 * time.Minute
	firstBackOff    = time.Minute
	longestBackOff  = 6 * time.Hour
	longestRetryAt  = 24 * time.Hour // a store that names a later time is still asked by then
)

// verification is a verdict on its way through the rules.
type verification struct {
	receipt Receipt
	verdict Verdict
	grace   time.Duration
	jitter  float64 // random, from 0 to 1; drawn beforehand, since rules are pure

	holds    bool // the user had the purchase already when it was shown
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

// identified reports whether the store of a purchase has said what it is.
func (p *Purchase) identified() bool { return !strings.HasPrefix(p.StableID, provisional) }

// check returns the verdict as it can be kept: what a verifier must not return
// counts as undecided.
func (v Verdict) check() Verdict {
	broken := func(format string, args ...any) Verdict {
		return Undecided(fmt.Errorf("the verifier returned "+format, args...), time.Time{})
	}
	facts := &v.Facts
	facts.PurchasedAt, facts.ExpiresAt, facts.At = storedTime(facts.PurchasedAt), storedTime(facts.ExpiresAt), storedTime(facts.At)
	facts.Items = slices.Clone(facts.Items)
	for i := range facts.Items {
		facts.Items[i].ExpiresAt = storedTime(facts.Items[i].ExpiresAt)
	}
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
		return broken("the unknown outcome %q", clip(string(v.Outcome)))
	}
	err := firstError(
		checkLine("stable_id", facts.StableID, MaxPurchaseID), checkLine("transaction_id", facts.TransactionID, MaxPurchaseID),
		checkLine("product_id", facts.ProductID, MaxPurchaseID), checkTime("purchased_at", facts.PurchasedAt),
		checkTime("expires_at", facts.ExpiresAt), checkTime("at", facts.At), checkTime("ask_at", v.AskAt),
	)
	for _, item := range facts.Items[:min(len(facts.Items), MaxPurchaseItems)] {
		err = firstError(err, checkLine("product_id", item.ProductID, MaxPurchaseID), checkTime("expires_at", item.ExpiresAt))
	}
	for _, id := range facts.Supersedes[:min(len(facts.Supersedes), MaxSuperseded)] {
		err = firstError(err, checkLine("supersedes", id, MaxPurchaseID))
	}
	switch {
	case err != nil:
		return broken("facts that cannot be kept: %w", err)
	case len(facts.Items) > MaxPurchaseItems:
		return broken("%d items", len(facts.Items))
	case len(facts.Supersedes) > MaxSuperseded:
		return broken("%d purchases that were replaced", len(facts.Supersedes))
	case facts.Environment != Production && facts.Environment != Sandbox:
		return broken("the unknown environment %q", clip(string(facts.Environment)))
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

// judge turns the verdict on a purchase that is good for its store, but not for this user, into an
// invalid one. stranger reports that it is for another user.
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

// told reports whether a purchase was accepted with the account token that the store names now:
// then the extref now belongs to another user, and the purchase stays where it is.
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
	if at < 0 && v.holds { // it has been transferred meanwhile, so the user no longer has a claim to it
		v.verdict = Invalid(ReasonAccount, v.verdict.Facts)
	}
	if at < 0 && v.verdict.Outcome == VerdictInvalid {
		return v.link(state, o)
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

	// A receipt that waited may turn out to be a known purchase.
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
	if (at < 0 || !before.identified() && twin < 0) && !v.moves {
		v.withhold(state, &after)
		c.putPurchase(after)
	}
	superseded, replaced := supersede(state, &c, after, v.grace, o.now)
	if replaced {
		after.Active, after.DueAt = false, time.Time{}
		if after.Reason = ReasonSuperseded; before.Reason == ReasonDeactivated {
			after.Reason = ReasonDeactivated
		}
		c.putPurchase(after)
	}
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
	return NewError(CodePurchaseDeactivated, "", "an administrator has deactivated this purchase")
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
	err := NewError(CodePurchaseUndecided, "", "the store %s does not confirm or refuse the purchase now", v.receipt.Store)
	err.Until = v.verdict.RetryAt
	return err
}

// refusal is the error of a purchase that is not good.
func (v verification) refusal() error {
	err := NewError(CodePurchaseInvalid, "", "the store %s refuses the purchase: %s", v.receipt.Store, v.verdict.Reason)
	err.Reason = v.verdict.Reason
	return err
}

// become returns the purchase with the verdict applied.
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
	// An answer that is older than the known facts tells nothing new.
	if news := !facts.At.Before(noLater(p.FactsAt, now)); news || p.FactsAt.IsZero() {
		if facts.StableID != "" {
			before := p
			p.takeFacts(facts)
			// A purchase that turned out not to be the user's must not be kept from others.
			if v.verdict.Outcome != VerdictValid && !before.identified() {
				p.StableID = before.StableID
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
	if p.Reason != ReasonDeactivated && !v.verdict.AskAt.IsZero() {
		p.DueAt = p.dueAsked(v.verdict.AskAt, now, v.jitter)
	}
	if v.verdict.Outcome == VerdictInvalid && v.verdict.Final {
		p.DueAt = time.Time{}
	}
	return p
}

// noLater returns as of when facts are: now, where their store does not say or has a clock
// that is far ahead. Facts from the future would keep out all that come until then.
func noLater(at, now time.Time) time.Time {
	if at.IsZero() || at.After(now.Add(maxClockAhead)) {
		return now
	}
	return at
}

// weak reports whether a reason may as well be a fault of the configuration (a wrong key, another
// application, another root) as a fact about the purchase. Such a reason does not end a purchase
// before its own end.
func (r PurchaseReason) weak() bool {
	return r == ReasonNotFound || r == ReasonForged || r == ReasonWrongApp
}

// unknown returns the purchase that its store does not know now. It stays as it is, and the store
// is asked again with the back-off for undecided answers. When the purchase expires, it ends, and
// the store is asked about it for some more days.
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
	p.takeSupersedes(facts)
	p.Items = facts.Items
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

// takeSupersedes adds the purchases that facts say were replaced to those that are known: a
// replacement remains true even if the store reports it only for a while. The newest are kept.
func (p *Purchase) takeSupersedes(facts PurchaseFacts) {
	var known []string
	if facts.StableID == p.StableID {
		known = p.Supersedes
	}
	all := slices.Clone(facts.Supersedes)
	for _, id := range known {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	p.Supersedes = all[:min(len(all), MaxSuperseded)]
}

// nextDue returns the time at which a purchase is verified again after its store has answered. Zero
// means that it is not verified again by itself.
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
	if end := p.nextEnd(now).Add(verifyAfterEnd + time.Duration(jitter*float64(verifyAfterEnd))); !p.ExpiresAt.IsZero() && end.Before(due) {
		// A store that still calls it good after its end is asked again soon.
		due = end
		if soon := now.Add(verifyAfterEnd); due.Before(soon) {
			due = soon
		}
	}
	return storedTime(due)
}

// nextEnd returns when the next part of the purchase ends, or else the whole of it.
func (p Purchase) nextEnd(now time.Time) time.Time {
	next := p.ExpiresAt
	for _, item := range p.Items {
		if item.ExpiresAt.After(now) && item.ExpiresAt.Before(next) {
			next = item.ExpiresAt
		}
	}
	return next
}

// dueAsked returns when a purchase is verified again whose store has named a moment: shortly after
// it. If nothing has changed by then, the store is asked again, soon at first.
func (p Purchase) dueAsked(askAt, now time.Time, jitter float64) time.Time {
	due := earliest(askAt.Add(verifyAfterEnd+time.Duration(jitter*float64(verifyAfterEnd))), now.Add(longestAskAt))
	switch {
	case p.Active && !due.After(now):
		return p.DueAt
	case p.Active:
		return storedTime(earliest(due, p.DueAt))
	case due.After(now):
		return storedTime(due)
	case p.DueAt.IsZero():
		return p.DueAt
	}
	return storedTime(earliest(now.Add(max(now.Sub(askAt), verifyAfterEnd)), p.DueAt))
}

// acknowledgeAgain returns when to tell the store again that a purchase was granted, the later
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

// retryAt returns the time at which a store whose answer was undecided is asked again.
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

// replaces reports whether a purchase has replaced another one according to their store. It cannot
// have replaced one that was bought after it.
func (p *Purchase) replaces(other *Purchase) bool {
	return p.ID != other.ID && p.Store == other.Store && !other.PurchasedAt.After(p.PurchasedAt) &&
		slices.Contains(p.Supersedes, other.StableID)
}

// overtaken finds, among the purchases of a user, those that active ones have replaced,
// directly or by others in between, in whatever order they came. Of two that have replaced
// each other, the first of rows stays.
func overtaken(rows []Purchase, grace time.Duration, now time.Time) []bool {
	over := make([]bool, len(rows))
	for i := range rows {
		if over[i] || !rows[i].Active || i > 0 && !rows[i].ActiveAt(now, grace) {
			continue
		}
		for reached := []int{i}; len(reached) > 0; reached = reached[1:] {
			for j := range rows {
				if j != i && !over[j] && rows[reached[0]].replaces(&rows[j]) {
					over[j] = true
					reached = append(reached, j)
				}
			}
		}
	}
	return over
}

// supersede ends the purchases of the user that were replaced, now that a change has made one what
// it is. replaced reports whether it is one of them itself; the others are in superseded.
func supersede(state *State, c *Change, changed Purchase, grace time.Duration, now time.Time) (superseded []PurchaseID, replaced bool) {
	rows := c.Purchases.apply(slices.Clone(state.Purchases), purchaseID)
	if at := indexID(rows, changed.ID, purchaseID); at >= 0 {
		rows[0], rows[at] = rows[at], rows[0]
	} else {
		rows = slices.Insert(rows, 0, changed)
	}
	over := overtaken(rows, grace, now)
	for i, p := range rows[1:] {
		if over[i+1] && p.Active {
			p.Active, p.Reason, p.DueAt, p.UpdatedAt = false, ReasonSuperseded, time.Time{}, latest(p.UpdatedAt, now)
			c.Purchases.Update = append(c.Purchases.Update, p)
			superseded = append(superseded, p.ID)
		}
	}
	return superseded, over[0] && rows[0].Active
}

// link decides about a purchase that is not kept, since another one has replaced it. It may
// be the one in between that tells of two others that the newer has replaced the older.
func (v verification) link(state *State, o origin) (Purchase, Change, error) {
	between := Purchase{Store: v.receipt.Store}
	c := state.change()
	var superseded []PurchaseID
	if v.verdict.Reason == ReasonSuperseded {
		between.takeFacts(v.verdict.Facts)
		superseded, _ = supersede(state, &c, between, v.grace, o.now)
	}
	if len(superseded) == 0 {
		return Purchase{}, Change{}, v.refusal()
	}
	c.countPurchases(state, v.grace)
	ended := c.Purchases.Update[0]
	o.record(&c, EventPurchaseDeactivated, DeviceID{}, "purchase_id", ended.ID.String(), "store", ended.Store, "product_id", ended.ProductID,
		"active", false, "reason", ended.Reason, "superseded", superseded)
	return between, c, nil
}

// countPurchases updates the account's figures on purchases for a change.
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

// purchaseEvent returns the event of a verification, and reports whether there is one: a
// verification that changed nothing has none.
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
		before.ProductID != after.ProductID || !before.ExpiresAt.Equal(after.ExpiresAt) || before.Trial != after.Trial ||
		!slices.EqualFunc(before.Items, after.Items, func(a, b PurchaseItem) bool {
			return a.ProductID == b.ProductID && a.Trial == b.Trial && a.ExpiresAt.Equal(b.ExpiresAt)
		})
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

// updatePurchase decides a change of a purchase that writes no event.
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
