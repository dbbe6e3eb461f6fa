# Needs Python 3.11 to 3.13, make and git; all else is fetched into .venv, or its absence is an error that says what to do.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip
PEERS := .cache/peers
PARSEDMARC := .cache/bench/parsedmarc
SECONDS ?= 60
COMPILE := $(UV) compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --extra dev --extra postgres --extra notebook pyproject.toml --output-file requirements.lock

# What the tests meet for real, as "program:Debian package"; what has no program as "perl:module:package"
# or "file:pattern:package".
TEST_PEERS := chromium:chromium smtp-source:postfix swaks:swaks perl:Net::SSLeay:libnet-ssleay-perl \
	msmtp:msmtp initdb:postgresql opendkim:opendkim rspamd:rspamd perl:Mail::DKIM::Verifier:libmail-dkim-perl nsd:nsd \
	file:/usr/lib/*/sasl2/libscram.so:libsasl2-modules openssl:openssl systemd-analyze:systemd ip:iproute2 \
	redis-server:redis-server opendmarc:opendmarc mariadbd:mariadb-server perl:DBD::mysql:libdbd-mysql-perl \
	perl:Switch:libswitch-perl perl:HTTP::Message:libhttp-message-perl

export UV_PYTHON := $(BIN)/python
# Compiled once: each of the many processes of a run starts a second sooner.
export UV_COMPILE_BYTECODE := 1
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := help
.PHONY: help setup demo test check loop bench bench-alerts fuzz build lock notebooks reference peers clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 21

setup: .venv/.ready ## the environment in .venv

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "Python 3.11 to 3.13 is needed; name one: make PYTHON=python3.12 setup"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv \
		|| { rm -rf .venv; echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 2; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(UV) install --quiet --require-hashes --requirement requirements.lock
	@$(UV) install --quiet --no-deps --editable .
	@touch $@

demo: setup ## a year of made-up traffic, live mails, the page's address printed
	@$(BIN)/dmarcview demo $(ARGS)

test: setup peers check ## everything: style, types, import rules, tests, coverage
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --format=total | { read total; echo "coverage $$total %"; test "$$total" -ge 85 \
		|| { $(BIN)/coverage report; echo "coverage fell under 85 %: add tests for the lines above"; exit 1; }; }

check: setup ## ruff, mypy --strict, import rules
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > .venv/imports.txt || { cat .venv/imports.txt; exit 1; }

loop: setup peers ## our mail to real receivers and their reports back, number for number; needs root
	@$(BIN)/python -m pytest --quiet --capture=no tests/test_closed_loop.py $(ARGS)

bench: setup $(PARSEDMARC)/bin/parsedmarc ## speed, as ratios to peers in the same run
	@$(BIN)/python -m benchmarks $(ARGS)

bench-alerts: setup ## false alarms and delays of alerts, beside the rules of others
	@$(BIN)/python -m benchmarks.alerts $(ARGS)

$(PARSEDMARC)/bin/parsedmarc: | setup
	@$(BIN)/uv venv --quiet --python $(BIN)/python $(PARSEDMARC)
	@$(BIN)/uv pip install --quiet --python $(PARSEDMARC)/bin/python parsedmarc==11.1.0

fuzz: setup ## mutate inputs for SECONDS=60; prints the input of any surprise
	@$(BIN)/python -m benchmarks.fuzz --seconds $(SECONDS)

build: setup ## wheel and sdist in dist/
	@rm -rf dist && $(BIN)/uv build --quiet --out-dir dist .

lock: setup ## resolve requirements.lock again from pyproject.toml
	@$(COMPILE) --upgrade

notebooks: setup ## write the .ipynb of each notebook from its text
	@$(BIN)/python -m tests.notebook_pairs

reference: setup ## write docs/reference/ from the code
	@$(BIN)/dmarcview config reference --write docs/reference

# Programs that the tests meet for real. As root on Debian they are installed; elsewhere the tests that need them say so and skip.
peers:
	@sh tests/peers.sh $(TEST_PEERS)
	@sh tests/peer_opensmtpd.sh

clean: ## remove what the targets made
	@rm -rf .venv .cache dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
