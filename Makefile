# make image | test | check | serve …: each makes .venv itself when it is missing or pyproject.toml has changed.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
ARGUMENTS ?=

.PHONY: image serve test starter bench lint types check format clean

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

check: lint types test  ## everything that CI checks

format: $(READY)  ## put the code into shape
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

$(READY): pyproject.toml $(if $(CI),constraints.txt)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet $(if $(CI),--constraint constraints.txt) --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache
