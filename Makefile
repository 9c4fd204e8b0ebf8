# The book's commands. `make` alone lists them. Everything runs in .venv, which `make setup` makes and keeps up to date.

PYTHON   ?= python3
PY       := .venv/bin/python
NOTEBOOK ?=
MODELS   ?= models

# nbval compares each notebook with its stored outputs; loadscope keeps a notebook's cells in one process.
NBVAL    := $(PY) -m pytest -p no:cacheprovider --nbval
TOGETHER := -n 2 --dist loadscope
# Notebooks that put load on a server run one after the other: a second one would take the cores they measure.
MEASURED := $(wildcard notebooks/2_concepts/02_*.ipynb notebooks/2_concepts/03_*.ipynb \
              notebooks/4_code/07_*.ipynb notebooks/4_code/10_*.ipynb)
QUICK    := $(filter-out $(MEASURED),$(sort $(wildcard notebooks/*.ipynb notebooks/*/*.ipynb)))
# What `make test-elsewhere` repeats, and two halves of it for those who are in a hurry.
ONE_CORE ?= $(QUICK)
OLDER    ?= $(QUICK)
ODD       = $(shell printf '%s\n' $(QUICK) | awk 'NR % 2')
EVEN      = $(filter-out $(ODD),$(QUICK))

# Root may only run Jupyter when it says so; a Linux without a screen has no browser to open.
LAB  = $(if $(filter 0,$(shell id -u)),--allow-root)
LAB += $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(BROWSER)$(filter-out Linux,$(shell uname)),,--no-browser)

.PHONY: help setup lab test test-twice test-elsewhere test-one-core test-older-processor book notebooks serve bench reference test-long doctor lock clean
.DEFAULT_GOAL := help

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

setup:  ## make .venv, install the locked packages, fetch the data; does only what is missing
	@"$(PYTHON)" tools/setup.py

lab: setup  ## open the book in JupyterLab (in a container add LAB_FLAGS=--ip=0.0.0.0)
	@$(PY) -m jupyter trust notebooks/*.ipynb notebooks/*/*.ipynb >/dev/null 2>&1 || true  # shows stored figures
	$(PY) -m jupyter lab --LabApp.default_url=/lab/tree/notebooks/0_start_here.ipynb $(LAB) $(LAB_FLAGS)

test: setup book  ## every check there is
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m pytest tests -n 2 --dist loadscope
	$(NBVAL) $(TOGETHER) $(QUICK)
	$(NBVAL) $(MEASURED)

test-twice: setup  ## all notebooks, two times in a row
	for time in first second; do $(NBVAL) $(TOGETHER) $(QUICK) && $(NBVAL) $(MEASURED) || exit 1; done

test-elsewhere: setup  ## the quick notebooks as on other machines: one core without oneDNN; an older processor
	$(MAKE) --no-print-directory -j2 --output-sync=target test-one-core test-older-processor

test-one-core:
	taskset -c 0 env TF_ENABLE_ONEDNN_OPTS=0 $(NBVAL) $(ONE_CORE)

test-older-processor:  # one that has AVX2 and no more
	taskset -c $$(($$(nproc) - 1)) env ONEDNN_MAX_CPU_ISA=AVX2 XLA_FLAGS=--xla_cpu_max_isa=AVX2 \
		OPENBLAS_CORETYPE=Haswell $(NBVAL) $(OLDER)

book: setup  ## the site from the stored outputs, in build/_build/html; any warning is an error
	$(PY) -m jupyter book build . --path-output build -W -n --keep-going --all

notebooks: setup  ## run all notebooks, or NOTEBOOK=one, and store their outputs
	$(PY) tools/notebooks.py run $(if $(NOTEBOOK),"$(NOTEBOOK)")

serve: setup  ## serve the models in a folder: MODELS=folder
	$(PY) -m aimaas_helpers serve "$(MODELS)"

bench: setup  ## compare training, serving and the language model with others; three quarters of an hour
	$(PY) benchmarks/training.py --out benchmarks/training.json
	$(PY) benchmarks/serving/bench.py --out benchmarks/serving/results.json
	$(PY) benchmarks/language/speed.py --out benchmarks/language/speed.json

reference: setup  ## ask llama.cpp anew for the numbers that our language model is tested against
	$(PY) benchmarks/language/reference.py --out tests/language/reference.json

test-long: setup  ## faults and overload for many minutes, and 100,000 odd requests
	$(PY) -m pytest tests/faults --long --timeout 1800
	$(PY) tests/serving/fuzz.py --cases 100000

doctor:  ## is this machine ready? what is missing, and what to do
	@test -x $(PY) || { echo "There is no .venv yet: run \`make setup\` first; it says what it misses." >&2; exit 1; }
	@PYTHONPATH=src $(PY) -m aimaas_helpers doctor

lock:  ## resolve pyproject.toml anew into requirements.txt, for every supported Python and system
	"$(PYTHON)" -m venv build/uv
	build/uv/bin/python -m pip install --quiet uv
	build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate pyproject.toml -o requirements.txt

clean:  ## remove what the commands made, except .venv and the data
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests tools benchmarks notebooks -depth \
		\( -name __pycache__ -o -name .ipynb_checkpoints \) -exec rm -rf {} +
