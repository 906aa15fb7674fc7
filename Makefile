# The commands of this project. Each creates the environment it needs; nothing else has to be set up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help demo test check kill-loops fix lock clean

help:
	@echo "make demo    build redis and a web application, publish, run, reconfigure and update them (under 5 minutes)"
	@echo "make test    everything that CI runs"
	@echo "make check   lint, types, import rules and the fast tests"
	@echo "make kill-loops    kill supervisor, holder and services for hours, with LOOPS='--minutes 60' or other options"
	@echo "make fix     let the formatter and the linter mend what they can"
	@echo "make lock    pin the dependencies again (needs uv)"
	@echo "make clean   remove the environment and what the demo left"

$(READY): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: stead needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; \
	  echo "  next: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) has no venv module" >&2; \
	  echo "  next: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }
	@echo "creating the environment in $(VENV) (once)"
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY)
	@$(BIN)/python examples/demo/demo.py

check: $(READY)
	@$(BIN)/ruff format --check --quiet . || { echo "next: make fix"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -n 4
	@$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow and not network"

test: check
	@$(BIN)/pytest -n 2 --dist loadfile -m "slow or network"

kill-loops: $(READY)
	@$(BIN)/python benchmarks/kill_loops.py $(LOOPS)

fix: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml -o requirements/run.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --extra dev pyproject.toml -o requirements/dev.lock

clean:
	rm -rf $(VENV) .demo
