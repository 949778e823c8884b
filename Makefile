# make image | test | check | serve …: each installs the locked versions into .venv first, when that is missing or the lock
# has changed.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
TRITON := $(VENV)/triton
LOCK := constraints.txt
ARGUMENTS ?=

.PHONY: image serve test all-tests kernels exactness starter bench gpu lint types check format screenshots update clean

image: $(READY)  ## make the workflow's picture
	$(RUN) -m engine.generate

serve: $(READY)  ## serve pictures over HTTP; settings are SD_… variables, or flags in ARGUMENTS="--port 8080"
	$(RUN) -m server $(ARGUMENTS)

test: $(READY)  ## run the tests, except those marked slow
	$(RUN) -m pytest -m 'not slow'

all-tests: $(READY)  ## run all tests, as CI does
	$(RUN) -m pytest

starter: $(READY)  ## train models/starter.safetensors from scratch, or go on where it stopped
	$(RUN) -m models.starter

bench: $(READY)  ## measure the engine beside its peers: a table, a JSON and a plot; say more in ARGUMENTS="--minutes 30"
	$(RUN) -m benchmarks $(ARGUMENTS)

gpu: $(READY)  ## measure what only a GPU can show, in 11 minutes; some parts: ARGUMENTS="steps profile"
	$(RUN) -m benchmarks.gpu $(ARGUMENTS)

lint: $(READY)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .

types: $(READY)
	$(RUN) -m mypy

kernels: $(TRITON)  ## run the GPU's kernels in Triton's interpreter, on Linux without a GPU
	PYTHONPATH=$(TRITON) TRITON_INTERPRET=1 $(RUN) -m pytest tests/engine/networks/test_kernels.py

exactness: $(READY)  ## run the engine's tests as processors with fewer instructions would; quickly: ARGUMENTS=--short
	$(RUN) -m tests.instruction_sets $(ARGUMENTS)

check: lint types all-tests  ## everything that CI checks

format: $(READY)  ## put the code into shape
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

update: $(READY)  ## renew the lock: the newest versions that pyproject.toml allows, for every Python and system
	$(RUN) -m pip install --quiet --upgrade uv
	UV_CUSTOM_COMPILE_COMMAND='make update' $(RUN) -m uv pip compile --no-config --quiet --universal --upgrade \
		--python-version 3.10 --extra dev --extra peers --no-annotate --output-file $(LOCK) pyproject.toml

# Without build isolation: an isolated build would take the newest setuptools instead of the locked one.
$(READY): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit("$(PYTHON) is Python %d.%d; 3.10 or newer is needed: make PYTHON=python3.12 …" \
		% sys.version_info[:2] if sys.version_info < (3, 10) else None)'
	@echo 'Installing torch and about 100 other packages into $(VENV), in the versions that $(LOCK) locks:'
	@echo '2 GB on disk, 6 GB with the CUDA libraries that Linux gets; a minute or two on a fast connection.'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --constraint $(LOCK) setuptools
	$(RUN) -m pip install --constraint $(LOCK) --no-build-isolation --editable '.[dev]'
	@touch $@

$(TRITON): $(READY)  # in a folder of its own: torch imports it wherever it finds it
	$(RUN) -m pip install --no-deps --upgrade --target $@ --constraint $(LOCK) triton
	@touch $@

screenshots: $(READY)  ## take pictures of the page in all its states, into screenshots/, to look through; needs Chromium
	$(RUN) -m tests.server.page.screenshots screenshots

clean:
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache
