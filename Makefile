# make demo   fuse something real or drawn, and look at out/demo/
# make test   everything that has to hold before a change goes in
#
# Both make .venv when it is missing, and renew it when setup.py changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_ARGUMENTS ?=
PYTEST_ARGUMENTS ?=

.PHONY: demo test check clean

# With a ROS installation sourced, its rclpy is used (through PYTHONPATH); else the wheels.
demo: $(VENV)/demo.stamp
	$(BIN)/irvis_fusion demo --output out/demo $(DEMO_ARGUMENTS)

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest $(PYTEST_ARGUMENTS)

# The part of `make test` that takes seconds: format, lint, types, Python 3.8.
check: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -q test/test_code_style.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

$(VENV)/dev.stamp: setup.py | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build out .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
