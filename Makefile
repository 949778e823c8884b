# make image | test | check | serve …: each makes .venv itself when it is missing or pyproject.toml has changed.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
TRITON := $(VENV)/triton
ARGUMENTS ?=

.PHONY: image serve test kernels starter bench lint types check format clean

image: $(READY)  ## make the workflow's picture
	$(RUN) -m engine.generate

serve: $(READY)  ## serve pictures over HTTP; settings are SD_… variables, or flags in ARGUMENTS="--port 8080"
	$(RUN) -m server $(ARGUMENTS)

test: $(READY)  ## run the tests
	$(RUN) -m pytest

starter: $(READY)  ## train models/starter.safetensors from scratch, or go on where it stopped
	$(RUN) -m models.starter

bench: $(READY)  ## measure the engine beside its peers: a table, a JSON and a plot; say more in ARGUMENTS="--minutes 30"
	$(RUN) -m benchmarks $(ARGUMENTS)

lint: $(READY)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .

types: $(READY)
	$(RUN) -m mypy

kernels: $(TRITON)  ## run the GPU's kernels in Triton's interpreter, on Linux without a GPU
	PYTHONPATH=$(TRITON) TRITON_INTERPRET=1 $(RUN) -m pytest tests/engine/networks/test_kernels.py

check: lint types test  ## everything that CI checks

format: $(READY)  ## put the code into shape
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

$(READY): pyproject.toml $(if $(CI),constraints.txt)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet $(if $(CI),--constraint constraints.txt) --editable '.[dev]'
	@touch $@

$(TRITON): $(READY)  # in a folder of its own: torch imports it wherever it finds it
	$(RUN) -m pip install --quiet --no-deps --upgrade --target $@ $(if $(CI),--constraint constraints.txt) 'triton>=3.7,<4'
	@touch $@

clean:
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache
