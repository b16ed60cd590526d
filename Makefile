# Everything a person does with this repository. `make` alone says what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
THEATER_HOME ?= $(CURDIR)/.theater
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# An installed Theater is compiled, and this one shall be: a server is two processes, and its tests are hundreds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-long test-faults test-systemd check bench examples clean

help: ## Says what can be made.
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Theater needs Python 3.11 or newer; say make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev]'
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

run: $(VENV)/installed ## Starts a server with the example application; Ctrl-C ends it.
	@printf '\nIn a second terminal:\n\n'
	@printf '  export PATH=%s:$$PATH THEATER_HOME=%s\n' '$(BIN)' '$(THEATER_HOME)'
	@printf '  theater list                                        # two counters and a pinger\n'
	@printf '  theater message counter-a %s --request\n' "'{\"add\": 2}'"
	@printf '  theater logs pinger -f\n'
	@printf '  theater message counter-a %s --request # it traps, and comes back\n' "'{\"crash\": true}'"
	@printf '  theater tree\n'
	@printf '  theater verify\n\n'
	@printf 'The first start builds the Python runner, once per machine (about a minute).\n\n'
	@exec $(BIN)/theater --home '$(THEATER_HOME)' server --tree examples/app/theater.toml

test: $(VENV)/installed-dev ## Runs all tests.
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-long: $(VENV)/installed-dev ## Runs all tests, and tries ten times as long what depends on chance.
	THEATER_TESTS=long $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-systemd: $(VENV)/installed-dev ## Runs the unit under a real systemd, in a container; takes root and systemd-nspawn.
	$(BIN)/python tests/systemd/run.py

FAULTS ?= --minutes 15 --quiet

test-faults: $(VENV)/installed-dev ## Kills, stops, starves and misleads a server for 15 minutes, and reads the record.
	$(BIN)/python -m tests.faults $(FAULTS)

check: $(VENV)/installed-dev ## Checks form and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-bench ## Measures, with the peers in the same run; prints a table.
	$(BIN)/python -m benchmarks

examples: $(VENV)/installed-dev ## Runs the tests of the examples.
	$(BIN)/python -m pytest tests/guest/test_examples.py

clean: ## Removes what was made here, but not the machine's cache.
	rm -rf $(VENV) .theater build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
