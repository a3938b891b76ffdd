# What people and CI run. `make quickstart` and `make test` need only Python >= 3.11.

PYTHON ?= python3
PYTHON_LOWEST ?= python3.11
VENV ?= .venv
JOBS ?= 2

BIN = $(VENV)/bin
CONFIG = setup.cfg pyproject.toml
CHECKED = causalweights data docs tests tools $(wildcard benchmarks vignettes)

# Two test processes share the machine: one BLAS thread each, and no display.
RUN_PYTEST = MPLBACKEND=Agg OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/python -m pytest
PARALLEL = -n $(JOBS) --dist worksteal

.PHONY: help quickstart test test-slow test-lowest doctest bench bench-quick docs \
	test-docs lint format typecheck check clean

help:
	@echo "quickstart   install and run vignettes/quickstart.py"
	@echo "test         the tests and doctests, slow ones left out"
	@echo "test-slow    the simulations and full vignettes"
	@echo "test-lowest  the tests on the oldest supported dependencies"
	@echo "doctest      the examples in the docstrings alone"
	@echo "bench        ours beside the peers, an hour or more: docs/benchmarks.md"
	@echo "bench-quick  the same on small sizes, two minutes, to build/"
	@echo "docs         the site, vignettes executed: build/docs/html"
	@echo "test-docs    the same in a browser: build/docs/screenshots"
	@echo "lint         ruff and codespell;  format: let ruff mend what it can"
	@echo "typecheck    mypy on the package"
	@echo "check        lint, typecheck, doctest, test: what CI runs"
	@echo "clean        remove build leftovers and environments"

# One stamp per installed set: redone when the metadata change, otherwise free.
INSTALL = $(BIN)/python -m pip install --quiet $(CONSTRAINT)

$(VENV)/.pip: $(CONFIG)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

$(VENV)/.plot: $(VENV)/.pip
	$(INSTALL) --editable ".[plot]"
	touch $@

$(VENV)/.test: $(VENV)/.pip
	$(INSTALL) --editable ".[test]"
	touch $@

# adapt brings TensorFlow (2.4 GB): where it does not install, the page says so.
$(VENV)/.bench: $(VENV)/.pip
	$(INSTALL) --editable ".[bench]"
	-$(INSTALL) "adapt>=0.4.5"
	touch $@

$(VENV)/.docs: $(VENV)/.pip
	$(INSTALL) --editable ".[docs]"
	touch $@

# Chromium comes from the system's packages; see the script for other systems.
$(VENV)/.browser: $(VENV)/.docs docs/browser/install.sh
	docs/browser/install.sh
	$(INSTALL) --editable ".[browser]"
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(INSTALL) --group lint
	touch $@

quickstart: $(VENV)/.plot
	$(BIN)/python vignettes/quickstart.py

test: $(VENV)/.test
	$(RUN_PYTEST) $(PARALLEL)

test-slow: $(VENV)/.test
	$(RUN_PYTEST) $(PARALLEL) -m slow

# Every lower bound of setup.cfg, installed exactly, in an environment of its own.
test-lowest:
	mkdir -p build
	$(PYTHON_LOWEST) tools/lowest.py test > build/lowest.txt
	$(MAKE) test VENV=.venv-lowest PYTHON=$(PYTHON_LOWEST) \
		CONSTRAINT="--constraint build/lowest.txt"

doctest: $(VENV)/.test
	$(RUN_PYTEST) causalweights

# Pages of names that are gone must not stay. A vignette runs again where its script
# has changed; `make clean` has all of them run again, as in CI.
docs: $(VENV)/.docs
	rm -rf docs/api/generated
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
		$(BIN)/python -m sphinx -W --keep-going docs build/docs/html

test-docs: docs $(VENV)/.browser
	$(BIN)/python -m pytest docs/browser

# On an idle machine, and never as a test.
bench: $(VENV)/.bench
	$(BIN)/python benchmarks/engine/run.py

bench-quick: $(VENV)/.bench
	$(BIN)/python benchmarks/engine/run.py --quick

lint: $(VENV)/.lint
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/codespell

format: $(VENV)/.lint
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

typecheck: $(VENV)/.lint
	$(BIN)/mypy

check: lint typecheck doctest test

clean:
	rm -rf build dist *.egg-info .venv .venv-lowest .venv-ci
	rm -rf docs/api/generated docs/vignettes
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find causalweights data tests tools -name __pycache__ -prune -exec rm -rf {} +
