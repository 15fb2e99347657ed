# What is installed: packages, the Lambda's zip, and their tests.

NFPM   := $(GO) run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
STAGE  := $(BUILD)/package
ARCHES := amd64 arm64
DIST   := dist

# Files in packages carry the time of the commit, so that the same commit makes the same bytes.
ifndef SOURCE_DATE_EPOCH
SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
endif
export SOURCE_DATE_EPOCH

# A release is its tag without the v. What is no release sorts before the next one, and by time.
PACKAGE_VERSION ?= $(shell git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null | sed 's/^v//')
ifeq ($(PACKAGE_VERSION),)
PACKAGE_VERSION := 0.1.0~$(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y%m%d.%H%M%S).$(shell git rev-parse --short=9 HEAD 2>/dev/null || echo devel)
endif

AGENTS    := $(ARCHES:%=$(STAGE)/%/rotatessh-agent)
OPERATORS := $(ARCHES:%=$(STAGE)/%/rotatessh)
LAMBDAS   := $(ARCHES:%=$(STAGE)/%/bootstrap)
GUIDE     := $(STAGE)/rotatessh-docs

.PHONY: packages lambda bench package-docs $(AGENTS) $(OPERATORS) $(LAMBDAS) $(GUIDE)

packages: $(AGENTS) $(OPERATORS) package-docs ## DEB and RPM of agent and operator's command, amd64 and arm64, in dist/
	@mkdir -p $(DIST) && rm -f $(DIST)/*.deb $(DIST)/*.rpm
	@for name in agent rotatessh; do for arch in $(ARCHES); do for kind in deb rpm; do \
	  VERSION='$(PACKAGE_VERSION)' ARCH=$$arch $(NFPM) package -f packaging/nfpm-$$name.yaml -p $$kind -t $(DIST)/ >/dev/null || exit 1; \
	done; done; done
	@ls -l $(DIST)/*.deb $(DIST)/*.rpm

lambda: $(LAMBDAS) ## the rotator's zip for AWS Lambda, arm64 and amd64, in dist/
	@mkdir -p $(DIST)
	@for arch in $(ARCHES); do $(GO) run ./packaging/lambdazip $(STAGE)/$$arch/bootstrap $(DIST)/rotatessh-rotator-$$arch.zip || exit 1; done
	@ls -l $(DIST)/*.zip

# Versions are the packages' own, so that a program says what the package manager says.
$(AGENTS): PACKAGE := ./agent/cmd/rotatessh-agent
$(AGENTS): TAGS := $(AGENT_TAGS)
$(OPERATORS): PACKAGE := ./rotator/cmd/rotatessh
$(LAMBDAS): PACKAGE := ./rotator/cmd/bootstrap
# A new function environment loads all of it before its first event: AWS's endpoints need no HTTP/2, and without inlining it is
# an eighth smaller.
$(LAMBDAS): TAGS := -tags lambda.norpc,nethttpomithttp2 -gcflags=all=-l
$(AGENTS) $(OPERATORS) $(LAMBDAS): VERSION = $(PACKAGE_VERSION)
$(AGENTS) $(OPERATORS) $(LAMBDAS):
	CGO_ENABLED=0 GOOS=linux GOARCH=$(notdir $(@D)) GOAMD64=v1 $(GO) build $(TAGS) -buildvcs=false $(GOFLAGS_BUILD) -o $@ $(PACKAGE)

# The operator's command with the generator of its manual pages, for this machine.
$(GUIDE):
	$(GO) build -tags docs -o $@ ./rotator/cmd/rotatessh

package-docs: $(GUIDE)
	@rm -rf $(STAGE)/man $(STAGE)/completion && mkdir -p $(STAGE)/man $(STAGE)/completion
	@$(GUIDE) docs --date $$(date -u -d @$(SOURCE_DATE_EPOCH) +%F) $(STAGE)/man
	@cp packaging/man/rotatessh-agent.8 $(STAGE)/man/ && gzip -9nf $(STAGE)/man/*
	@$(GUIDE) completion bash >$(STAGE)/completion/rotatessh.bash
	@$(GUIDE) completion zsh >$(STAGE)/completion/_rotatessh
	@$(GUIDE) completion fish >$(STAGE)/completion/rotatessh.fish
	@gzip -9nc packaging/CHANGELOG.md >$(STAGE)/CHANGELOG.md.gz
	@printf -- '- semver: "%s-1"\n  date: "%s"\n  packager: "RotateSSH maintainers <maintainers@rotatessh.example>"\n  deb: {urgency: medium, distributions: [stable]}\n  changes:\n    - note: "New version; what changed is in the CHANGELOG beside this file."\n' \
	  '$(PACKAGE_VERSION)' "$$(date -u -d @$(SOURCE_DATE_EPOCH) +%FT%TZ)" >$(STAGE)/changelog.yaml

# Both programs are built as the zip's is.
bench: ## how long the Lambda function takes to its first event, and its memory
	@$(MAKE) --no-print-directory lambda ARCHES=$$($(GO) env GOARCH) DIST=$(STAGE)/dist >/dev/null
	@CGO_ENABLED=0 $(GO) build -tags lambda.norpc $(GOFLAGS_BUILD) -o $(STAGE)/floor ./packaging/bench/floor
	@$(GO) run ./packaging/bench $(CURDIR)/$(STAGE)/floor $(CURDIR)/$(STAGE)/$$($(GO) env GOARCH)/bootstrap

# What package-test needs beyond Go; as root on a Debian it brings it along.
PACKAGE_TEST_TOOLS := attr createrepo-c debootstrap dnf iproute2 lintian rpm rpmlint systemd-container
PACKAGE_TEST_DIST  := $(STAGE)/dist
ROOTS              := /var/tmp/rotatessh-installtest
RUN                ?= .

.PHONY: package-test selinux-test package-test-tools clean-roots

package-test: package-test-tools ## install, upgrade and remove the packages in real systems (root, Debian)
	@$(MAKE) --no-print-directory packages lambda ARCHES=$$($(GO) env GOARCH) DIST=$(PACKAGE_TEST_DIST)
	@$(GO) test -tags installtest -c -o $(STAGE)/installtest ./packaging/test
	@cd packaging/test && ROTATESSH_DIST=$(PACKAGE_TEST_DIST) NFPM='$(NFPM)' $(CURDIR)/$(STAGE)/installtest -test.timeout 20m -test.run '$(RUN)'

selinux-test: PACKAGE_TEST_TOOLS += qemu-system-x86 e2fsprogs
selinux-test: package-test-tools ## rotate in a virtual machine with SELinux enforcing (slow; root, Debian)
	@$(MAKE) --no-print-directory packages lambda ARCHES=$$($(GO) env GOARCH) DIST=$(PACKAGE_TEST_DIST) >/dev/null
	@$(GO) test -tags installtest -c -o $(STAGE)/installtest ./packaging/test
	@cd packaging/test && ROTATESSH_INSTALLTEST_SELINUX=1 ROTATESSH_DIST=$(PACKAGE_TEST_DIST) NFPM='$(NFPM)' $(CURDIR)/$(STAGE)/installtest -test.timeout 30m -test.run TestSELinux

package-test-tools:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $(PACKAGE_TEST_TOOLS) >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGE_TEST_TOOLS) >/dev/null; fi

clean: clean-roots
clean-roots:
	rm -rf $(ROOTS)
