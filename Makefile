# gb10.cluster: `make help` says what each target does.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
TOPOLOGY ?= triangle
NODES ?= $(if $(filter direct,$(TOPOLOGY)),2,3)
CABLING ?= planned
NODE ?= spark1

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- the two commands of the README ---

.PHONY: demo
demo: setup lab-up ## Three virtual Sparks, site.yml, a verdict [TOPOLOGY=triangle|direct|switch NODES=n]
	@ansible-playbook site.yml

.PHONY: test
test: setup-dev ## What CI runs: linters, unit tests, roles in containers, the whole on virtual Sparks (half an hour)
	@python tools/tests.py lint unit molecule lab

# --- its parts ---

.PHONY: lint
lint: setup-dev ## ruff, mypy, yamllint, ansible-lint, changelog, docs and ansible-test sanity
	@python tools/tests.py lint

.PHONY: test-unit
test-unit: setup-dev ## The pure core, modules and plugins, with coverage
	@python tools/tests.py unit

.PHONY: test-molecule
test-molecule: setup-dev ## Roles in containers
	@python tools/tests.py molecule

.PHONY: test-lab
test-lab: setup-dev ## The whole on virtual Sparks, with injected faults
	@python tools/tests.py lab

.PHONY: test-lab-all
test-lab-all: setup-dev ## The same, and every fault, every topology and a killed controller: an hour under emulation
	@python tools/tests.py lab-all

.PHONY: faults
faults: setup-dev ## The fault matrix: evidence/faults.json, an hour under emulation [FAULTS='-k NAME', '--where recorded' ...]
	@tools/apt-need lab/packages.txt
	@python -m tests.faults $(FAULTS)

# --- virtual Sparks ---

.PHONY: lab-up
lab-up: setup ## Start virtual Sparks [TOPOLOGY=triangle|direct|switch NODES=n CABLING=planned|p0-p0]
	@tools/apt-need lab/packages.txt
	@python -m lab up --topology $(TOPOLOGY) --nodes $(NODES) --cabling $(CABLING)

.PHONY: lab-down
lab-down: setup ## Stop them
	@python -m lab down

.PHONY: lab-ssh
lab-ssh: setup ## A shell on one of them [NODE=spark1]
	@python -m lab ssh $(NODE)

# --- the controller ---

.PHONY: setup
setup: .venv/.ready ## The Python environment for the playbooks

.PHONY: setup-dev
setup-dev: .venv/.ready-dev ## The same, with what the tests need

.venv/.ready: requirements.txt
	@tools/venv $(PYTHON) requirements.txt
	@touch $@

.venv/.ready-dev: requirements.txt requirements-dev.txt
	@tools/venv $(PYTHON) requirements-dev.txt
	@touch .venv/.ready $@

.PHONY: clean
clean: ## Remove the environment and build results, keep the evidence
	@rm -rf .venv .build .pytest_cache .mypy_cache .ruff_cache .hypothesis
