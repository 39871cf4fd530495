# `make` prints the targets. Everything that is built or fetched stays in this folder: bin/, .tools/, .dev/.
.DEFAULT_GOAL := help
SHELL := /bin/bash
GO ?= go
# Servers are started beside the tests of each package, which wait more than they compute: three at a time suit two cores.
TEST_PARALLEL ?= 3
# PostgreSQL's major versions that the tests run on.
export SMARTDR_TEST_PG_MAJORS ?= 15,18

.PHONY: help
help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: build ## lose a region and fail over, on this machine, checked against a ledger
	@tools/install run
	@bin/smartdr-dev demo

.PHONY: dev
dev: build ## start two regions, Temporal and a primary, and leave them running
	@tools/install run
	@bin/smartdr-dev up

.PHONY: dev-down
dev-down: build ## stop what `make dev` started, and remove its data
	@bin/smartdr-dev down

.PHONY: build
build: ## build bin/smartdr, bin/smartdr-worker and bin/smartdr-dev
	@$(GO) build -o bin/smartdr ./starter
	@$(GO) build -o bin/smartdr-worker ./worker
	@$(GO) build -o bin/smartdr-dev ./internal/devenv/cmd/smartdr-dev

.PHONY: test
test: build ## run every test on real PostgreSQL, S3 and Temporal
	@tools/install test
	$(GO) test -p $(TEST_PARALLEL) -timeout 40m ./...

.PHONY: replay
replay: ## replay the recorded workflow histories
	$(GO) test -run 'Replay' ./workflows/...

.PHONY: record-histories
record-histories: build ## record new workflow histories from a real run
	@tools/install run
	SMARTDR_RECORD_HISTORIES=1 $(GO) test -count 1 -run 'RecordHistories' -timeout 10m ./workflows/...

.PHONY: lint
lint: ## gofmt, vet, staticcheck and workflowcheck
	@tools/install lint
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt-ed:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	.tools/bin/staticcheck ./...
	.tools/bin/workflowcheck -config workflows/workflowcheck.yaml ./workflows/...

.PHONY: bench
bench: build ## measure, and write bench/results/
	@tools/install run
	$(GO) run ./bench

.PHONY: tools
tools: ## build everything that any target needs into .tools/
	@tools/install test
	@tools/install lint

.PHONY: clean
clean: ## remove what was built, not the tools
	rm -rf bin
