"""Proves the GPU paths on a machine that has one: `make gpu-check`."""
