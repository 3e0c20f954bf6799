package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/userkit/userkit"
	"github.com/userkit/userkit/userio"
)

// audience is a server with people: so many in a schema, made when a measurement
// first asks for them. Both sides read the same tables.
type audience struct {
	*server
	hand  *bun.DB // of the hand-written side
	crowd map[int]*crowd
}

// crowd is a number of people.
type crowd struct {
	audience *audience
	people   int
	schema   string
	store    userkit.Store
	manager  userkit.Manager
	middles  map[string]place // by the order
}

// place is where a page begins: after a user.
type place struct {
	cursor userkit.Cursor   // empty: at the beginning
	key    userkit.OrderKey // by which that user sorts
	id     userkit.UserID
}

// people returns the crowd of so many people.
func (b *bench) people(ctx context.Context, people int) (_ *crowd, err error) {
	if b.audience == nil {
		server, err := b.start(ctx)
		if err != nil {
			return nil, err
		}
		// The driver and the size of its buffers are those of our side.
		pool := sql.OpenDB(pgdriver.NewConnector(pgdriver.WithDSN(server.dsn), pgdriver.WithBufferSize(32*1024)))
		server.closers = append(server.closers, pool.Close)
		b.audience = &audience{server: server, hand: bun.NewDB(pool, pgdialect.New()), crowd: map[int]*crowd{}}
	}
	a := b.audience
	if made := a.crowd[people]; made != nil {
		return made, nil
	}
	c := &crowd{audience: a, people: people, schema: "people_" + shortNumber(people), middles: map[string]place{}}
	store, err := a.store(ctx, c.schema)
	if err != nil {
		return nil, err
	}
	c.store = store
	if c.manager, err = a.manage(store); err != nil {
		return nil, err
	}
	from, to := io.Pipe()
	go func() { to.CloseWithError(writePeople(to, people)) }()
	err = importPeople(ctx, c.manager, from, people)
	_ = from.Close() // ends the writer, whatever happened
	if err != nil {
		return nil, err
	}
	for _, table := range peopleTables {
		if err := a.execute(ctx, fmt.Sprintf("VACUUM ANALYZE %s.%s", c.schema, table)); err != nil {
			return nil, err
		}
	}
	a.crowd[people] = c
	return c, nil
}

// peopleTables are the tables that an import of people writes.
var peopleTables = []string{"users", "email_holders", "accounts", "events"}

// importPeople imports a file of people who are not there yet.
func importPeople(ctx context.Context, manager userkit.Manager, from io.Reader, people int) error {
	report, err := userio.Import(ctx, manager, from, userio.ImportOptions{Format: userio.CSV})
	if err == nil && report.Created != int64(people) {
		err = fmt.Errorf("%d of %d people were imported", report.Created, people)
		if len(report.Rejections) > 0 {
			err = fmt.Errorf("%w; %s", err, report.Rejections[0])
		}
	}
	return err
}

// page reads a page by our side and checks that it is full.
func (c *crowd) page(ctx context.Context, query userkit.UserQuery) ([]userkit.User, error) {
	page, err := c.manager.Users(ctx, query)
	if err == nil && len(page.Items) != pageSize {
		err = fmt.Errorf("%d users on a page", len(page.Items))
	}
	return page.Items, err
}

// middle returns the place in the middle of the people in an order. Cursors come
// from the page before, so it walks there.
func (c *crowd) middle(ctx context.Context, order string) (place, error) {
	if at, found := c.middles[order]; found {
		return at, nil
	}
	field, found := userkit.UserField(order)
	if !found {
		return place{}, fmt.Errorf("users have no field %q", order)
	}
	query := userkit.UserQuery{PageQuery: userkit.PageQuery{Sort: order}}
	var at place
	for left := c.people / 2; left > 0; left -= query.Limit {
		query.Limit = min(left, userkit.MaxPageLimit)
		page, err := c.manager.Users(ctx, query)
		if err != nil {
			return place{}, err
		}
		if len(page.Items) != query.Limit || page.Next == "" {
			return place{}, errors.New("the list ends before its middle")
		}
		last := &page.Items[query.Limit-1]
		query.Cursor = page.Next
		at = place{page.Next, field.Key(last), last.ID}
	}
	c.middles[order] = at
	return at, nil
}

