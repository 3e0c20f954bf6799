package postgres

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/userkit/userkit"
)

// kind is how the records of one of userkit.RecordKinds are kept: everything that a
// commit, a load and a deletion do with them. A further kind is a further row of kinds,
// with its columns and a migration.
type kind struct {
	table string // its name is that of the kind
	// gather returns what gathers the changes of a batch to the table.
	gather func() gatherer
	// load adds to states the records that wants ask for.
	load func(l *loading, ctx context.Context) error
	// keyed means that records have ids, and other values that are unique: the records
	// to insert wait for those that go with their users.
	keyed bool
	// outlive means that a change which deletes the user may insert records.
	outlive bool
}

// gatherer gathers the changes of the users of a batch to one table, and writes the
// parts of a statement that make them.
type gatherer interface {
	add(change *userkit.Change)
	write(w *work)
}

// kinds are all kinds of record.
var kinds = []kind{
	recordTable[userkit.DeviceRecord, userkit.DeviceID]{
		name: userkit.RowsDevices, columns: deviceColumns,
		changes: func(c *userkit.Change) *userkit.Records[userkit.DeviceRecord, userkit.DeviceID] { return &c.Devices },
		loaded:  func(s *userkit.State) *[]userkit.DeviceRecord { return &s.Devices },
		keys:    func(d *userkit.DeviceRecord) (userkit.UserID, [16]byte) { return d.UserID, d.ID },
		searches: []search{
			{wantedUsers, ofUser, func(want *userkit.Want, add func(wanted)) {
				if want.AllDevices {
					add(wanted{})
				}
			}},
			{wantedIDs, hasID, func(want *userkit.Want, add func(wanted)) {
				for _, id := range want.Devices {
					add(wanted{id: id})
				}
			}},
			{wantedTexts, ofUser + " AND t.hardware_id = n.value AND t.hardware_id <> ''", func(want *userkit.Want, add func(wanted)) {
				for _, hardware := range want.HardwareIDs {
					if storable(hardware) {
						add(wanted{text: hardware})
					}
				}
			}},
		},
	}.kind(),
	recordTable[userkit.Session, userkit.SessionID]{
		name: userkit.RowsSessions, columns: sessionColumns,
		changes: func(c *userkit.Change) *userkit.Records[userkit.Session, userkit.SessionID] { return &c.Sessions },
		loaded:  func(s *userkit.State) *[]userkit.Session { return &s.Sessions },
		keys:    func(s *userkit.Session) (userkit.UserID, [16]byte) { return s.UserID, s.ID },
		searches: []search{
			{wantedIDs, hasID, func(want *userkit.Want, add func(wanted)) {
				for _, id := range want.Sessions {
					add(wanted{id: id})
				}
			}},
			{wantedUsers, ofUser + " AND t.ended_at IS NULL", func(want *userkit.Want, add func(wanted)) {
				if want.OpenSessions {
					add(wanted{})
				}
			}},
		},
	}.kind(),
	{table: userkit.RowsDays, gather: func() gatherer { return &gatheredDays{} }, load: (*loading).usage},
	recordTable[userkit.Purchase, userkit.PurchaseID]{
		name: userkit.RowsPurchases, columns: purchaseColumns,
		changes: func(c *userkit.Change) *userkit.Records[userkit.Purchase, userkit.PurchaseID] { return &c.Purchases },
		loaded:  func(s *userkit.State) *[]userkit.Purchase { return &s.Purchases },
		keys:    func(p *userkit.Purchase) (userkit.UserID, [16]byte) { return p.UserID, p.ID },
		searches: []search{
			{wantedUsers, ofUser, func(want *userkit.Want, add func(wanted)) {
				if want.Purchases {
					add(wanted{})
				}
			}},
		},
	}.kind(),
	recordTable[userkit.Message, userkit.MessageID]{
		name: userkit.RowsMessages, columns: messageColumns,
		changes: func(c *userkit.Change) *userkit.Records[userkit.Message, userkit.MessageID] { return &c.Messages },
		loaded:  func(s *userkit.State) *[]userkit.Message { return &s.Messages },
		keys:    func(m *userkit.Message) (userkit.UserID, [16]byte) { return m.UserID, m.ID },
		searches: []search{
			{wantedIDs, hasID, func(want *userkit.Want, add func(wanted)) {
				for _, id := range want.Messages {
					add(wanted{id: id})
				}
			}},
			{wantedTexts, ofUser + " AND t.key = n.value AND t.key <> ''", func(want *userkit.Want, add func(wanted)) {
				for _, key := range want.MessageKeys {
					if storable(key) {
						add(wanted{text: key})
					}
				}
			}},
		},
	}.kind(),
	recordTable[userkit.Delivery, userkit.DeliveryID]{
		name: userkit.RowsDeliveries, columns: deliveryColumns,
		changes: func(c *userkit.Change) *userkit.Records[userkit.Delivery, userkit.DeliveryID] { return &c.Deliveries },
		loaded:  func(s *userkit.State) *[]userkit.Delivery { return &s.Deliveries },
		keys:    func(d *userkit.Delivery) (userkit.UserID, [16]byte) { return d.UserID, d.ID },
		searches: []search{
			{wantedIDs, hasID, func(want *userkit.Want, add func(wanted)) {
				for _, id := range want.Deliveries {
					add(wanted{id: id})
				}
			}},
		},
	}.kind(),
	recordTable[userkit.Transaction, userkit.TransactionID]{
		name: userkit.RowsTransactions, columns: transactionColumns,
		inserted: func(transactions []*userkit.Transaction) columns[userkit.Transaction] {
			if slices.ContainsFunc(transactions, func(t *userkit.Transaction) bool { return t.Cancelled() }) {
				return transactionColumns
			}
			return newTransactionColumns
		},
		changes: func(c *userkit.Change) *userkit.Records[userkit.Transaction, userkit.TransactionID] {
			return &c.Transactions
		},
		loaded: func(s *userkit.State) *[]userkit.Transaction { return &s.Transactions },
		keys:   func(t *userkit.Transaction) (userkit.UserID, [16]byte) { return t.UserID, t.ID },
		searches: []search{
			{wantedIDs, hasID, func(want *userkit.Want, add func(wanted)) {
				for _, id := range want.Transactions {
					add(wanted{id: id})
				}
			}},
		},
		found: func(l *loading) []*wanted { return l.found },
	}.kind(),
	{table: userkit.RowsMemberships, gather: func() gatherer { return &gatheredMemberships{} }, load: (*loading).segments},
	{table: userkit.RowsActivations, gather: func() gatherer { return &gatheredActivations{} }, load: (*loading).activations},
	recordTable[userkit.Connection, userkit.ConnectionID]{
		name: userkit.RowsConnections, columns: connectionColumns,
		changes: func(c *userkit.Change) *userkit.Records[userkit.Connection, userkit.ConnectionID] {
			return &c.Connections
		},
		loaded: func(s *userkit.State) *[]userkit.Connection { return &s.Connections },
		keys:   func(c *userkit.Connection) (userkit.UserID, [16]byte) { return c.UserID, c.ID },
		searches: []search{
			{wantedIDs, hasID, func(want *userkit.Want, add func(wanted)) {
				for _, id := range want.Connections {
					add(wanted{id: id})
				}
			}},
		},
	}.kind(),
	{table: userkit.RowsPushMails, gather: func() gatherer { return &gatheredPushMails{} }, load: (*loading).pushMails},
	{table: userkit.RowsEvents, gather: func() gatherer { return &gatheredEvents{} }, load: (*loading).events, outlive: true},
}

