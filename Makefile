# Energy Wells. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Looked up before the environment's programs are put first on PATH.
FOUND := $(shell command -v "$(PYTHON)")
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup shell cluster verify repro track register ui pr-report test integration nightly lint check reproduce bench studies confirm docs page screenshots readme requirements audit licences restore clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

# An unusable environment is always out of date. `make setup PYTHON=...` requires that release of Python.
ENVIRONMENT := stages/tools/environment.py
SETUP := $(filter setup,$(MAKECMDGOALS))
WANTED := $(if $(SETUP),$(filter command environment,$(firstword $(origin PYTHON))))
# TORCH_INDEX=URL installs torch from that index, such as that of its CPU builds, without the CUDA libraries.
TORCH_INDEX ?=
REMEMBERED := $(shell cat $(VENV)/.torch-index 2> /dev/null)
ifneq ($(shell $(BIN)/python $(ENVIRONMENT) 2> /dev/null && echo fit)$(WANTED)$(TORCH_INDEX),fit$(if $(TORCH_INDEX),$(REMEMBERED)))
.PHONY: $(VENV)/.pipeline
endif
ASKED := $(if $(SETUP),--mend) $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX)) $(if $(WANTED),--of-this-python)

$(VENV)/.pipeline: requirements.txt
	@test -n "$(FOUND)" || { echo "error: there is no $(PYTHON) here: PYTHON=... names another Python"; exit 1; }
	@"$(FOUND)" $(ENVIRONMENT) $(VENV) requirements.txt $(ASKED)
	@touch $@

$(VENV)/.development: requirements-dev.txt requirements-cluster.txt $(VENV)/.pipeline
	@$(BIN)/python $(ENVIRONMENT) $(VENV) requirements-dev.txt
	@touch $@

setup: $(VENV)/.pipeline ## create .venv from requirements.txt

shell: $(VENV)/.pipeline ## open a shell with the dvc, python and mlflow of .venv
	@echo "dvc, python and mlflow are those of $(VENV) here; exit leaves this shell"
	@env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS VIRTUAL_ENV="$(CURDIR)/$(VENV)" "$${SHELL:-/bin/sh}" || true

cluster: $(VENV)/.pipeline ## add Ray and the S3 client to .venv, for sweeps over many machines and S3 remotes
	@$(BIN)/python $(ENVIRONMENT) $(VENV) requirements-cluster.txt

check: $(VENV)/.pipeline ## validate params.yaml, mixtures.yaml and claims.yaml; name studies to renew
	@python -m stages.tools.check

verify: $(VENV)/.pipeline ## check all cached files and outputs; remove damaged files from DVC's cache
	@python -m stages.tools.verify

JOBS ?=
repro: verify ## reproduce the pipeline on all cores and log it to MLflow (JOBS=1: one stage at a time)
	ENERGY_WELLS_TRACK=later python -m stages.tools.parallel $(JOBS)
	@$(MAKE) --no-print-directory track

track: $(VENV)/.pipeline ## log results to MLflow that are not logged yet
	@python -m stages.track

register: track ## register the best MNIST encoder in MLflow's model registry
	@python -m stages.tools.registry

PORT ?= 5000
ui: track ## serve the MLflow UI of the pipeline's store (PORT=5000)
	@python -m stages.tools.ui $(PORT)

test: $(VENV)/.development ## lint and run all tests except the slow ones, in parallel
	@$(MAKE) --no-print-directory --jobs=2 lint tests

.PHONY: tests
# Many tests wait for a process or a page, so one worker more than a small machine has cores keeps the cores busy.
tests: $(VENV)/.development
	OMP_NUM_THREADS=1 pytest -n 4 --dist worksteal

integration: $(VENV)/.development ## run the tests with real services, several machines and killed processes
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile -m integration

