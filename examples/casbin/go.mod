module github.com/userkit/userkit/examples/casbin

go 1.26.0

replace github.com/userkit/userkit => ../../

require (
	github.com/casbin/casbin/v3 v3.10.0
	github.com/stretchr/testify v1.12.1
	github.com/userkit/userkit v0.0.0-00010101000000-000000000000
)

require (
	github.com/bmatcuk/doublestar/v4 v4.6.1 // indirect
	github.com/casbin/govaluate v1.3.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/tidwall/btree v1.8.2 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)
