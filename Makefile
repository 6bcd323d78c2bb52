# Lamina's commands; each works from a fresh clone with Python >= 3.11, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := $(BIN)/uv pip compile -q --universal --generate-hashes --no-annotate --no-emit-index-url \
	--custom-compile-command "make lock" --python-version 3.11
PACKAGES := service biometrics crypto

.DEFAULT_GOAL := help
.PHONY: help install check test lock format

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

install: $(VENV)/.installed ## Make .venv with the locked dependencies

check: install ## Format, lint, types, import contracts, unused dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(addprefix -p ,$(PACKAGES))
	$(BIN)/lint-imports

test: install ## Run the tests and hold the coverage of crypto at 100 %
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage report --include='crypto/*' --fail-under=100

format: install ## Format and sort imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: install ## Resolve the dependencies anew, with hashes
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