TRIED := --reliability docs/reliability.md -m "nightly or properties or hostile"
nightly: $(VENV)/.development ## run the fault, hostile-input and property tests, write docs/reliability.md, rerun one study, outdated ones first
	rm -f docs/reliability.md
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=many python -m pytest -n 2 -p tests.reliability $(TRIED)
	@python -m stages.studies.run --again

lint: $(VENV)/.development ## validate params.yaml, run ruff and mypy
	@python -m stages.tools.check
	ruff check
	ruff format --check
	mypy

QUICK ?=
reproduce: $(VENV)/.pipeline ## run a clone of HEAD without caches and compare all outputs with dvc.lock (QUICK=1: two small clones)
	@python -m stages.tools.reproduce $(if $(QUICK),--quick)

BASE ?= origin/main
pr-report: $(VENV)/.pipeline ## print what this branch changes in metrics, params, verdicts and pictures (BASE=origin/main)
	@python -m stages.tools.pull_request "$(BASE)"

BENCH ?=
bench: $(VENV)/.development ## measure speed as ratios within one run and write docs/benchmark.md (BENCH=--warm: without the tests)
	@python -m benchmarks $(BENCH)

studies: $(VENV)/.pipeline ## run the missing runs of all studies (all runs: about four hours on two cores)
	@for name in $$(sed -nE 's/^([a-z_]+):.*/\1/p' studies.yaml); do python -m stages.studies.run $$name || exit 1; done

confirm: $(VENV)/.pipeline ## rerun a sample of the studies' runs and compare, after a change that should not affect metrics
	@python -m stages.studies.confirm

$(VENV)/.docs: requirements-docs.txt $(VENV)/.pipeline
	@$(BIN)/python $(ENVIRONMENT) $(VENV) requirements-docs.txt
	@touch $@

docs: $(VENV)/.docs ## build the book into site/, running its tutorials (some minutes; QUICK=1: with hardly any training)
	OMP_NUM_THREADS=2 ENERGY_WELLS_QUICK=$(QUICK) python -m mkdocs build --strict

page: ## bundle the page's scripts into stages/page/page.js, check them and run their tests (needs Node.js and npm)
	@cd stages/page && npm ci --no-audit --no-fund && npm run --silent build && npm run --silent lint && npm run --silent types && npm test --silent

screenshots: $(VENV)/.development ## take the book's pictures of the page in the system's Chromium
	@python -m stages.tools.screenshots

readme: $(VENV)/.pipeline ## update what the README and the book take from the results
	@python -m stages.tools.readme

UPGRADE ?= --upgrade
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes
requirements: $(VENV)/.development ## pin the newest releases that requirements*.in allow (UPGRADE=: keep the current pins)
	$(COMPILE) $(UPGRADE) requirements-dev.in --output-file requirements-dev.txt
	$(COMPILE) --constraint requirements-dev.txt requirements-cluster.in --output-file requirements-cluster.txt
	$(COMPILE) --constraint requirements-dev.txt requirements-docs.in --output-file requirements-docs.txt
	$(COMPILE) --constraint requirements-dev.txt requirements.in --output-file requirements.txt

audit: $(VENV)/.development ## check the pinned packages of this platform for known vulnerabilities
	pip-audit --requirement requirements-dev.txt --require-hashes --disable-pip --strict
	pip-audit --requirement requirements-docs.txt --require-hashes --disable-pip --strict

licences: $(VENV)/.development ## list the licences of the pipeline's packages
	@pip-licenses --order=license --packages $$(sed -nE "s/^([a-z0-9.-]+)==.*/\1/p" requirements.txt)

# After an experiment that failed, Git overlooks a change of params.yaml that kept the file's size: DVC updated the index.
restore: ## discard the changes that an experiment made: restore the committed params.yaml, dvc.lock, reports and outputs
	@touch params.yaml
	git restore --staged --worktree params.yaml dvc.lock reports
	dvc checkout

clean: ## remove the pipeline's outputs that git ignores; keep DVC's cache, MLflow's runs and all other files
	@python -m stages.tools.clean