// recordTable is a kind whose changes are userkit.Records. The first two of its columns
// are id and user_id.
type recordTable[R any, I ~[16]byte] struct {
	name     string
	columns  columns[R]
	inserted func(records []*R) columns[R] // to insert; nil: all columns
	changes  func(*userkit.Change) *userkit.Records[R, I]
	loaded   func(*userkit.State) *[]R
	keys     func(*R) (user userkit.UserID, id [16]byte)
	searches []search
	found    func(*loading) []*wanted // what is known to be wanted by id; nil: nothing
}

// search is a look for the records that a condition on t and n finds for the rows n that
// wants make.
type search struct {
	by        columns[wanted]
	condition string
	of        func(want *userkit.Want, add func(wanted))
}

func (t recordTable[R, I]) kind() kind {
	assignments := t.columns[2:].assignments()
	reads := t.columns.reads("t")
	return kind{
		table: t.name,
		gather: func() gatherer {
			return &gatheredRecords[R, I]{recordTable: &t, assignments: assignments}
		},
		load:  func(l *loading, ctx context.Context) error { return t.load(ctx, l, reads) },
		keyed: true,
	}
}

// load runs the searches in one statement.
func (t *recordTable[R, I]) load(ctx context.Context, l *loading, reads string) error {
	q := &statement{hot: true}
	for _, s := range t.searches {
		l.search(q, t.name, reads, s.by, l.gather(s.of), s.condition)
	}
	if t.found != nil {
		l.search(q, t.name, reads, wantedIDs, t.found(l), hasID)
	}
	return loadRecords(ctx, l, q, t.columns.targets, t.keys, func(state *userkit.State, record R) {
		loaded := t.loaded(state)
		*loaded = append(*loaded, record)
	})
}

