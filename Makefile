# Everything a fresh machine needs: `make train` or `make test` set up .venv by themselves. PYTHON=python3.12 picks another Python.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help setup train test bench speedrun gpu-check mutants fuzz kills kill-sweeps lint clean

help:       ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP)  ## install gancli and what its tests need into .venv

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gancli needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1): make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

train: $(STAMP)  ## train a DCGAN on the embedded digits, write a sample grid and scores
	$(BIN)/gancli train experiment=quickstart
	$(BIN)/gancli eval ckpt=latest features=classifier

# Compiled tests are kept, whatever the user says of byte code elsewhere: compiling is two fifths of collecting them.
# Files run in the order of their names: sorted by their number of tests, a file of few long ones would be the last.
test: lint  ## run the linters and every test that needs no GPU
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

bench: $(STAMP)  ## measure the loop against bare PyTorch, and the rest of tests/benchmarks
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

speedrun: $(STAMP)  ## train every GAN at the same budgets of time and compare: make speedrun ARGS='--minutes 2 --seeds 1'
	$(BIN)/python tests/benchmarks/speedrun.py $(ARGS)

gpu-check: $(STAMP)  ## test and measure what needs a GPU, eight minutes: make gpu-check ARGS='--only tests'
	$(BIN)/python tests/gpu/check.py $(ARGS)

mutants: $(STAMP)  ## break a room and see whether its tests notice: make mutants ROOM=losses N=20 SEED=0 TESTS=...
	$(BIN)/python tests/mutants.py $(ROOM) --n $(or $(N),20) --seed $(or $(SEED),0) $(if $(TESTS),--tests $(TESTS))

fuzz: $(STAMP)  ## throw damaged and hostile input at every command: make fuzz N=2000 SEED=0
	PYTHONPATH=. $(BIN)/python tests/fuzz.py --n $(or $(N),2000) --seed $(or $(SEED),0)

kills: $(STAMP)  ## kill runs at random moments and compare their ends: make kills N=100 SEED=0
	$(BIN)/python tests/kills.py --n $(or $(N),100) --seed $(or $(SEED),0)

kill-sweeps: $(STAMP)  ## kill the launcher of a sweep and its jobs, and repeat its command: make kill-sweeps JOBS=24 LAUNCHER=joblib
	PYTHONPATH=. $(BIN)/python tests/kill_sweeps.py --jobs $(or $(JOBS),24) --kills $(or $(KILLS),5) --seed $(or $(SEED),0) --launcher $(or $(LAUNCHER),gancli)

lint: $(STAMP)  ## look for errors of style and of types
	$(BIN)/ruff check --quiet gancli tests
	$(BIN)/ruff format --quiet --check gancli tests
	$(BIN)/mypy --no-error-summary

clean:      ## remove .venv and what tests and builds leave; outputs/ stays
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache
	find gancli tests -name __pycache__ -type d -prune -exec rm -rf {} +
