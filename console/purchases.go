package console

import (
	"net/http"

	"github.com/userkit/userkit"
)

// purchasesPage is a table of purchases: of one user, or those of the project.
type purchasesPage struct {
	*userPage // nil: of the project
	List      list
	Rows      []purchaseRow
	People    map[userkit.UserID]userkit.User
	Purchase  userkit.Purchase // of the open dialog
	Form      *form
}

type purchaseRow struct{ userkit.Purchase }

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
	for _, purchase := range found.Items {
		p.Rows = append(p.Rows, purchaseRow{purchase})
	}
	if base.Target != "" {
		if p.Purchase, err = c.purchaseOf(r, base.User.ID, base.Target); err != nil {
			return err
		}
	}
	return v.render(w, status, "user_purchases", p)
}

// purchaseOf reads a purchase of a user; that of another user is not found.
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

// actOnPurchase is an action on the purchase that a dialog is about.
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
	var ids []userkit.UserID
	for _, purchase := range found.Items {
		p.Rows = append(p.Rows, purchaseRow{purchase})
		ids = append(ids, purchase.UserID)
	}
	if p.People, err = c.people(r, ids); err != nil {
		return err
	}
	return v.render(w, http.StatusOK, "purchases", purchasesView{v, p})
}

// purchasesView is the page of the project's purchases.
type purchasesView struct {
	*view
	Page purchasesPage
}
