# The repository's API: `make` lists what it can do.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What is installed, as files newer than the lock file it came from: the product alone, or with its tools.
RUNTIME := $(VENV)/runtime.stamp
DEVELOPMENT := $(VENV)/development.stamp

# Further arguments for the tool behind a target: make test ARGS="-k tenancy", make serve ARGS="--port 9000".
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo serve test fuzz lint format bench docs lock graphiql openapi clean

help: ## List what this file can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(DEVELOPMENT) ## Install HarborGuard and its development tools into .venv

demo: $(RUNTIME) ## Start HarborGuard with sample data, nothing else needed
	$(BIN)/harborguard demo $(ARGS)

serve: $(RUNTIME) ## Start HarborGuard with the settings in the environment
	$(BIN)/harborguard serve $(ARGS)

test: $(DEVELOPMENT) ## Run the tests, on every core and at least two processes
	$(BIN)/pytest -n "$$($(BIN)/python -c 'import os; print(max(2, os.cpu_count() or 2))')" $(ARGS)

fuzz: $(DEVELOPMENT) ## Compare our executor with graphql-core's on a great many random schemas and data
	$(BIN)/pytest -n auto --hypothesis-profile=fuzz tests/schema/execution/test_differential.py $(ARGS)

lint: $(DEVELOPMENT) ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(DEVELOPMENT) ## Format the code and mend what ruff can mend safely
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEVELOPMENT) ## Measure the hot paths
	$(BIN)/python -m bench $(ARGS)

docs: $(DEVELOPMENT) ## Write the reference pages in docs/reference anew from the code
	$(BIN)/python -m docs.generate

# The runtime lock is held to the versions of the development lock, so that what is tested is what runs.
# Pins stay as they are where they can; to raise them: make lock ARGS=--upgrade
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: $(BIN)/uv ## Write both lock files anew from pyproject.toml
	$(COMPILE) --group dev $(ARGS) -o requirements-dev.lock
	$(COMPILE) --constraint requirements-dev.lock -o requirements.lock

graphiql: ## Build the GraphiQL page from tools/graphiql (needs Node.js)
openapi: ## Build the pages that show the OpenAPI document from tools/openapi (needs Node.js)
graphiql openapi:
	npm --prefix tools/$@ ci --ignore-scripts
	npm --prefix tools/$@ run build

clean: ## Remove .venv and every cache; data and settings stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis tools/*/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): requirements.lock | $(BIN)/pip
$(DEVELOPMENT): requirements-dev.lock | $(BIN)/pip
$(RUNTIME) $(DEVELOPMENT):
	$(BIN)/pip install --quiet --require-hashes -r $<
	$(BIN)/pip install --quiet --no-deps -e .
	@touch $@

$(BIN)/uv: | $(BIN)/pip
	$(BIN)/pip install --quiet uv

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'HarborGuard needs Python 3.11 or newer as "$(PYTHON)". Name another one: make PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
