"""Errors of teachers."""

from __future__ import annotations

from irvis_fusion_core.errors import FusionError


class TeacherError(FusionError):
    """A teacher could not do its work."""


class TeacherMemoryError(TeacherError):
    """Out of memory; the message says which batch or size to try."""
