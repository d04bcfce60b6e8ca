PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
BENCHMARKS = $(wildcard $(patsubst %,benchmarks/%.py,run studies objects traces generators dram links_measured engine serving translation experts report))

.DEFAULT_GOAL := help
.PHONY: help torch demo test lint docs gallery bench verify-full captures clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[report,sense,pandas,cluster,serving,docs,test]"
	@# a peer that tests and benchmarks compare with: needs a C compiler, and they say so when it is absent
	-$(BIN)/python -m pip install --quiet pycachesim==0.3.1
	@touch $@

$(VENV)/torch: $(VENV)/installed
	@# this release has a build for CPUs alone: where pip finds no such build, it brings gigabytes for GPUs as well
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -e ".[capture]"
	@touch $@

torch: $(VENV)/torch ## torch and transformers (1 GB): what `tiersim capture moe` and its tests need

demo: $(VENV)/installed ## run the main study on a bundled trace and write a report
	$(BIN)/tiersim run experiments/library/bigger-l2.yaml

lint: $(VENV)/installed ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## style, types and tests
	$(BIN)/python -m pytest -n 2 -q -m "not slow"

docs: $(VENV)/installed ## the documentation, strictly
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/policy_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

gallery: $(VENV)/installed ## run every study of the library, and make its page again
	$(BIN)/python docs/gallery.py

bench: $(VENV)/installed ## speed, as ratios measured in one run
	@for script in $(BENCHMARKS); do echo "$$script"; $(BIN)/python $$script || exit; done

verify-full: test docs ## everything that is slow as well
	$(BIN)/python -m pytest -q -m slow
	$(BIN)/tiersim verify
	$(MAKE) bench

captures: $(VENV)/installed ## make the bundled captures again (needs valgrind, gcc, sqlite3)
	$(BIN)/python -m tiersim.traces.captured.make

clean: ## remove what these commands made here
	rm -rf $(VENV) site build results .mypy_cache .ruff_cache .pytest_cache
