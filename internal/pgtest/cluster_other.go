//go:build !unix

package pgtest

import "errors"

// cluster needs the process control of Unix; elsewhere the environment must
// name a server.
type cluster struct{ binaries string }

func newCluster(bool) (*cluster, error) {
	return nil, errors.New("throw-away clusters need a Unix system; set " + Environment)
}

func (*cluster) dsn() string  { return "" }
func (*cluster) kill() error  { return nil }
func (*cluster) start() error { return nil }
func (*cluster) remove()      {}

var pristine pristineCluster

type pristineCluster struct{}

func (*pristineCluster) remove() {}
