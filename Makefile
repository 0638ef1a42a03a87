# Energy Wells. `make help` lists what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Looked up before the environment's own programs come first.
FOUND := $(shell command -v "$(PYTHON)")
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup shell cluster verify repro track register ui pr-report test integration nightly lint check reproduce bench studies confirm screenshots readme requirements audit licences clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

# An environment that cannot be used is out of date whatever the times of its files. `make setup PYTHON=...` wants that release.
ENVIRONMENT := stages/tools/environment.py
SETUP := $(filter setup,$(MAKECMDGOALS))
WANTED := $(if $(SETUP),$(filter command environment,$(firstword $(origin PYTHON))))
# TORCH_INDEX=URL takes torch from there, such as its builds for the CPU, and leaves the libraries of CUDA out.
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

setup: $(VENV)/.pipeline ## make .venv from requirements.txt

shell: $(VENV)/.pipeline ## open a shell in which dvc, python and mlflow are those of .venv
	@echo "dvc, python and mlflow are those of $(VENV) here; exit leaves this shell"
	@env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS VIRTUAL_ENV="$(CURDIR)/$(VENV)" "$${SHELL:-/bin/sh}" || true

cluster: $(VENV)/.pipeline ## add to .venv what sweeps over many machines and an S3 remote need
	@$(BIN)/python $(ENVIRONMENT) $(VENV) requirements-cluster.txt

check: $(VENV)/.pipeline ## check params.yaml and nothing else
	@python -m stages.tools.check

verify: $(VENV)/.pipeline ## read all that DVC keeps, and remove from its cache what is damaged
	@python -m stages.tools.verify

JOBS ?=
repro: check verify ## reproduce the pipeline, on all cores, and log it to MLflow (JOBS=1: one stage after another)
	ENERGY_WELLS_TRACK=later python -m stages.tools.parallel $(JOBS)
	@$(MAKE) --no-print-directory track

track: $(VENV)/.pipeline ## log what is not logged yet to MLflow
	@python -m stages.track

register: track ## put the best encoder of MNIST into MLflow's model registry
	@python -m stages.tools.registry

PORT ?= 5000
ui: track ## open the MLflow UI on the pipeline's store (PORT=5000)
	@python -m stages.tools.ui $(PORT)

test: $(VENV)/.development ## lint, and run all tests but the slow ones meanwhile
	@$(MAKE) --no-print-directory --jobs=2 lint tests

.PHONY: tests
# Many tests wait for a process or a page: one more than there are cores on a small machine keeps those busy.
tests: $(VENV)/.development
	OMP_NUM_THREADS=1 pytest -n 3 --dist worksteal

integration: $(VENV)/.development ## the tests with real services, several machines and killed processes
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile -m integration

TRIED := --reliability docs/reliability.md -m "nightly or properties or hostile"
nightly: $(VENV)/.development ## faults, hostile inputs, many examples of properties, the page on how they ended; one whole study
	rm -f docs/reliability.md
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=many python -m pytest -n 2 -p tests.reliability $(TRIED)
	@python -m stages.studies.run --again

lint: $(VENV)/.development ## params, ruff and mypy
	@python -m stages.tools.check
	ruff check
	ruff format --check
	mypy

QUICK ?=
reproduce: $(VENV)/.pipeline ## run a clone of HEAD cold and compare every byte with dvc.lock (QUICK=1: two small clones)
	@python -m stages.tools.reproduce $(if $(QUICK),--quick)

BASE ?= origin/main
pr-report: $(VENV)/.pipeline ## print what this branch changes in metrics, params, verdicts and pictures (BASE=origin/main)
	@python -m stages.tools.pull_request "$(BASE)"

BENCH ?=
bench: $(VENV)/.development ## measure speed, as ratios within one run, into docs/benchmark.md (BENCH=--warm: without the tests)
	@python -m benchmarks $(BENCH)

studies: $(VENV)/.pipeline ## make the runs of all studies that are missing (all of them: some four hours on two cores)
	@for name in $$(sed -nE 's/^([a-z_]+):.*/\1/p' studies.yaml); do python -m stages.studies.run $$name || exit 1; done

confirm: $(VENV)/.pipeline ## after a change that should change no number: make a sample of the studies' runs again and compare
	@python -m stages.studies.confirm

screenshots: $(VENV)/.development ## take the README's pictures of the page, in the Chromium of this machine
	@python -m stages.tools.screenshots

readme: $(VENV)/.pipeline ## put the measured table into the README
	@python -m stages.tools.readme

UPGRADE ?= --upgrade
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes
requirements: $(VENV)/.development ## pin the newest releases that the ranges in requirements*.in allow (UPGRADE=: keep the pins)
	$(COMPILE) $(UPGRADE) requirements-dev.in --output-file requirements-dev.txt
	$(COMPILE) --constraint requirements-dev.txt requirements-cluster.in --output-file requirements-cluster.txt
	$(COMPILE) --constraint requirements-dev.txt requirements.in --output-file requirements.txt

audit: $(VENV)/.development ## ask whether a pinned package that is for this machine has a known vulnerability
	pip-audit --requirement requirements-dev.txt --require-hashes --disable-pip --strict

licences: $(VENV)/.development ## list the licences of all packages that the pipeline needs
	@pip-licenses --order=license --packages $$(sed -nE "s/^([a-z0-9.-]+)==.*/\1/p" requirements.txt)

clean: ## remove what the pipeline made and git ignores; DVC's cache, the runs and your own files stay
	@python -m stages.tools.clean
