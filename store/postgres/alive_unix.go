//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package postgres

import (
	"crypto/tls"
	"net"
	"syscall"
)

// closedByPeer reports whether the other side has closed an idle connection, or
// has said something on it that nobody asked for, which is how a server says
// good-bye. It does not wait.
func closedByPeer(connection net.Conn) bool {
	secure := false
	for {
		wrapped, ok := connection.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		if _, ok := connection.(*tls.Conn); ok {
			secure = true
		}
		connection = wrapped.NetConn()
	}
	socket, ok := connection.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(descriptor uintptr) {
		var one [1]byte
		count, _, err := syscall.Recvfrom(int(descriptor), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EAGAIN || err == syscall.EINTR: // nothing to read
		case err != nil || count == 0:
			closed = true
		default:
			closed = !secure // TLS has messages of its own
		}
	})
	return closed || err != nil
}
