# The environment lives in .venv and holds exactly what the locks say. A stamp tells which lock it was last brought in line
# with, so that a target installs only after a lock or pyproject.toml changed.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: another-lock help install run test soak bench lint format lock clean
# Byte-compile even where the shell forbids it: without .pyc files, TFX takes three times as long to import.
unexport PYTHONDONTWRITEBYTECODE
# Trust whom the system trusts, as git and curl do: without this, uv fails behind a proxy that has a certificate of its own.
export UV_SYSTEM_CERTS ?= true

VENV := .venv
# requirements-gpu.txt adds the CUDA packages: make install LOCK=requirements-gpu.txt. Later targets keep what was chosen.
CHOSEN := $(shell cat $(VENV)/.chosen 2>/dev/null)
LOCK := $(or $(CHOSEN),requirements.txt)
PYTHON := $(VENV)/bin/python
UV_VERSION := 0.13.8
TOOLS := $(VENV)/tools/uv-$(UV_VERSION)
UV := $(TOOLS)/bin/uv
CODE := pipeline_config.py components pipeline

help:  ## explain the targets (this is the default)
	@awk -F ':.*## +' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed  ## make the environment with what a run needs
	@echo "The environment is ready: $(VENV)/bin/vocseg --help"

run: $(VENV)/.installed  ## train, evaluate and push a model on embedded data (no download)
	$(VENV)/bin/vocseg run --preset mini

test: $(VENV)/.installed-dev  ## run the tests; ARGS="-k name" selects some
	$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(VENV)/.installed-dev  ## run the long tests (kills, fuzz, load, full-width models)
	$(PYTHON) -m pytest -m soak --timeout=3600 $(ARGS)

bench: $(VENV)/.installed  ## time it beside plain code; ARGS="NAME ... --data DIR", DIR with VOCdevkit/VOC2007 (ARGS=--help lists)
	$(VENV)/bin/vocseg bench $(ARGS)

lint: $(VENV)/.installed-dev  ## check style, format and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

format: $(VENV)/.installed-dev  ## format the code and mend what ruff can mend
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

lock: $(UV)  ## write requirements*.txt from requirements*.in; ARGS=--upgrade takes newer releases
	for name in requirements requirements-dev requirements-gpu; do \
	    $(UV) pip compile -q --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate \
	        --custom-compile-command "make lock" $(ARGS) $$name.in -o $$name.txt || exit; \
	done

clean:  ## remove the environment and all caches, but no output of a run
	rm -rf $(VENV) build *.egg-info __pycache__ .mypy_cache .pytest_cache .ruff_cache
	find $(CODE) tests -name __pycache__ -prune -exec rm -rf {} +

# uv stays outside the environment, where a sync does not remove it. It is needed because pip refuses TFX 1.16 on Python 3.11.
$(UV):
	@$(alone) [ ! -x $@ ] || exit 0; \
	$(PYTHON) -c 'import pip, sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	    python="$$(.ci/find_python)" && echo "Making $(VENV) with $$python" && "$$python" -m venv --clear $(VENV); } && \
	rm -rf $(TOOLS).partial && \
	$(PYTHON) -m pip install -q --disable-pip-version-check --target $(TOOLS).partial uv==$(UV_VERSION) && \
	mv $(TOOLS).partial $(TOOLS)

$(VENV)/.installed: $(LOCK) pyproject.toml $(if $(filter $(LOCK),$(CHOSEN)),,another-lock) | $(UV)
	@echo "Bringing $(VENV) in line with $(LOCK). The first time this downloads 1.2 GB and takes 3.6 GB on disk."
	$(call sync,$(LOCK))

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Adding the development tools to $(VENV)."
	$(call sync,$(LOCK) requirements-dev.txt)

# Brings the environment in line with the locks named, and adds this project. What an interrupted sync left behind may look
# installed without being whole: then the next one installs everything anew.
define sync
@$(alone) if [ -e $(VENV)/.unfinished ]; then \
    echo "The last installation was not finished: beginning anew."; \
    rm -rf $(VENV)/lib/python3.11/site-packages/*; \
fi; \
touch $(VENV)/.unfinished && rm -f $(VENV)/.installed $(VENV)/.installed-dev && \
$(UV) pip sync -q --python $(PYTHON) --require-hashes --compile-bytecode $(1) && \
$(UV) pip install -q --python $(PYTHON) --offline --no-deps --no-build-isolation -e . && \
rm $(VENV)/.unfinished && echo $(LOCK) >$(VENV)/.chosen && touch $(VENV)/.installed && touch $@ || { echo "$(failed)" >&2; exit 1; }
@$(PYTHON) -m compileall -q $(CODE) || true
endef

# Two makes at once take turns at the environment.
alone := exec 9<Makefile && flock 9;
failed := The installation failed, see above. It needs the network, 4 GB of disk, a C++ compiler and Python's header files (on \
Debian: apt install g++ python3.11-dev). Mend that and run make again.
