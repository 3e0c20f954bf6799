// Command casbin shows how casbin says what the staff of a project may do: an adaptor,
// in authorizer.go, between its policies and userkit.WithAuthorizer, for hosts that keep
// their policies in casbin already. A host without one finds userkit.NewRoles simpler.
//
//	go -C examples/casbin run .
//
// A model (model.conf) says how policies are read, and policies (policy.csv) say which
// roles may do which operations for which users. Who has which role is a policy as well.
// The names of the operations are those of userkit.Operations. A policy is about the users
// who meet a filter, so that whoever may see the German users gets a list of those, page
// by page, as fast as any filtered list; no user is read to be left out afterwards.
//
// It is a Go module of its own, so that hosts without casbin get nothing of it. A host that
// wants it copies authorizer.go.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/casbin/casbin/v3"
	"github.com/casbin/casbin/v3/model"
	"github.com/casbin/casbin/v3/persist"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/store/memory"
)

var (
	//go:embed model.conf
	modelText string
	//go:embed policy.csv
	policyText string
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// newEnforcer returns an enforcer of policies in the form of policy.csv. A host reads them
// with one of casbin's adapters for databases.
func newEnforcer(policies string) (*casbin.SyncedEnforcer, error) {
	rules, err := model.NewModelFromString(modelText)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(policies) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := persist.LoadPolicyLine(line, rules); err != nil {
			return nil, fmt.Errorf("policy %q: %w", line, err)
		}
	}
	enforcer, err := casbin.NewSyncedEnforcer(rules)
	if err != nil {
		return nil, err
	}
	return enforcer, enforcer.BuildRoleLinks()
}

// run makes a project of three users and prints what its staff sees.
func run(ctx context.Context, out io.Writer) error {
	enforcer, err := newEnforcer(policyText)
	if err != nil {
		return err
	}
	authorizer, err := NewAuthorizer(enforcer)
	if err != nil {
		return err
	}
	users, err := userkit.New(memory.New(), userkit.WithAuthorizer(authorizer))
	if err != nil {
		return err
	}
	defer users.Close(ctx)
	for _, user := range []userkit.NewUser{
		{Login: "ada", Country: "GB"},
		{Login: "emmy", Country: "DE"},
		{Login: "sofya", Country: "RU", Attributes: userkit.Attributes{"callback": true}},
	} {
		if _, err := users.CreateUser(ctx, user); err != nil {
			return err
		}
	}

	for _, name := range []string{"noor", "emil", "mallory"} {
		staff := userkit.WithActor(ctx, userkit.Actor{Kind: userkit.ActorAdministrator, ID: name})
		fmt.Fprintf(out, "%s:\n", name)
		page, err := users.Users(staff, userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: "login"}})
		if errors.Is(err, userkit.ErrForbidden) {
			fmt.Fprintln(out, "  sees no list of users:", userkit.ErrorCode(err))
			continue
		}
		if err != nil {
			return err
		}
		for _, user := range page.Items {
			_, err := users.UpdateUser(staff, user.ID, userkit.UserPatch{Name: userkit.Set("Edited by " + name)})
			switch {
			case err == nil:
				fmt.Fprintf(out, "  sees and edits %s\n", user.Login)
			case errors.Is(err, userkit.ErrForbidden):
				fmt.Fprintf(out, "  sees %s and may not edit it: %s\n", user.Login, userkit.ErrorCode(err))
			default:
				return err
			}
		}
	}
	return nil
}
