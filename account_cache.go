package userkit

import "sync"

// accountCache remembers the accounts of users that this manager changed last, so that a change
// that depends only on the account (a refill, a charge) needs no load.
//
// An account in it may be out of date: other processes change users too. That does no harm, because
// a change commits only on the version that it was decided from: success proves that the account
// was right. A result that no commit proves, such as a refusal or a call that writes nothing, never
// comes from the cache.
type accountCache struct {
	most int

	mu       sync.Mutex
	accounts map[UserID]Account
	doubt    int // how many uses with idempotency keys are declined
}

// maxDoubt is how many uses are declined after a key turned out to be in use. A key that is in use
// is found either by a load or by a commit that fails. The latter costs more, so loads are better
// while callers repeat themselves.
const maxDoubt = 1000

func newAccountCache(most int) *accountCache {
	return &accountCache{most: most, accounts: map[UserID]Account{}}
}

// get returns the account for a task, if the account is all that it wants.
func (c *accountCache) get(t *task) (Account, bool) {
	keyed := false
	for _, command := range t.commands {
		if !command.restsOnAccount() {
			return Account{}, false
		}
		keyed = keyed || len(command.want.TransactionKeys) > 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	account, found := c.accounts[t.user]
	if found && keyed && c.doubt > 0 {
		c.doubt--
		found = false
	}
	return account, found
}

// restsOnAccount reports whether a command can be decided from the account. The keys that it asks
// about are unique in the store, which reports them at the commit.
func (c *command) restsOnAccount() bool {
	w := &c.want
	if c.mustLoad || c.creates || len(c.events) > 0 || w.Profile || w.RowCounts {
		return false
	}
	for i := range recordKinds {
		if recordKinds[i].asks(w) {
			return false
		}
	}
	return true
}

// put remembers what a commit has made of an account.
func (c *accountCache) put(change *Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if change.Delete {
		delete(c.accounts, change.User)
		return
	}
	if _, known := c.accounts[change.User]; !known && len(c.accounts) >= c.most {
		for other := range c.accounts { // any one: the order of a map is random
			delete(c.accounts, other)
			break
		}
	}
	if c.most > 0 {
		c.accounts[change.User] = change.Account
	}
}

// forget drops an account that is out of date, or may be.
func (c *accountCache) forget(user UserID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.accounts, user)
}

// mistrust declines keyed uses for a while.
func (c *accountCache) mistrust() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubt = maxDoubt
}
