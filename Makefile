# Everything that a fresh machine needs: python3, make and the package registries.
#
#   make demo      move a Metal3 cluster between two real control planes
#   make test      all tests
#   make test-fast lint, types, layers, and the tests that need no server
#   make test-all  all tests, and all long series to their end
#   make check     lint, types, layers
#   make testbed   build and cache the API server, etcd and the rest of the test bed
#   make controllers  build and cache Cluster API's own controllers, which only some tests need

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/capi-mover
UV := $(CACHE)/uv-$(UV_VERSION)/bin/uv
VENV := .venv
BIN := $(VENV)/bin
export UV_PROJECT_ENVIRONMENT := $(VENV)
# As pip does: a program that compiles its thousand modules anew takes two seconds more to start.
export UV_COMPILE_BYTECODE := 1
# Go comes from PATH or, for want of one, from the cache; see tests/testbed/gobuild.py.
export UV

# Tests wait for servers a good part of their time: two processes use it.
WORKERS ?= 2
# API servers and etcd collect garbage less often: a quarter of their processor time for memory that is there.
SPARE_MEMORY := GOGC=800 GOMEMLIMIT=2GiB

# A batch of a long series takes as long as it takes; one that stands still ends after half an hour.
LONG_LIMIT := --timeout 1800

.PHONY: help
help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(UV):
	@echo "Getting uv $(UV_VERSION)"
	@$(PYTHON) -m venv $(CACHE)/uv-$(UV_VERSION)
	@$(CACHE)/uv-$(UV_VERSION)/bin/pip install --quiet uv==$(UV_VERSION)

$(VENV)/.locked: pyproject.toml uv.lock | $(UV)
	@echo "Installing the locked packages into $(VENV)"
	@$(UV) sync --locked --quiet
	@touch $@

.PHONY: venv
venv: $(VENV)/.locked ## Make .venv with capi-mover and everything to develop it

.PHONY: check
check: venv ## Lint, types, layers
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: venv ## Format the code and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format .

.PHONY: testbed
testbed: venv ## Build and cache the real parts of the test bed
	@$(BIN)/python -m tests.testbed.gobuild kube-apiserver kube-controller-manager kubectl etcd clusterctl toxiproxy

.PHONY: controllers
controllers: venv ## Build and cache Cluster API's own controllers
	@$(BIN)/python -m tests.testbed.gobuild \
		capi-core-manager capi-kubeadm-bootstrap-manager capi-kubeadm-control-plane-manager

.PHONY: demo
demo: venv ## Move a Metal3 cluster between two real control planes (KEEP=1 leaves them up)
	@$(BIN)/python -m tests.testbed.demo

.PHONY: test
test: testbed controllers ## All tests; of the long series one of each kind (WORKERS=N processes, 2 unless told)
	@$(SPARE_MEMORY) $(BIN)/pytest -n $(WORKERS) --no-loadscope-reorder \
		tests/unit tests/property tests/pages tests/integration tests/differential tests/crash tests/faults

.PHONY: test-fast
test-fast: check ## Lint, types, layers, and the tests that need no server (some minutes)
	@$(BIN)/pytest -q -n $(WORKERS) --no-loadscope-reorder tests/unit tests/property

.PHONY: test-all
test-all: check test documents compare crash faults hosts ## All tests, and all long series to their end (hours)

.PHONY: documents
documents: testbed ## Run every command that the documents show
	@DOC_COMMANDS=all $(SPARE_MEMORY) $(BIN)/pytest $(LONG_LIMIT) tests/integration/test_doc_commands.py

.PHONY: pages
pages: venv ## The pages in a headless browser; pictures of them in build/screenshots
	@$(BIN)/pytest tests/pages

.PHONY: compare
compare: testbed ## Compare with the real clusterctl at length (CAPI=v1.13.6 KUBERNETES=v1.34.4 for other versions)
	@COMPARE=all $(SPARE_MEMORY) $(BIN)/pytest $(LONG_LIMIT) tests/differential

.PHONY: crash
crash: testbed ## Kill a move before and after every single write
	@CRASH_POINTS=all $(SPARE_MEMORY) $(BIN)/pytest $(LONG_LIMIT) tests/crash

.PHONY: faults
faults: testbed ## All faults, the slow ones too
	@FAULTS=all $(SPARE_MEMORY) $(BIN)/pytest $(LONG_LIMIT) tests/faults

.PHONY: hosts
hosts: testbed ## Move hosts there and back fifty times with Metal3's controllers running
	@METAL3_MOVES=50 $(SPARE_MEMORY) $(BIN)/pytest $(LONG_LIMIT) tests/integration/test_metal3.py

.PHONY: bench
bench: testbed ## Measure everything, against the real clusterctl too; writes docs/performance.md
	@$(BIN)/python -m benchmarks

.PHONY: dist
dist: $(UV) ## Build the packages, a wheel and an sdist, into dist
	@$(UV) build --quiet
	@ls dist

.PHONY: docs
docs: venv ## Build the site of the documentation into build/site; warnings are errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site/index.html"

.PHONY: clean
clean: ## Remove what was made in this folder; the cache stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
