# make            build ./mydocker
# make help       say what else there is

# The version that `mydocker version` says: the nearest tag and commit, or what the caller gives (make VERSION=1.2.3).
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# One static file: no C library, no paths of the build machine, no code of the command-line library that only writes
# documentation, no symbol table (a smaller file starts faster).
export CGO_ENABLED = 0
GO         ?= go
BUILDFLAGS := -trimpath -tags urfave_cli_no_docs,registry_helper -ldflags '-s -w -X main.version=$(VERSION)'

# What speaks HTTP to registries, and unpacks bzip2, xz and zstd, is a compressed program inside mydocker: linked in, it would
# cost every start a millisecond (cli/remote, image/helper.go). A plain `go build` links it in.
HELPER := $(GO) build -trimpath -ldflags '-s -w' -o bin/registry-helper ./cli/remote/helper && gzip -9nc bin/registry-helper > image/registry-helper.gz

# How often `make fuzz` runs each fuzz target (a time, 5s, is taken too; go test then sometimes fails with "context deadline
# exceeded" and no fault), and what `make test` gives to go test besides.
FUZZTIME  ?= 5000x
TESTFLAGS ?=

.PHONY: mydocker
mydocker: need-go ## build one static binary, ./mydocker
	$(HELPER)
	$(GO) build $(BUILDFLAGS) -o bin/mydocker .
	@# The linker writes by a memory map, page by page, and so the file lies in the page cache. What is written at once lies there
	@# in large pieces (folios), which the kernel maps at once: as long as it does, each start takes a quarter less time.
	dd if=bin/mydocker of=bin/mydocker.copy bs=64M status=none && chmod 755 bin/mydocker.copy && mv -f bin/mydocker.copy $@

.PHONY: demo
demo: ## show the whole thing on this host, then put the host back as it was (root)
	./test/demo.sh

.PHONY: test
test: need-go mydocker ## run all tests (root; in namespaces that play the host, the real one is not touched)
	@./test/install-deps.sh --check
	MYDOCKER=$(CURDIR)/mydocker $(GO) test -timeout 60m $(TESTFLAGS) ./...

.PHONY: lint
lint: need-go ## gofmt, go vet, staticcheck
	@bad=$$(gofmt -l $$(git ls-files '*.go')); \
	    if [ -n "$$bad" ]; then echo "not formatted, run gofmt -w on:"; echo "$$bad"; exit 1; fi
	$(GO) vet -tags urfave_cli_no_docs ./...
	$(GO) tool -modfile=test/tools/go.mod staticcheck -tags urfave_cli_no_docs ./...
	@for script in .ci/run $$(git ls-files '*.sh'); do bash -n "$$script" || exit 1; done

# The race detector needs a C library; test programs that start themselves in containers, where there is none, must bring it along.
STATIC := -tags netgo,osusergo -ldflags '-linkmode=external -extldflags=-static'

# Packages that start goroutines, or share something between them. In the others it would find nothing, and take a long time to.
THREADED = grep -rlE '^[[:space:]]*go |\.Go\(|^[[:space:]]*"sync(/atomic)?"$$' --include='*.go' . | \
    grep -v -e _test.go -e '^./test/' -e '^./cli/remote/' | xargs -n1 dirname | sort -u

.PHONY: race
race: need-go ## the tests of the packages that have threads, and stress, under the race detector (root; needs a C compiler)
	@./test/install-deps.sh --check
	CGO_ENABLED=1 MYDOCKER_TEST_SLOW=5 $(GO) test -race $(STATIC) -timeout 60m $(TESTFLAGS) $$($(THREADED))
	$(MAKE) stress

.PHONY: stress
stress: need-go ## two hundred commands at once, by a mydocker under the race detector (root; needs a C compiler)
	CGO_ENABLED=1 $(GO) build -race -tags urfave_cli_no_docs -o bin/mydocker-race .
	rm -rf bin/races && mkdir bin/races
	MYDOCKER=$(CURDIR)/bin/mydocker-race GORACE="log_path=$(CURDIR)/bin/races/race" MYDOCKER_TEST_SLOW=10 \
	    $(GO) test -count=1 -timeout 60m -run '^TestStress$$' $(TESTFLAGS) ./test/e2e

.PHONY: fuzz
fuzz: need-go ## every fuzz target FUZZTIME (5000x: so many runs)
	@$(GO) list -f '{{.Dir}}' ./... | while read -r dir; do \
	    for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$dir"/*_test.go 2>/dev/null); do \
	        echo "fuzz $$target in $$dir"; \
	        $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$dir" || exit 1; \
	    done; \
	done

.PHONY: bench
bench: need-go mydocker ## measure against crun, runc, podman and docker, in namespaces (root; installs nothing)
	./test/debian-images.sh bin/debian big
	$(GO) build -o bin/bench ./test/bench
	./test/in-namespace.sh bin/bench -mydocker $(CURDIR)/mydocker $(BENCHFLAGS)

.PHONY: compare
compare: need-go mydocker ## do the same things with Docker and with mydocker, and compare what a user sees (root; needs dockerd)
	$(GO) build -o bin/compare ./test/compare
	./test/in-namespace.sh bin/compare -mydocker $(CURDIR)/mydocker $(COMPAREFLAGS)

.PHONY: conformance
conformance: mydocker ## the OCI validation programs, then podman, containerd and Docker, drive mydocker-runtime (root)
	mkdir -p bin && ln -sf $(CURDIR)/mydocker bin/mydocker-runtime
	./test/conformance/run.sh bin/mydocker-runtime
	./test/in-namespace.sh ./test/conformance/engines.sh bin/mydocker-runtime

.PHONY: cross
cross: need-go ## build for the other architectures: bin/mydocker-linux-*
	for arch in amd64 arm64; do \
	    export GOARCH=$$arch GOOS=linux; ($(HELPER)) && $(GO) build $(BUILDFLAGS) -o bin/mydocker-linux-$$arch . || exit 1; done

.PHONY: arm64
arm64: need-go ## build for arm64, and run it on an arm64 kernel in an emulated machine: containers, a network, the runtime's tests
	./test/arm64.sh

.PHONY: install
install: TO = $(DESTDIR)$(or $(PREFIX),/usr/local)
install: mydocker ## copy the binary to /usr/local/bin, with its man pages and completions (PREFIX=/usr/local)
	install -D -m 755 mydocker $(TO)/bin/mydocker
	./mydocker docs man $(TO)/share/man/man1
	install -d $(TO)/share/bash-completion/completions $(TO)/share/zsh/site-functions $(TO)/share/fish/vendor_completions.d
	./mydocker completion bash > $(TO)/share/bash-completion/completions/mydocker
	./mydocker completion zsh > $(TO)/share/zsh/site-functions/_mydocker
	./mydocker completion fish > $(TO)/share/fish/vendor_completions.d/mydocker.fish

.PHONY: clean
clean: ## remove what make made
	rm -rf mydocker bin

.PHONY: help
help: ## this text
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# Go is the one thing that cannot be installed for the reader: distributions' packages are often too old.
.PHONY: need-go
need-go:
	@command -v $(GO) >/dev/null || { \
	    echo "go is missing: install Go $$(sed -n 's/^go //p' go.mod) or later, see https://go.dev/doc/install"; exit 1; }
