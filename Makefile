# Three commands matter: `make chat`, `make test` and `make eval`; `make voice` and `make finetune` add to the first. Everything is set up in .venv and may be interrupted and started again.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
.PHONY: chat voice finetune test eval lint setup clean

PYTHON ?= python3
# Where to look first for torch without CUDA, which is ten times smaller; `make chat TORCH_INDEX=` skips it.
TORCH_INDEX ?= $(shell command -v nvidia-smi >/dev/null || echo https://download.pytorch.org/whl/cpu)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
LECTERN := $(BIN)/lectern
LOG := $(VENV)/setup.log
# A process for each core, and the tests of one file in one of them: their fixtures are dear.
PARALLEL := -n logical --maxprocesses 8 --dist loadfile
export PYTHONWARNINGS := ignore::DeprecationWarning

# What the Python bindings of llama.cpp do not load is not built; GGML_NATIVE keeps every instruction that this processor has.
LLAMA_FLAGS := -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF \
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_ALL_WARNINGS=OFF -DGGML_ALL_WARNINGS=OFF \
  -DGGML_NATIVE=ON -DCMAKE_PROJECT_llama.cpp_INCLUDE=$(CURDIR)/assistant/llm/build.cmake

begin = printf '\n\033[1m== %s\033[0m\n' "$(1)"; SECONDS=0
end = printf '   done in %d s\n' $$SECONDS
# Other systems than Linux have voices of their own.
espeak_or_else = [ "$$(uname)" != Linux ] || PATH="$$PATH:/sbin" ldconfig -p | grep -q libespeak-ng || .ci/system-package libespeak-ng1 "espeak-ng" ||
run_or_show_log = >>$(LOG) 2>&1 || { tail -n 30 $(LOG); echo "   That failed; the whole story is in $(LOG)."; exit 1; }

chat: $(VENV)/.base
	@$(call begin,Models: about 1.2 GB the first time)
	$(LECTERN) models pull
	$(call end)
	sources="$$($(LECTERN) sources list --json)"
	if [ ! -e $(VENV)/.starter ] || [ "$$sources" = "[]" ]; then
	  $(call begin,Index of the starter course: about a minute the first time)
	  $(LECTERN) ingest --starter
	  touch $(VENV)/.starter
	  $(call end)
	fi
	$(call begin,The page: Ctrl-C ends it)
	$(LECTERN) serve --open

voice: $(VENV)/.base
	@$(call begin,Talking with the course: packages and models of about 0.3 GB the first time)
	$(espeak_or_else) echo "   It can hear, but not speak."
	$(PIP) install -c constraints.txt -e '.[voice]' $(run_or_show_log)
	$(LECTERN) models pull faster-whisper-base
	$(call end)
	echo "   Now: make chat, and press the microphone; or $(LECTERN) voice"

finetune: $(VENV)/.base
	@$(call begin,Training: packages and models of about 0.7 GB the first time)
	$(PIP) install -c constraints.txt -e '.[finetune]' $(run_or_show_log)
	$(LECTERN) models pull qwen2.5-coder-0.5b-instruct-q4_k_m smollm2-135m-instruct
	$(call end)
	echo "   Now: $(LECTERN) finetune data; docs/finetuning.md tells the rest"

test: $(VENV)/.dev
	@$(call begin,Models for the tests: about 1.8 GB the first time)
	$(LECTERN) models pull
	$(LECTERN) models pull smollm2-135m-instruct qwen2.5-coder-0.5b-instruct-q4_k_m faster-whisper-base faster-whisper-tiny.en
	$(call end)
	$(call begin,Fast tests: about five minutes)
	$(BIN)/python -m pytest -q $(PARALLEL)
	$(call end)
	$(call begin,Code of the lessons: about two minutes)
	$(BIN)/python -m pytest -q -m lessons
	$(call end)
	$(call begin,Tests in a real browser: about eight minutes)
	$(BIN)/python -m pytest -q $(PARALLEL) -m 'browser and not model'
	$(call end)
	$(call begin,Tests with real weights: about a quarter of an hour)
	$(BIN)/python -m pytest -q -m 'model and not lessons'
	$(call end)

eval: setup
	@$(call begin,Evaluation: about ten minutes; its report is the last line)
	$(LECTERN) eval quick
	$(call end)

lint: $(VENV)/.dev
	@$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(VENV)/.base $(VENV)/.dev
	@$(LECTERN) models pull
	$(LECTERN) models pull smollm2-135m-instruct
	$(LECTERN) ingest --starter
	touch $(VENV)/.starter

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.created:
	@$(call begin,Virtual environment in $(VENV))
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "   Lectern needs Python 3.11 or newer: make chat PYTHON=python3.12"; exit 2; }
	command -v c++ >/dev/null || .ci/system-package g++ "a C++ compiler" || { echo "   Building llama.cpp needs it."; exit 2; }
	# Debian's python3 comes without ensurepip; its pip can install into another environment.
	$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { $(PYTHON) -m venv --clear --without-pip $(VENV); $(PYTHON) -m pip -q --python $(BIN)/python install pip; }
	touch $@
	$(call end)

$(VENV)/.llama: $(VENV)/.created assistant/llm/build.cmake constraints.txt
	@$(call begin,llama.cpp for this processor: about three minutes on two cores)
	CMAKE_ARGS="$(LLAMA_FLAGS)" CMAKE_BUILD_PARALLEL_LEVEL="$$(nproc)" $(PIP) install -v --no-deps --no-binary llama-cpp-python \
	  "$$(grep ^llama-cpp-python== constraints.txt)" 2>&1 | tee -a $(LOG) \
	  | { grep --line-buffered -oE '\[[0-9]+/[0-9]+\] ' || true; } | while read -r step; do printf '\r   compiling %s  ' "$$step"; done \
	  || { tail -n 30 $(LOG); echo "   That failed; the whole story is in $(LOG)."; exit 1; }
	echo
	touch $@
	$(call end)

$(VENV)/.torch: $(VENV)/.created constraints.txt
	@$(call begin,torch: 200 MB where the small build can be had)
	torch="$$(grep ^torch== constraints.txt)"
	if [ -z "$(TORCH_INDEX)" ] || ! $(PIP) install --retries 0 --timeout 3 --index-url "$(TORCH_INDEX)" "$$torch" >>$(LOG) 2>&1; then
	  $(PIP) install -c constraints.txt "$$torch" $(run_or_show_log)
	fi
	touch $@
	$(call end)

$(VENV)/.base: $(VENV)/.torch $(VENV)/.llama pyproject.toml constraints.txt
	@$(call begin,Python packages: about 150 MB, two minutes)
	$(PIP) install -c constraints.txt -e . $(run_or_show_log)
	touch $@
	$(call end)

$(VENV)/.dev: $(VENV)/.base
	@$(call begin,Packages for the tests)
	$(PIP) install -c constraints.txt -e '.[dev]' $(run_or_show_log)
	$(call end)
	$(call begin,Chromium for the browser tests)
	command -v chromium >/dev/null || .ci/system-package chromium "Chromium" || echo "   The browser tests will be skipped."
	$(espeak_or_else) echo "   The tests of its voice will be skipped."
	touch $@
	$(call end)
