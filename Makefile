# `make` alone prints the targets. Every target sets up all that it needs: .venv holds it, .venv/stamp says that it is current.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

# The interpreter for .venv: the first of these that is 3.11 or newer and can make a virtual environment.
PYTHON ?= python3.13 python3.12 python3.11 python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/stamp

.PHONY: help setup demo test lint bench bench-quick cover mutate mutate-sample sweep soak ci clean

help: ## print this
	@echo 'usage: make TARGET [ARGS="..."] [PYTHON=python3.12]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## make .venv from requirements.lock (redone only when that or pyproject.toml changes)
	@:

# The three steps of the decision record 001: a hashed lock cannot name the project itself, so that comes last, alone.
$(STAMP): requirements.lock pyproject.toml
	@if ! $(BIN)/python -c '' 2>/dev/null; then \
		found=; \
		for python in $(PYTHON); do \
			if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
			then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo 'make: no Python 3.11 or newer with venv among: $(PYTHON). Install one, or name it: make PYTHON=/path/to/python3' >&2; \
			exit 1; \
		fi; \
		echo "making $(VENV) with $$found (once; about a minute)" >&2; \
		"$$found" -m venv --clear $(VENV); \
	fi
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## the main job: a simulated Bybit with faults, called through pipelines (DEMO_ARGS="--seconds 5")
	@$(BIN)/exchanges demo $(DEMO_ARGS)

test: $(STAMP) ## run the tests (ARGS="-k retry")
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: $(STAMP) ## ruff, mypy --strict and the import contracts; all four run, then any failure counts
	@failed=; \
	$(BIN)/ruff check --quiet . || failed="$$failed ruff-check"; \
	$(BIN)/ruff format --check . || failed="$$failed ruff-format"; \
	$(BIN)/mypy || failed="$$failed mypy"; \
	$(BIN)/lint-imports --no-logo || failed="$$failed lint-imports"; \
	if [ -n "$$failed" ]; then echo "make lint: failed:$$failed" >&2; exit 1; fi

bench: $(STAMP) ## run every benchmark, one after another (ARGS are passed to each)
	@for file in benchmarks/*.py; do \
		[ -e "$$file" ] || { echo 'make bench: there is no benchmarks/*.py' >&2; exit 1; }; \
		echo "== $$file"; $(BIN)/python "$$file" $(ARGS) || exit 1; \
	done

bench-quick: ## the same with --quick: do they still work? (CI)
	@$(MAKE) --no-print-directory bench ARGS="--quick $(ARGS)"

# The policies and what they stand on. `make cover` and `make mutate` measure the same files.
CORE := resilience/*.py,resilience/policies/*,resilience/caching/*,resilience/circuit/*,resilience/concurrency/*,resilience/hedging/*,resilience/limiting/*,resilience/orders/*,resilience/retrying/*,resilience/streams/*,resilience/timing/*
NOT_CORE := resilience/__init__.py,resilience/cli.py,resilience/console.py,resilience/config/*,resilience/telemetry/*,resilience/testing/*,resilience/dashboard/*

cover: $(STAMP) ## branch coverage of the policies and the core: fails below 100 %
	@$(BIN)/python -m pytest -q -n auto --dist worksteal --ignore=tests/resilience/machines --ignore=tests/resilience/test_cancellation_sweep.py --ignore=tests/resilience/dashboard --ignore=tests/resilience/lint --ignore=tests/resilience/tune --ignore=tests/resilience/whatif --cov --cov-report= tests/resilience tests/issues tests/test_docs_policies.py $(ARGS)
	@$(BIN)/python -m coverage report --include='$(CORE)' --omit='$(NOT_CORE)' --precision=2 --fail-under=100

mutate: $(STAMP) ## mutation score of the policies and the core (ARGS="resilience/policies/retry.py")
	@$(BIN)/python tests/support/mutation $(ARGS)

mutate-sample: ## the same for two mutants in a hundred, the same ones each time (CI)
	@$(MAKE) --no-print-directory mutate ARGS="--sample 0.02 $(ARGS)"

sweep: $(STAMP) ## the tests marked sweep: large spaces of seeds and interleavings
	@$(BIN)/python -m pytest -m sweep -o faulthandler_timeout=0 $(ARGS)

soak: $(STAMP) ## the tests marked soak: long runs, with no limit on the time of one test
	@$(BIN)/python -m pytest -m soak -o faulthandler_timeout=0 $(ARGS)

ci: ## what CI runs
	@bash .ci/run

clean: ## remove .venv and everything else that was made
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
