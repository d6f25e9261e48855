# Every command sets up what it needs, once: .venv with the locked dependencies.
PYTHON ?= python3
BIN := .venv/bin
unexport PYTHONDONTWRITEBYTECODE # as images of Docker set it: each start would compile torch anew, 39 s instead of 12
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: .venv/.ready ## .venv with the locked dependencies

run: setup ## the study that params.yaml names, from published tables to the report
	@git rev-parse --git-dir >/dev/null 2>&1 || { $(BIN)/dvc config --local core.no_scm true && \
	  echo "No git repository here: DVC works without one, but dvc metrics diff and dvc params diff need it."; }
	@PATH="$(CURDIR)/$(BIN):$$PATH" python -m pipeline.sweep
	@PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	@$(BIN)/dvc metrics show
	@git rev-parse -q --verify HEAD >/dev/null 2>&1 && git status --porcelain -- dvc.lock metrics results | grep -q . && \
	  echo "Results differ from the commit. To keep them: git add conf dvc.lock metrics params.yaml results && git commit -m 'Results of this machine'" || true
	@echo "The report: $(CURDIR)/results/report.html"

test: setup ## the tests that take seconds each
	@$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile -m "not slow"

testall: setup ## every test, the slow ones too: before a release, or after a change of what they prove
	@$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

check: setup ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

report: setup ## tables, figures and page of the runs there are, without training
	@test -d data/runs || { echo "error: data/runs: no runs here yet: make run makes them" >&2; exit 1; }
	@PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro --single-item fetch merge study2022 aggregate mistakes plot report
	@PATH="$(CURDIR)/$(BIN):$$PATH" python -m pipeline.status
	@echo "The report: $(CURDIR)/results/report.html"

clean: ## remove the environment and tools' caches; records and results stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis outputs
	find pipeline tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# uv, the user's or the locked one, installs in a fraction of pip's time. Neither compiles: Python does so when a
# module is first imported, here once for what the commands import.
.venv/.ready: requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	  f"error: Python {v[0]}.{v[1]} found, 3.11 to 3.13 needed: make PYTHON=python3.11 ...")'
	@echo "Installing the locked dependencies into .venv: about a minute, several without uv"
	@if command -v uv >/dev/null; then uv venv --quiet --allow-existing --python $(PYTHON) .venv; else \
	  $(PYTHON) -m venv .venv && \
	  awk '/^[^ ]/ {uv = /^uv==/} uv' requirements.lock >.venv/uv.txt && \
	  $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt; fi
	@index=$${PIP_INDEX_URL:-$$($(BIN)/pip config get global.index-url 2>/dev/null)}; \
	  UV_DEFAULT_INDEX=$${UV_DEFAULT_INDEX:-$$index} PATH="$$PATH:$(BIN)" \
	  uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock || { \
	  echo "uv cannot install them; pip takes some minutes" >&2; \
	  $(BIN)/pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r requirements.lock; }
	@$(BIN)/python -W ignore -c 'import dvc.cli, pipeline.finetune.training, pipeline.report.__main__, pipeline.sweep.session'
	@touch $@

.PHONY: help setup run test testall check report clean
