# The README's two commands are `make compare` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := beyond methods tasks analysis hydra_plugins benchmarks
export OMP_NUM_THREADS ?= 1

.PHONY: help compare test harness test-slow check lint words types imports dead unit conf mutants mutants-sample soak soak-short wheel methods tables docs docs-serve notebooks pages release bench clean
help:  ## list the targets
	@grep -E '^[a-z0-9.%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

compare: $(VENV)/.installed  ## install, run the default study, print its summary and the path of its report
	$(BIN)/beyond +study=comparison

test: $(VENV)/.installed-test check  ## install with the test tools, then run all checks

check: lint words types imports dead unit mutants-sample  ## what CI runs

lint:  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

words:  ## spelling
	$(BIN)/codespell

types:  ## types
	$(BIN)/basedpyright

imports:  ## who may import whom
	$(BIN)/lint-imports

dead:  ## code that nothing calls: of the project, then with its tests
	$(BIN)/vulture $(CODE)
	$(BIN)/vulture $(CODE) tests

unit:  ## tests, without the slow ones
	$(BIN)/pytest -m "not slow" -n 2 --dist worksteal

test-python3.%:  ## the harness's tests on another Python, in a separate environment: make test-python3.13
	$(MAKE) PYTHON=python3.$* VENV=.venv-3.$* harness

harness: $(VENV)/.installed-test
	$(BIN)/pytest -m "not slow and not once" -n 2 --dist worksteal tests/beyond

test-slow: $(VENV)/.installed-test  ## the slow tests
	$(BIN)/pytest -m slow

mutants: $(VENV)/.installed-test  ## every deliberate fault: each must be caught by the test that names it (nightly)
	$(BIN)/python -m tests.mutants

mutants-sample:  ## twelve of the deliberate faults, chosen by the date
	$(BIN)/python -m tests.mutants --sample 12

soak: $(VENV)/.installed-test  ## kill a study of 200 cells fifty times, and fill its disk: it must end as one left alone
	$(BIN)/python -um tests.soak --cells 200 --kills 50 --full-disk

soak-short: $(VENV)/.installed-test  ## the same in two minutes
	$(BIN)/python -um tests.soak --cells 12 --kills 4 --full-disk --seed 1

wheel: | $(BIN)/python  ## build dist/*.whl, to install anywhere
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

conf:  ## write the YAML of every choice below conf/ from the classes
	$(BIN)/python -m beyond.run.choices

methods:  ## write docs/methods.md from the heads of the method files
	$(BIN)/python -m beyond.run.describe > docs/methods.new && mv docs/methods.new docs/methods.md

tables:  ## write docs/tables.md, the datasheet of every column of a run's tables
	$(BIN)/python -m beyond.run.tables > docs/tables.new && mv docs/tables.new docs/tables.md

docs: $(VENV)/.installed-docs  ## build the site from docs/; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "site/index.html"

docs-serve: $(VENV)/.installed-docs  ## show the site while it is written
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

notebooks: $(VENV)/.installed-test  ## run docs/notebooks and keep what they show
	$(BIN)/python -m tests.notebooks

pages:  ## copy the pages of what was run: from runs/papers to docs/papers, from runs/studies to docs/studies
	$(BIN)/python -m analysis.paper runs/papers docs/papers
	$(BIN)/python -m analysis.paper runs/studies docs/studies

release:  ## publish the rows of runs/everything, for `beyond-compare FOLDER --against gallery`
	$(BIN)/python -m analysis.release gallery runs/everything

bench: $(VENV)/.installed-bench  ## speed beside the peers, as ratios within one run
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.sweeps small large
	$(BIN)/python -m benchmarks.pictures
	$(BIN)/python -m benchmarks.loading

clean:  ## remove the environments; runs stay
	rm -rf $(VENV) .venv-3.*
