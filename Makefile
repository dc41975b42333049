# The two commands a newcomer needs: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests run in so many processes: each starts a Ray of its own, and waits for it more than it computes.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types unit slow bench docs pictures constraints clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## make .venv with everything in it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Orrery needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (a few minutes the first time) …"
	@# torch first and by itself: pip then takes a CPU build where one is at hand
	@$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install -q torch==2.13.0
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## the main study on embedded data, on this machine
	$(BIN)/orrery run lora-sweep
	@echo "Browse it: $(BIN)/orrery ui"

test: lint types unit  ## what must pass before a commit

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

unit: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not lab and not bench" $(PYTEST_ARGS)

slow: $(STAMP)  ## the tests that take minutes
	@# pytest exits with 5 where there is none to run
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "slow and not lab and not bench" $(PYTEST_ARGS) || [ $$? -eq 5 ]
	@# each process has a lab of its own, and waits for it more than it computes
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "lab and not bench" $(PYTEST_ARGS) || [ $$? -eq 5 ]

bench: $(STAMP)  ## speed and memory, as ratios in one run
	$(BIN)/python -m pytest -m bench tests/benchmarks -s $(PYTEST_ARGS)

docs: $(STAMP)  ## the documentation as pages, in site/ (open site/index.html)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

pictures: $(STAMP)  ## the pictures of README and docs, from the last runs
	$(BIN)/python docs/pictures/make_pictures.py

constraints: $(STAMP)  ## pin what is installed now
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//'; } > constraints.new && mv constraints.new constraints.txt

clean:  ## remove .venv and caches (not your results in .orrery)
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache
