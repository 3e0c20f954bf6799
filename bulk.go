package userkit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// BulkAction is what a bulk action does to each of its users.
type BulkAction string

// The bulk actions.
const (
	BulkActivate          BulkAction = "activate"            // ActivateUser
	BulkDeactivate        BulkAction = "deactivate"          // DeactivateUser
	BulkDelete            BulkAction = "delete"              // DeleteUser
	BulkAddToSegments     BulkAction = "add_to_segments"     // AddToSegments, of BulkRequest.Segments
	BulkRemoveFromSegment BulkAction = "remove_from_segment" // RemoveFromSegment, of the one of BulkRequest.Segments
	BulkSendMessage       BulkAction = "send_message"        // SendMessage, of BulkRequest.Message
	BulkSetLicense        BulkAction = "set_license"         // SetLicense, to BulkRequest.License
	BulkSetTrafficLimit   BulkAction = "set_traffic_limit"   // SetTrafficLimit, to BulkRequest.TrafficLimit; the usage is not reset

	// BulkResetUsage resets the usage of the current period, as SetTrafficLimit does with
	// resetUsage. The usage of each user is reset once, however often an execution of one preview
	// is resumed or repeated.
	BulkResetUsage BulkAction = "reset_usage"

	// BulkAddDays adds BulkRequest.Days to the expiration of users, in days of the project's time
	// zone; for users who have expired, the days count from now. For users whose validity has not
	// begun, ValidFor grows by 24 hours for each day; users who never expire are unchanged. Each
	// user gets the days once, however often and in whichever process an execution of one preview
	// is resumed or repeated, as long as the events are kept.
	BulkAddDays BulkAction = "add_days"
)

// BulkRequest says what to do to which users.
type BulkRequest struct {
	Action   BulkAction  `json:"action"`
	Users    UserFilter  `json:"users"`
	Segments []SegmentID `json:"segments,omitempty"` // only for the actions on segments

	// Message is only for BulkSendMessage. Each user gets it once, however often and in whichever
	// process an execution of one preview is resumed or repeated. With a Key, this holds across
	// previews; a user who already has another message with the key is a failure with
	// CodeKeyReused.
	Message NewMessage `json:"message,omitzero"`

	License      Optional[string]       `json:"license,omitzero"`       // only for BulkSetLicense; empty: none
	TrafficLimit Optional[TrafficLimit] `json:"traffic_limit,omitzero"` // only for BulkSetTrafficLimit
	Days         int                    `json:"days,omitempty"`         // only for BulkAddDays: 1 to MaxBulkDays

	run [16]byte // of the preview, for actions that must take effect only once
}

// BulkToken is an opaque proof of a preview. It identifies the set of users that was previewed, but
// not their state, and belongs to one request.
type BulkToken string

// SameUsers reports whether two tokens belong to the same request and, if nothing has been executed
// since, to the same users. A host can use it to see whether a preview is out of date before it
// executes it.
func (t BulkToken) SameUsers(other BulkToken) bool {
	one, binding, err := readBulkToken(t)
	another, otherBinding, otherErr := readBulkToken(other)
	return err == nil && otherErr == nil && binding == otherBinding && one.rest == another.rest &&
		one.after == another.after && slices.Equal(one.pending, another.pending)
}

// BulkPreview is what a bulk action would do.
type BulkPreview struct {
	Users int64     `json:"users"` // how many match the filter
	Token BulkToken `json:"token"`
}

// BulkProgress is the state of a bulk action before its next chunk.
type BulkProgress struct {
	Users int64 `json:"users"` // how many there were when this execution began
	Done  int64 `json:"done"`  // how many of them have been processed

	// Token resumes the action from here with ExecuteBulk, even if the process ends in the middle
	// of the next chunk. A host that must complete the action stores the newest token.
	Token BulkToken `json:"token"`
}

// BulkResult is what a bulk action did.
type BulkResult struct {
	Changed   int64 `json:"changed"`
	Unchanged int64 `json:"unchanged"` // those that are already as the action would make them
	Skipped   int64 `json:"skipped"`   // deleted meanwhile, or changed so that they no longer match the filter
	Failed    int64 `json:"failed"`

	Failures []BulkFailure `json:"failures,omitempty"` // the first MaxBulkFailures
}

// BulkFailure is a user for whom a bulk action failed.
type BulkFailure struct {
	UserID UserID `json:"user_id"`
	Err    error  `json:"-"` // in JSON, "error"
}

// bulkFailureFields are a BulkFailure without its methods.
type bulkFailureFields BulkFailure

// MarshalJSON writes the failure with its error, see Error.
func (f BulkFailure) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		bulkFailureFields
		Err *Error `json:"error,omitempty"`
	}{bulkFailureFields(f), AsError(f.Err)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *BulkFailure) UnmarshalJSON(data []byte) error {
	var read struct {
		bulkFailureFields
		Err *Error `json:"error"`
	}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*f = BulkFailure(read.bulkFailureFields)
	f.Err = read.Err.orNil()
	return nil
}

// Bounds of bulk actions.
const (
	// MaxBulkFailures is the maximum number of failures that a result lists.
	MaxBulkFailures = 100
	// bulkChunk is how many users are dealt with between two progress reports.
	bulkChunk = 256
	// MaxBulkDays is the maximum number of days that BulkAddDays adds.
	MaxBulkDays = 3660
)

// BulkManager applies one action to many users in two steps: a preview returns the number of users,
// and the execution is refused unless they are still the same users.
type BulkManager interface {
	// PreviewBulk counts the users of a bulk action and changes nothing. It returns ErrInvalid for
	// an invalid request: with CodeUnknownValue for an unknown action, with CodeRequired for a
	// field that the action needs, with CodeUnknownField for one that it does not accept, such as a
	// message that is a received mail, and with the codes that the single call returns.
	PreviewBulk(ctx context.Context, request BulkRequest) (BulkPreview, error)

	// ExecuteBulk executes a previewed action in chunks. Each user is changed by the same rules and
	// with the same event as in the single call. It returns ErrConflict with CodeAudienceChanged,
	// and changes nothing, if the users who match the filter are not those of the token, and
	// ErrInvalid with CodeInvalidBulkToken for a token of another request, and for one of a preview
	// that is MinRetention old or older: what was done by then may have been forgotten.
	//
	// progress, unless nil, is called before each chunk and at the end; an error that it returns
	// stops the action and is returned. If the context ends or the store fails, the changes made so
	// far remain and are counted in the result, and the last token of progress resumes the rest.
	// During the execution the ids of the users, 16 bytes each, are kept in memory.
	ExecuteBulk(ctx context.Context, request BulkRequest, token BulkToken, progress func(BulkProgress) error) (BulkResult, error)
}

// audience is a set of users by their number and a digest of their ids, which
// does not depend on the order and from which users can be taken away.
type audience struct {
	count  uint64
	digest [2]uint64 // sums of hashes of the ids
}

func (a *audience) add(id UserID) {
	hash := sha256.Sum256(id[:])
	a.count++
	a.digest[0] += binary.BigEndian.Uint64(hash[:8])
	a.digest[1] += binary.BigEndian.Uint64(hash[8:16])
}

func (a *audience) remove(id UserID) {
	hash := sha256.Sum256(id[:])
	a.count--
	a.digest[0] -= binary.BigEndian.Uint64(hash[:8])
	a.digest[1] -= binary.BigEndian.Uint64(hash[8:16])
}

// bulkState is what a token holds: the users that may be in work, and the set of
// those after them in the order of ids.
type bulkState struct {
	run     [16]byte  // tells previews of what is done once apart
	made    time.Time // when the preview was
	pending []UserID
	after   UserID // the last of pending; zero: the rest is everybody
	rest    audience
}

const bulkTokenVersion = 3

// token returns the token of the state, bound to a request.
func (s bulkState) token(binding uint64) BulkToken {
	data := binary.BigEndian.AppendUint64([]byte{bulkTokenVersion}, binding)
	for _, number := range []uint64{s.rest.count, s.rest.digest[0], s.rest.digest[1]} {
		data = binary.BigEndian.AppendUint64(data, number)
	}
	data = binary.BigEndian.AppendUint64(data, uint64(s.made.UnixMicro()))
	data = append(data, s.run[:]...)
	data = append(data, s.after[:]...)
	for _, id := range s.pending {
		data = append(data, id[:]...)
	}
	return BulkToken(sumText(data))
}

// parseBulkToken reads the token of a request.
func parseBulkToken(token BulkToken, binding uint64) (bulkState, error) {
	s, of, err := readBulkToken(token)
	if err == nil && of != binding {
		err = NewError(CodeInvalidBulkToken, "token", "the token belongs to another bulk action")
	}
	if err != nil {
		return bulkState{}, err
	}
	return s, nil
}

// readBulkToken reads what token writes.
func readBulkToken(token BulkToken) (s bulkState, binding uint64, err error) {
	const head = 1 + 5*8 + 2*16
	data, intact := unsumText(string(token))
	if !intact || len(data) < head || (len(data)-head)%16 != 0 || len(data) > head+16*bulkChunk || data[0] != bulkTokenVersion {
		return s, 0, NewError(CodeInvalidBulkToken, "token", "the token is damaged")
	}
	s.rest.count = binary.BigEndian.Uint64(data[9:])
	s.rest.digest = [2]uint64{binary.BigEndian.Uint64(data[17:]), binary.BigEndian.Uint64(data[25:])}
	s.made = time.UnixMicro(int64(binary.BigEndian.Uint64(data[33:]))).UTC()
	s.run, s.after = [16]byte(data[41:57]), UserID(data[57:73])
	for rest := data[head:]; len(rest) > 0; rest = rest[16:] {
		s.pending = append(s.pending, UserID(rest[:16]))
	}
	return s, binary.BigEndian.Uint64(data[1:]), nil
}

// bulkKey begins the keys of messages that a bulk action sends without a key.
const bulkKey = "bulk:"

// ready returns the request with its message in the form in which a run sends it.
func (r BulkRequest) ready(ctx context.Context, m *manager, now time.Time, run [16]byte) (_ BulkRequest, err error) {
	r.run = run
	if err := r.check(ctx, m); err != nil || r.Action != BulkSendMessage {
		return r, err
	}
	if r.Message, err = r.Message.normalise(); err == nil && r.Message.Key == "" {
		r.Message.Key = bulkKey + hex.EncodeToString(run[:])
	}
	return r, firstError(err, r.Message.inTime(now))
}

// check checks a request, except its message, and that its segments can be used.
func (r BulkRequest) check(ctx context.Context, m *manager) error {
	if r.Action == BulkSendMessage && !r.Message.Mail.IsZero() {
		return NewError(CodeUnknownField, "mail", "a received mail cannot be sent to others")
	}
	if _, known := bulkOperations[r.Action]; !known {
		return NewError(CodeUnknownValue, "action", "unknown bulk action %q", clip(string(r.Action)))
	}
	toSegments := r.Action == BulkAddToSegments || r.Action == BulkRemoveFromSegment
	_, license := r.License.Get()
	limit, limited := r.TrafficLimit.Get()
	for _, part := range []struct {
		field        string
		given, taken bool
	}{
		{"segments", len(r.Segments) > 0, toSegments}, {"license", license, r.Action == BulkSetLicense},
		{"traffic_limit", limited, r.Action == BulkSetTrafficLimit}, {"days", r.Days != 0, r.Action == BulkAddDays}, {"message", !r.Message.isZero(), r.Action == BulkSendMessage},
	} {
		if part.given && !part.taken {
			return NewError(CodeUnknownField, part.field, "the action %q does not take this", string(r.Action))
		}
		if part.taken && !part.given && part.field != "message" { // normalise names its missing parts

			return NewError(CodeRequired, part.field, "the action %q requires this", string(r.Action))
		}
	}
	switch r.Action {
	case BulkAddToSegments, BulkRemoveFromSegment:
		if r.Action == BulkRemoveFromSegment && len(r.Segments) > 1 {
			return NewError(CodeRequired, "segments", "the action %q requires exactly one segment", string(r.Action))
		}
		return m.lists(ctx, r.Segments)
	case BulkSetLicense:
		name, _ := r.License.Get()
		_, err := m.license(name)
		return err
	case BulkSetTrafficLimit:
		_, err := limit.normalise()
		return err
	case BulkAddDays:
		if r.Days < 1 || r.Days > MaxBulkDays {
			return NewError(CodeOutOfRange, "days", "%d is outside the range 1 to %d", r.Days, MaxBulkDays)
		}
	}
	return nil
}

// event returns the id of the event of the action for a user, which is the same however
// often a run is resumed or repeated.
func (r BulkRequest) event(user UserID) EventID {
	return digestID[Event](slices.Concat(r.run[:], user[:]))
}

// binding returns a number by which requests are told apart.
func (r BulkRequest) binding() uint64 { return bindCursor("bulk", Order{}, r) }

// audience walks the ids of the users after the given one, and adds them up.
func (m *manager) audience(ctx context.Context, selection UserSelection, after UserID, each func(UserID)) (audience, error) {
	const pageSize = 10_000
	var sum audience
	for {
		ids, err := m.store.UserIDs(ctx, selection, after, pageSize)
		if err != nil {
			return sum, err
		}
		for _, id := range ids {
			sum.add(id)
			each(id)
		}
		if len(ids) < pageSize {
			return sum, nil
		}
		after = ids[len(ids)-1]
	}
}

