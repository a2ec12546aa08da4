# make            sets the machine up (nothing is repeated)      make help   lists the targets
MINUTES ?= 30
JOBS ?= 2
ARGS ?=
VENV := .venv/bin/python
.DEFAULT_GOAL := setup
.PHONY: setup corpora setup-tests setup-slow-tests demo play test test-slow test-pythons docs lint lock help

setup:  ## virtual environment, pinned packages, system libraries
	@bash launch/setup.sh

corpora:  ## also the texts and captioned pictures that Debian has (docs/text_and_images.md)
	@bash launch/setup.sh corpora

setup-tests:
	@bash launch/setup.sh tests

setup-slow-tests:
	@bash launch/setup.sh slow-tests

demo: setup  ## collect, build, train MINUTES minutes, evaluate, report: make demo MINUTES=5
	$(VENV) -m experiments.demo --minutes=$(MINUTES)

play: setup  ## the shipped network plays a task of every domain: a page with videos, make play ARGS="--seed=1"
	$(VENV) -m experiments.play $(ARGS)

test: setup-tests  ## the test suite, JOBS processes at a time: make test ARGS="-k layout"
	$(VENV) tests/run.py --jobs=$(JOBS) $(ARGS)

test-slow: setup-slow-tests  ## only the tests that take minutes
	$(VENV) tests/run.py --jobs=1 -m slow $(ARGS)

test-pythons: setup  ## quick tests of the core on every other Python that is here
	$(VENV) tests/pythons.py $(ARGS)

docs: setup  ## the documentation as a site in build/site: pages, API reference, search
	@NO_MKDOCS_2_WARNING=1 $(VENV) -m mkdocs build --strict
	@echo "docs: build/site/index.html"

lint: setup  ## style and types, checked and not changed
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -m mypy

lock:  ## writes constraints.txt from what .venv holds now
	@$(VENV) -m pip freeze --all --exclude-editable | grep -v '^pip==' > .venv/frozen.txt
	@(echo "# Exact versions of everything installed, transitive packages included. Written by \`make lock\`; do not edit."; \
	  cat .venv/frozen.txt) > constraints.txt

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## */\1\t/' | expand -t 12
