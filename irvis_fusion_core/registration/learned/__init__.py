"""A dense displacement field from a small network, on top of any registration."""

from __future__ import annotations
