# make demo         an environment in .venv, then one photo to out/<name>/mesh.glb
# make test         lint, types, import contracts, tests (minutes)
# make acceptance   our files in other people's programs, and the wheel in an empty environment (up to an hour)
# make nerfstudio   nerfstudio with our plug-in, in .tools/nerfstudio
# make lint         the first three of `make test` only
# make format       rewrite the sources in the house layout
# make clean        everything that these targets made, caches included

PYTHON ?= python3
PHOTO  ?= assets/photos/toadstool.png
PROCESSES ?= auto  # of the tests; 0: all in pytest's own

VENV     := .venv
BIN      := $(VENV)/bin
PIP      := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
CORE     := $(VENV)/.core-installed
DEV      := $(VENV)/.dev-installed
RUN      := out/$(shell basename "$(PHOTO)" | sed 's/\.[^.]*$$//')

.DELETE_ON_ERROR:
.PHONY: demo test acceptance nerfstudio lint format install dev clean

demo: $(CORE)
	$(BIN)/python -m pipelines.img2mesh "$(PHOTO)" -o "$(RUN)" --preset fast --overwrite
	@echo "Look at $(RUN)/preview.png; the asset is $(RUN)/mesh.glb"

install: $(CORE)

dev: $(DEV)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
# At most four processes, a file at a time, so that what its tests share is made once. One that hangs says where, in all
# its threads, and ends the run.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --ignore=tests/acceptance --durations=10 \
	  --numprocesses=$(PROCESSES) --maxprocesses=4 --dist=loadfile --max-worker-restart=0 \
	  -o faulthandler_timeout=1200 -o faulthandler_exit_on_timeout=true

acceptance: $(DEV) nerfstudio
	sh tests/acceptance/tools/install.sh $(BIN)/python
	$(BIN)/python -m pytest tests/acceptance --fail-on-skip --durations=10

nerfstudio:
	sh tests/acceptance/tools/nerfstudio.sh $(PYTHON)

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .tools out dist .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Torch comes first and alone, so that its build is the one that the pin names and no other package decides.
# Wheels only: nothing here may start a compiler.
$(CORE): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Turnabout needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing wheels into $(VENV); about 2.3 GB, so the first time takes minutes."
	$(PIP) --only-binary :all: torch hatchling editables
	$(PIP) --only-binary :all: --no-build-isolation --editable .
	$(BIN)/python -m pipelines.check
	@touch $@

$(DEV): $(CORE)
	$(PIP) --only-binary :all: --no-build-isolation --editable '.[dev]'
	@touch $@
