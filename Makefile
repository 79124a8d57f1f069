# Targets for people; .ci/run is what a change must pass. `make test` installs what the tests need beyond Go.

GO       ?= go
FUZZTIME ?= 5s

# `./...` never enters a nested module, so each is named.
TESTED  := . internal/interop internal/interop/stepca
MODULES := $(TESTED) tools

STATICCHECK := $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck

.PHONY: run build deb test race faults soak lint fuzz bench setup

run: ## tell the whole story on loopback, then stop
	$(GO) run ./cmd/issuer demo

build: ## bin/issuer, one static binary without symbols
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/issuer ./cmd/issuer

deb: build ## a Debian package in bin/, of the program and its units
	packaging/deb/build bin/issuer bin

# A race binary sleeps for a second when it exits, and the tests start hundreds. The pointer checks of the transpiled SQLite
# cost half the time of the tests that read every row; its races are still detected.
RACE := -race -gcflags=modernc.org/...=-d=checkptr=0

# Most tests wait for a process, a timer or the disk, so more of them run side by side than there are processors. `make lint` vets.
# Without debugging information, linking takes three quarters of the time.
TESTS := -count=1 -vet=off -parallel=6 -ldflags=-w

test race: export GORACE := atexit_sleep_ms=0

test: setup ## every test, then those that race under the race detector
	@set -e; for m in $(TESTED); do echo "# test $$m"; (cd $$m && $(GO) test $(TESTS) -timeout 20m ./...); done
	@echo "# test racing tests under the race detector"
	@GO="$(GO)" scripts/race $(RACE) $(TESTS) -timeout 20m

race: setup ## every test, under the race detector
	@set -e; for m in $(TESTED); do echo "# race $$m"; (cd $$m && $(GO) test $(RACE) $(TESTS) -timeout 40m ./...); done

# Each package with its fault tests. `make test` runs them too, but says nothing of what passed.
FAULTS := \
	internal/server:'^Test(Clock|StoreFails|StartFails)' \
	storage/postgres:'^Test(CutConnection|ServerEnds|ReplayAfterCrash|TwoNodes)' \
	storage/sqlite:'^Test(Killed|Update|Fault|FullDisk|Damage|CutLog|FilesGone)' \
	cmd/issuer:'^Test(Kill|DiskFull|ReadOnlyMount|DataGone|Locked|Refused|Clock|Restore)'

# That a test waits, and each of the hundreds that are only numbers, as long as they pass.
NOISE := '^=== PAUSE|^ *(=== RUN|--- PASS).*/[0-9]+( \([0-9.]+s\))?$$'

faults: SHELL := bash
faults: ## the fault tests, with what they did and counted
	@set -e -o pipefail; for f in $(FAULTS); do \
		$(GO) test -count=1 -v -timeout 40m -run "$${f#*:}" ./"$${f%%:*}" | grep -Ev $(NOISE); done

# How long the faults of `make soak` happen.
SOAK ?= 20m

soak: setup ## the long form of the fault test and of the simulation (docs/reliability.md)
	$(GO) test -count=1 -v -timeout 2h ./internal/faults -args -faults.duration=$(SOAK)
	$(GO) test -count=1 -v -timeout 4h -run '^TestSeeds$$' ./internal/simulation -args -seeds 200000

lint: ## format, vet, staticcheck, tidy
	@echo "# gofmt"; unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "$$unformatted"; exit 1; }
	@set -e; for m in $(TESTED); do echo "# vet, staticcheck $$m"; (cd $$m && $(GO) vet ./... && $(STATICCHECK) ./...); done
	@set -e; for m in $(MODULES); do echo "# tidy $$m"; (cd $$m && $(GO) mod tidy -diff); done

fuzz: ## each fuzz target for FUZZTIME
	@GO=$(GO) FUZZTIME=$(FUZZTIME) scripts/fuzz

bench: ## what requests cost a running issuer, beside the floor (docs/performance.md); then the benchmarks of each package
	$(GO) run ./internal/measure -quick
	$(GO) test -run '^$$' -bench . -benchmem ./...

setup: # what the tests need and this machine lacks
	@scripts/setup
