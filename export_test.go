package userkit

// OperationMethods returns, for tests of what the package shows, the name of each
// operation by its method of Manager.
func OperationMethods() map[string]string {
	methods := map[string]string{}
	for _, op := range operations {
		methods[op.method] = op.name
	}
	return methods
}
