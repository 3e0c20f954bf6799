package userkit

import (
	"context"
	"errors"
	"slices"
)

// resolver replaces the segments in a filter by what stores know: lists by their ids, and rules by
// their filters.
type resolver struct {
	ctx         context.Context
	store       Store
	known       map[SegmentID]Segment
	byName      map[string]SegmentID // by SegmentNameKey
	phone       func(Comparison) any // the value of a comparison with a phone
	comparisons int
}

// maxResolved bounds the comparisons of a filter with the rules that it names.
const maxResolved = 4096

// selectUsers returns the selection for the filter of a call, within the scope of its actor.
func (m *manager) selectUsers(ctx context.Context, filter UserFilter) (UserSelection, error) {
	selection, err := m.resolveFilter(ctx, filter)
	selection.Filter = AllOf(selection.Filter, scopeOf(ctx))
	return selection, err
}

// resolveFilter checks a filter, and returns the selection for it.
func (m *manager) resolveFilter(ctx context.Context, filter UserFilter) (UserSelection, error) {
	selection := UserSelection{WithoutDisabled: filter.WithoutDisabled, Moment: filter.Moment}
	if selection.Moment.At.IsZero() {
		selection.Moment.At = m.now()
	}
	if selection.Moment.Zone == nil {
		selection.Moment.Zone = m.zone
	}
	selection.Moment.At = storedTime(selection.Moment.At)
	selection.Moment.Business = m.projectKind == ProjectBusiness
	if err := firstError(checkInput("search", filter.Search), checkTime("moment", selection.Moment.At)); err != nil {
		return UserSelection{}, err
	}
	selection.Search = ParseSearch(filter.Search)
	if term := selection.Search.Term; selection.Search.Digits != "" || phoneDigits(term) != "" {
		selection.Search.Number, _ = m.parsePhone(term)
	}
	checked, err := filter.Filter.check()
	if err != nil {
		return UserSelection{}, err
	}
	r := m.newResolver(ctx)
	if selection.Filter, err = r.resolve(checked); err != nil {
		return UserSelection{}, err
	}
	if filter.Segment.IsZero() {
		return selection, nil
	}
	if err := r.find([]SegmentID{filter.Segment}, nil); err != nil {
		return UserSelection{}, err
	}
	segment, ok := r.known[filter.Segment]
	if !ok {
		return UserSelection{}, NewError(CodeSegmentNotFound, "segment", "no segment %s", filter.Segment)
	}
	if !segment.IsRule() {
		selection.Segment = segment.ID
		return selection, nil
	}
	rule, err := r.resolve(segment.Rule, segment.ID)
	if err != nil {
		return UserSelection{}, err
	}
	selection.Filter = AllOf(selection.Filter, rule)
	return selection, nil
}

func (m *manager) newResolver(ctx context.Context) *resolver {
	return &resolver{ctx: ctx, store: m.store, known: map[SegmentID]Segment{}, byName: map[string]SegmentID{}, phone: m.phoneValue}
}

// find loads the segments that are not known yet.
func (r *resolver) find(ids []SegmentID, names []string) error {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id SegmentID) bool { _, known := r.known[id]; return known })
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, known := r.byName[name]; return known })
	if len(ids)+len(names) == 0 {
		return nil
	}
	found, err := r.store.FindSegments(r.ctx, ids, names)
	for _, segment := range found {
		r.known[segment.ID] = segment
		r.byName[SegmentNameKey(segment.Name)] = segment.ID
	}
	return err
}

// resolve replaces the segments of a checked filter. path are the rules that led
// here.
func (r *resolver) resolve(filter Filter, path ...SegmentID) (Filter, error) {
	named, err := r.name(filter)
	if err != nil {
		return Filter{}, err
	}
	root, err := mapComparisons(named.root, func(c Comparison) (Expression, error) {
		if r.comparisons++; r.comparisons > maxResolved {
			return nil, NewError(CodeTooLong, "filter", "the filter and the rules that it names have more than %d comparisons", maxResolved)
		}
		if c.Field == "phone" {
			c.Value = r.phone(c)
		}
		if c.Field != segmentField {
			return c, nil
		}
		id, _ := ParseID[Segment](c.Value.(string)) // r.name has put it there
		segment := r.known[id]
		if !segment.IsRule() {
			return c, nil
		}
		if slices.Contains(path, id) || len(path) >= MaxFilterDepth {
			return nil, NewError(CodeSegmentCycle, "filter", "the rule of segment %q leads back to it", clip(segment.Name))
		}
		rule, err := r.resolve(segment.Rule, append(slices.Clone(path), id)...)
		if err != nil {
			return nil, inRule(segment, err)
		}
		if c.Operator == OpEqual {
			return rule.root, nil
		}
		return NotExpression{rule.root}, nil
	})
	return Filter{root}, err
}

// inRule adds the name of a segment to an error about its rule.
func inRule(segment Segment, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Field != "filter" {
		return err
	}
	return NewError(e.Code, e.Field, "in the rule of segment %q: %s", clip(segment.Name), e.Message)
}

// name replaces the names of segments in a checked filter by their ids.
func (r *resolver) name(filter Filter) (Filter, error) {
	var ids []SegmentID
	var names []string
	_, err := mapComparisons(filter.root, func(c Comparison) (Expression, error) {
		if c.Field == segmentField {
			text := c.Value.(string)
			if id, err := ParseID[Segment](text); err == nil {
				ids = append(ids, id)
			} else {
				names = append(names, SegmentNameKey(text))
			}
		}
		return c, nil
	})
	if err != nil {
		return Filter{}, err
	}
	if err := r.find(ids, names); err != nil {
		return Filter{}, err
	}
	root, err := mapComparisons(filter.root, func(c Comparison) (Expression, error) {
		if c.Field != segmentField {
			return c, nil
		}
		text := c.Value.(string)
		id, err := ParseID[Segment](text)
		if err != nil {
			id = r.byName[SegmentNameKey(text)]
		}
		if _, ok := r.known[id]; !ok {
			return nil, NewError(CodeUnknownSegment, "filter", "there is no segment %q", clip(text))
		}
		c.Value = id.String()
		return c, nil
	})
	return Filter{root}, err
}
