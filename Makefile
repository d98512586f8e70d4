# The commands people need. They use the virtual environment in .venv, which `make install` creates.
PYTHON ?= python3
BIN := .venv/bin
WORKERS := -n logical --maxprocesses 4 --dist worksteal

.PHONY: install format check test quick docs site wheel

install:  ## a virtual environment with everything for development
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'

format: $(BIN)/ruff  ## format, and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: $(BIN)/mypy  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

quick: $(BIN)/pytest  ## tests without the slow ones
	$(BIN)/pytest $(WORKERS) -m "not slow"

test: check  ## all checks and all tests, as CI runs them
	$(BIN)/pytest $(WORKERS)

docs: $(BIN)/python  ## rewrite the generated parts of the documentation
	$(BIN)/python -m sinkscope.tables.reference > docs/tables.md
	$(BIN)/python -m sinkscope.provenance.reference > docs/run-json.md
	$(BIN)/python -m sinkscope.quantities.reference docs/quantities.md docs/comparison.md docs/tracking.md
	$(BIN)/python -m sinkscope.reproduction.reference > docs/claims.md

site: $(BIN)/sphinx-build  ## the documentation as a site, in _site
	$(BIN)/sphinx-build -W --keep-going -q -c docs . _site

wheel: $(BIN)/twine  ## build and check a distribution
	$(BIN)/python -m build
	$(BIN)/twine check dist/*

$(BIN)/%:
	@echo '$@ is not there: `make install` makes it, with all tools of development' >&2; exit 1
