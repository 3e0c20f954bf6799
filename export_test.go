package userkit

import (
	"context"
	"errors"
)

// OperationMethods returns, for tests of what the package shows, the name of each
// operation by its method of Manager.
func OperationMethods() map[string]string {
	methods := map[string]string{}
	for _, op := range operations {
		methods[op.method] = op.name
	}
	return methods
}

// Duties returns the names of the duties of Run.
func Duties() []string {
	var names []string
	for _, duty := range duties {
		names = append(names, duty.name)
	}
	return names
}

// DoDuty does a duty of Run once, if it applies to the manager.
func DoDuty(ctx context.Context, of Manager, name string) error {
	m := of.(*manager)
	for _, duty := range duties {
		if duty.name == name && duty.applies(m) {
			return m.attempt(ctx, duty)
		}
	}
	return errors.New("the manager has no duty of this name")
}
