# Every target sets up what it needs: a machine with Python 3.11 and make can start with any of them.

PYTHON ?= python3
VENV ?= .venv
LOGDIR ?= results
PORT ?= 6006
WORKERS ?= 2
PIP_FLAGS ?= --quiet --disable-pip-version-check

BIN := $(VENV)/bin
# On Linux, keep freed memory in the process: otherwise CPU training spends a third of its time in page faults.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=17179869184:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456:glibc.malloc.arena_max=1
STAMP := $(VENV)/.installed
CACHES := .pytest_cache .mypy_cache .ruff_cache .hypothesis lightning_logs cache build dist *.egg-info

.DEFAULT_GOAL := help
.PHONY: help setup test test-all lint docs ablate-all benchmark tensorboard pretrain pretrain-report clean distclean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## create the virtual environment and install the project with its tested versions

test: $(STAMP) ## run the tests, without the slow ones (WORKERS=2 processes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

test-all: lint ## lint, then run every test, the slow ones too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "" -n $(WORKERS) --dist loadfile

lint: $(STAMP) ## check style, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy motion_ablation

docs: $(STAMP) ## write the tables of docs/axes anew, from docstrings
	$(BIN)/python docs/tables.py

ablate-all: $(STAMP) ## run the two studies and write their table to results/
	$(BIN)/motion-ablation run experiments/studies/integration.yaml experiments/studies/mqk_spatial.yaml --seeds 0 --shown builtin:bikes --output results

benchmark: $(STAMP) ## measure speed and memory as ratios, on an idle machine, into results/speed.md (BENCHMARK="--only a b e")
	$(BIN)/python -m benchmarks.speed $(BENCHMARK)

tensorboard: $(STAMP) ## compare the runs in a browser (LOGDIR=results PORT=6006)
	$(BIN)/tensorboard --logdir $(LOGDIR) --port $(PORT)

pretrain: $(STAMP) ## train the built-in backbone; hours, and goes on where it stopped
	$(BIN)/lightning fit --config experiments/pretrain/vae.yaml --ckpt_path last
	$(BIN)/lightning fit --config experiments/pretrain/clip.yaml --ckpt_path last
	$(BIN)/lightning fit --config experiments/pretrain/text_to_video.yaml --ckpt_path last
	$(BIN)/motion-ablation pretrain-report

pretrain-report: $(STAMP) ## measure the built-in backbone
	$(BIN)/motion-ablation pretrain-report

clean: ## remove caches and runs; keeps results/ and the checkpoints in runs/pretrain/
	rm -rf $(CACHES)
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +
	if [ -d runs ]; then find runs -mindepth 1 -maxdepth 1 ! -name pretrain -exec rm -rf {} +; fi
	@echo "Kept: results/, runs/pretrain/ and $(VENV)/ (make distclean removes $(VENV)/)."

distclean: clean ## clean, and remove the virtual environment
	rm -rf $(VENV)

# The virtual environment is made once; the installation is renewed when a dependency changes.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "'$(PYTHON)' is not on the path; Python 3.11 or newer is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, '$(PYTHON)' is $$($(PYTHON) -V 2>&1); name another: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "'$(PYTHON)' cannot make virtual environments; on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV); the first time takes some minutes and several GB ..."
	$(BIN)/python -m pip install $(PIP_FLAGS) -e '.[dev,examples]' -c constraints.txt
	@touch $@
