# Two commands are enough on a fresh machine: `make demo` and `make test`. Both make their own virtual environment.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@sh tools/venv.sh $(PYTHON) $(VENV)

$(VENV)/.server: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing genux with its service (about a minute the first time) ..."
	@$(BIN)/pip install -q -c constraints.txt -e '.[server]'
	@touch $@

$(VENV)/.test: $(VENV)/.server
	@echo "Installing what the tests need ..."
	@$(BIN)/pip install -q -c constraints.txt --group test
	@sh tools/chromium.sh
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	@echo "Installing what the checks need ..."
	@$(BIN)/pip install -q -c constraints.txt --group dev
	@touch $@

demo: $(VENV)/.server ## Play the Ask-AI-or-Summary experiment end to end, with real calls to a local model
	@$(BIN)/genux demo $(ARGS)

serve: $(VENV)/.server ## Start the service on http://127.0.0.1:8321, data in ./genux-data
	@$(BIN)/genux serve $(ARGS)

test: $(VENV)/.test ## Install what the tests need and run them (15 minutes at most on 2 cores)
	@$(BIN)/pytest -q -n 2 -m "not slow" $(ARGS)

slow: $(VENV)/.test ## Faults, calibration and browser breadth (40 minutes at most)
	@$(BIN)/pytest -q -n 2 -m slow $(ARGS)

calibrate: $(VENV)/.test ## Print the calibration table of the statistics (long)
	@$(BIN)/python benchmarks/calibration.py $(ARGS)

bench: $(VENV)/.dev ## Run the benchmarks, each beside its floor or a peer
	@for f in benchmarks/[a-z]*.py; do echo "== $$f"; $(BIN)/python $$f || exit 1; done

format: $(VENV)/.dev ## Format the code
	@$(BIN)/ruff format -q .
	@$(BIN)/ruff check -q --fix .

lint: $(VENV)/.dev ## Format, lint, types and import contracts, without the tests
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/pyright --warnings
	@$(BIN)/lint-imports

check: lint ## Everything that must be green: lint, then tests
	@$(BIN)/pytest -q -n 2 -m "not slow"

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

.PHONY: help demo serve test slow calibrate bench format lint check clean
