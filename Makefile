# "make help" lists what can be done here.

# The project is several Go modules, so that users of the library get none of
# the dependencies of its tools and benchmarks.
modules := $(patsubst %/,%,$(dir $(wildcard go.mod */go.mod console/*/go.mod examples/*/go.mod verify/*/*/go.mod)))

# Those that "make test" goes through. The console in a browser takes minutes, and has
# "make test-browser".
tested := $(filter-out console/browsertest,$(modules))

# Files of tests that the race detector finds nothing in are built without it only, and
# "make test" runs what is in them, and that alone, a second time.
plain_files = $(shell grep -rl --include='*_test.go' '^//go:build !race$$' $(addprefix --exclude-dir=,$(notdir $(filter-out .,$(modules)))) .)
plain_packages = $(sort $(patsubst %/,%,$(dir $(plain_files))))
plain_tests = ^($(shell sed -nE 's/^func (Test[A-Za-z0-9_]*).*/\1/p' $(plain_files) | paste -sd '|'))$$

# golangci-lint runs at the version that tools/go.mod pins.
golangci-lint = $(shell go -C tools tool -n golangci-lint)

# What "make test" gives to "go test" beside the race detector, such as
# "make test FLAGS='-run Balance -v'".
FLAGS ?= -timeout 1h

# Most cases wait for a server part of the time, so twice as many run at once as there
# are processors.
parallel = -parallel $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))

# The arithmetic of the standard library's signatures shares nothing and takes, watched by
# the race detector, ten times as long: it was more than half of what verify/apple took.
race = -race -gcflags=crypto/internal/fips140/nistec/...=-race=false -gcflags=crypto/internal/fips140/bigmod=-race=false

# The versions of PostgreSQL that "make test-versions" runs on, as tools/postgresql
# knows them.
VERSIONS ?= all

.DEFAULT_GOAL := help
.PHONY: help test quick test-browser pictures test-versions test-database check bench quickstart console assets prepare format tidy cover apidiff

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# "make check" vets everything, so the tests need not do it again.
test: prepare ## Run all tests of all modules, with the race detector where goroutines meet, installing what they need (FLAGS=… for go test)
	@status=0; for module in $(tested); do \
	  echo "== go test -race ./... in $$module"; \
	  go -C $$module test -vet=off $(race) $(parallel) $(FLAGS) ./... || status=1; \
	done; \
	echo "== go test $(plain_packages), what needs no race detector"; \
	go test -vet=off $(parallel) $(FLAGS) -run '$(plain_tests)' $(plain_packages) || status=1; \
	exit $$status

# What needs a server, a browser or large files is left to "make test".
quick: ## Run the tests of the inner loop: everything that needs no server, without the race detector
	@go vet ./... && go test -vet=off -skip '^TestLarge' $$(go list ./... | grep -v -e /store/postgres -e /examples -e /internal/pgtest)

test-browser: prepare ## Try the console in headless Chromium, installing it, by mouse, by keyboard and without JavaScript
	@tools/prepare browser
	@go -C console/browsertest test $(FLAGS) ./...

pictures: ## Write the pictures of the console in docs/, from the example in headless Chromium (NAMES='users map' for some)
	@tools/prepare pictures
	@go -C console/browsertest run ./pictures '$(CURDIR)' $(NAMES)

# Each version is a throw-away server of its own, so a server that the environment
# names is left out of it.
test-versions: prepare ## Run the tests of the PostgreSQL store on versions 14, 16, 17 and 18 (VERSIONS='14 18', FLAGS=…)
	@status=0; for version in $(VERSIONS); do \
	  binaries=$$(tools/postgresql $$version) || exit 1; \
	  for directory in $$binaries; do \
	    echo "== go test ./store/postgres with $$directory"; \
	    USERKIT_TEST_DSN= USERKIT_TEST_POSTGRESQL=$$directory go test -vet=off $(parallel) $(FLAGS) ./store/postgres || status=1; \
	  done; \
	done; exit $$status

check: ## Look for what tests do not find: format, linters, go.mod, imports
	@unformatted=$$(gofmt -l -s .); if [ -n "$$unformatted" ]; then \
	  echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	@set -e; linter='$(golangci-lint)'; for module in $(modules); do \
	  echo "== golangci-lint, go mod tidy in $$module"; \
	  (cd $$module && "$$linter" run ./...); \
	  go -C $$module mod tidy -diff; \
	done
	@echo "== imports of the packages that packages import"
	@go -C tools run ./housecheck $(addprefix $(CURDIR)/,$(modules))

test-database: ## Run the conformance suite in a database that is there, such as one behind PgBouncer or on Citus (DSN=postgres://…)
	@USERKIT_TEST_DATABASE='$(DSN)' go test $(FLAGS) -tags database -run '^TestConformanceInDatabase$$' ./store/postgres

bench: prepare ## Measure side by side with what a user would pick instead (ONLY=refill for a part)
	@go -C bench run . -only '$(ONLY)'

quickstart: ## Run the quick start, in memory
	@go run ./examples/quickstart

console: ## Run the console on made-up users (DSN=postgres://… for PostgreSQL)
	@go run ./examples/console $(if $(DSN),-dsn '$(DSN)')

assets: ## Fetch what the console serves and did not come from this project, checking hashes
	@tools/prepare npm
	@go -C tools run ./consoleassets '$(CURDIR)/console/assets'

prepare: ## Install what the tests need and is missing: PostgreSQL, a C compiler and swaks (Debian, Ubuntu)
	@tools/prepare

format: ## Format all Go files
	gofmt -w -s .

tidy: ## Bring every go.mod in line with the code
	@set -e; for module in $(modules); do go -C $$module mod tidy; done

apidiff: ## List how the exported API differs from the last tag (BASE=… for another revision)
	@tools/apidiff $(BASE)

cover: prepare ## Show in a browser which lines of the main module its tests run
	go test -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -html=cover.out