func (m *manager) PreviewBulk(ctx context.Context, request BulkRequest) (_ BulkPreview, err error) {
	ctx, call, err := enter(ctx, m, opPreviewBulk, noTarget)
	if err != nil {
		return BulkPreview{}, err
	}
	defer call.leave(ctx, &err)
	state := bulkState{made: call.now}
	switch request.Action {
	case BulkSendMessage, BulkAddDays, BulkResetUsage:
		state.run = NewID[bulkState]()
	}
	if _, err := request.ready(ctx, m, call.now, state.run); err != nil {
		return BulkPreview{}, err
	}
	if ctx, err = m.alsoMay(ctx, &call, bulkOperations[request.Action]); err != nil {
		return BulkPreview{}, err
	}
	selection, err := m.selectUsers(ctx, request.Users)
	if err != nil {
		return BulkPreview{}, err
	}
	if state.rest, err = m.audience(ctx, selection, UserID{}, func(UserID) {}); err != nil {
		return BulkPreview{}, err
	}
	return BulkPreview{Users: int64(state.rest.count), Token: state.token(request.binding())}, nil
}

func (m *manager) ExecuteBulk(ctx context.Context, request BulkRequest, token BulkToken, progress func(BulkProgress) error) (_ BulkResult, err error) {
	ctx, call, err := enter(ctx, m, opExecuteBulk, noTarget)
	if err != nil {
		return BulkResult{}, err
	}
	defer call.leave(ctx, &err)
	var result BulkResult
	if err := request.check(ctx, m); err != nil {
		return result, err
	}
	if ctx, err = m.alsoMay(ctx, &call, bulkOperations[request.Action]); err != nil {
		return result, err
	}
	binding := request.binding()
	state, err := parseBulkToken(token, binding)
	if err != nil {
		return result, err
	}
	// Before then, retention deletes nothing by which a user is known to have been dealt with.
	if call.now.Sub(state.made) >= MinRetention {
		return result, NewError(CodeInvalidBulkToken, "token", "the preview is more than %s old", Duration(MinRetention))
	}
	if request, err = request.ready(ctx, m, call.now, state.run); err != nil {
		return result, err
	}
	selection, err := m.selectUsers(ctx, request.Users)
	if err != nil {
		return result, err
	}
	users := state.pending
	rest, err := m.audience(ctx, selection, state.after, func(id UserID) { users = append(users, id) })
	if err != nil {
		return result, err
	}
	if rest != state.rest {
		return result, NewError(CodeAudienceChanged, "token", "the filter now matches %d users, not the %d users of the preview", rest.count, state.rest.count)
	}

	total := int64(len(users))
	report := func(chunk []UserID) error {
		if progress == nil {
			return nil
		}
		next := bulkState{run: state.run, made: state.made, pending: chunk, after: state.after, rest: rest}
		return progress(BulkProgress{Users: total, Done: total - int64(len(users)), Token: next.token(binding)})
	}
	beyond := len(state.pending) // how many of users rest does not count
	for len(users) > 0 {
		chunk := users[:min(bulkChunk, len(users))]
		for _, id := range chunk[min(beyond, len(chunk)):] {
			rest.remove(id)
			state.after = id
		}
		beyond = max(beyond-len(chunk), 0)
		if err := report(chunk); err != nil {
			return result, err
		}
		if err := m.bulkChunk(ctx, request, selection, call.origin, chunk, &result); err != nil {
			return result, err
		}
		users = users[len(chunk):]
	}
	return result, report(nil)
}

// bulkOutcome is the outcome for one user.
type bulkOutcome int

const (
	bulkChanged bulkOutcome = iota
	bulkUnchanged
	bulkSkipped
)

