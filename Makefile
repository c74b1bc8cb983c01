# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Each sets up .venv on first use.

VENV := .venv
READY := $(VENV)/.ready
PYTHON ?= python3
CANDIDATES := $(PYTHON) python3.13 python3.12 python3.11

.PHONY: help demo test test-slow test-all check clean

help:
	@echo "make demo      set up, write a synthetic corpus, train on it privately, show the result"
	@echo "make test      set up and run the tests (under ten minutes on two cores)"
	@echo "make test-slow the slow tests alone"
	@echo "make test-all  all tests"
	@echo "make check     ruff and mypy"
	@echo "make clean     remove .venv and what the demo wrote"

demo: $(READY)
	@$(VENV)/bin/tacit demo

# A worker a core: with more threads, they wait for each other.
test test-slow test-all: export OMP_NUM_THREADS := 1

test: $(READY)
	@$(VENV)/bin/python -m pytest -n 2 -m "not slow"

test-slow: $(READY)
	@$(VENV)/bin/python -m pytest -n 2 --dist loadgroup -m slow

test-all: $(READY)
	@$(VENV)/bin/python -m pytest -n 2 --dist loadgroup

check: $(READY)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

clean:
	@rm -rf $(VENV) demo

$(READY): pyproject.toml constraints.txt
	@found=""; \
	for candidate in $(CANDIDATES); do \
	  if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    found=$$candidate; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Tacit needs Python 3.11 or later and found none; install it, or say where it is: make demo PYTHON=/path/to/python3.11" >&2; \
	  exit 2; \
	fi; \
	$$found -m venv $(VENV) || { \
	  echo "Python could not make a virtual environment here; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	echo "Setting up $(VENV) (once; a few minutes, 2 to 6 GB) ..."; \
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,encoders]' || { \
	  echo "The set-up failed: pip could not install Tacit's dependencies (is there a network, and disk space?)" >&2; exit 1; }; \
	touch $(READY)
