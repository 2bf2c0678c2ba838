# `make help` lists the targets.

GO          ?= go
TOOL        := $(GO) tool -modfile=tools/go.mod
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GORELEASER  := github.com/goreleaser/goreleaser/v2@v2.16.0
MODULES     := . tools e2e bench conformance
BIN         := build/bin
COLLECTOR_BIN := build/collector/otelcol-loggregator
QUICKSTART  := build/quickstart/otelcol-quickstart
SINK        := $(BIN)/loggregator-sink
OCB         := $(BIN)/ocb
PROGRESS    := @tools/progress.sh
# Prometheus without its service discoveries, as in builder-config.yaml: they take minutes to compile.
TAGS        := remove_all_sd
SOURCES     := $(shell find . -name '*.go' -not -name '*_test.go' -not -path './build/*' $(foreach m,$(filter-out .,$(MODULES)),-not -path './$(m)/*'))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(QUICKSTART) $(SINK) ## Build a small collector and the sink, and show this host's telemetry as envelopes
	@# make passes on the variables of its command line, such as the ports.
	@examples/local/run.sh

.PHONY: test
test: ## Run the unit, contract and lifecycle tests with the race detector, and explore the diodes
	$(GO) test -race ./...
	$(GO) test -tags explore -run Explore ./diodes

# The root's go.mod with the newest collector, which bench/go.mod requires.
NEWEST      := build/newest.mod

$(NEWEST): go.mod go.sum bench/go.mod
	@mkdir -p $(@D)
	cp go.sum $(@:.mod=.sum)
	cp go.mod $@
	$(GO) mod edit $$(cd bench && $(GO) list -m -f '-require={{.Path}}@{{.Version}}' all | \
	  grep -E '^-require=(go.opentelemetry.io/collector|github.com/open-telemetry)[/@]') $@
	$(GO) mod tidy -modfile=$@

.PHONY: test-newest
test-newest: $(NEWEST) ## Run the tests with the newest collector, in random order, and those of tools
	$(GO) test -shuffle=on -modfile=$(NEWEST) ./...
	cd tools && $(GO) test ./...

.PHONY: e2e
e2e: $(COLLECTOR_BIN) $(SINK) ## Run the built collector as a process against a real ingress
	cd e2e && $(GO) test -tags $(TAGS) -count=1 -timeout 15m ./...

DURATION    ?= 10m

.PHONY: soak
soak: $(COLLECTOR_BIN) $(SINK) ## Run the built collector under load for DURATION (default 10m) and watch its resource use
	cd e2e && $(GO) test -tags $(TAGS) -count=1 -timeout 0 -v -run '^TestSoak$$' . -soak.duration=$(DURATION)

.PHONY: demo-outage
demo-outage: $(COLLECTOR_BIN) ## Stall a Loggregator for 20 s (or DEMO="-stall 5s"), show the outage, and draw build/demo-outage.svg
	cd e2e && $(GO) build -tags $(TAGS) -o ../$(BIN)/demo-outage ./cmd/demo-outage
	@$(BIN)/demo-outage $(DEMO)

.PHONY: chaos
chaos: ## Inject random faults for DURATION (default 10m) while 16 goroutines push
	$(GO) test -race -count=1 -timeout 0 -v -run '^TestChaos$$' . -chaos.duration=$(DURATION)

.PHONY: explore
explore: ## Explore the interleavings of random scenarios of the diodes for DURATION (default 10m)
	$(GO) test -tags explore -count=1 -timeout 0 -v -run ExploreRandom ./diodes -explore.for=$(DURATION)

.PHONY: mutate
mutate: ## Change the code, one place at a time, and check that the tests catch each change; ONLY=regexp selects some
	cd tools && $(GO) run ./mutate -root .. -only '$(ONLY)'

.PHONY: conformance
conformance: ## Check the goldens of the mapping against syslog and Prometheus
	cd conformance && $(GO) test -count=1 ./...

.PHONY: collector
collector: $(COLLECTOR_BIN) ## Build the collector with ocb from builder-config.yaml

$(OCB): tools/go.mod tools/go.sum
	$(PROGRESS) "The collector's builder, ocb" "20 s" build -o $@ -modfile=tools/go.mod go.opentelemetry.io/collector/cmd/builder

# ocb writes the sources and downloads the modules. progress.sh compiles them, because ocb would not report progress.
$(COLLECTOR_BIN): builder-config.yaml
$(COLLECTOR_BIN): USUAL := 5 min
$(QUICKSTART): examples/local/builder-config.yaml
$(QUICKSTART): USUAL := 1 min
$(COLLECTOR_BIN) $(QUICKSTART): $(OCB) go.mod go.sum $(SOURCES)
	@mkdir -p $(@D)
	$(PROGRESS) "The sources of the collector" "5 s" $(OCB) --config $(filter %builder-config.yaml,$^) --skip-compilation
	$(PROGRESS) "The collector" "$(USUAL)" build -C $(@D) -o $(@F) -tags $(TAGS) .

.PHONY: collector-sources
collector-sources: $(OCB) ## Let ocb write the sources of the full collector, without a build
	@mkdir -p build/collector
	$(OCB) --config builder-config.yaml --skip-compilation

PLATFORMS   := linux/amd64 linux/arm64 darwin/arm64 windows/amd64

.PHONY: cross
cross: ## Compile for the other platforms, and vet for a 32-bit platform
	for p in $(PLATFORMS); do \
	  CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -trimpath ./... || exit 1; done
	CGO_ENABLED=0 GOARCH=386 $(GO) vet -trimpath ./...

.PHONY: release
release: ## Release the tag of HEAD with goreleaser, as the workflow does
	$(GO) run $(GORELEASER) release --clean

.PHONY: release-check
release-check: ## Check .goreleaser.yaml, and build the collector of a release for this platform
	$(GO) run $(GORELEASER) check
	IMAGE=none $(GO) run $(GORELEASER) build --snapshot --clean --single-target

.PHONY: sink
sink: $(SINK) ## Build loggregator-sink

$(SINK): go.mod go.sum $(SOURCES)
	$(PROGRESS) "The stand-in for Loggregator, loggregator-sink" "10 s" build -o $@ ./cmd/loggregator-sink

.PHONY: build
build: ## Compile every module, and vet this one
	for m in $(MODULES); do (cd $$m && $(GO) build -tags $(TAGS) -o /dev/null ./...) || exit 1; done
	@# The linter vets every module. Vetting the large dependencies of the others here as well would take minutes.
	$(GO) vet ./...
	cd tools && $(GO) build -o /dev/null tool

.PHONY: generate
generate: ## Write the generated files
	$(GO) generate ./...

.PHONY: upgrade
upgrade: ## Move to another collector version: COLLECTOR=v0.166.0, or latest; ocb uses BUILD=v0.165.0, if given
	tools/upgrade.sh '$(COLLECTOR)' '$(BUILD)'
	$(MAKE) generate

.PHONY: generate-check
generate-check: ## Fail if a generated file or a version is not up to date
	./.ci/unchanged $(MAKE) upgrade COLLECTOR=current

.PHONY: tidy-check
tidy-check: ## Fail if a go.mod or go.sum is not tidy
	for m in $(MODULES); do (cd $$m && $(GO) mod tidy -diff) || exit 1; done

.PHONY: lint
lint: ## Run gofmt, goimports and golangci-lint
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | grep -v generated_ | xargs $(TOOL) goimports -l -local github.com/loggregatorexporter); \
	if [ -n "$$unformatted" ]; then echo "goimports would change: $$unformatted"; exit 1; fi
	for m in $(MODULES); do (cd $$m && $(GO) run $(GOLANGCI) run --build-tags $(TAGS) --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

BENCHCOUNT  ?= 6
BENCHTIME   ?= 200ms

.PHONY: bench
bench: ## Measure the exporter and its peers, and write docs/benchmarks.md with plots
	@mkdir -p build/bench docs
	cd bench && $(GO) test -c -o ../build/bench/exporter.test ./exporter && $(GO) build -o ../build/bench/report ./cmd/report
	{ echo "go: $$($(GO) env GOVERSION)"; \
	  cd bench; for m in go.opentelemetry.io/collector/exporter/exporterhelper code.cloudfoundry.org/go-loggregator/v10; do \
	    echo "$$(basename $${m%/v10}): $$($(GO) list -m -f '{{.Version}}' $$m)"; done; \
	  echo "rounds: $(BENCHCOUNT)"; } > build/bench/exporter.txt
	@# In rounds, because with -count, a slow spell of the machine would affect only one peer.
	for round in $$(seq $(BENCHCOUNT)); do \
	  build/bench/exporter.test -test.run '^$$' -test.bench . -test.benchtime $(BENCHTIME) >> build/bench/exporter.txt || exit 1; done
	build/bench/report -page exporter -raw build/bench/exporter.txt -benchstat '$(TOOL) benchstat' > build/bench/benchmarks.md
	mv build/bench/benchmarks.md docs/benchmarks.md
	@sed -n '/^## Verdicts/,$$p' docs/benchmarks.md

.PHONY: bench-diodes
bench-diodes: ## Measure the diodes and their peers, and write docs/benchmarks-diodes.md
	@mkdir -p build/bench docs
	cd bench && $(GO) test -c -o ../build/bench/diodes.test . && $(GO) build -o ../build/bench/report ./cmd/report
	{ echo "go: $$($(GO) env GOVERSION)"; \
	  echo "go-diodes: $$(cd bench && $(GO) list -m -f '{{.Version}}' code.cloudfoundry.org/go-diodes)"; \
	  echo "rounds: $(BENCHCOUNT)"; echo "benchtime: $(BENCHTIME)"; } > build/bench/diodes.txt
	for round in $$(seq $(BENCHCOUNT)); do \
	  build/bench/diodes.test -test.run '^$$' -test.bench . -test.benchtime $(BENCHTIME) >> build/bench/diodes.txt || exit 1; done
	build/bench/report -page diodes -raw build/bench/diodes.txt -benchstat '$(TOOL) benchstat' > build/bench/benchmarks-diodes.md
	mv build/bench/benchmarks-diodes.md docs/benchmarks-diodes.md

.PHONY: bench-check
bench-check: ## Fail if allocations or ratios exceed bench/baseline.txt; ALLOCS=1 checks only allocations
	@mkdir -p build/bench
	cd bench && $(GO) test -c -o ../build/bench/exporter.test ./exporter && $(GO) build -o ../build/bench/report ./cmd/report
	build/bench/report -check bench/baseline.txt -bench build/bench/exporter.test $(if $(ALLOCS),-allocs)

.PHONY: fuzz
fuzz: ## Run each fuzz test for FUZZTIME (default 30s), or a number of inputs (3000x)
	$(GO) list -f '{{.Dir}}' ./... | while read -r dir; do \
	  (cd "$$dir" && grep -ho '^func Fuzz[A-Za-z0-9]*' ./*_test.go 2>/dev/null | sed 's/^func //' | while read -r f; do \
	    $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $${FUZZTIME:-30s} -fuzzminimizetime 5x . || exit 1; done) || exit 1; done

.PHONY: clean
clean: ## Remove the build folder
	rm -rf build
