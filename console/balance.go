package console

import (
	"context"
	"net/http"
	"strings"

	"github.com/userkit/userkit"
)

// balancePage is the tab of a user's money.
type balancePage struct {
	*userPage
	List         list
	Transactions []userkit.Transaction
	Key          string // makes the form count once, however often it is sent
	Last         userkit.Transaction
	Cancelled    bool // show cancelled transactions too
}

func (c *console) showBalance(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showBalancePage(v, w, r, http.StatusOK, nil)
}

func (c *console) showBalancePage(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form) error {
	base, err := c.loadUser(v, r, "balance")
	if err != nil {
		return err
	}
	base.Form = refused
	p := balancePage{userPage: base, List: v.newList("", false), Cancelled: v.Query("cancelled") != ""}
	p.Key = refused.Value("key", "console-"+userkit.NewID[userkit.Transaction]().String())
	query := userkit.TransactionQuery{PageQuery: p.List.page()}
	query.UserID, query.IncludeCancelled = base.User.ID, p.Cancelled
	found, err := c.users.Transactions(r.Context(), query)
	if err != nil {
		return err
	}
	p.Transactions = found.Items
	p.List.beside(found.Next, found.Previous)
	for _, transaction := range found.Items {
		if transaction.ID == base.User.LastTransaction {
			p.Last = transaction
		}
	}
	return v.render(w, status, "user_balance", p)
}

// move refills or charges from a dialog.
func (c *console) move(done string, act func(context.Context, userkit.UserID, userkit.Entry) (userkit.Transaction, error)) page {
	return func(v *view, w http.ResponseWriter, r *http.Request) error {
		user, err := c.users.User(r.Context(), userOf(r))
		if err != nil {
			return err
		}
		form := r.PostForm
		entry := userkit.Entry{
			Key:  form.Get("key"),
			Note: strings.TrimSpace(form.Get("note")), Reference: strings.TrimSpace(form.Get("reference")),
		}
		entry.Amount, err = userkit.ParseMoney(strings.Replace(strings.TrimSpace(form.Get("amount")), ",", ".", 1), user.Balance.Currency)
		if err != nil {
			err = userkit.NewError(userkit.ErrorCode(err), "amount", "no amount")
		} else {
			_, err = act(r.Context(), user.ID, entry)
		}
		if err != nil {
			if !shown(err) {
				return err
			}
			return c.showBalancePage(v, w, r, statusOf(err), v.rejected(r, err, "amount", "note", "reference"))
		}
		return v.done(w, "/users/"+user.ID.String()+"/balance", v.T(done))
	}
}

// cancelLast cancels the transaction that the person saw as the last.
func (c *console) cancelLast(v *view, w http.ResponseWriter, r *http.Request) error {
	id, err := userkit.ParseID[userkit.Transaction](r.PostForm.Get("target"))
	if err != nil {
		return userkit.NewError(userkit.CodeTransactionNotFound, "transaction", "no id")
	}
	if _, err := c.users.CancelLast(r.Context(), userOf(r), id); err != nil {
		if !shown(err) {
			return err
		}
		return c.showBalancePage(v, w, r, statusOf(err), v.rejected(r, err))
	}
	return v.done(w, "/users/"+userOf(r).String()+"/balance", v.T("The transaction is cancelled."))
}

// maxMismatches is how many wrong balances a job lists.
const maxMismatches = 100

// verifyBalances adds up the transactions of every user, as a job.
func (c *console) verifyBalances(v *view, w http.ResponseWriter, r *http.Request) error {
	if err := v.costly(); err != nil {
		return err
	}
	started := &job{Kind: "balances", Title: v.T("Check of all balances"), Actor: v.Actor}
	err := c.jobs.start(r.Context(), started, func(ctx context.Context, j *job) error {
		for mismatch, err := range c.users.VerifyBalances(ctx) {
			if err != nil {
				return err
			}
			j.mutex.Lock()
			if j.state.Mismatched++; len(j.state.Mismatches) < maxMismatches {
				j.state.Mismatches = append(j.state.Mismatches, mismatch)
			}
			j.mutex.Unlock()
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	return v.done(w, "/jobs/"+started.ID, "")
}
