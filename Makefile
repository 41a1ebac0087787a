# Everything runs from a clean checkout with Go and make; `make test` also needs gcc (for -race).
MAKEFLAGS += --no-print-directory
TOOL = go tool -modfile=tools/go.mod
PROTO = proto/viewport/relay/v1
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: build demo run chaos storm test lint generate baseline bench fuzz clean

build: ## bin/: the relay, the endpoint CLI, and relay plus platform for development
	@mkdir -p bin
	@go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/...

demo: build ## a real encrypted session through a real relay, checked, in under a minute
	@bin/viewport-dev demo

run: build ## relay, development platform and one daemon, until Ctrl-C
	@bin/viewport-dev

chaos: build ## real processes, cut and killed at random for CHAOS_TIME (default 30s); SEED repeats the faults
	@bin/viewport-dev chaos --time $(or $(CHAOS_TIME),30s) $(if $(SEED),--seed $(SEED))

storm: build ## STORM clients (default 2000) are cut at once, and come back
	@bin/viewport-dev storm --clients $(or $(STORM),2000) $(if $(SEED),--seed $(SEED))

test: ## all tests, with the race detector
	go test -race -timeout 20m $(TESTFLAGS) ./...

lint: ## formatting, vet, staticcheck, the contract, and who may import whom
	@.ci/lint

generate: ## gen/ from proto/
	@$(TOOL) buf generate

baseline: ## moves what `buf breaking` compares with to the contract as it is now
	@$(TOOL) buf build --exclude-source-info -o $(PROTO)/baseline.binpb

bench: ## the relay's hot path beside a bare forwarder
	@.ci/bench

fuzz: ## each fuzz target for FUZZTIME (default 60s)
	@.ci/fuzz $(or $(FUZZTIME),60s)

clean:
	rm -rf bin
