# Targets for people; .ci/run is what a change must pass. `make test` installs what the tests need beyond Go.

GO       ?= go
FUZZTIME ?= 5s

# `./...` never enters a nested module, so each is named.
TESTED  := . internal/interop
MODULES := $(TESTED) tools

STATICCHECK := $(GO) tool -modfile=$(CURDIR)/tools/go.mod staticcheck

.PHONY: run build test lint fuzz bench setup

run: ## tell the whole story on loopback, then stop
	$(GO) run ./cmd/issuer demo

build: ## bin/issuer, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/issuer ./cmd/issuer

test: setup ## every test, under the race detector
	@set -e; for m in $(TESTED); do echo "# test $$m"; (cd $$m && $(GO) test -race -count=1 -timeout 40m ./...); done

lint: ## format, vet, staticcheck, tidy
	@echo "# gofmt"; unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "$$unformatted"; exit 1; }
	@set -e; for m in $(TESTED); do echo "# vet, staticcheck $$m"; (cd $$m && $(GO) vet ./... && $(STATICCHECK) ./...); done
	@set -e; for m in $(MODULES); do echo "# tidy $$m"; (cd $$m && $(GO) mod tidy -diff); done

fuzz: ## each fuzz target for FUZZTIME
	@GO=$(GO) FUZZTIME=$(FUZZTIME) scripts/fuzz

bench: ## the hot paths, each beside the bare cryptography that it contains
	$(GO) test -run '^$$' -bench . -benchmem ./...

setup: # what the tests need and this machine lacks
	@scripts/setup
