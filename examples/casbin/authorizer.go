package main

import (
	"context"
	"fmt"

	"github.com/casbin/casbin/v3"

	"github.com/userkit/userkit"
)

// everybody is the object of policies that are about all users.
const everybody = "everybody"

// Authorizer asks casbin what an actor may do. The objects of its policies are filters of
// users: casbin is asked about each of them, and the actor may do the operation for the
// users who meet one of those that casbin allows. What allows something, such as roles in
// roles or times of the day, is the model's to say.
type Authorizer struct {
	enforcer *casbin.SyncedEnforcer
}

// NewAuthorizer returns an authorizer by an enforcer with the definitions of model.conf for
// requests and policies. It returns an error for a policy with an object that is no filter.
func NewAuthorizer(enforcer *casbin.SyncedEnforcer) (*Authorizer, error) {
	filters, err := enforcer.GetAllNamedObjects("p")
	if err != nil {
		return nil, err
	}
	for _, text := range filters {
		if _, err := parseScope(text); err != nil {
			return nil, err
		}
	}
	return &Authorizer{enforcer: enforcer}, nil
}

// Authorize implements userkit.Authorizer. A policy that has changed since NewAuthorizer
// holds at once; if its object is no filter, the calls that it would allow fail.
func (a *Authorizer) Authorize(_ context.Context, request userkit.AuthorizationRequest) (userkit.Authorization, error) {
	filters, err := a.enforcer.GetAllNamedObjects("p")
	if err != nil {
		return userkit.Authorization{}, err
	}
	kind := "read"
	if request.Operation.Changes {
		kind = "change"
	}
	questions := make([][]any, len(filters))
	for i, filter := range filters {
		questions[i] = []any{subject(request.Actor), filter, request.Operation.Name, kind}
	}
	answers, err := a.enforcer.BatchEnforce(questions)
	if err != nil {
		return userkit.Authorization{}, err
	}
	var scopes []userkit.Filter
	for i, allowed := range answers {
		if !allowed {
			continue
		}
		scope, err := parseScope(filters[i])
		if err != nil {
			return userkit.Authorization{}, err
		}
		if scope.IsZero() {
			return userkit.Authorization{Allowed: true}, nil
		}
		scopes = append(scopes, scope)
	}
	return userkit.Authorization{Allowed: len(scopes) > 0, Scope: userkit.AnyOf(scopes...)}, nil
}

// subject returns the name that an actor has in policies. It begins with the kind, so that
// no user is taken for an administrator of the same id, and no actor for a role.
func subject(actor userkit.Actor) string {
	return string(actor.Kind) + ":" + actor.ID
}

// parseScope reads the filter of a policy. The zero filter means all users, so that a
// policy has to say it: an empty text is an error.
func parseScope(text string) (userkit.Filter, error) {
	if text == everybody {
		return userkit.Filter{}, nil
	}
	scope, err := userkit.ParseFilter(text)
	if err != nil {
		return userkit.Filter{}, fmt.Errorf("the filter of a policy, %q: %w", text, err)
	}
	if scope.IsZero() {
		return userkit.Filter{}, fmt.Errorf("the filter of a policy is empty: for all users it is %q", everybody)
	}
	return scope, nil
}
