# Needs Python 3.11+, make and git; everything else is fetched into .venv or named in an error.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip
export UV_PYTHON := $(BIN)/python

.DEFAULT_GOAL := setup
.PHONY: setup

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { echo "Python 3.11 to 3.13 is needed; say which: make PYTHON=python3.12 setup"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(UV) install --quiet --require-hashes -r requirements.lock
	@$(UV) install --quiet --no-deps -e .
	@touch $@
