package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"reflect"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"
)

// cancelTimeout bounds how long the request to cancel a statement may take.
const cancelTimeout = 10 * time.Second

// The codes of the requests that begin a connection (PostgreSQL documentation,
// "Message Formats": CancelRequest, SSLRequest).
const (
	cancelRequestCode = 80877102
	sslRequestCode    = 80877103
)

// backendKey is what the server tells a connection for cancelling its statements.
type backendKey struct {
	process, secret int32
}

// backendKeyOf returns the key of a connection. pgdriver keeps it to itself.
func backendKeyOf(connection *pgdriver.Conn) (backendKey, bool) {
	value := reflect.ValueOf(connection).Elem()
	process, secret := value.FieldByName("processID"), value.FieldByName("secretKey")
	if process.Kind() != reflect.Int32 || secret.Kind() != reflect.Int32 || process.Int() == 0 {
		return backendKey{}, false
	}
	return backendKey{int32(process.Int()), int32(secret.Int())}, true
}

// cancelStatement asks the server to cancel what a connection is running. The
// request takes a connection of its own, on which the server answers nothing.
func cancelStatement(ctx context.Context, dial func(context.Context) (net.Conn, error), key backendKey) error {
	connection, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := connection.SetDeadline(deadline); err != nil {
			return err
		}
	}
	request := binary.BigEndian.AppendUint32(nil, 16)
	request = binary.BigEndian.AppendUint32(request, cancelRequestCode)
	request = binary.BigEndian.AppendUint32(request, uint32(key.process))
	request = binary.BigEndian.AppendUint32(request, uint32(key.secret))
	if _, err := connection.Write(request); err != nil {
		return err
	}
	// The server closes the connection once it has passed the request on.
	if _, err := connection.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
