# What one can do in this repository. `make` alone lists it.
#
# Everything runs from .venv, which `make install` makes from constraints.txt. An interrupted installation is taken up
# again where it stopped: each step leaves a stamp in .venv only when it has ended well.

# The first of these that is a version AITBC runs on; PYTHON=… names another.
PYTHON ?= $(or $(shell for name in python3 python3.11 python3.12; do $$name -c 'import sys; \
  sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$name && break; done),python3)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
STAMPS := $(VENV)/.installed
NODE_FOLDERS := $(patsubst %/package.json,%,$(wildcard tests/*/package.json))
# torch unpacks to 0.9 GB, what comes with it to as much again, and pip needs room beside both.
DISK_NEEDED_MB := 4000
PYTEST := $(BIN)/python -m pytest
# Three tests at a time keep two cores busy: many wait for clocks and for other processes. A larger machine takes more
# (WORKERS=8), a small one fewer; WORKERS=0 tests in pytest's own process. Each wants about 2 GB.
WORKERS ?= 3
TESTS ?= tests
PACKAGES := chain provider wallet hub genesis tests

# Where this is set, as images of containers do, each process would compile all of its modules anew: a tenth of what the
# tests cost, as they start thousands.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo devnet test test-tools simulate soak check lint types imports format abi bench tiny-model clean
.DELETE_ON_ERROR:

help:
	@echo "AITBC: serve an image, sign a receipt, mint its token."
	@echo
	@echo "  make demo      from nothing to a picture and a minted balance, then everything stops"
	@echo "  make devnet    the same network, left running until Ctrl-C; its URLs are on screen"
	@echo "  make install   only make .venv (2.2 GB, half of it torch); every other target does it when needed"
	@echo
	@echo "  make test      every test; TESTS=tests/chain runs a part, WORKERS=auto uses every core"
	@echo "  make check     formatting, lint, types, import rules, then the tests: what CI runs"
	@echo "  make format    let ruff rewrite what it can"
	@echo "  make abi       chain/abi/*.json anew, after a declaration of a module has changed"
	@echo "  make bench     the speed figures of docs/benchmarks.md, measured here"
	@echo "  make simulate  the consensus engine under faults: SEEDS=1000 FIRST=0 WORKERS=3, and N=4 fixes the validators;"
	@echo "                 then the market's rules against a naive reference: ORDERS=2000000 operations,"
	@echo "                 the hub's scheduler on random fleets: JOBS=100000; and how surely cheats are found: CHEATED=100"
	@echo "  make soak      four validators and a follower under load, killed, frozen and cut off: MINUTES=10"
	@echo "  make tiny-model  the embedded model's weights from nothing, an hour: TINY='--device cuda --output build/model'"
	@echo "  make test-tools  what some tests need from npm: Ethereum's clients, MetaMask's parts, a Solidity compiler, an EVM chain"
	@echo "  make clean     remove .venv, caches and the installed test tools"
	@echo
	@echo "  Another Python: make install PYTHON=python3.12"

install: $(STAMPS)/aitbc

$(STAMPS)/environment:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: no '$(PYTHON)' here. AITBC needs Python 3.11 or 3.12: install it (Debian: apt install python3 python3-venv)"; \
	  echo "      or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { \
	  echo "make: $$($(PYTHON) --version) is not Python 3.11 or 3.12."; \
	  echo "      Name another: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; } >&2
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "make: $(PYTHON) cannot make a virtual environment: its modules venv and ensurepip are a package of their own."; \
	  echo "      Debian and Ubuntu: apt install python$$version-venv   then run make again."; exit 1; } >&2
	@free_mb=$$(df -Pm . | awk 'NR == 2 { print $$4 }'); [ "$$free_mb" -ge $(DISK_NEEDED_MB) ] || { \
	  echo "make: $$free_mb MB are free here; torch and the rest need $(DISK_NEEDED_MB) MB while they are installed."; \
	  echo "      Make room, or put the repository on a larger disk."; exit 1; } >&2
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

# torch first and by its exact version: asked for by another package, pip may choose a newer build of several GB.
$(STAMPS)/torch: constraints.txt | $(STAMPS)/environment
	@echo "Installing torch (a few minutes on a slow line)"
	@$(PIP_INSTALL) setuptools "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(STAMPS)/aitbc: pyproject.toml $(STAMPS)/torch
	@echo "Installing the other packages, and aitbc itself"
	@$(PIP_INSTALL) --no-build-isolation -e '.[provider,hub,ccxt,ledger,ray,s3,telemetry,dev]'
	@touch $@

demo: install
	$(BIN)/aitbc devnet --once

devnet: install
	$(BIN)/aitbc devnet

# Left out of `install`: only the tests that compare with the Ethereum world need it, and they say so when it is missing.
# Not `npm ci`: it refuses a lock file that lacks the other platforms' builds of anvil.
test-tools: $(NODE_FOLDERS:%=%/node_modules/.installed)
%/node_modules/.installed: %/package.json %/package-lock.json
	@command -v npm >/dev/null || { echo "make: no npm here; install Node.js 20 or newer (Debian: apt install nodejs npm)" >&2; exit 1; }
	cd $* && npm install --no-save
	@touch $@

# Thousands of tests with real processes, sockets and clocks share a busy machine: one that fails is tried once more, and
# named at the end as RERUN. What fails for a reason fails twice. RERUNS=0 asks every test to pass the first time.
RERUNS ?= 1
test: install
	$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder --reruns $(RERUNS) -raR $(TESTS)

SEEDS ?= 1000
FIRST ?= 0
N ?=
ORDERS ?= 2000000
JOBS ?= 100000
CHEATED ?= 100
simulate: install
	$(BIN)/python -m tests.simulation.run --seeds $(SEEDS) --first $(FIRST) --workers $(WORKERS) $(if $(N),--validators $(N))
	$(BIN)/python -m tests.simulation.market --operations $(ORDERS) --first $(FIRST) --workers $(WORKERS)
	$(BIN)/python -m tests.simulation.fleets --jobs $(JOBS) --first $(FIRST) --workers $(WORKERS)
	$(BIN)/python -m tests.simulation.cheats --jobs $(CHEATED) --first $(FIRST) --workers $(WORKERS)

# With SEED=… the same faults are drawn again; processes and their timing are never the same twice.
MINUTES ?= 10
SEED ?=
soak: install
	$(BIN)/python -m tests.processes.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

check: lint types imports test

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

imports: install
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

abi: install
	$(BIN)/python -m chain.abi

# BENCH="latency --samples 50" runs one of them, BENCH=--long all.
BENCH ?=
bench: install
	$(BIN)/python -m tests.benchmarks.run $(BENCH)

# A training that was interrupted goes on from build/tiny-model.
TINY ?=
tiny-model: install
	$(BIN)/python -m provider.tiny_model.build $(TINY)

clean:
	rm -rf $(VENV) *.egg-info build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf $(NODE_FOLDERS:%=%/node_modules)
	find $(PACKAGES) -name __pycache__ -type d -prune -exec rm -rf {} +
