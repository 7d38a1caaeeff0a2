# The two that matter: `make up` runs Stark on this machine, `make test` proves that it works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UP_DIR ?= .up
UP_FLAGS ?=
PYTEST := $(BIN)/python -m pytest
PYTEST_FLAGS ?=
# The suite runs as two halves side by side. What the first does not name is in the second, so nothing can be forgotten.
FIRST_HALF := tests/contract tests/unit/apiserver tests/test_house.py tests/e2e/clients tests/e2e/kubectl tests/e2e/browser \
	tests/e2e/test_foreign.py
SECOND_HALF := tests $(addprefix --ignore=,$(FIRST_HALF))
HALVES := @$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target first-half second-half
SOURCES := crds client apiserver controllers agent ctl tests benchmarks docs setup.py

# Without compiled modules on disk every start of every program would compile all it imports: seconds each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help up test test-all test-arch first-half second-half test-needs check lint format cover bench crds docs browser wheel clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make up        install into .venv and run a control plane, an agent and an example on 127.0.0.1:6443
up: $(STAMP)
	@exec $(BIN)/starkctl up --data-dir $(UP_DIR) --example $(UP_FLAGS)

## make test      install what tests need and run the fast suite (under 10 minutes)
test: $(STAMP) test-needs
	$(HALVES) MARK="not slow"

## make test-all  the fast suite, then everything slow; PYTEST_FLAGS=... goes to each pytest
test-all: test
	$(HALVES) MARK=slow

## make test-arch an agent on riscv64, emulated (no part of CI)
test-arch: $(STAMP) test-needs
	STARK_TEST_ARCHITECTURES=riscv64 $(PYTEST) -q -m slow $(PYTEST_FLAGS) tests/e2e/test_foreign.py

first-half:
	$(PYTEST) -q -m "$(MARK)" $(PYTEST_FLAGS) $(FIRST_HALF)

second-half:
	$(PYTEST) -q -m "$(MARK)" $(PYTEST_FLAGS) $(SECOND_HALF)

## make check     lint, formatting, types, doors between the roots, generated files
check: $(STAMP)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy $(addprefix typings/stark/,crds client apiserver controllers agent ctl) tests benchmarks docs/generate.py
	$(BIN)/lint-imports
	$(BIN)/python -m stark.crds.generate --check
	$(BIN)/python docs/generate.py --check

## make format    put everything into the house's format
format: $(STAMP)
	$(BIN)/ruff check --fix-only $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

## make cover     the fast suite with branch coverage
cover: $(STAMP) test-needs
	$(BIN)/coverage run -m pytest -q -m "not slow"
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered --sort=cover

## make bench     every benchmark, quick form
bench: $(STAMP) test-needs
	@failed=""; for program in benchmarks/[a-z]*.py; do echo "== $$program"; $(BIN)/python $$program --quick || failed="$$failed $$program"; done; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

## make crds      regenerate the schemas and the pages of the kinds from the models
crds: $(STAMP)
	$(BIN)/python -m stark.crds.generate

## make docs      regenerate the pages of commands and settings
docs: $(STAMP)
	$(BIN)/python docs/generate.py

## make browser   build the page that makes browsers nodes (needs npm); `make wheel` takes it in
browser: apiserver/agentpage/dist/index.html

apiserver/agentpage/dist/index.html: $(shell find browser -type f -not -path '*/node_modules/*')
	@command -v npm >/dev/null || { echo "npm is needed: apt-get install npm"; exit 1; }
	cd browser && npm ci --no-progress && npm run build
	@touch $@

## make wheel     build the wheel into dist/
wheel: $(STAMP)
	@command -v npm >/dev/null && $(MAKE) --no-print-directory browser || echo "without npm the wheel has no browser agent"
	$(BIN)/python -m build --wheel --installer uv

## make clean     remove what was built and the state of `make up`
clean:
	rm -rf $(VENV) $(UP_DIR) build dist browser/node_modules apiserver/agentpage/dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* htmlcov

$(STAMP): pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Stark needs Python 3.11 or newer: apt-get install python3, or make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "no venv module: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -e '.[test]'
	@touch $@

# What a test needs and Python's index does not have. As root on Debian it is installed, elsewhere the command is told.
test-needs:
	@tests/needs.sh
