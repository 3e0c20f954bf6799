package console

import (
	"context"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/userkit/userkit"
)

// balancePage is the tab that shows the balance of a user.
type balancePage struct {
	*userPage
	List      list
	Key       string // makes the form count once, however often it is sent
	Last      userkit.Transaction
	Cancelled bool // show cancelled transactions too
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
	p.List.beside(found.Next, found.Previous)
	p.fill(found.Items)
	for _, transaction := range found.Items {
		if transaction.ID == base.User.LastTransaction {
			p.Last = transaction
		}
	}
	return v.render(w, status, "user_balance", p)
}

// fill makes the table of transactions.
func (p *balancePage) fill(transactions []userkit.Transaction) {
	type transaction = userkit.Transaction
	v := p.view
	p.List.Table = table[transaction]{label: v.T("Transactions"), columns: []tableColumn[transaction]{
		{plain("№"), "", func(t *transaction) template.HTML { return escaped(strconv.FormatInt(t.Sequence, 10)) }},
		{plain(v.T("When")), "", func(t *transaction) template.HTML { return v.Time(t.At) }},
		{plain(v.T("Kind")), "", func(t *transaction) template.HTML {
			kind := v.Badge(t.Kind)
			if t.Cancelled() {
				kind += ` <span class="badge" title="` + escaped(v.Who(t.CancelledBy)+" · "+v.At(t.CancelledAt)) + `">` + escaped(v.T("Cancelled")) + `</span>`
			}
			return kind
		}},
		{plain(v.T("Amount")), "number", func(t *transaction) template.HTML {
			amount := escaped(v.Money(t.Amount))
			switch {
			case t.Cancelled():
				return `<s>` + amount + `</s>`
			case t.Delta() < 0:
				return "−" + amount
			}
			return "+" + amount
		}},
		{plain(v.T("Balance afterwards")), "number", func(t *transaction) template.HTML { return escaped(v.Money(t.Balance)) }},
		{plain(v.T("Note")), "wrap", func(t *transaction) template.HTML { return brief(t.Note) }},
		{plain(v.T("Reference")), "", func(t *transaction) template.HTML { return isolated(t.Reference) }},
		{plain(v.T("By")), "", func(t *transaction) template.HTML { return v.By(t.Actor) }},
		{hidden(v.T("Actions")), "number", func(t *transaction) template.HTML {
			if t.ID != p.User.LastTransaction || !p.Can("balance.cancel_last") {
				return ""
			}
			return `<a class="button quiet small" href="` + escaped(p.Dialog("cancel", t.ID.String())) + `">` + v.Icon("undo-2") + escaped(v.T("Cancel it")) + `</a>`
		}},
	}}.of(transactions)
}

// move returns a page that refills or charges a balance with what was typed into a dialog.
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

// verifyBalances starts a job that adds up the transactions of every user.
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
