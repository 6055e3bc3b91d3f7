# Everything runs from the environment .venv, which the first target that needs it creates in this checkout.
# Needed beforehand: make and Python >= 3.10 with its venv module. pip's own settings (environment, pip.conf) hold.

PYTHON ?= python3
DATA ?=
ARGS ?=
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-cluster test-cub test-formats test-browser test-docs lint docs format bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## create .venv with all extras (PYTHON=python3.12 chooses the interpreter)

demo: $(STAMP) ## Table 1, overlays and a report in demo-output/ (DATA=FOLDER: on CUB-200-2011 instead of drawn birds)
	$(BIN)/partscope demo $(if $(DATA),--data "$(DATA)") --out demo-output

# By file, so that what a file's tests share is made once.
test: $(STAMP) ## the tests but those marked slow, browser or cluster, in two processes (JOBS=0: in one; ARGS="-k mixture" goes to pytest)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow and not browser and not cluster" $(ARGS)

test-browser: $(STAMP) ## the page in an installed Chromium; screenshots go to test-artefacts/
	$(BIN)/python -m pytest -m browser --timeout=600 $(ARGS)

test-slow: $(STAMP) ## the tests marked slow
	$(BIN)/python -m pytest -m slow --timeout=3600 $(ARGS)

test-cluster: $(STAMP) ## the engine `ray` on two Ray nodes, which the tests start on the loopback and stop
	$(BIN)/python -m pytest -m cluster $(ARGS) tests/cluster

test-cub: $(STAMP) ## the tests on real photographs (PARTSCOPE_CUB=FOLDER)
	@test -n "$$PARTSCOPE_CUB" || { echo "make test-cub: set PARTSCOPE_CUB to a folder in the layout of CUB-200-2011." >&2; exit 1; }
	$(BIN)/python -m pytest -m cub --timeout=3600 $(ARGS)

test-formats: $(STAMP) ## 250 round trips of each annotation format
	PARTSCOPE_ROUND_TRIPS=250 $(BIN)/python -m pytest tests/test_formats_*.py -k "reads_back" $(ARGS)

test-docs: $(STAMP) ## the examples of the README, the tutorial and the how-to's, as they stand
	$(BIN)/python -m pytest -m "slow or not slow" $(ARGS) tests/test_docs_examples.py

lint: $(STAMP) ## formatting, ruff and the strict type check
	@status=0; for check in "ruff format --check ." "ruff check ." mypy; do \
	  echo "$(BIN)/$$check"; $(BIN)/$$check || status=1; done; exit $$status

docs: $(STAMP) ## the documentation site in site/; a dead link is an error, and no network is needed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(STAMP) ## format the code and apply ruff's safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## run the benchmarks of speed and print one table (ARGS=--again: also what is done)
	$(BIN)/python benchmarks/bench.py $(ARGS)

clean: ## remove caches, builds and demo-output (.venv stays; delete it by hand to start anew)
	rm -rf build dist site demo-output test-artefacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The stamp is written last, so an interrupted installation is taken up again by the next call; a .venv without a
# working pip is what an interrupted `python -m venv` leaves, and is made anew.
$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "make: there is no $(PYTHON); install Python 3.10 or newer, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "make: $(PYTHON) is $$($(PYTHON) --version 2>&1), but partscope needs 3.10 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "make: $(PYTHON) lacks venv or ensurepip; install them (Debian and Ubuntu: the package python3-venv)" >&2; exit 1; }
	@rm -f $@
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --editable '.[dev]'
	@touch $@
