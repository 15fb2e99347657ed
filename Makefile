# RotateSSH. `make help` lists the targets.

GO            ?= go
BIN           := bin
BUILD         := build
VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BUILDINFO     := github.com/rotatessh/rotatessh/common/buildinfo
GOFLAGS_BUILD  = -trimpath -ldflags '-s -w -X $(BUILDINFO).version=$(VERSION)'
PROGRAMS      := $(BIN)/rotatessh-agent $(BIN)/rotatessh $(BIN)/bootstrap

# Tools run at a pinned version, straight from the module proxy.
GOLANGCI_LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOTESTSUM     := $(GO) run gotest.tools/gotestsum@v1.13.0
GOVULNCHECK   := $(GO) run golang.org/x/vuln/cmd/govulncheck@latest

# The race detector needs a C compiler.
HAVE_CC := $(shell command -v gcc || command -v cc)
RACE    := $(if $(HAVE_CC),-race)

.PHONY: help all build demo openssh test unit lint vet tidy-check fuzz torture report-test report-picture bench-gate vuln clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

all: build lint test ## everything that a release needs

build: $(PROGRAMS) ## rotatessh-agent, rotatessh and bootstrap in bin/

# Go's build cache decides what is out of date.
.PHONY: $(PROGRAMS)
$(BIN)/rotatessh-agent: PACKAGE := ./agent/cmd/rotatessh-agent
# AWS's endpoints that the agent calls speak HTTP/1.1; without the other client it is half a megabyte smaller.
AGENT_TAGS := -tags nethttpomithttp2
$(BIN)/rotatessh-agent: TAGS := $(AGENT_TAGS)
$(BIN)/rotatessh: PACKAGE := ./rotator/cmd/rotatessh
$(BIN)/bootstrap: PACKAGE := ./rotator/cmd/bootstrap
$(BIN)/bootstrap: TAGS := -tags lambda.norpc
$(PROGRAMS):
	CGO_ENABLED=0 $(GO) build $(TAGS) $(GOFLAGS_BUILD) -o $@ $(PACKAGE)

openssh: ## find an OpenSSH server, or bring one along
	@mkdir -p $(BUILD) && packaging/scripts/openssh.sh $(BUILD)/openssh >$(BUILD)/sshd.path

demo: build openssh ## rotate a fleet of real sshd's on this machine (DEMO_FLAGS='--workers 10')
	ROTATESSH_SSHD=$$(cat $(BUILD)/sshd.path) $(BIN)/rotatessh demo $(DEMO_FLAGS)

test: SHORT = 1
test: lint vet unit faults ## lint, vet and every test, among them the demo end to end

unit: openssh ## every test
	@$(if $(RACE),,echo "not run: the race detector, since there is no C compiler")
	ROTATESSH_SSHD=$$(cat $(BUILD)/sshd.path) $(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg -- $(RACE) -shuffle=on -timeout 30m ./...

lint: tidy-check ## golangci-lint
	$(GOLANGCI_LINT) run ./...

vet: ## go vet
	$(GO) vet ./...
	$(GO) vet -tags installtest ./packaging/test
	$(GO) vet -tags browsertest ./rotator/internal/report

tidy-check: ## go.mod and go.sum are as go mod tidy would have them
	$(GO) mod tidy -diff

FUZZTIME ?= 30s
fuzz: ## every fuzz test, FUZZTIME=30s each
	@grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do \
	  for name in $$(grep -ohE '^func Fuzz[A-Za-z0-9_]*' "$$file" | cut -c6-); do \
	    echo "$$name in $$(dirname "$$file")"; \
	    $(GO) test "./$$(dirname "$$file")" -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) || exit 1; \
	  done; \
	done

torture: ## the long runs of the writer's and the managed block's tests, about 15 minutes
	ROTATESSH_TEST_LONG=1 $(GO) test -count=1 -timeout 60m ./agent/internal/userfile ./agent/internal/authkeys

report-test: ## the HTML report in a headless Chromium, with axe-core
	@mkdir -p $(BUILD) && packaging/scripts/axe.sh $(CURDIR)/$(BUILD)/axe-core >$(BUILD)/axe.path
	ROTATESSH_AXE=$$(cat $(BUILD)/axe.path) $(GO) test -tags browsertest -count=1 -v -run ^TestPage ./rotator/internal/report

report-picture: build openssh ## packaging/docs/report.svg, from a run of the demo
	@mkdir -p packaging/docs
	ROTATESSH_SSHD=$$(cat $(BUILD)/sshd.path) packaging/scripts/report-picture.sh $(CURDIR)/$(BIN) $(CURDIR)/packaging/docs/report.svg

bench-gate: ## how long the rotator takes to judge 100,000 workers, and its memory, and how fast it logs in; about 4 minutes
	$(GO) test ./rotator/cmd/bootstrap -run '^$$' -bench BenchmarkGate -benchtime 1x -timeout 20m
	$(GO) test ./rotator/cmd/bootstrap -run '^$$' -bench BenchmarkProbe -benchtime 2x

vuln: ## known vulnerabilities in what we depend on
	$(GOVULNCHECK) ./...

include agent/internal/trial/trial.mk packaging/packaging.mk

clean: ## remove what the other targets made
	rm -rf $(BIN) $(BUILD) dist