// gatheredRecords gathers Records.
type gatheredRecords[R any, I ~[16]byte] struct {
	*recordTable[R, I]
	assignments    string
	insert, update []*R
	delete         []*ownedID
}

// ownedID is the id of a record with its user.
type ownedID struct {
	id   [16]byte
	user userkit.UserID
}

var ownedIDColumns = columns[ownedID]{
	idColumn("id", func(o *ownedID) *[16]byte { return &o.id }),
	idColumn("user_id", func(o *ownedID) *[16]byte { return (*[16]byte)(&o.user) }),
}

func (g *gatheredRecords[R, I]) add(change *userkit.Change) {
	records := g.changes(change)
	for i := range records.Insert {
		g.insert = append(g.insert, &records.Insert[i])
	}
	for i := range records.Update {
		g.update = append(g.update, &records.Update[i])
	}
	for _, id := range records.Delete {
		g.delete = append(g.delete, &ownedID{id, change.User})
	}
}

// write adds the parts that change one table. They run in the order of
// deletions, updates, insertions, so that a record can take a unique value that
// another one gives up; the parts of a statement have no order but that in which
// they need each other.
func (g *gatheredRecords[R, I]) write(w *work) {
	project := quoted(w.store.project)
	var before []string
	if w.deletes {
		before = append(before, "deleted_"+g.name)
	}
	begin := func(name string) {
		w.cte(name)
		before = append(before, name)
	}
	// condition adds that the change is made, and what is always true and needs
	// the parts before.
	condition := func(before []string) {
		w.wherePassed("n.user_id")
		for _, name := range before {
			w.q.add("\nAND (SELECT count(*) FROM " + name + ") >= 0")
		}
	}
	if len(g.delete) > 0 {
		begin("deleted_from_" + g.name)
		w.q.add("DELETE FROM ? AS t USING ", w.store.table(g.name))
		from(w, ownedIDColumns, g.delete)
		condition(nil)
		w.q.add("\nAND t.project = ? AND "+keyed("t.id", "n.id")+" AND "+ofSameUser+"\nRETURNING t.id", project)
	}
	if len(g.update) > 0 {
		earlier := before
		begin("updated_in_" + g.name)
		w.q.add("UPDATE ? AS t SET "+g.assignments+"\nFROM ", w.store.table(g.name))
		from(w, g.columns, g.update)
		condition(earlier)
		w.q.add("\nAND t.project = ? AND "+keyed("t.id", "n.id")+" AND "+ofSameUser+"\nRETURNING t.id", project)
	}
	if len(g.insert) > 0 {
		earlier := before
		begin("inserted_into_" + g.name)
		inserted := g.columns
		if g.inserted != nil {
			inserted = g.inserted(g.insert)
		}
		insert(w, g.name, inserted, g.insert)
		condition(earlier)
	}
}

