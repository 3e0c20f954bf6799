package postgres

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/uptrace/bun"
)

// maxPrepared is how many statements are kept prepared. The hot paths have a few
// dozen; what comes beyond the bound is sent unprepared.
const maxPrepared = 200

// errNotPrepared means that a statement has to be sent unprepared; nothing of it
// has happened.
var errNotPrepared = errors.New("postgres: not prepared")

// firstRenewal and lastRenewal are after how many uses a statement is prepared
// anew: first after few, then after twice as many each time, in the end
// regularly. The server plans a prepared statement by the size that the tables
// have then, and keeps the plan; the plan for an empty table would cost dearly
// when the table has grown.
const (
	firstRenewal = 8
	lastRenewal  = 100_000
)

// preparedStatements are the statements of a store that the server keeps parsed
// and planned, by their text.
type preparedStatements struct {
	pool *sql.DB

	mu     sync.Mutex
	byText map[string]*preparedStatement
	closed bool
}

// preparedStatement is a statement with its uses; preparedStatements.mu guards it.
type preparedStatement struct {
	*sql.Stmt
	inUse   int
	uses    int
	renewal int  // after how many uses it retires
	retired bool // it is closed when it is no longer in use
}

// query runs a statement. It returns errNotPrepared when that could not be
// prepared, or is prepared no more where it was sent.
func (p *preparedStatements) query(ctx context.Context, q *statement) (*sql.Rows, error) {
	text, args := q.numbered()
	prepared, err := p.take(ctx, text)
	var rows *sql.Rows
	if err == nil {
		defer p.give(prepared)
		rows, err = prepared.QueryContext(ctx, args...)
	}
	if server, ok := readServerError(err); ok {
		switch server.state {
		case "26000", "42P05", "0A000":
			// invalid_sql_statement_name and duplicate_prepared_statement: a pooler
			// hands out sessions that do not know the statement. And
			// feature_not_supported: the result of the statement has changed, by a
			// migration under way.
			return nil, errNotPrepared
		}
	}
	return rows, err
}

// take returns a prepared statement to use. database/sql prepares it on every
// connection that it is used on.
func (p *preparedStatements) take(ctx context.Context, text string) (*preparedStatement, error) {
	p.mu.Lock()
	known := p.byText[text]
	renewal := firstRenewal
	if known != nil && known.uses < known.renewal {
		known.use()
		p.mu.Unlock()
		return known, nil
	}
	if known != nil {
		renewal = min(known.renewal*2, lastRenewal)
		known.uses = 0 // the other callers go on with it meanwhile
	}
	full := known == nil && len(p.byText) >= maxPrepared || p.closed
	p.mu.Unlock()
	if full {
		return nil, errNotPrepared
	}

	made, err := p.pool.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.byText[text] != known {
		_ = made.Close() // the store was closed, or another caller was faster
		return nil, errNotPrepared
	}
	if known != nil {
		known.retire()
	}
	fresh := &preparedStatement{Stmt: made, renewal: renewal}
	p.byText[text] = fresh
	fresh.use()
	return fresh, nil
}

// give ends the use of a statement.
func (p *preparedStatements) give(statement *preparedStatement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	statement.inUse--
	statement.closeIfIdle()
}

func (s *preparedStatement) use() {
	s.inUse++
	s.uses++
}

func (s *preparedStatement) retire() {
	s.retired = true
	s.closeIfIdle()
}

// closeIfIdle closes a retired statement that nobody uses. database/sql does so
// when its last rows are read; what cannot be closed ends with its connection.
func (s *preparedStatement) closeIfIdle() {
	if s.retired && s.inUse == 0 {
		_ = s.Close()
	}
}

// close gives the statements back.
func (p *preparedStatements) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, statement := range p.byText {
		statement.retire()
	}
	p.byText = nil
}

// numbered returns the statement with numbered parameters. What does not change
// between two uses of the statement, names and the project, stays in the text.
func (q *statement) numbered() (string, []any) {
	rest := q.text.String()
	var text strings.Builder
	text.Grow(len(rest) + 16*len(q.args))
	args := make([]any, 0, len(q.args))
	for _, arg := range q.args {
		before, after, _ := strings.Cut(rest, "?")
		text.WriteString(before)
		rest = after
		switch arg := arg.(type) {
		case parameter:
			args = append(args, arg.argument())
			text.WriteString("$" + strconv.Itoa(len(args)) + "::" + arg.kind)
		case literal:
			text.Write(arg)
		case bun.Ident: // schema.table, both of them checked
			text.WriteString(`"` + strings.ReplaceAll(string(arg), ".", `"."`) + `"`)
		}
	}
	text.WriteString(rest)
	return text.String(), args
}
