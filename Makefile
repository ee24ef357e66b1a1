# `make demo` and `make test` do all the set-up they need on Debian and Ubuntu; both can be
# repeated, and the second run sets nothing up again.

PYTHON ?= python3
export PYTHON

VENV := .venv
BIN := $(VENV)/bin
# Rebuilt when what is installed, or the native engine, would come out different.
STAMP := $(VENV)/.installed
SETUP_INPUTS := pyproject.toml constraints.txt toolchain/venv.sh \
    $(wildcard setup.py sim/*.c sim/*.h)
C_SOURCES := $(shell find $(wildcard c_kernels examples sim tests toolchain) -name '*.[ch]' | sort)

BASELINE := baseline/ebnn-regress.toml

.PHONY: help demo test pytest campaign regress regress-update sanitize lint format setup system-packages clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup ## train on MNIST, lower, build, run all 10,000 test images in the emulator
	@$(BIN)/ebnn demo

test: lint pytest regress ## everything that CI runs: lint, the tests, the demo's baseline

pytest: setup ## the tests alone; ARGS="-k name" picks some
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

campaign: setup ## the property tests with 20 times their examples: long
	EBNN_EXAMPLES=20 $(BIN)/python -m pytest -n 2 --dist worksteal -k "agree or access" $(ARGS)

regress: setup ## the demo's network against its baseline: cycles, RAM, accuracy on two boards
	$(BIN)/ebnn regress check $(BASELINE) --strict

regress-update: setup ## measure the demo's network again and write the baseline: commit the diff
	$(BIN)/ebnn regress update $(BASELINE)

sanitize: setup ## the native engine's tests, and mutants, under AddressSanitizer and UBSan
	$(BIN)/python tests/sanitized.py $(ARGS)

lint: setup ## ruff, mypy and clang-format, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(if $(C_SOURCES),$(BIN)/clang-format --dry-run -Werror $(C_SOURCES))

format: setup ## let ruff and clang-format rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(C_SOURCES),$(BIN)/clang-format -i $(C_SOURCES))

setup: system-packages $(STAMP) ## the toolchain, .venv and the package in it

system-packages:
	@sh toolchain/install.sh

$(STAMP): $(SETUP_INPUTS) | system-packages
	@sh toolchain/venv.sh
	@touch $@

clean: ## remove .venv and everything built or cached
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find sim -name '*.so' -delete
