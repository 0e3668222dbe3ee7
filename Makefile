# What people and CI run. `make` alone lists it. Needs nothing but make and Python 3.11 or newer.

SHELL = /bin/sh
.DEFAULT_GOAL := help

BIN := .venv/bin
DATA ?= ../shared/data
ONLY ?=
POOLED ?=
MINUTES ?= 10
UPGRADE ?=

# Where packages may not keep their compiled form, every start spends seconds on compiling them again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-production lint types docs pictures race faults bench bench-search bench-assistant bench-extract lock clean runtime dev vectors

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do printf '  make %-16s %s\n' "$$name" "$$what"; done

demo: runtime ## open the five stores on this machine (PORT=8000, TRADEPOST_HOME=.tradepost); Ctrl-C closes them
	@$(BIN)/tradepost demo

test: dev ## run everything: lint, types, contracts, tests, browser
	@$(BIN)/python tools/run_tests.py

test-production: dev ## run every test on PostgreSQL 17 with PostGIS, Valkey and Redis of Debian 13 (POOLED=1: through pgbouncer)
	@$(BIN)/python tools/production_engine.py $(if $(POOLED),--pooled) $(BIN)/python -m pytest -n 2 -m "not browser"

lint: dev ## check style, format and import contracts
	@$(BIN)/python tools/run_tests.py lint contracts

types: dev ## check types
	@$(BIN)/python tools/run_tests.py types

docs: dev ## build the site of the docs into build/docs
	@$(BIN)/python tools/run_tests.py docs && echo "open build/docs/README.html"

pictures: dev ## make the pictures of the docs anew, with the browser tests
	@TRADEPOST_WRITE_PICTURES=1 $(BIN)/python tools/run_tests.py browser

race: dev ## let many buyers fight for few goods, with crashes; fails on any fault
	@$(BIN)/python benchmarks/checkout_race.py

faults: dev ## kill everything in turn under load and check the books (MINUTES=10; ONLY="storm slow disk" for single faults)
	@$(BIN)/python $(if $(ONLY),benchmarks/single_faults.py $(ONLY),benchmarks/faults.py --minutes $(MINUTES))

bench: dev ## measure every path of the budgets (ONLY=checkout for one, DATA=folder)
	@$(BIN)/python benchmarks/run.py --data "$(DATA)" $(if $(ONLY),--only "$(ONLY)")

bench-search: dev ## measure how good search results are (DATA=folder)
	@$(BIN)/python benchmarks/search_quality.py --data "$(DATA)"

bench-extract: dev ## measure what is read off shop pages and price strings (DATA=folder)
	@$(BIN)/python benchmarks/extract.py --data "$(DATA)"

bench-assistant: dev ## measure how well the assistant understands, refuses and finds (ONLY=intents,strange,talks,retail; DATA=folder)
	@$(BIN)/python benchmarks/assistant_quality.py --data "$(DATA)" $(if $(ONLY),--only "$(ONLY)")

lock: dev ## write the lock files anew after a change of pyproject.toml (UPGRADE=1 takes newer versions too)
	@$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

clean: ## remove the environment and every cache; the stores' data in .tradepost stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	@find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

vectors: ## add the language model (150 MB), so that search finds by meaning; `make demo` uses it from then on
	@tools/bootstrap.sh vectors

runtime:
	@tools/bootstrap.sh runtime

dev:
	@tools/bootstrap.sh dev
