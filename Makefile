# `make demo` and `make test` need python3 (3.11 to 3.13), pip and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
LAKE ?= lake

.PHONY: demo test test-all lint bench clean

demo: .venv/ready
	$(BIN)/relevance-lake run demo --lake $(LAKE)

# A file's tests stay together: they share what is slow to set up.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --cov

test: .venv/ready-dev
	$(PYTEST)

test-all: .venv/ready-dev
	$(PYTEST) -m ""

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint sql

# Without .venv-zennit or .venv-foolbox24 the comparisons with these peers say so and are skipped.
bench: .venv/ready-dev
	-@$(MAKE) --no-print-directory --keep-going .venv-zennit/ready .venv-foolbox24/ready
	@failed=; for file in tests/benchmarks/bench_*.py; do \
	  echo "== $$file"; $(BIN)/python -m tests.benchmarks.$$(basename $$file .py) || failed="$$failed $$file"; done; \
	  test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

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

# PyTorch and zennit stay out of the product's environment.
.venv-zennit/ready: requirements-zennit.txt
	test -x .venv-zennit/bin/python || $(PYTHON) -m venv .venv-zennit
	.venv-zennit/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-zennit.txt
	touch $@

# Foolbox 2 has the package name of Foolbox 3.
.venv-foolbox24/ready: requirements-foolbox24.txt
	test -x .venv-foolbox24/bin/python || $(PYTHON) -m venv .venv-foolbox24
	.venv-foolbox24/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements-foolbox24.txt
	touch $@

clean:
	rm -rf .venv .venv-zennit .venv-foolbox24 $(LAKE)
