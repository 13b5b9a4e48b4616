# make help lists the targets. Everything is installed into .venv and kept below .local; nothing else is touched.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONPATH := $(CURDIR)/plugins:$(CURDIR)
# Compiled once and kept: without it each process compiles Airflow and the tests anew, which takes seconds.
unexport PYTHONDONTWRITEBYTECODE
# As pip does: trust the certificates of this machine, those of a proxy that looks into TLS included.
export UV_SYSTEM_CERTS := 1

AXE := $(CURDIR)/.local/axe/node_modules/axe-core/axe.min.js

.DEFAULT_GOAL := help
.PHONY: help setup demo ui cosmos test quick soak rehearsal browser shots lint format bench lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready  ## Install everything into .venv (the other targets do this by themselves)

.venv/.ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "backup_sync needs Python 3.10 or newer"; exit 1; }
	@echo "· Creating .venv"
	@$(PYTHON) -m venv .venv || { echo "the venv module is missing; on Debian: apt install python3-venv"; exit 1; }
	@echo "· Installing the packages of requirements.lock"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==0.13.9"
	@$(BIN)/uv pip sync --python $(BIN)/python --require-hashes requirements.lock
	@touch $@

demo: .venv/.ready  ## Run the real DAG on sample data through its six scenarios
	@$(BIN)/python -m local.demo

ui: .venv/.ready  ## Airflow with its web UI on the local data, ready to trigger
	@$(BIN)/python -m local.ui

cosmos: .venv/.ready  ## The two embedded Cosmos servers alone, on 8081 and 8082
	@$(BIN)/python -m local.serve

test: .venv/.ready lint  ## All checks and all tests
	@$(BIN)/python -m pytest -n auto

quick: .venv/.ready  ## The tests that start no Airflow and wait for nothing
	@$(BIN)/python -m pytest -n auto -m "not airflow and not slow"

soak: .venv/.ready  ## Runs, crashes and retries at random against a model (SOAK_SECONDS=600)
	@$(BIN)/python -m tests.reliability.soak

rehearsal: .venv/.ready  ## The compose stack without Docker (needs npm, PostgreSQL and two SQL Servers)
	@BACKUP_SYNC_REHEARSAL=1 $(BIN)/python -m pytest -s tests/rehearsal

browser: .venv/.ready .local/axe/node_modules  ## The console in a real browser (needs Chromium and npm)
	@BACKUP_SYNC_AXE=$(AXE) $(BIN)/python -m pytest tests/browser

shots: .venv/.ready .local/axe/node_modules  ## Take new screenshots of the console for the docs
	@BACKUP_SYNC_AXE=$(AXE) $(BIN)/python -m pytest tests/browser/shots.py

.local/axe/node_modules:
	@npm install --silent --prefix .local/axe axe-core@4.14.1

lint: .venv/.ready  ## Style, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/.ready  ## Put the code into its form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/.ready  ## Measure against floors taken in the same run (BENCH_N=100000)
	@$(BIN)/python -m bench

lock: .venv/.ready  ## Resolve requirements.lock anew
	@$(BIN)/uv pip compile --universal --python-version 3.10 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --quiet requirements-dev.txt -o requirements.lock

clean:  ## Remove the local data and the virtual environment
	@rm -rf .venv .local
