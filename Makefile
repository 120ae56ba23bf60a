# `make demo` and `make test` need python3 (3.11 to 3.13), pip and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
LAKE ?= lake

.PHONY: demo test test-all lint bench clean

demo: .venv/ready
	$(BIN)/relevance-lake run demo --lake $(LAKE)

test: .venv/ready-dev
	$(BIN)/python -m pytest --cov

test-all: .venv/ready-dev
	$(BIN)/python -m pytest --cov -m ""

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint sql

bench: .venv/ready-dev
	for file in tests/benchmarks/bench_*.py; do \
	  echo "== $$file"; $(BIN)/python -m tests.benchmarks.$$(basename $$file .py) || exit 1; done

# An environment is stale when what it was made from is newer than its mark.
.venv/ready: pyproject.toml requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14) and "Python 3.11 to 3.13 is needed, not " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	touch $@

clean:
	rm -rf .venv $(LAKE)