// handRow is a user as the hand-written side reads it: all of the profile and
// the account.
type handRow struct {
	ID                                                 string
	RegisteredAt, UpdatedAt                            time.Time
	Revision                                           int64
	EmailVerified                                      bool
	Login, Name, Email, Phone, ExtRef, AuthMethod      string
	Status, License, Kind                              string
	PayerAccountNumber, LegalAddress, PostalAddress    string
	Bank, BankAccount                                  string
	Description, Country, PreferredMap, AdditionalInfo string
	Attributes                                         []byte
	Version, Balance, TransactionSequence              int64
	Devices, OpenSessions, ActivePurchases             int
	TrafficLimit, TrafficUsed, ValidFor                int64
	ExpiresAt, LastSeenAt, TrafficPeriod               sql.NullTime
	TrafficAnchorDay                                   int
	TrafficReset, Currency                             string
	LastTransaction                                    sql.NullString
}

const handColumns = `u.id, u.registered_at, u.updated_at, u.revision, u.email_verified, u.login, u.name, u.email, u.phone,
u.extref, u.auth_method, u.status, u.license, u.kind, u.payer_account_number, u.legal_address, u.postal_address, u.bank,
u.bank_account, u.description, u.country, u.preferred_map, u.additional_info, u.attributes, a.version, a.balance,
a.transaction_sequence, a.devices, a.open_sessions, a.active_purchases, a.traffic_limit, a.traffic_used, a.valid_for,
a.expires_at, a.last_seen_at, a.traffic_period, a.traffic_anchor_day, a.traffic_reset, a.currency, a.last_transaction`

// targets is where handColumns are read to.
func (r *handRow) targets() []any {
	return []any{
		&r.ID, &r.RegisteredAt, &r.UpdatedAt, &r.Revision, &r.EmailVerified, &r.Login, &r.Name, &r.Email, &r.Phone,
		&r.ExtRef, &r.AuthMethod, &r.Status, &r.License, &r.Kind, &r.PayerAccountNumber, &r.LegalAddress, &r.PostalAddress, &r.Bank,
		&r.BankAccount, &r.Description, &r.Country, &r.PreferredMap, &r.AdditionalInfo, &r.Attributes, &r.Version, &r.Balance,
		&r.TransactionSequence, &r.Devices, &r.OpenSessions, &r.ActivePurchases, &r.TrafficLimit, &r.TrafficUsed, &r.ValidFor,
		&r.ExpiresAt, &r.LastSeenAt, &r.TrafficPeriod, &r.TrafficAnchorDay, &r.TrafficReset, &r.Currency, &r.LastTransaction,
	}
}

// handStatement prepares a statement of the hand-written side. The names {users},
// {accounts} and {columns} stand for what they say; the first parameter is the
// project.
func (c *crowd) handStatement(ctx context.Context, text string) (handStatement, error) {
	text = strings.NewReplacer("{users}", c.schema+".users", "{accounts}", c.schema+".accounts", "{columns}", handColumns).Replace(text)
	prepared, err := c.audience.hand.DB.PrepareContext(ctx, text)
	if err != nil {
		return handStatement{}, err
	}
	c.audience.closers = append(c.audience.closers, prepared.Close)
	return handStatement{prepared}, nil
}

// handStatement is a prepared statement that selects handColumns.
type handStatement struct{ *sql.Stmt }

// page runs the statement and checks that it gives a full page.
func (s handStatement) page(ctx context.Context, args ...any) (page []handRow, err error) {
	rows, err := s.QueryContext(ctx, append([]any{project}, args...)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	page = make([]handRow, pageSize)
	count := 0
	for ; rows.Next() && count < pageSize; count++ {
		if err := rows.Scan(page[count].targets()...); err != nil {
			return nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if count != pageSize {
		return nil, fmt.Errorf("%d rows on a page", count)
	}
	return page, nil
}
