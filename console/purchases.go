package console

import (
	"cmp"
	"html/template"
	"net/http"

	"github.com/userkit/userkit"
)

// purchasesPage is a table of the purchases of one user or of the project.
type purchasesPage struct {
	*userPage // nil: of the project
	List      list
	Purchase  userkit.Purchase // of the open dialog
	Form      *form
}

func (c *console) showUserPurchases(v *view, w http.ResponseWriter, r *http.Request) error {
	return c.showUserPurchasesPage(v, w, r, http.StatusOK, nil)
}

func (c *console) showUserPurchasesPage(v *view, w http.ResponseWriter, r *http.Request, status int, refused *form) error {
	base, err := c.loadUser(v, r, "purchases")
	if err != nil {
		return err
	}
	base.Form = refused
	p := purchasesPage{userPage: base, Form: refused, List: v.newList("purchased_at", true)}
	query := userkit.PurchaseQuery{PageQuery: p.List.page()}
	query.UserID = base.User.ID
	found, err := c.users.Purchases(r.Context(), query)
	if err != nil {
		return err
	}
	p.List.beside(found.Next, found.Previous)
	p.fill(v, found.Items, nil)
	if base.Target != "" {
		if p.Purchase, err = c.purchaseOf(r, base.User.ID, base.Target); err != nil {
			return err
		}
	}
	return v.render(w, status, "user_purchases", p)
}

// fill makes the table of purchases; people are the users who made them, for the table of the project.
func (p *purchasesPage) fill(v *view, purchases []userkit.Purchase, people names) {
	type purchase = userkit.Purchase
	l, user := p.List, p.userPage
	var columns []tableColumn[purchase]
	if user == nil {
		columns = append(columns, userColumn(v, people, v.T("User"), "purchases", func(p *purchase) userkit.UserID { return p.UserID }))
	}
	columns = append(columns, []tableColumn[purchase]{
		{l.sorted("product_id", v.T("Product")), "", func(p *purchase) template.HTML {
			product := `<b>` + escaped(p.ProductID) + `</b>`
			if p.Trial {
				product += " " + badge("plain", v.T("Trial"))
			}
			if p.Environment == userkit.Sandbox {
				product += " " + badge("warn", v.T("Sandbox"))
			}
			return product
		}},
		{l.sorted("store", v.T("Store")), "", func(p *purchase) template.HTML { return escaped(v.Label(p.Store)) }},
		{l.sorted("active", v.T("State")), "", func(p *purchase) template.HTML {
			if p.Active {
				return badge("good", v.T("Active"))
			}
			return v.Badge(p.Reason)
		}},
		{l.sorted("purchased_at", v.T("Purchased")), "", func(p *purchase) template.HTML { return v.Time(p.PurchasedAt) }},
		{l.sorted("expires_at", v.T("Expires")), "", func(p *purchase) template.HTML { return v.Time(p.ExpiresAt) }},
		{l.sorted("transaction_id", v.T("Transaction")), "mono", func(p *purchase) template.HTML { return escaped(cmp.Or(p.TransactionID, p.StableID)) }},
		{l.sorted("verified_at", v.T("Verified")), "", func(p *purchase) template.HTML { return v.Ago(p.VerifiedAt) }},
	}...)
	if user != nil {
		columns = append(columns, tableColumn[purchase]{hidden(v.T("Actions")), "number", func(p *purchase) template.HTML {
			id := p.ID.String()
			var actions template.HTML
			if v.May("purchases.get", p.ID) {
				actions += v.action("info", v.T("The store’s answer"), p.ProductID, user.Dialog("raw", id))
			}
			switch {
			case p.Active && v.May("purchases.deactivate", p.ID):
				actions += v.action("ban", v.T("Deactivate"), p.ProductID, user.Dialog("deactivate-purchase", id))
			case !p.Active && v.May("purchases.activate", p.ID):
				actions += v.action("check", v.T("Activate"), p.ProductID, user.Dialog("activate-purchase", id))
			}
			return actions
		}})
	}
	p.List.Table = table[purchase]{label: v.T("Purchases"), columns: columns}.of(purchases)
}

// purchaseOf reads a purchase of a user. It does not find a purchase of another user.
func (c *console) purchaseOf(r *http.Request, user userkit.UserID, text string) (userkit.Purchase, error) {
	id, err := userkit.ParseID[userkit.Purchase](text)
	if err != nil {
		return userkit.Purchase{}, userkit.NewError(userkit.CodePurchaseNotFound, "purchase", "no id")
	}
	purchase, err := c.users.Purchase(r.Context(), id)
	if err == nil && purchase.UserID != user {
		err = userkit.NewError(userkit.CodePurchaseNotFound, "purchase", "of another user")
	}
	return purchase, err
}

// actOnPurchase returns a page that acts on the purchase of a dialog.
func (c *console) actOnPurchase(done string, act func(r *http.Request, id userkit.PurchaseID) error) page {
	return func(v *view, w http.ResponseWriter, r *http.Request) error {
		purchase, err := c.purchaseOf(r, userOf(r), r.PostForm.Get("target"))
		if err != nil {
			return err
		}
		if err := act(r, purchase.ID); err != nil {
			if !shown(err) {
				return err
			}
			return c.showUserPurchasesPage(v, w, r, statusOf(err), v.rejected(r, err))
		}
		return v.done(w, "/users/"+userOf(r).String()+"/purchases", v.T(done))
	}
}

// showPurchases shows the purchases of the project.
func (c *console) showPurchases(v *view, w http.ResponseWriter, r *http.Request) error {
	v.Title = v.T("Purchases")
	p := purchasesPage{List: v.newList("purchased_at", true)}
	query := userkit.PurchaseQuery{PageQuery: p.List.page()}
	query.OnlyActive = v.Query("all") == ""
	query.Store = v.Query("store")
	found, err := c.users.Purchases(r.Context(), query)
	if err != nil {
		return err
	}
	p.List.beside(found.Next, found.Previous)
	people, err := namesIn(c, r, found.Items, func(p *userkit.Purchase) userkit.UserID { return p.UserID })
	if err != nil {
		return err
	}
	p.fill(v, found.Items, people)
	return v.render(w, http.StatusOK, "purchases", purchasesView{v, p})
}

// purchasesView is the page of the project's purchases.
type purchasesView struct {
	*view
	Page purchasesPage
}
