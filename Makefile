# Two commands for a fresh machine with Python 3.11+, git and gcc:
#   make demo   installs into .venv, builds the calibration atlas into ./site
#   make test   installs what the tests need and runs them, in a real Chromium too
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The CPU build of PyTorch is a tenth of the size of the GPU build. TORCH_INDEX= (empty) installs PyPI's build.
TORCH_INDEX ?= $(shell command -v nvidia-smi >/dev/null 2>&1 || echo https://download.pytorch.org/whl/cpu)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# One thread each: two test processes share two cores.
PYTEST := OMP_NUM_THREADS=1 ATLAS_REQUIRE_BROWSER=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: demo install test test-all check api browser clean

demo: $(VENV)/.pipeline
	$(BIN)/atlas demo

install: $(VENV)/.pipeline

test: check browser
	$(PYTEST) -m "not slow and not gpu"

test-all: check browser
	$(PYTEST)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# PyTorch first and alone, so that only it is looked for in the extra index.
$(VENV)/.torch: $(VENV)/bin/python constraints.txt
	$(PIP) torch $(if $(TORCH_INDEX),--retries 1 --extra-index-url $(TORCH_INDEX))
	@touch $@

$(VENV)/.pipeline: $(VENV)/.torch pyproject.toml
	$(PIP) -e ".[pipeline]"
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) -e ".[pipeline,dev]"
	@touch $@ $(VENV)/.pipeline

api: $(VENV)/.pipeline
	$(PIP) -e ".[pipeline,docs]"
	$(BIN)/python docs/build_api.py

browser:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do command -v $$name >/dev/null 2>&1 && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	else \
		echo "The browser tests need Chromium: install the package chromium (Debian, Ubuntu, Fedora) or Google Chrome."; exit 1; \
	fi

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
