# Needs git, make (3.81 or newer), and Python >= 3.11. Everything else comes from uv.lock.
SHELL := /bin/sh
BIN := .venv/bin
ARGS :=

PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null | grep . && break; done)
NEED_PYTHON = @test -n "$(PYTHON)" || { echo "llm_magic needs Python 3.11 or newer, but none is on the PATH (looked for" \
	"python3, python3.14 ... python3.11). Debian: apt-get install python3. macOS: brew install python" >&2; exit 1; }

# Run each candidate: a pyenv shim can exist without working, and old versions of uv lack --all-groups.
UV := $(shell uv sync --all-groups --help >/dev/null 2>&1 && echo uv || echo build/bin/uv)

export UV_PROJECT_ENVIRONMENT := .venv
export UV_PYTHON_DOWNLOADS := never
# Use the system's certificates, like Python and git: behind a company proxy, uv's own list isn't enough.
export UV_SYSTEM_CERTS ?= true
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
# Keep bytecode, even if the environment turns it off: most of a test run's imports would compile the same files again.
unexport PYTHONDONTWRITEBYTECODE

OLDEST := build/oldest
PARALLEL := -n auto --maxprocesses 4 --dist worksteal
PARALLEL := $(PARALLEL)
# A fast subset: what the wheel could get wrong is packaging. CI sets WHEEL_TESTS to everything that needs no source tree.
WHEEL_TESTS := tests/core tests/plan tests/registry tests/routing tests/jupyter/test_loading.py \
	tests/jupyter/test_magics.py tests/project/test_package.py

.PHONY: help setup test test-all test-kernel test-lab test-slow test-browser test-wheel test-oldest fuzz soak mutations screenshots check docs demo lab bench bench-peers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile \
		$(if $(wildcard benchmarks/__main__.py),,| grep -v 'make bench ')

setup: .venv/.synced ## create .venv with the exact versions of uv.lock

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

test: setup ## run the tests, except the marked ones: kernel, local_model, lab, slow, browser (ARGS="-k ledger" is passed to pytest)
	$(BIN)/pytest $(PARALLEL) $(ARGS)

# One after the other, each once. (No -j: they share the machine's cores and build/.)
test-all: test test-kernel test-lab test-slow test-oldest test-wheel test-browser mutations fuzz ## run every test: all of the targets below, `make mutations` and `make fuzz`

test-kernel: setup ## run the tests that start a kernel or the embedded model
	$(BIN)/pytest -m "(kernel or local_model) and not lab and not slow and not browser" $(PARALLEL) $(ARGS)

test-lab: setup ## run the tests of the laboratory: training, evaluation, simulation
	$(BIN)/pytest -m "lab and not slow" $(PARALLEL) $(ARGS)

FUZZ_MINUTES := 10
fuzz: setup ## run the property tests with random seeds for FUZZ_MINUTES (10); FUZZ_SEED=... repeats one round
	$(BIN)/python -m tests.support.fuzzing --minutes $(FUZZ_MINUTES) $(if $(FUZZ_SEED),--seed $(FUZZ_SEED))

mutations: setup ## put known faults back, one at a time in a copy of the package, and check that the tests fail (ARGS="closing" selects)
	$(BIN)/python -m scripts.mutations $(ARGS)

SOAK_MINUTES := 30
soak: setup ## run 20 runs at once against a faulty server for SOAK_MINUTES (30), on SQLite and PostgreSQL
	$(BIN)/python -m tests.support.soak --minutes $(SOAK_MINUTES) $(ARGS)

test-wheel: setup ## build the wheel and run a fast subset of the tests against it (WHEEL_TESTS=... selects others)
	sh scripts/test_wheel.sh "$$(command -v $(UV))" "$(PYTHON)" $(WHEEL_TESTS) $(PARALLEL) $(ARGS)

# Without the tests of what no package can change.
OLDEST_TESTS := -m "not hypothesis and not lab and not slow and not browser" --ignore=tests/plan --ignore=tests/classify \
	--ignore=tests/tuning --ignore=tests/project/test_prose.py --ignore=tests/project/test_structure.py

test-oldest: $(OLDEST)/.synced ## run the tests with the oldest packages that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest $(OLDEST_TESTS) $(PARALLEL) -W ignore::DeprecationWarning $(ARGS)

# Only the direct requirements are at their oldest versions. Transitive ones and test tools are current, which old
# packages warn about.
$(OLDEST)/.synced: pyproject.toml $(filter build/bin/uv,$(UV))
	$(NEED_PYTHON)
	$(UV) venv --quiet --clear --python "$(PYTHON)" $(OLDEST)
	echo 'ipykernel>=6.31,<7' | $(UV) pip compile --quiet --python $(OLDEST) --resolution lowest-direct --all-extras \
		--output-file $(OLDEST)/oldest.txt pyproject.toml -
	$(UV) pip install --quiet --python $(OLDEST) --constraints $(OLDEST)/oldest.txt --group dev \
		--editable '.[local,parquet,plots,postgres,sql]'
	@touch $@

test-slow: setup ## run the slow tests: a Binder environment from scratch, several kernels on one ledger
	$(BIN)/pytest -m slow $(ARGS)

test-browser: setup .venv/.browser ## run the tests in JupyterLab and Notebook 7 with a headless Chromium
	@sh scripts/get_chromium.sh
	$(BIN)/pytest -m browser $(ARGS)

screenshots: setup .venv/.browser ## take pictures of every view in both themes, wide and narrow, into build/screenshots
	@sh scripts/get_chromium.sh
	$(BIN)/python -m scripts.screenshots lab notebook $(ARGS)

check: setup ## check lint, format, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

docs: setup ## write the generated parts of docs/
	$(BIN)/python -m scripts.update_docs

demo: setup ## run the quickstart notebook without a key and print the ledger
	$(BIN)/python scripts/demo.py $(ARGS)

lab: setup ## open the quickstart notebook in JupyterLab
	JUPYTER_PREFER_ENV_PATH=1 $(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/quickstart.ipynb \
		$$(test "$$(id -u)" -ne 0 || echo --allow-root) $(ARGS)

bench: setup ## run the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

bench-peers: setup ## run the benchmark of columns beside other packages, which are installed in an environment of their own
	$(BIN)/uv run --no-project --with-requirements benchmarks/peers.txt --with-editable . --with starlette --with uvicorn \
		python -m benchmarks columns

clean: ## remove .venv, build and the caches
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
