# Two things to know: `make demo` sets up and runs the main job, `make test` sets up and passes the tests.
PYTHON ?= python3
VENV   := .venv
STAMP  := $(VENV)/.installed
WORKLOADS := $(VENV)/.workloads

.PHONY: demo test check setup lock image bench
demo: $(STAMP)
	$(VENV)/bin/python examples/flights.py

test: check
	$(VENV)/bin/python -m pytest

check: setup
	$(VENV)/bin/ruff check executor tests benchmarks examples
	$(VENV)/bin/ruff format --check executor tests benchmarks examples
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/bandit -q -c pyproject.toml -r executor

bench: setup
	$(VENV)/bin/python -m benchmarks.cold_start
	$(VENV)/bin/python -m benchmarks.steps

image: setup
	$(VENV)/bin/hardened image build

setup: $(STAMP) $(WORKLOADS)

# A Debian or Ubuntu python3 may come without ensurepip: the package that carries it is named, and installed where we may.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -q && apt-get install -y -q python3-venv; \
	  else echo "python3-venv is missing. Run: sudo apt-get install python3-venv"; exit 1; fi; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(STAMP)

# The packages whose work in a box is measured (docs/packages.md): 200 MB that the demo does not wait for.
$(WORKLOADS): benchmarks/workloads.lock $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --no-deps --require-hashes -r benchmarks/workloads.lock
	touch $(WORKLOADS)

# All locks are written by a well-kept tool, never by hand.
lock: $(STAMP)
	$(VENV)/bin/python -m pip install --quiet uv
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra dev --unsafe-package smolagents-hardened pyproject.toml .ci/build-requirements.in -o requirements.lock
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --only-binary :all: --extra workloads --unsafe-package smolagents-hardened -c requirements.lock pyproject.toml -o benchmarks/workloads.lock
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --only-binary :all: images/requirements.in -o images/requirements.lock
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --only-binary :all: .ci/tools.in -o .ci/tools.lock
	for set in tests/parity/environments/*.in; do $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --only-binary :all: $$set -o $${set%.in}.lock || exit 1; done
