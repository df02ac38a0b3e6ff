# Everything runs in $(VENV), made from the lock files for Python 3.11.

PYTHON ?= python3.11
VENV ?= .venv
PYTEST_ARGS ?=

PIP := pip==26.3
BIN := $(VENV)/bin
VENV_MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime
PROJECT := $(VENV)/.project
DEVELOPMENT := $(VENV)/.development

# What a caller's shell has set must not reach into the environment made here.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
# The tests start hundreds of processes, and each would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

.PHONY: help demo install test soak check lint format types imports versions lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(PROJECT)  ## install, then train, register and backtest a small model in ./demo
	$(BIN)/lstm-strategies quickstart --home demo

install: $(PROJECT) $(DEVELOPMENT)  ## install the project, its tools and what its tests need

# One thread for each of the two workers: more of them would only wait for each other.
test soak: export OMP_NUM_THREADS ?= 1

test: install  ## run the tests; PYTEST_ARGS="-k name" runs some of them
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not soak" $(PYTEST_ARGS)

soak: install  ## run the heavy versions of the tests
	$(BIN)/python -m pytest -m soak $(PYTEST_ARGS)

check: lint format types imports versions  ## what `make test` does not see; -k runs all of it

lint: install
	$(BIN)/ruff check --output-format concise .

format: install
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy
	$(BIN)/mypy scripts

imports: install
	$(BIN)/lint-imports

versions: install
	$(BIN)/python -m pip check

lock: $(VENV)-lock/.made  ## resolve every dependency anew and write the lock files
	$(VENV)-lock/bin/pip install -q "$$(grep '^torch==' requirements.lock)" --editable '.[dev]'
	$(VENV)-lock/bin/python scripts/write_lock.py
	rm -rf $(VENV)-lock

clean:  ## remove the environment, the demo and everything built
	rm -rf $(VENV) $(VENV)-lock demo dist build *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made $(VENV)-lock/.made:
	@found=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) \
	  || { echo "$(PYTHON) does not run here: install Python 3.11," \
	            "or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }; \
	[ "$$found" = 3.11 ] \
	  || { echo "The lock files are for Python 3.11, and $(PYTHON) is $$found. For another" \
	            "version, let pip choose the packages: $(PYTHON) -m pip install '.[dev]'" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install -qq $(PIP)
	@touch $@

$(RUNTIME): requirements.lock scripts/install_locked $(VENV_MADE)
	scripts/install_locked $(VENV) requirements.lock
	@$(BIN)/python -c 'import torch' 2>/dev/null || { \
	  torch=$$(grep '^torch==' requirements.lock); \
	  echo "$$torch does not import with the packages of the lock file alone: a build for CUDA" \
	       "also needs NVIDIA's. Installing them (gigabytes); the CPU build needs none." >&2; \
	  $(BIN)/python -m pip install -c requirements.lock "$$torch" \
	  && $(BIN)/python -c 'import torch'; }
	@touch $@

$(DEVELOPMENT): requirements-dev.lock $(RUNTIME)
	scripts/install_locked $(VENV) requirements-dev.lock
	@touch $@

$(PROJECT): pyproject.toml $(RUNTIME)
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@
