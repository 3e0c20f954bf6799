package main

import (
	"cmp"
	"context"
	"strings"

	"github.com/userkit/userkit"
)

// The chapters about many users at once: filters, segments and a bulk action.

func (s *story) moreCustomers(ctx context.Context) error {
	s.chapter(monday(11, 0), "Four more customers come, with attributes of the service's own")
	for _, customer := range []userkit.NewUser{
		{Login: "ben", Name: "Ben Okri", Country: "GB", ExpiresAt: tuesday(0, 0), Attributes: userkit.Attributes{"plan": "trial"}},
		{Login: "chloe", Name: "Chloé Lovell", Country: "FR", Attributes: userkit.Attributes{"plan": "team", "seats": 5}},
		{Login: "dmitry", Name: "Dmitry", Country: "BY", ExpiresAt: tuesday(0, 0), Attributes: userkit.Attributes{"plan": "trial"}},
		{Login: "eva", Name: "Eva", Country: "DE", Attributes: userkit.Attributes{"plan": "team", "seats": 25}},
	} {
		user, err := s.users.CreateUser(ctx, customer)
		if err != nil {
			return err
		}
		until := ""
		if !user.ExpiresAt.IsZero() {
			until = ", until " + moment(user.ExpiresAt)
		}
		s.say(user.Login, "%s from %s, plan %s%s", user.Name, user.Country, user.Attributes["plan"], until)
	}
	return nil
}

func (s *story) findCustomers(ctx context.Context) error {
	s.chapter(monday(11, 30), "Olga of the staff looks for people")
	// Capitals, accents and what stands around do not matter to a search.
	if err := s.list(ctx, "\"LOVE\"", userkit.UserFilter{Search: "LOVE"}); err != nil {
		return err
	}

	text := `country eq "GB" or attributes.plan eq "team" and attributes.seats ge 10`
	filter, err := userkit.ParseFilter(text)
	if err != nil {
		return err
	}
	s.say("filter", "%s", text)
	if err := s.list(ctx, "finds", userkit.UserFilter{Filter: filter}); err != nil {
		return err
	}

	_, err = userkit.ParseFilter(`plan eq "team"`) // "plan" is no field: attributes.plan is
	return s.refused("a slip", userkit.CodeUnknownField, err)
}

func (s *story) makeSegments(ctx context.Context) (err error) {
	s.chapter(monday(12, 0), "She makes two segments: a list, and a rule")
	ctx = by(ctx, userkit.ActorAdministrator, "olga")
	s.testers, err = s.users.CreateSegment(ctx, userkit.NewSegment{Name: "Testers"})
	if err != nil {
		return err
	}
	for _, login := range []string{"ada", "eva"} {
		user, err := s.users.FindUser(ctx, userkit.ByLogin(login))
		if err != nil {
			return err
		}
		if err := s.users.AddToSegments(ctx, user.ID, s.testers.ID); err != nil {
			return err
		}
	}

	rule, err := userkit.ParseFilter(`access eq "traffic_limit" or access eq "user_expired"`)
	if err != nil {
		return err
	}
	s.lockedOut, err = s.users.CreateSegment(ctx, userkit.NewSegment{Name: "Locked out", Rule: rule})
	if err != nil {
		return err
	}
	s.say("rule", "%s", s.lockedOut.Rule)
	return s.listSegments(ctx)
}

func (s *story) askRule(ctx context.Context) error {
	s.chapter(monday(14, 5), "Ada's traffic is used up, so she is in the rule's segment")
	if err := s.listSegments(ctx); err != nil {
		return err
	}
	segments, err := s.users.UserSegments(ctx, s.ada.ID)
	if err != nil {
		return err
	}
	for _, segment := range segments {
		s.say("ada is in", "%s", segment.Name)
	}
	return nil
}

func (s *story) askRuleAgain(ctx context.Context) error {
	s.chapter(tuesday(9, 30), "The same question a day later; no job had to run for that either")
	return s.listSegments(ctx)
}

func (s *story) closeTrials(ctx context.Context) error {
	s.chapter(tuesday(10, 30), "Olga disables those who are locked out, all at once")
	ctx = by(ctx, userkit.ActorAdministrator, "olga")
	request := userkit.BulkRequest{
		Action: userkit.BulkDeactivate,
		Users:  userkit.UserFilter{Segment: s.lockedOut.ID},
	}
	preview, err := s.users.PreviewBulk(ctx, request)
	if err != nil {
		return err
	}
	s.say("preview", "%d users", preview.Users)

	// Before she presses the button, Dmitry buys a year.
	s.clock.set(tuesday(10, 31))
	dmitry, err := s.users.FindUser(ctx, userkit.ByLogin("dmitry"))
	if err != nil {
		return err
	}
	_, err = s.users.UpdateUser(ctx, dmitry.ID, userkit.UserPatch{
		ExpiresAt:     userkit.Set(tuesday(10, 31).AddDate(1, 0, 0)),
		SetAttributes: userkit.Attributes{"plan": "pro"},
	})
	if err != nil {
		return err
	}
	s.say("dmitry", "buys a year")

	s.clock.set(tuesday(10, 32))
	_, err = s.users.ExecuteBulk(ctx, request, preview.Token, nil)
	if err = s.refused("her button", userkit.CodeAudienceChanged, err); err != nil {
		return err
	}
	if preview, err = s.users.PreviewBulk(ctx, request); err != nil {
		return err
	}
	s.say("preview", "%d user", preview.Users)
	result, err := s.users.ExecuteBulk(ctx, request, preview.Token, nil)
	if err != nil {
		return err
	}
	s.say("her button", "%d changed, %d failed", result.Changed, result.Failed)
	return nil
}

// listSegments prints who is in the two segments now.
func (s *story) listSegments(ctx context.Context) error {
	for _, segment := range []userkit.Segment{s.testers, s.lockedOut} {
		if err := s.list(ctx, segment.Name, userkit.UserFilter{Segment: segment.ID}); err != nil {
			return err
		}
	}
	return nil
}

// list prints the logins of the users of a filter.
func (s *story) list(ctx context.Context, label string, filter userkit.UserFilter) error {
	var logins []string
	for user, err := range s.users.AllUsers(ctx, userkit.UserQuery{UserFilter: filter}) {
		if err != nil {
			return err
		}
		logins = append(logins, user.Login)
	}
	s.say(label, "%s", cmp.Or(strings.Join(logins, ", "), "nobody"))
	return nil
}
