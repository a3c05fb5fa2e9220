# The development workflow. `make` alone lists it. Nothing is needed but Python 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST := $(VENV)-lowest
LOWEST_READY := $(LOWEST)/.ready
LOWEST_PINS := $(VENV)/lowest.txt
LOWEST_TESTS := tests/adapters/test_[cemst]*.py tests/cli tests/web tests/test_arguments.py \
	tests/test_async.py tests/test_exactly_once.py tests/test_recurring.py tests/test_services.py
export PEOPLE
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help setup demo demo-web test apart lowest mutants anyorder lint check format bench chaos docs pictures lock clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## only set up what the others set up by themselves

demo: $(READY) ## sign people up, and send them real mail in background jobs (PEOPLE=your.csv)
	@$(BIN)/python examples/signup/demo.py

demo-web: $(READY) ## a shop at work, and the dashboard on it, until Ctrl-C (PORT=8787)
	@$(BIN)/python examples/shop/demo.py

test: $(READY) ## the suite, against memory, SQLite and a real PostgreSQL
	$(BIN)/python -m pytest -n 4 --dist worksteal $(ARGS)

# Old versions warn of what is deprecated in new ones of what they need in turn.
lowest: $(LOWEST_READY) ## the tests that meet a dependency, with the oldest versions allowed (TESTS=...)
	PYTHONWARNINGS=default,ignore::DeprecationWarning \
		$(LOWEST)/bin/python -m pytest -n 4 --dist worksteal -W ignore::DeprecationWarning \
		-o cache_dir=.pytest_cache/lowest -k "not any_calls" $(or $(TESTS),$(LOWEST_TESTS)) $(ARGS)

apart: $(READY) ## tests that take long: some mutants, each benchmark for a moment, a short chaos run
	$(BIN)/python -m pytest -n 4 --dist worksteal -m apart $(ARGS)

mutants: $(READY) ## break the package in small ways, each of which the tests have to notice
	MUTANTS=all $(BIN)/python -m pytest -q -m apart tests/test_mutants.py $(ARGS)

anyorder: $(READY) ## many more calls in any order, new ones each time (EXAMPLES=2000)
	JOBQUEUE_TEST_EXAMPLES=$(or $(EXAMPLES),1000) $(BIN)/python -m pytest -q --timeout 3600 \
		tests/adapters/test_contract.py -k any_calls $(ARGS)

lint: $(READY) ## formatting, lint, types, and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd examples/signup && $(abspath $(BIN))/mypy --config-file ../../pyproject.toml *.py
	cd examples/shop && $(abspath $(BIN))/mypy --config-file ../../pyproject.toml *.py
	$(BIN)/lint-imports --no-cache

check: lint test apart ## everything that CI checks

format: $(READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## compare with bare scripts (ARGS="--jobs 5000")
	$(BIN)/python -m benchmarks $(ARGS)

chaos: $(READY) ## break everything around the queue for some minutes (ARGS="--seed 1f00")
	$(BIN)/python -m tests.chaos $(ARGS)

docs: $(READY) ## write docs/reference.md anew from the code
	$(BIN)/python docs/generate.py

pictures: $(READY) ## take the pictures of docs/dashboard.md anew, from the running demo
	$(BIN)/python docs/pictures.py

lock: $(READY) ## resolve the dependencies anew
	$(BIN)/python -m pip install -qq uv
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --upgrade -q \
		--custom-compile-command "make lock" -o requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml --extra web --python-version 3.11 \
		--resolution lowest-direct --no-deps --no-header -q -o $(LOWEST_PINS)
	$(BIN)/uv pip compile pyproject.toml --extra web --group lowest -c $(LOWEST_PINS) \
		--universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --upgrade -q \
		--custom-compile-command "make lock" -o requirements-lowest.lock

clean: ## remove what was made
	rm -rf $(VENV) $(LOWEST) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "jobqueue needs Python 3.11 or newer; name one with make PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV), once (about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq -r requirements-dev.lock
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

$(LOWEST_READY): requirements-lowest.lock pyproject.toml
	@echo "Setting up $(LOWEST), once"
	@test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	@$(LOWEST)/bin/python -m pip install -qq -r requirements-lowest.lock
	@$(LOWEST)/bin/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@