// gatheredDays gathers the use per day.
type gatheredDays struct{ usage []*userDay }

func (g *gatheredDays) add(change *userkit.Change) {
	for _, day := range change.Usage {
		g.usage = append(g.usage, &userDay{change.User, day})
	}
}

func (g *gatheredDays) write(w *work) {
	if len(g.usage) == 0 {
		return
	}
	w.cte("inserted_usage_days")
	insert(w, userkit.RowsDays, usageColumns, g.usage)
	w.wherePassed("n.user_id")
	w.q.add("\nON CONFLICT (project, user_id, day) DO UPDATE SET received = " + sum("received") +
		", sent = " + sum("sent") + ", forgiven = " + sum("forgiven"))
}

// sum adds up a figure of a day, and stops at the largest int64.
func sum(column string) string {
	return "least(t." + column + "::numeric + excluded." + column + ", 9223372036854775807)::bigint"
}

// gatheredMemberships gathers who joins and who leaves lists.
type gatheredMemberships struct{ joined, left []*ownedID }

func (g *gatheredMemberships) add(change *userkit.Change) {
	for _, id := range change.AddSegments {
		g.joined = append(g.joined, &ownedID{id, change.User})
	}
	for _, id := range change.RemoveSegments {
		g.left = append(g.left, &ownedID{id, change.User})
	}
}

func (g *gatheredMemberships) write(w *work) {
	if len(g.left) > 0 {
		w.cte("deleted_from_memberships")
		w.q.add("DELETE FROM ? AS t USING ", w.store.table(userkit.RowsMemberships))
		from(w, membershipColumns, g.left)
		w.wherePassed("n.user_id")
		w.q.add("\nAND t.project = ? AND "+keyed("t.user_id", "n.user_id")+" AND "+keyed("t.segment_id", "n.segment_id"), quoted(w.store.project))
	}
	if len(g.joined) > 0 {
		w.cte("inserted_into_memberships")
		insert(w, userkit.RowsMemberships, membershipColumns, g.joined)
		w.wherePassed("n.user_id")
		w.q.add("\nON CONFLICT DO NOTHING")
	}
}

// gatheredActivations gathers the activations that begin, and the users whose goes.
type gatheredActivations struct {
	put  []*userActivation
	gone []*wanted
}

func (g *gatheredActivations) add(change *userkit.Change) {
	activation, set := change.Activation.Get()
	switch {
	case !set:
	case activation.IsZero():
		g.gone = append(g.gone, &wanted{user: change.User})
	default:
		g.put = append(g.put, &userActivation{change.User, activation})
	}
}

func (g *gatheredActivations) write(w *work) {
	if len(g.gone) > 0 {
		w.cte("deleted_from_activations")
		w.q.add("DELETE FROM ? AS t USING ", w.store.table(userkit.RowsActivations))
		from(w, wantedUsers, g.gone)
		w.wherePassed("n.user_id")
		w.q.add("\nAND t.project = ? AND "+keyed("t.user_id", "n.user_id"), quoted(w.store.project))
	}
	if len(g.put) > 0 {
		w.cte("inserted_into_activations")
		insert(w, userkit.RowsActivations, activationColumns, g.put)
		w.wherePassed("n.user_id")
		w.q.add("\nON CONFLICT (user_id, project) DO UPDATE SET " + activationReplacement)
	}
}

