PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test quick zoo check docs format bench clean

help: ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## A virtual environment with everything, from the lock

$(READY): pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"tegu needs Python 3.11 to 3.13, and $(PYTHON) is {v.major}.{v.minor}: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements-dev.lock torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements-dev.lock --editable '.[dev]'
	@# Tests compare with easyfsl's metric learners; the torchvision that it asks for is not used, and is built for another torch.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements-dev.lock --no-deps easyfsl
	@touch $@

demo: $(READY) ## Learn from many film lovers, then recommend to one never seen
	$(BIN)/tegu simulate movielens --out runs/movielens
	$(BIN)/tegu personalise runs/movielens/init.tegu --interactions runs/movielens/person.csv \
	  --titles runs/movielens/titles.csv --later runs/movielens/person_later.csv

# Each process computes with one thread. Federations of real processes run one after the other in each group, and wait
# much of the time: they start first (tests/conftest.py), and the other tests use the cores meanwhile.
test: export OMP_NUM_THREADS := 1
test: $(READY) ## All tests but models that are like others (make zoo)
	$(BIN)/python -m pytest -q -n 4 --dist loadgroup --no-loadscope-reorder -m "not zoo"

quick: export OMP_NUM_THREADS := 1
quick: $(READY) ## The tests that start no processes and train for seconds at most
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not slow"

zoo: export OMP_NUM_THREADS := 1
zoo: $(READY) ## All small models, and whether docs/models.md lists them; those of `make test` included
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup tests/zoo

check: $(READY) ## Format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY) ## The documentation site, into runs/site; needs no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(READY) ## Format and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## Compare with peers in one run; half an hour
	mkdir -p runs
	for name in start device simulate scale wire convolution default; do $(BIN)/tegu bench $$name --out runs/bench-$$name.html || exit 1; done

clean: ## Remove what was made, but not the environment
	rm -rf runs dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
