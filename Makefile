# The contributor's one interface: `make` lists the targets.
#
#   make test PYTHON=3.12     the same in an environment of its own for another Python
#   make demo TOOLS=climalign one tool only
#   make demo JOBS=4          four tools at a time

PYTHON ?=
TOOLS  ?= $(notdir $(patsubst %/,%,$(sort $(dir $(wildcard packages/*/pyproject.toml)))))
JOBS   ?= 2
VENV   := $(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)
BIN    := $(VENV)/bin
UV     := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
READY  := $(VENV)/.ready

# A stranger's environment must not reach into ours.
export UV_PROJECT_ENVIRONMENT := $(VENV)
unexport PYTHONPATH VIRTUAL_ENV
# Compiling once at the start is cheaper than in each of the many processes that tests begin.
export UV_COMPILE_BYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo evidence test test-slow floors lint types format wheels bench docs lock release new clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY)  ## bootstrap uv and install the locked environment (the other targets do it by themselves)

.uv/bin/uv:
	@echo "uv is not installed: putting it into .uv/" >&2
	@for python in python3 python3.13 python3.12 python3.11; do \
	   $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	   $$python -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9' && exit 0; \
	 done; echo "Python 3.11 or newer with the venv module is needed (Debian: apt install python3-venv)" >&2; exit 1

$(READY): uv.lock pyproject.toml shared/pyproject.toml $(wildcard packages/*/pyproject.toml) | $(filter .uv/bin/uv,$(UV))
	@$(UV) sync --locked --all-extras --quiet $(if $(PYTHON),--python $(PYTHON))
	@touch $@

# Two demos at a time, one thread each.
demo: export OMP_NUM_THREADS = 1
demo: $(READY)  ## run every tool's main job on its sample, and make its card; ends with runs/demo/index.html
	@$(BIN)/python $(dir $(firstword $(MAKEFILE_LIST))).ci/demo '$(BIN)' '$(JOBS)' $(TOOLS)

evidence: $(READY)  ## decide every tool's claims (up to 45 minutes a tool), and refresh the README's tables
	@for tool in $(TOOLS); do \
	   $(BIN)/$$tool demo --full --out runs/evidence/$$tool && evidence=$$(echo packages/$$tool/src/*)/evidence && mkdir -p $$evidence && \
	   cp runs/evidence/$$tool/evaluation.json $$evidence/ || exit 1; \
	 done
	@$(BIN)/python docs/evidence.py --write

# Two test processes, one thread each: torch and BLAS would otherwise fight for the cores.
test: export OMP_NUM_THREADS = 1
test: $(READY)  ## run every test but the slow ones
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(ARGS)

test-slow: export OMP_NUM_THREADS = 1
test-slow: $(READY)  ## run the tests that take longer than ten seconds each
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m slow --timeout 1800 $(ARGS)

# The lock is left as it is.
floors: export OMP_NUM_THREADS = 1
floors: | $(filter .uv/bin/uv,$(UV))  ## run the packages' tests with the lowest versions that they say they work with
	@$(UV) venv --quiet --clear .venv-floors $(if $(PYTHON),--python $(PYTHON))
	@$(UV) pip install --quiet --python .venv-floors --resolution lowest-direct --all-extras --group test \
	   $(foreach package,shared $(wildcard packages/*),-r $(package)/pyproject.toml -e $(package))
	@.venv-floors/bin/python -m pytest -n 2 --dist worksteal -m "not slow" $(or $(ARGS),shared/tests packages)

lint: $(READY) types  ## style, floors, declared imports, workflows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache
	@for package in shared $(wildcard packages/*); do (cd $$package && $(CURDIR)/$(BIN)/deptry --no-ansi src) || exit 1; done
	@$(BIN)/zizmor --offline --quiet .github/workflows
	@if command -v actionlint >/dev/null; then actionlint; else echo "actionlint is not installed: workflows checked by zizmor alone" >&2; fi

types: $(READY)  ## check the type annotations
	@$(BIN)/mypy

format: $(READY)  ## rewrite the sources in the house's style
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

wheels: $(READY)  ## build every wheel and source distribution as it would be published, and check them
	@rm -rf dist
	@$(UV) build --all-packages --no-sources --quiet --out-dir dist
	@$(BIN)/python -m twine check --strict dist/*

bench: $(READY)  ## run every benchmark; each prints both sides of its ratio from one run
	@$(BIN)/isopleth bench . $(if $(ONLY),--only $(ONLY))
	@$(BIN)/python docs/evidence.py --write

docs: $(READY)  ## build the site into site/, warnings as errors
	@$(BIN)/python -m sphinx -W --keep-going -q docs site
	@echo site/index.html

lock: $(READY)  ## resolve the dependencies anew
	@$(UV) lock --upgrade
	@$(MAKE) --no-print-directory setup

release: $(READY)  ## PKG=isopleth BUMP=minor: version, changelog, lock, commit, tag PKG/vX.Y.Z
	@$(BIN)/python .ci/release '$(PKG)' '$(BUMP)' '$(UV)'

new: $(READY)  ## TOOL=my-tool: lay down a tool that runs, to put yours in its place
	@$(BIN)/python .ci/new '$(TOOL)'
	@$(UV) lock --quiet
	@$(MAKE) --no-print-directory setup
	@$(BIN)/ruff check --quiet --select I --fix packages/$(TOOL) && $(BIN)/ruff format --quiet packages/$(TOOL)
	@$(BIN)/python docs/evidence.py --write
	@echo "packages/$(TOOL) runs: make demo TOOLS=$(TOOL), make test ARGS=packages/$(TOOL)/tests; docs/howto/new-tool.md goes on"

clean:  ## remove what was built; environments and runs stay
	@rm -rf dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