// activationReplacement puts an activation in the place of the one before.
var activationReplacement = strings.ReplaceAll(activationColumns[1:].assignments(), "n.", "excluded.")

// gatheredPushMails gathers the push mails that are put, and the users whose goes.
type gatheredPushMails struct {
	put  []*userPushMail
	gone []*wanted
}

func (g *gatheredPushMails) add(change *userkit.Change) {
	pushMail, set := change.PushMail.Get()
	switch {
	case !set:
	case pushMail.IsZero():
		g.gone = append(g.gone, &wanted{user: change.User})
	default:
		g.put = append(g.put, &userPushMail{change.User, pushMail})
	}
}

func (g *gatheredPushMails) write(w *work) {
	if len(g.gone) > 0 {
		w.cte("deleted_from_push_mails")
		w.q.add("DELETE FROM ? AS t USING ", w.store.table(userkit.RowsPushMails))
		from(w, wantedUsers, g.gone)
		w.wherePassed("n.user_id")
		w.q.add("\nAND t.project = ? AND "+keyed("t.user_id", "n.user_id"), quoted(w.store.project))
	}
	if len(g.put) > 0 {
		w.cte("inserted_into_push_mails")
		insert(w, userkit.RowsPushMails, pushMailColumns, g.put)
		w.wherePassed("n.user_id")
		w.q.add("\nON CONFLICT (user_id, project) DO UPDATE SET " + pushMailReplacement)
	}
}

// pushMailReplacement puts a push mail in the place of the one before.
var pushMailReplacement = strings.ReplaceAll(pushMailColumns[1:].assignments(), "n.", "excluded.")

// gatheredEvents gathers events.
type gatheredEvents struct{ events []*userkit.Event }

func (g *gatheredEvents) add(change *userkit.Change) {
	for i := range change.Events {
		g.events = append(g.events, &change.Events[i])
	}
}

func (g *gatheredEvents) write(w *work) {
	if len(g.events) > 0 {
		w.insertEvents(g.events)
		w.wherePassed("n.user_id")
	}
}

// insertEvents begins a part that inserts events, with their place in the feed. There is
// none, and the statement is refused, where the project is not one, and where the cluster
// counts lower than the events that are there: they came from another one.
func (w *work) insertEvents(events []*userkit.Event) {
	s := w.store
	w.cte("inserted_events")
	w.q.add("INSERT INTO ? (project, position, "+eventColumns.names("")+`)
SELECT ?, (SELECT CASE WHEN `+cameFromElsewhere+` THEN NULL ELSE p.feed_offset + pg_current_xact_id()::text::bigint END
FROM ? AS p WHERE p.project = ?), `+eventColumns.names("n.")+"\nFROM ",
		s.table("events"), quoted(s.project), s.table("events"), quoted(s.project), s.table("projects"), quoted(s.project))
	from(w, eventColumns, events)
}

func (l *loading) usage(ctx context.Context) error {
	q := &statement{hot: true}
	l.search(q, userkit.RowsDays, usageColumns.reads("t"), wantedDays, l.gather(func(want *userkit.Want, add func(wanted)) {
		if from, ok := want.UsageFrom.Get(); ok {
			add(wanted{day: from})
		}
	}), ofUser+" AND t.day >= n.value")
	if q.text.Len() == 0 {
		return nil
	}
	q.add("\nORDER BY t.user_id, t.day")
	var day userDay
	to := usageColumns.targets(nil, &day)
	return l.store.query(ctx, q, func(rows *sql.Rows) error {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		state := &l.states[l.places[day.user]]
		state.Usage = append(state.Usage, day.DayUsage)
		return nil
	})
}

