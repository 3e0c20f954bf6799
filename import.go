package userkit

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
)

// ImportMode says what an import does with records of users who exist and of
// users who do not.
type ImportMode string

// The modes of an import.
const (
	ImportUpsert ImportMode = "upsert" // create and update
	ImportCreate ImportMode = "create" // a user who exists is a failure, ErrExists
	ImportUpdate ImportMode = "update" // a user who does not exist is a failure, ErrNotFound
)

// MaxImport is the maximum number of records that one call of ImportUsers accepts.
const MaxImport = 1000

// UserImport is one record to import.
type UserImport struct {
	Key   UserKey   `json:"key"` // finds the user; required
	Draft UserDraft `json:"draft"`
}

// ImportOptions say how records are imported.
type ImportOptions struct {
	Mode   ImportMode `json:"mode,omitempty"`    // empty: ImportUpsert
	DryRun bool       `json:"dry_run,omitempty"` // report what would happen and write nothing
}

// ImportAction says what an import did with a record.
type ImportAction string

// The actions of an import.
const (
	ImportCreated   ImportAction = "created"
	ImportUpdated   ImportAction = "updated"
	ImportUnchanged ImportAction = "unchanged" // the user is already as in the record
	ImportFailed    ImportAction = "failed"    // see ImportOutcome.Err
)

// ImportOutcome is the outcome of importing a record; in a dry run, what it would be.
type ImportOutcome struct {
	UserID UserID       `json:"user_id,omitzero"` // zero if there is none, and for a user that a dry run would create
	Action ImportAction `json:"action"`
	Err    error        `json:"-"` // the error of the single call, with the field at fault; in JSON, "error"

	// Changes is only of a dry run, and says what would change, by the name of the field or of
	// the single attribute. Of a user who would be created it has every value that the record
	// and the defaults give, and no old ones. Fields that only use changes are not among them.
	Changes map[string]FieldChange `json:"changes,omitempty"`
}

// importOutcomeFields are a ImportOutcome without its methods.
type importOutcomeFields ImportOutcome

