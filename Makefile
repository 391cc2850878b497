# The one place that says how the project is installed, tested and built. `make` lists what there is.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Enough to scan, verify, review and report on a CPU; without torch.
SLIM ?= .venv-slim
SLIM_READY := $(SLIM)/.ready
PIP_INSTALL := pip install --disable-pip-version-check
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test mutants faults studies lint format check docs wheel smoke image model lock audit clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(SLIM_READY)  ## set up what a CPU needs, scan samples/ with the shipped model, show the verdicts
	$(SLIM)/bin/inspector scan samples --out demo-results --overwrite --precision fp32
	@$(SLIM)/bin/python -m samples.show demo-results

test: $(READY)  ## set up and run the tests (PYTEST='-k word' to choose)
	$(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(PYTEST)

lint: $(READY)  ## formatting, lint rules and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

mutants: $(READY)  ## break the code on purpose and see the tests fail (MUTANTS=--quick)
	$(BIN)/python -m tests.mutations $(MUTANTS)

faults: $(READY)  ## kill scans, feed them bad files, compare their tables (ARGS=--quick)
	$(BIN)/python -m bench faults $(ARGS)

studies: $(READY)  ## what was tried once: make studies ARGS="memory --sizes 10000"; lists them without ARGS
	$(BIN)/python -m bench $(ARGS)

check: lint test docs  ## everything but the smoke test

docs: $(READY)  ## build the documentation into build/docs; a warning is an error
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet --fresh-env \
	    docs build/docs
	@echo "open build/docs/index.html"

wheel: $(READY)  ## build dist/*.whl
	rm -rf build dist
	$(BIN)/python -m build --wheel --no-isolation

smoke: wheel  ## install the wheel in a fresh environment and use it from outside the checkout
	PYTHON=$(PYTHON) bash .ci/smoke dist/*.whl

image: $(READY)  ## carry out the container recipe in a fresh root, measure it, scan in it (as root, on Linux)
	$(BIN)/python -m tests.image docs/containers/slim.Dockerfile

model: $(READY)  ## make the shipped model from labelled photos: make model DATA=DIR
	@test -n "$(DATA)" || { echo "say where the labelled photos are: make model DATA=DIR" >&2; exit 2; }
	$(BIN)/python -m bench.recipe.run "$(DATA)" $(ARGS)

lock: $(READY)  ## resolve pyproject.toml's ranges again into requirements.lock and requirements-slim.lock
	$(BIN)/$(COMPILE) --extra dev --upgrade --output-file requirements.lock pyproject.toml > /dev/null
	mkdir -p build
	printf "onnxruntime>=1.24\nonnxruntime-gpu; sys_platform == 'never'\n" > build/cpu.txt
	echo "setuptools" | $(BIN)/$(COMPILE) --override build/cpu.txt --no-emit-package onnxruntime-gpu --extra buckets \
	    --constraint requirements.lock --upgrade --output-file requirements-slim.lock pyproject.toml - > /dev/null

audit: $(READY)  ## ask PyPI which versions that are locked, or the lowest admitted, have published holes
	mkdir -p build
	$(BIN)/uv pip compile --python-version 3.11 --extra dev --extra bench --resolution lowest-direct \
	    --generate-hashes --quiet --output-file build/lowest.txt pyproject.toml > /dev/null
	for list in requirements.lock requirements-slim.lock build/lowest.txt; do \
	    $(BIN)/uv tool run pip-audit --strict --disable-pip --requirement $$list || exit 1; \
	done

clean:  ## remove everything that was built here, the environment too
	rm -rf $(VENV) $(SLIM) build dist demo-results *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written last, so that an interrupted installation is taken up again.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12 ...")'
	test -x $(1)/bin/pip || $(PYTHON) -m venv $(1)
	@echo "Installing into $(1): about $(3)."
	$(1)/bin/$(PIP_INSTALL) --require-hashes --requirement $(2)
	$(1)/bin/$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $(1)/.ready
endef

$(READY): requirements.lock pyproject.toml inspector/version.py
	$(call install,$(VENV),$<,3 GB to download and 7 GB on disk; some minutes)

$(SLIM_READY): requirements-slim.lock pyproject.toml inspector/version.py
	$(call install,$(SLIM),$<,150 MB to download and 480 MB on disk)