func (l *loading) segments(ctx context.Context) error {
	q := &statement{hot: true}
	l.search(q, userkit.RowsMemberships, membershipColumns.reads("t"), wantedUsers, l.gather(func(want *userkit.Want, add func(wanted)) {
		if want.Segments {
			add(wanted{})
		}
	}), ofUser)
	if q.text.Len() == 0 {
		return nil
	}
	var membership ownedID
	to := membershipColumns.targets(nil, &membership)
	return l.store.query(ctx, q, func(rows *sql.Rows) error {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		state := &l.states[l.places[membership.user]]
		state.Segments = append(state.Segments, membership.id)
		return nil
	})
}

func (l *loading) activations(ctx context.Context) error {
	q := &statement{hot: true}
	l.search(q, userkit.RowsActivations, activationColumns.reads("t"), wantedUsers, l.gatherAll(func(want *userkit.Want, add func(wanted)) {
		if want.Activation {
			add(wanted{})
		}
	}), ofUser)
	if q.text.Len() == 0 {
		return nil
	}
	var found, none userActivation
	to := activationColumns.targets(nil, &found)
	return l.store.query(ctx, q, func(rows *sql.Rows) error {
		found = none
		if err := rows.Scan(to...); err != nil {
			return err
		}
		if state := &l.states[l.places[found.user]]; state.Exists {
			state.Activation = found.Activation
		}
		return nil
	})
}

func (l *loading) pushMails(ctx context.Context) error {
	q := &statement{hot: true}
	l.search(q, userkit.RowsPushMails, pushMailColumns.reads("t"), wantedUsers, l.gatherAll(func(want *userkit.Want, add func(wanted)) {
		if want.PushMail {
			add(wanted{})
		}
	}), ofUser)
	if q.text.Len() == 0 {
		return nil
	}
	var found, none userPushMail
	to := pushMailColumns.targets(nil, &found)
	return l.store.query(ctx, q, func(rows *sql.Rows) error {
		found = none
		if err := rows.Scan(to...); err != nil {
			return err
		}
		if state := &l.states[l.places[found.user]]; state.Exists {
			state.PushMail = found.PushMail
		}
		return nil
	})
}

// events finds out which events are recorded, also of users who do not exist:
// the event of a deletion outlives its user.
func (l *loading) events(ctx context.Context) error {
	var rows []*wanted
	for _, want := range l.wants {
		for _, id := range want.Events {
			rows = append(rows, &wanted{user: want.User, id: id})
		}
	}
	q := &statement{hot: true}
	l.search(q, userkit.RowsEvents, "t.user_id, t.id", wantedIDs, rows, hasID)
	err := loadRecords(ctx, l, q,
		func(to []any, found *ownedID) []any {
			return append(to, (*identifier)(&found.user), (*identifier)(&found.id))
		},
		func(found *ownedID) (userkit.UserID, [16]byte) { return found.user, found.id },
		func(state *userkit.State, found ownedID) { state.Events = append(state.Events, found.id) })
	if err != nil {
		return err
	}
	return l.marks(ctx)
}

// marks finds out which events are recorded, whoever's they are.
func (l *loading) marks(ctx context.Context) error {
	var rows []*wanted
	recorded := map[userkit.EventID]bool{}
	for _, want := range l.wants {
		for _, id := range want.Marks {
			if _, again := recorded[id]; !again {
				recorded[id] = false
				rows = append(rows, &wanted{id: id})
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	q := &statement{}
	l.search(q, userkit.RowsEvents, "t.id", wantedIDs, rows, "t.id = n.id")
	err := l.store.query(ctx, q, func(found *sql.Rows) error {
		var id userkit.EventID
		err := found.Scan((*identifier)(&id))
		recorded[id] = true
		return err
	})
	if err != nil {
		return err
	}
	for i, want := range l.wants {
		for _, id := range want.Marks {
			if recorded[id] && !slices.Contains(l.states[i].Marks, id) {
				l.states[i].Marks = append(l.states[i].Marks, id)
			}
		}
	}
	return nil
}
