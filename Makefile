# `make demo` trains the scene classifier, `make test` runs the tests; both set up .venv first.

PYTHON ?= python3
VENV := .venv
# Windows keeps a virtual environment's programs in Scripts.
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
EXTRAS ?= dev

.PHONY: demo test lint format clean

demo: $(VENV)/installed-demos
	$(BIN)/python -m demos.scenes $(ARGS)

# worksteal: each worker begins in a part of its own, so that no two compile the same kernels at the same time.
test: $(VENV)/installed-$(EXTRAS)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: $(VENV)/installed-$(EXTRAS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-$(EXTRAS)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed-%: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) .hypothesis .pytest_cache .mypy_cache .ruff_cache dist
