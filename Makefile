# make demo   install, train the built-in scenes through all four stages, evaluate, report, export
# make check  install, check style and types, run the tests that are not in tests/slow.txt
# make docs   install, build the documentation site, docs/_build/html
# make test   install, check style and types, run all tests with the docstring examples, the library's on JAX too
# make test-torch  the library's tests on PyTorch, in an environment of its own; TORCH_VENV=DIR names another
# make trials kill runs, fill disks, break files and label for long, with a seed
#
# Needs Python 3.11 to 3.13 and make.   make demo WORK=DIR   make test ARGS="-k crf"   make PYTHON=/path/to/python3.12

WORK ?= runs/demo
ARGS ?=
SEED ?= 0
SCALE ?= 1

EXPORT := saved_models/demo
VENV := .venv
TORCH_VENV ?= .venv-torch
PY := $(VENV)/bin/python
DPN := $(VENV)/bin/keras-dpn
SITE := docs/_build/html
LIBRARY := tests/keras_dpn keras_dpn
COMMAND := tests/training training
RECIPES := tests/training/configs
PAGES := $(filter-out %/keras_dpn %/training %/data %/slow.txt %/__pycache__,$(wildcard tests/*))
INSTALLED := $(VENV)/.installed

export TF_CPP_MIN_LOG_LEVEL := 3

.PHONY: demo check docs test test-library test-command test-pages test-jax test-torch trials lint format install clean
.DEFAULT_GOAL := test

install: $(INSTALLED)

# The environment $(1), made with the first interpreter that runs, is new enough for Keras, old enough for TensorFlow and can
# make environments; in it what pip's options $(2) say, and the package.
define install_into
	@python=; for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make: expected Python 3.11, 3.12 or 3.13 with its venv module; tried $(or $(PYTHON),python3 python3.13 python3.12 python3.11)." >&2; \
	  echo "make: install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 2; \
	fi; \
	set -e; echo "Installing into $(1) ..."; \
	"$$python" -m venv $(1); \
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2); \
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
	touch $(1)/.installed
endef

$(INSTALLED): requirements-hashes.txt pyproject.toml
	$(call install_into,$(VENV),--no-deps --require-hashes -r requirements-hashes.txt)

$(TORCH_VENV)/.installed: requirements.txt requirements-torch.txt pyproject.toml
	$(call install_into,$(TORCH_VENV),-r requirements-torch.txt)

# A second demo starts anew. It removes nothing but what an earlier demo made.
demo: $(INSTALLED)
	@if [ -n "$$(ls -A "$(WORK)" 2>/dev/null)" ] && [ ! -e "$(WORK)/.demo" ]; then \
	  echo "make: $(WORK) holds something that no demo made; name another directory: make demo WORK=DIR" >&2; exit 2; \
	fi
	@rm -rf "$(WORK)" "$(EXPORT)" && mkdir -p "$(WORK)" && touch "$(WORK)/.demo"
	$(DPN) train dpn/scenes --work-dir "$(WORK)"
	$(DPN) evaluate "$(WORK)" --split test --per-stage
	$(DPN) generate scenes --out "$(WORK)/images" --num-images 4 --seed 1
	$(DPN) predict "$(WORK)/images/images" --model "$(WORK)" --out "$(WORK)/predictions" --heads
	$(DPN) report "$(WORK)"
	$(DPN) export --model "$(WORK)" --out "$(EXPORT)" --verify-with "$(WORK)/images/images/test_00000.png"
	@echo
	@echo "report       $(WORK)/report.html"
	@echo "predictions  $(WORK)/predictions"
	@echo "SavedModel   $(EXPORT)/1"

# The tests of tests/slow.txt are left out; those that have become slow since then are named at the end.
# One core runs the library's, the other the rest behind the style check.
FAST := -m "not slow" --durations=5 --durations-min=1

check: $(INSTALLED)
	@log=$$(mktemp); \
	{ $(MAKE) --no-print-directory lint && \
	  KERAS_BACKEND=tensorflow $(PY) -m pytest $(PAGES) $(COMMAND) $(FAST); } >"$$log" 2>&1 & rest=$$!; \
	KERAS_BACKEND=tensorflow $(PY) -m pytest $(LIBRARY) $(FAST); library=$$?; \
	wait $$rest; rest=$$?; cat "$$log"; rm -f "$$log"; exit $$((library || rest))

# Three at a time, of which none ends long after the others: the style check, JAX's tests, and those of recipes,
# documentation, examples and benchmarks follow each other. The outputs of two come after the first's.
test: $(INSTALLED)
	@jax=$$(mktemp); command=$$(mktemp); \
	$(MAKE) --no-print-directory --keep-going lint test-jax test-pages >"$$jax" 2>&1 & jax_id=$$!; \
	$(MAKE) --no-print-directory test-command >"$$command" 2>&1 & command_id=$$!; \
	$(MAKE) --no-print-directory test-library; failed=$$?; \
	wait $$command_id || failed=1; cat "$$command"; \
	wait $$jax_id || failed=1; cat "$$jax"; \
	rm -f "$$jax" "$$command"; exit $$failed

test-library: $(INSTALLED)
	KERAS_BACKEND=tensorflow $(PY) -m pytest $(LIBRARY) $(ARGS)

test-command: $(INSTALLED)
	KERAS_BACKEND=tensorflow $(PY) -m pytest $(COMMAND) --ignore=$(RECIPES) $(ARGS)

test-pages: $(INSTALLED)
	KERAS_BACKEND=tensorflow $(PY) -m pytest $(RECIPES) $(PAGES) $(ARGS)

# A GPU without TensorFlow is used through JAX, and several hosts: layers, models, losses and the steps of training must
# run there too. Its compiler takes most of the time; this setting, which the pinned jaxlib knows, and those of
# conftest.py save three quarters of that.
test-jax: $(INSTALLED)
	XLA_FLAGS=--xla_cpu_use_fusion_emitters=false KERAS_BACKEND=jax \
	  $(PY) -m pytest $(LIBRARY) tests/training/engine/test_backends.py $(ARGS)

# Not part of `make test`, as PyTorch may take several GB. TensorFlow is not in this environment.
test-torch: $(TORCH_VENV)/.installed
	KERAS_BACKEND=torch $(TORCH_VENV)/bin/python -m pytest $(LIBRARY) tests/examples/test_torch_training.py $(ARGS)

# Every name and link within the site must lead somewhere: a warning is an error.
docs: $(INSTALLED)
	KERAS_BACKEND=tensorflow $(PY) -m sphinx --nitpicky --fail-on-warning --keep-going --quiet -b html docs $(SITE)
	@echo "site         $(SITE)/index.html"

# Kills, full disks, broken files and long use, with a seed; an hour or two, or less:
# make trials SEED=1 SCALE=0.1
trials: $(INSTALLED)
	KERAS_BACKEND=tensorflow $(PY) -m benchmarks.trials --seed $(SEED) --scale $(SCALE)

lint: $(INSTALLED)
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(VENV)/bin/lint-imports
	$(PY) -m mypy

format: $(INSTALLED)
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

clean:
	rm -rf $(VENV) .venv-torch .pytest_cache .ruff_cache build dist docs/_build docs/api/generated
	find keras_dpn training tests -name __pycache__ -type d -prune -exec rm -rf {} +