// MarshalJSON writes the outcome with its error, see Error.
func (o ImportOutcome) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		importOutcomeFields
		Err *Error `json:"error,omitempty"`
	}{importOutcomeFields(o), AsError(o.Err)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (o *ImportOutcome) UnmarshalJSON(data []byte) error {
	var read struct {
		importOutcomeFields
		Err *Error `json:"error"`
	}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	*o = ImportOutcome(read.importOutcomeFields)
	o.Err = read.Err.orNil()
	return nil
}

// ImportManager imports records from other systems, such as the rows of a file; the package userio
// reads files for it.
type ImportManager interface {
	// ImportUsers creates and updates users, at most MaxImport, by the rules of
	// CreateUser and UpdateUser and with their events. Each record is imported or fails by itself.
	// A record that equals its user changes nothing, so an import may be repeated.
	//
	// Records with the same key are imported in their order, and other records in no defined order:
	// a user whose key is changed by a record of the same call is found by the old key. A record
	// may take a unique value that another record of the call gives up; if two users would swap
	// their values, both fail because the values are taken.
	//
	// A record fails with ErrInvalid and CodeRequired when its key is empty, and
	// with CodeIDMismatch when its draft has the id of another user. The currency
	// of an existing user cannot change (CodeCurrencyMismatch); registered_at is used for new users
	// only.
	//
	// An error is returned if the store fails or the context ends; some of the records may then
	// have been imported.
	ImportUsers(ctx context.Context, options ImportOptions, records []UserImport) ([]ImportOutcome, error)
}

// userImports is a call of ImportUsers on its way.
type userImports struct {
	*manager
	ImportOptions
	origin   origin
	records  []UserImport
	outcomes []ImportOutcome
	dry      *dryRun // nil: what is decided is done
}

func (m *manager) ImportUsers(ctx context.Context, options ImportOptions, records []UserImport) (_ []ImportOutcome, err error) {
	ctx, call, err := enter(ctx, m, opImportUsers, noTarget)
	if err != nil {
		return nil, err
	}
	defer call.leave(ctx, &err)
	switch options.Mode {
	case "":
		options.Mode = ImportUpsert
	case ImportUpsert, ImportCreate, ImportUpdate:
	default:
		return nil, NewError(CodeUnknownValue, "mode", "unknown mode of an import %q", clip(string(options.Mode)))
	}
	if len(records) > MaxImport {
		return nil, NewError(CodeTooLong, "records", "%d records exceed the limit of %d", len(records), MaxImport)
	}
	i := &userImports{
		manager: m, ImportOptions: options, origin: call.origin, records: records, outcomes: make([]ImportOutcome, len(records)),
	}
	if options.DryRun {
		i.dry = &dryRun{users: map[UserKey]User{}, holders: map[UserKey]UserID{}, created: map[UserID]bool{}}
	}
	if err := i.run(ctx); err != nil {
		return nil, err // the corridor may still write outcomes
	}
	return i.outcomes, nil
}

// run imports the records in rounds, in each of which every key is there once. At the end, records
// that failed because another user has a value are tried again, since that user may have given it
// up.
func (i *userImports) run(ctx context.Context) error {
	waiting := make([]int, 0, len(i.records))
	for at := range i.records {
		if err := i.records[at].Key.check(); err != nil {
			i.fail(at, err)
		} else {
			waiting = append(waiting, at)
		}
	}
	for len(waiting) > 0 {
		seen := make(map[UserKey]bool, len(waiting))
		var round, later []int
		for _, at := range waiting {
			if key := i.records[at].Key.normal(); seen[key] {
				later = append(later, at)
			} else {
				seen[key] = true
				round = append(round, at)
			}
		}
		if err := i.round(ctx, round); err != nil {
			return err
		}
		waiting = later
	}

	again := i.failedOnOthers()
	for _, at := range again { // one by one: some may be of one user
		if err := i.round(ctx, []int{at}); err != nil {
			return err
		}
	}
	return nil
}

// failedOnOthers lists the records for which another attempt may succeed.
func (i *userImports) failedOnOthers() (again []int) {
	changed := slices.ContainsFunc(i.outcomes, func(outcome ImportOutcome) bool {
		return outcome.Action == ImportCreated || outcome.Action == ImportUpdated
	})
	for at, outcome := range i.outcomes {
		// Somebody else may have created the user of the key meanwhile.
		late := i.Mode != ImportCreate && ErrorCode(outcome.Err) == Taken("user", i.records[at].Key.field).Code
		if late || changed && errors.Is(outcome.Err, ErrExists) && !errors.Is(outcome.Err, errUserExists) {
			again = append(again, at)
		}
	}
	return again
}

func (i *userImports) fail(at int, err error) {
	i.outcomes[at] = ImportOutcome{Action: ImportFailed, Err: err}
}

// errUserExists marks the failure of ImportCreate for a user who exists.
var errUserExists = errors.New("the user of the key exists")

// round imports records with different keys.
func (i *userImports) round(ctx context.Context, round []int) error {
	found, err := i.find(ctx, round)
	if err != nil {
		return err
	}
	if i.dry != nil {
		if err := i.dry.load(ctx, i.manager, i.records, round); err != nil {
			return err
		}
	}
	var commands []*command
	var places []int // in the records
	for _, at := range round {
		user, exists := found[i.records[at].Key.normal()]
		c, err := i.command(at, user, exists)
		switch {
		case err != nil:
			i.fail(at, err)
		case c != nil:
			commands, places = append(commands, c), append(places, at)
		}
	}
	if len(commands) == 0 {
		return nil
	}
	if err := i.pipeline.do(ctx, commands...); err != nil {
		return err
	}
	var failed error
	for n, c := range commands {
		if c.err == nil {
			continue
		}
		i.fail(places[n], c.err)
		if errors.Is(c.err, ErrUnavailable) {
			failed = c.err
		}
	}
	return failed
}

// find finds the users of the keys of some records.
func (i *userImports) find(ctx context.Context, round []int) (map[UserKey]User, error) {
	values := map[string][]string{}
	for _, at := range round {
		key := i.records[at].Key.normal()
		values[key.field] = append(values[key.field], key.value)
	}
	found := make(map[UserKey]User, len(round))
	for field, values := range values {
		users, err := i.store.FindUsers(ctx, field, values)
		if err != nil {
			return nil, err
		}
		for _, user := range users {
			for _, unique := range user.importKeys() {
				if unique.Field == field {
					found[unique.key()] = user
				}
			}
		}
	}
	if i.dry != nil {
		i.dry.correct(found, i.records, round)
	}
	return found, nil
}

// command returns the command for a record, or nil if there is nothing to do.
func (i *userImports) command(at int, user User, exists bool) (*command, error) {
	record := &i.records[at]
	switch {
	case exists && i.Mode == ImportCreate:
		return nil, NewError(Taken("user", record.Key.field).Code, record.Key.field, "user %s has this %s", user.ID, record.Key.field).Because(errUserExists)
	case exists:
		return i.update(at, user)
	case i.Mode == ImportUpdate:
		return nil, NewError(CodeUserNotFound, record.Key.field, "no user has this %s", record.Key.field)
	}
	return i.create(at)
}

func (i *userImports) create(at int) (*command, error) {
	record := &i.records[at]
	fresh := record.Draft.Create
	record.Key.fill(&fresh)
	made := fresh.ID.IsZero()
	fresh, err := fresh.normalise(i.manager, i.origin.actor)
	if err != nil {
		return nil, err
	}
	if i.dry != nil {
		user := fresh.user()
		if err := i.dry.put(User{}, user); err != nil {
			return nil, err
		}
		i.dry.created[user.ID] = true
		i.outcomes[at] = ImportOutcome{Action: ImportCreated, Changes: valuesOf(&user)}
		if made {
			delete(i.outcomes[at].Changes, "id") // the real run makes another one
		}
		return nil, nil
	}
	o := i.origin.again()
	i.outcomes[at] = ImportOutcome{UserID: fresh.ID, Action: ImportCreated}
	return &command{want: Want{User: fresh.ID}, creates: true, fresh: made, decide: func(state *State) (Change, error) {
		_, c, err := fresh.create(state, o)
		return c, err
	}}, nil
}

func (i *userImports) update(at int, user User) (*command, error) {
	draft := &i.records[at].Draft
	if !draft.Create.ID.IsZero() && draft.Create.ID != user.ID {
		return nil, NewError(CodeIDMismatch, "id", "the key belongs to user %s", user.ID)
	}
	if currency := draft.Create.Currency; currency != "" && currency != user.Balance.Currency {
		return nil, NewError(CodeCurrencyMismatch, "currency", "the balance of user %s is in %s", user.ID, user.Balance.Currency)
	}
	patch, err := draft.Update.normalise(i.manager)
	if err != nil {
		return nil, err
	}
	shown := user.ID
	if i.dry != nil && i.dry.created[user.ID] {
		shown = UserID{}
	}
	steps := patch.steps(i.manager, i.origin.again())
	state := State{Exists: true, User: user}
	if i.dry != nil { // what else there is of the user decides nothing that an outcome tells
		state.complete = completeness{openSessions: true, usageFrom: Set(Day{})}
	}
	after, c, err := patch.apply(&state, steps)
	_, more := errors.AsType[needMore](err)
	switch {
	case err != nil && !more:
		return nil, err
	case !more && !c.writes():
		i.outcomes[at] = ImportOutcome{UserID: shown, Action: ImportUnchanged}
		return nil, nil
	case i.dry != nil:
		if err := i.dry.put(user, after); err != nil {
			return nil, err
		}
		i.outcomes[at] = ImportOutcome{UserID: shown, Action: ImportUpdated, Changes: changesOf(&user, &after)}
		return nil, nil
	}
	outcome := &i.outcomes[at]
	return &command{want: Want{User: user.ID, Profile: true}, decide: func(state *State) (Change, error) {
		_, c, err := patch.apply(state, steps)
		*outcome = ImportOutcome{UserID: user.ID, Action: ImportUpdated}
		if !c.writes() { // somebody else has done the same
			outcome.Action = ImportUnchanged
		}
		return c, err
	}}, nil
}

// dryRun keeps what a dry run would have made of the users so far.
type dryRun struct {
	users   map[UserKey]User   // by their keys
	holders map[UserKey]UserID // of unique values; zero: nobody
	created map[UserID]bool    // those who do not exist
}

// correct changes what the store has found for the keys of some records to what it would find after
// the records before them.
func (d *dryRun) correct(found map[UserKey]User, records []UserImport, round []int) {
	for _, at := range round {
		key := records[at].Key.normal()
		if holder, known := d.holders[key]; known && holder.IsZero() {
			delete(found, key)
		}
		if user, known := d.users[key]; known {
			found[key] = user
		}
	}
}

// load finds out who has the unique values that some records want.
func (d *dryRun) load(ctx context.Context, m *manager, records []UserImport, round []int) error {
	values := map[string][]string{}
	for _, at := range round {
		fresh := records[at].Draft.Create
		records[at].Key.fill(&fresh)
		user := fresh.user()
		user.LoginSkeleton, _ = m.loginSkeleton(user.Login) // whose error the record meets
		for _, unique := range user.importKeys() {
			key := unique.key()
			if _, known := d.holders[key]; !known {
				d.holders[key] = UserID{}
				values[key.field] = append(values[key.field], key.value)
			}
		}
	}
	for field, values := range values {
		users, err := m.store.FindUsers(ctx, field, values)
		if err != nil {
			return err
		}
		for _, user := range users {
			for _, unique := range user.importKeys() {
				if unique.Field == field {
					d.holders[unique.key()] = user.ID
				}
			}
		}
	}
	return nil
}

// put keeps a user as it would become, unless another user has one of its unique values.
func (d *dryRun) put(before, after User) error {
	kept := after.importKeys()
	for _, unique := range kept {
		if holder := d.holders[unique.key()]; !holder.IsZero() && holder != after.ID {
			taken := Taken("user", unique.Taken)
			return NewError(taken.Code, taken.Field, "%s: user %s", taken.Message, holder)
		}
	}
	for _, old := range before.importKeys() {
		d.holders[old.key()] = UserID{}
		delete(d.users, old.key())
	}
	for _, unique := range kept {
		d.holders[unique.key()], d.users[unique.key()] = after.ID, after
	}
	return nil
}

// importKeys returns the values of the user that nobody else has, with the id.
func (u *User) importKeys() []UniqueValue {
	return append([]UniqueValue{{"id", "id", u.ID.String()}}, u.UniqueValues()...)
}

// key returns the value as a key of a dry run.
func (v UniqueValue) key() UserKey { return UserKey{v.Field, v.Value} }

// uniqueFields are the fields by which a UserKey finds a user.
var uniqueFields = []string{"id", "login", "email", "extref"}

// normal returns the key with its value as it compares.
func (k UserKey) normal() UserKey { return UserKey{k.field, k.Value()} }

// check checks the key of a record.
func (k UserKey) check() error {
	if k.field == "" || k.value == "" {
		return NewError(CodeRequired, k.field, "the record does not say which user it is about")
	}
	if k.field == "id" {
		_, err := ParseID[User](k.value)
		return err
	}
	return checkInput(k.field, k.value)
}

// fill sets the field of the key in a new user that does not say it.
func (k UserKey) fill(user *NewUser) {
	fill := func(value *string) {
		if *value == "" {
			*value = k.value
		}
	}
	switch k.field {
	case "id":
		if user.ID.IsZero() {
			user.ID, _ = ParseID[User](k.value) // checked
		}
	case "login":
		fill(&user.Login)
	case "email":
		fill(&user.Email)
	case "extref":
		fill(&user.ExtRef)
	}
}
