# Needs git, make (3.81 will do) and a Python >= 3.11; everything else comes from uv.lock.
SHELL := /bin/sh
BIN := .venv/bin
ARGS :=

PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null | grep . && break; done)
NEED_PYTHON = @test -n "$(PYTHON)" || { echo "llm_magic needs Python 3.11 or newer, and found none on the PATH (looked for" \
	"python3, python3.14 ... python3.11). Debian: apt-get install python3. macOS: brew install python" >&2; exit 1; }

# Run it, do not just look for it: a pyenv shim exists without working, and an old uv knows no --all-groups.
UV := $(shell uv sync --all-groups --help >/dev/null 2>&1 && echo uv || echo build/bin/uv)

export UV_PROJECT_ENVIRONMENT := .venv
export UV_PYTHON_DOWNLOADS := never
# Trust what the machine trusts, as Python and git do: behind a company proxy uv's own list of authorities is not enough.
export UV_SYSTEM_CERTS ?= true
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

OLDEST := build/oldest

.PHONY: help setup test test-oldest test-slow test-browser check demo lab bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile \
		$(if $(wildcard benchmarks/__main__.py),,| grep -v 'make bench ')

setup: .venv/.synced ## create .venv with exactly what uv.lock names

.venv/.synced: uv.lock pyproject.toml $(filter build/bin/uv,$(UV))
	$(NEED_PYTHON)
	$(UV) sync --quiet --frozen --all-extras --all-groups --no-group browser --python "$(PYTHON)"
	@touch $@

.venv/.browser: .venv/.synced
	$(UV) sync --quiet --frozen --all-extras --all-groups --python "$(PYTHON)"
	@touch $@

build/bin/uv: scripts/get_uv.py
	$(NEED_PYTHON)
	@"$(PYTHON)" scripts/get_uv.py $@

test: setup ## run the tests, the slow ones left out (ARGS="-k ledger" is passed on)
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

test-oldest: $(OLDEST)/.synced ## run the tests with the oldest packages that pyproject.toml admits
	$(OLDEST)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile -W ignore::DeprecationWarning $(ARGS)

# Only our own requirements are old: their requirements, and the tests' tools, are of today, and old packages warn of them.
$(OLDEST)/.synced: pyproject.toml $(filter build/bin/uv,$(UV))
	$(NEED_PYTHON)
	$(UV) venv --quiet --clear --python "$(PYTHON)" $(OLDEST)
	echo 'ipykernel>=6.31,<7' | $(UV) pip compile --quiet --python $(OLDEST) --resolution lowest-direct --all-extras \
		--output-file $(OLDEST)/oldest.txt pyproject.toml -
	$(UV) pip install --quiet --python $(OLDEST) --constraints $(OLDEST)/oldest.txt --group dev \
		--editable '.[local,parquet,plots,postgres]'
	@touch $@

test-slow: setup ## run the slow tests: a Binder environment from nothing, several kernels on one ledger
	$(BIN)/pytest -m slow $(ARGS)

test-browser: setup .venv/.browser ## look at it in JupyterLab, in a headless Chromium; screenshots in build/screenshots
	@sh scripts/get_chromium.sh
	$(BIN)/pytest -m browser $(ARGS)

check: setup ## lint, format, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

demo: setup ## run the quickstart notebook without a key, and show the bill
	$(BIN)/python scripts/demo.py $(ARGS)

lab: setup ## open the quickstart notebook in JupyterLab
	JUPYTER_PREFER_ENV_PATH=1 $(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/quickstart.ipynb \
		$$(test "$$(id -u)" -ne 0 || echo --allow-root) $(ARGS)

bench: setup ## run the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove .venv, build and the caches
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
