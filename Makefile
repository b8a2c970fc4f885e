# `make demo` trains the scene classifier, `make test` runs the tests; both set up .venv first.

PYTHON ?= python3
VENV := .venv
# Windows keeps a virtual environment's programs in Scripts.
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
EXTRAS ?= dev

.PHONY: demo test test-bounds test-cuda test-ptx lint format clean

demo: $(VENV)/installed-demos
	$(BIN)/python -m demos.scenes $(ARGS)

# worksteal: each worker begins in a part of its own, so that no two compile the same kernels at the same time.
test: $(VENV)/installed-$(EXTRAS)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

# Arrays between pages that nobody may touch: what reads or writes beyond them crashes (tests/guard.py).
test-bounds: $(VENV)/installed-$(EXTRAS)
	$(BIN)/python -m pytest -p tests.guard -n auto --dist worksteal \
		tests/test_kernels.py tests/test_winograd.py tests/test_matmul.py tests/test_ops.py -k "not planted and not documented" $(ARGS)

# Kernels of the GPU, on one where minigrad finds one, else in numba's simulator, for which numba asks when it is
# imported: a process of its own. NUMBA_ENABLE_CUDASIM=1 before `make` asks for the simulator anyway.
ON_DEVICE := oracle or float32 or repeats or derivatives or composition or test_cuda
test-cuda: $(VENV)/installed-$(EXTRAS)
	export NUMBA_ENABLE_CUDASIM=$${NUMBA_ENABLE_CUDASIM:-$$($(BIN)/python -c \
		"import minigrad; print(int(not minigrad.cuda.is_available()))")}; $(BIN)/python -m pytest -n auto --dist worksteal --minigrad-device cuda \
		tests/test_ops.py tests/test_cuda.py tests/test_cuda_tiles.py -k "$(ON_DEVICE)" $(ARGS)

# Kernels of the GPU compiled without one; numba-cuda takes the place of numba's own, so VENV should be another one.
test-ptx: $(VENV)/installed-ptx
	$(BIN)/python -m tests.ptx $(ARGS)

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
