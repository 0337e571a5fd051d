# The commands of Glasspile; README.md explains them. Every target sets up what it needs.
PYTHON ?= python3
SOURCE ?= sample
OUT ?= runs/$(SOURCE)
RAY ?= local
MODEL ?= tiny

PY := .venv/bin/python
RUN_FLAGS := --out "$(OUT)" $(if $(IN),--in "$(IN)") $(if $(CRAWL),--crawl $(CRAWL)) $(if $(LIMIT),--limit $(LIMIT)) $(FLAGS)

# `make train` has a folder of its own unless OUT is given.
RUN := $(if $(filter-out file,$(origin OUT)),$(OUT),runs/$(MODEL))

.PHONY: help setup setup-test setup-train corpus plan inspect train test lint soak bench bench-setup

help:
	@echo "make corpus [SOURCE=sample|cc|warc|jsonl|parquet] [IN=path] [OUT=runs/SOURCE] [RAY=local|auto|off]"
	@echo "make plan | inspect   the same variables: forecast, funnel"
	@echo "make train [MODEL=tiny] [CORPUS=root] [OUT=runs/MODEL] [TORCH=cpu|cuda]"
	@echo "make setup | test | lint | soak | bench-setup | bench"

setup:
	@$(PYTHON) pipeline/bootstrap.py

corpus: setup
	@$(PY) -m pipeline run $(SOURCE) --ray "$(RAY)" $(RUN_FLAGS)
	@$(PY) -m manifests funnel "$(OUT)"

plan: setup
	@$(PY) -m pipeline plan $(SOURCE) $(RUN_FLAGS)

inspect: setup
	@$(PY) -m manifests funnel "$(OUT)"

setup-train:
	@TORCH="$(TORCH)" $(PYTHON) pipeline/bootstrap.py --extra train

train: setup-train
	@[ "$(MODEL)$(CORPUS)" != tiny ] || [ -e runs/sample/manifests/tokens.parquet ] || $(MAKE) corpus SOURCE=sample IN= OUT=runs/sample
	@$(PY) -m training.fsdp $(MODEL) run="$(RUN)" $(if $(CORPUS),corpus="$(CORPUS)") $(FLAGS)
	@$(PY) -m training.plot "$(RUN)"
	@rm -rf "$(RUN)/export"
	@$(PY) -m training.export "$(RUN)" "$(RUN)/export"
	@$(PY) -m training.export generate "$(RUN)/export" "The history of the town"
	@$(PY) -m training.export generate "$(RUN)/export" "这座城市的历史"

setup-test:
	@$(PYTHON) pipeline/bootstrap.py --extra test

test: setup-test
	@$(PY) -m pytest tests -m "not soak"

soak: setup-test setup-train
	@$(PY) -m pytest tests -m soak

lint: setup-test
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

bench-setup: setup-test
	@$(PY) -m benchmarks.peers

bench: setup-test
	@for bench in engine filters language lists minhash order dedup_quality dedup_scale tokenize peer_end_to_end gpu_ratio; do echo "== $$bench"; $(PY) -m benchmarks.$$bench || missed=1; done; exit $${missed:-0}
