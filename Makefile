# The two commands of the README, and what they stand on. VENV is created where it is missing.
VENV ?= .venv
PYTHON ?= python3
PIP_ARGS ?=
BIN := $(VENV)/bin

.PHONY: predict test lint bench bench-server docs wheel clean

predict: $(VENV)/.installed  ## Install what predictions need, and predict the example network.
	$(BIN)/narformer predict examples/resnet18.onnx

test: $(VENV)/.installed-dev  ## Install everything, and pass the tests, two files at a time.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

lint: $(VENV)/.installed-dev  ## Style, types, and which way imports may point.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev  ## Speed against named baselines, as ratios.
	$(BIN)/python benchmarks/all.py

bench-server: $(VENV)/.installed-dev  ## Load on the service, by wrk; writes the table of docs/how-to/serve.md.
	$(BIN)/python benchmarks/server.py --write

docs: $(VENV)/.installed-dev  ## The manual as a site in build/site; a broken link or an unknown name is an error.
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict --quiet

wheel: $(VENV)/.installed  ## The wheel, in dist.
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist *.egg-info
