# make demo   fuse something real or drawn, and look at out/demo/
# make test   everything that has to hold before a change goes in
# make docs   the documentation site, in out/site/
#
# make faults       let the node suffer every fault of test/faults, table in docs/reliability.md
# make fuzz         let atheris look for bytes that break a reader, FUZZ_SECONDS for each; out/fuzz/
# make gpu-check    prove the GPU paths on a machine with an NVIDIA GPU, report in out/gpu/
# make gpu-wheels   collect the packages that it needs, for a machine without internet
#
# All three make .venv when it is missing, and renew it when pyproject.toml or setup.py change.

PYTHON ?= python3
# A sourced ROS installation is used as it is: its messages are built for NumPy 1 and lie outside
# the environment; what needs torch or checks the style is skipped. Without one, the ROS wheels come
# with the rest.
ifdef ROS_DISTRO
VENV := .venv-$(ROS_DISTRO)
VENV_OPTIONS := --system-site-packages
DEMO_PACKAGES := --editable '.[openvino,bag]' pillow 'numpy<2' 'opencv-python-headless<5'
TEST_PACKAGES := --editable '.[test]' 'numpy<2' 'opencv-python-headless<5'
else
VENV := .venv
VENV_OPTIONS :=
DEMO_PACKAGES := --editable '.[demo]'
TEST_PACKAGES := --editable '.[dev]'
endif
BIN := $(VENV)/bin
DEMO_ARGUMENTS ?=
PYTEST_ARGUMENTS ?=
FUZZ_SECONDS ?= 600
FUZZ_ARGUMENTS ?=
GPU_CHECK_ARGUMENTS ?=
GPU_WHEELS_ARGUMENTS ?=

.PHONY: demo test test-node test-core test-ros test-other test-training check docs faults fuzz gpu-check gpu-wheels clean

demo: $(VENV)/demo.stamp
	$(BIN)/irvis_fusion demo --output out/demo $(DEMO_ARGUMENTS)

# Parts in processes of their own: Fast DDS and the inference engines have crashed in one. Two at a
# time, the longest first; the output of each comes when it ends. Status 5: -k or -m chose none.
TEST_JOBS ?= 2
NODE_TESTS := test/irvis_fusion_ros/node test/faults test/benchmarks/test_frame_path.py
CORE_TESTS := test/irvis_fusion_core test/cases
OTHER_TESTS := test $(addprefix --ignore=,$(NODE_TESTS) $(CORE_TESTS) test/irvis_fusion_ros test/training)
PYTEST = $(BIN)/python -m pytest $(PYTEST_ARGUMENTS)

test: $(VENV)/dev.stamp
	$(MAKE) --jobs=$(TEST_JOBS) --keep-going --output-sync=target test-node test-core test-ros test-other test-training

test-node:
	$(PYTEST) $(NODE_TESTS) || [ $$? -eq 5 ]
test-core:
	$(PYTEST) $(CORE_TESTS) || [ $$? -eq 5 ]
test-ros:
	$(PYTEST) test/irvis_fusion_ros --ignore=test/irvis_fusion_ros/node || [ $$? -eq 5 ]
test-other:
	$(PYTEST) $(OTHER_TESTS) || [ $$? -eq 5 ]
test-training:
	$(PYTEST) test/training || [ $$? -eq 5 ]

# The part of `make test` that takes seconds: format, lint, types, Python 3.8.
check: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -q test/test_code_style.py

# Warnings are errors. NO_MKDOCS_2_WARNING silences an advertisement, not a check.
docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open out/site/index.html, or, for the search: python3 -m http.server -d out/site"

# About a quarter of an hour. The table is written where all went well.
faults: $(VENV)/dev.stamp
	mkdir -p out
	FAULTS_OUTCOMES=out/faults.json $(BIN)/python -m pytest -m faults test/faults $(PYTEST_ARGUMENTS)
	$(BIN)/python test/faults/outcomes.py out/faults.json docs/reliability.md

# FUZZ_ARGUMENTS='"MCAP files" "models"' for some of the readers.
fuzz: $(VENV)/fuzz.stamp
	OMP_NUM_THREADS=1 $(BIN)/python test/fuzz/run.py --seconds $(FUZZ_SECONDS) \
		--page docs/reliability.md $(FUZZ_ARGUMENTS)

# With the python that has torch for CUDA or TensorRT; gpu_wheels/, where it is there, is installed
# into an environment on top of it, without internet.
gpu-check:
ifneq ($(wildcard gpu_wheels),)
	$(PYTHON) -m benchmarks.gpu_check.wheels join gpu_wheels
	$(PYTHON) -m venv --system-site-packages .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet --no-index --no-deps gpu_wheels/*.whl
	.venv-gpu/bin/python -m benchmarks.gpu_check $(GPU_CHECK_ARGUMENTS)
else
	$(PYTHON) -m benchmarks.gpu_check $(GPU_CHECK_ARGUMENTS)
endif

# GPU_WHEELS_ARGUMENTS="--python-version 3.12" for another Python than this one.
gpu-wheels:
	$(PYTHON) -m benchmarks.gpu_check.wheels collect gpu_wheels $(GPU_WHEELS_ARGUMENTS)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV_OPTIONS) $(VENV)

$(VENV)/demo.stamp: pyproject.toml setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet $(DEMO_PACKAGES)
	touch $@

$(VENV)/dev.stamp: pyproject.toml setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet $(TEST_PACKAGES)
	touch $@

$(VENV)/fuzz.stamp: pyproject.toml setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	touch $@

$(VENV)/docs.stamp: pyproject.toml setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv .venv-* build out .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