// bulkChunk does the action to some users. It returns an error when the store
// failed or the context ended.
func (m *manager) bulkChunk(ctx context.Context, request BulkRequest, selection UserSelection, o origin, users []UserID, result *BulkResult) error {
	commands := make([]*command, len(users))
	outcomes := make([]bulkOutcome, len(users))
	u := usage{zone: m.zone, now: o.now}
	for i, id := range users {
		o := o.again()
		want := Want{User: id, Profile: true, Segments: true, RowCounts: request.Action == BulkDelete, Purchases: request.Action == BulkDelete}
		message := NewID[Message]()
		switch request.Action {
		case BulkSendMessage:
			want = want.merge(m.sendingTo(id, request.Message.Key))
		case BulkAddDays, BulkResetUsage:
			o.event = request.event(id)
			want.Events = []EventID{o.event}
		}
		commands[i] = &command{want: want, decide: func(state *State) (change Change, err error) {
			change, outcomes[i], err = request.decide(state, o, u, selection, message, m.notifiers)
			return change, err
		}}
	}
	if err := m.pipeline.do(ctx, commands...); err != nil {
		return err
	}
	if request.Action == BulkSendMessage {
		m.wakeDelivery()
	}
	var failed error
	for i, c := range commands {
		switch {
		case errors.Is(c.err, ErrUnavailable), errors.Is(c.err, context.Canceled), errors.Is(c.err, context.DeadlineExceeded):
			failed = c.err
		case ErrorCode(c.err) == CodeUserNotFound:
			result.Skipped++
		case c.err != nil:
			result.Failed++
			if len(result.Failures) < MaxBulkFailures {
				result.Failures = append(result.Failures, BulkFailure{UserID: users[i], Err: c.err})
			}
		case outcomes[i] == bulkChanged:
			result.Changed++
		case outcomes[i] == bulkUnchanged:
			result.Unchanged++
		default:
			result.Skipped++
		}
	}
	return failed
}

// decide decides the action for one user. message is the id of what is sent.
func (r BulkRequest) decide(state *State, o origin, u usage, selection UserSelection, message MessageID, notifiers notifiers) (change Change, outcome bulkOutcome, err error) {
	if slices.Contains(state.Events, o.event) { // done in this run
		return Change{}, bulkUnchanged, nil
	}
	switch r.Action {
	case BulkActivate:
		_, change, err = setStatus(state, o, StatusActive)
	case BulkDeactivate:
		_, change, err = setStatus(state, o, StatusDisabled)
	case BulkDelete:
		_, change, err = deleteUser(state, o)
	case BulkAddToSegments:
		change = addToSegments(state, o, r.Segments)
	case BulkRemoveFromSegment:
		change = removeFromSegment(state, o, r.Segments[0])
	case BulkSendMessage:
		_, change, err = r.Message.send(state, o, message, notifiers)
	case BulkSetLicense:
		name, _ := r.License.Get()
		_, change, err = setLicense(state, o, name)
	case BulkSetTrafficLimit:
		limit, _ := r.TrafficLimit.Get()
		patch := TrafficLimitPatch{Bytes: Set(limit.Bytes), Reset: Set(cmp.Or(limit.Reset, ResetDaily)), AnchorDay: Set(limit.AnchorDay)}
		if limit.Reset == ResetMonthly {
			patch.AnchorDay = Set(max(limit.AnchorDay, 1))
		}
		_, change, err = patch.apply(state, o, u)
	case BulkResetUsage:
		change, err = u.resetUsage(state, o)
	case BulkAddDays:
		change, err = addDays(state, o, u, r.Days)
	}
	if err != nil {
		return Change{}, 0, err
	}
	if !change.writes() {
		return Change{}, bulkUnchanged, nil
	}
	if !selection.selects(state) {
		return Change{}, bulkSkipped, nil
	}
	return change, bulkChanged, nil
}

// bulkOperations are what the actions do to each user.
var bulkOperations = map[BulkAction]*operation{
	BulkActivate:          opActivateUser,
	BulkDeactivate:        opDeactivateUser,
	BulkDelete:            opDeleteUser,
	BulkAddToSegments:     opAddToSegments,
	BulkRemoveFromSegment: opRemoveFromSegment,
	BulkSendMessage:       opSendMessage,
	BulkSetLicense:        opSetLicense,
	BulkSetTrafficLimit:   opSetTrafficLimit,
	BulkResetUsage:        opSetTrafficLimit,
	BulkAddDays:           opUpdateUser,
}

// addDays decides more time for a user.
func addDays(state *State, o origin, u usage, days int) (Change, error) {
	var patch UserPatch
	switch account := state.User.Account; {
	case account.ValidFor > 0:
		longer := account.ValidFor + Duration(time.Duration(days)*24*time.Hour)
		if longer < account.ValidFor {
			return Change{}, NewError(CodeOutOfRange, "valid_for", "%d days more than %s is too long", days, account.ValidFor)
		}
		patch.ValidFor = Set(longer)
	case !account.ExpiresAt.IsZero():
		patch.ExpiresAt = Set(storedTime(latest(account.ExpiresAt, u.now).In(u.zone).AddDate(0, 0, days)))
	default:
		return Change{}, nil
	}
	expires, _ := patch.ExpiresAt.Get()
	span, _ := patch.ValidFor.Get()
	if err := checkValidity(expires, span); err != nil {
		return Change{}, err
	}
	_, change, err := patch.edit(state, o, nil)
	return change, err
}
