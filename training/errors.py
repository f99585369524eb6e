"""The errors of training; each message says what was expected, found, and what to do."""

from __future__ import annotations

from irvis_fusion_core.errors import FusionError


class TrainingError(FusionError):
    """The root of the errors of `training`, in addition to the core's own."""


class DataError(TrainingError, ValueError):
    """Images are missing, unreadable, unmatched or of unequal size."""


class SizeError(DataError):
    """Images that belong together have different sizes."""


class TeacherMemoryError(TrainingError):
    """A teacher ran out of memory; the message says which batch or size to try."""


class LossError(TrainingError, FloatingPointError):
    """A loss or a gradient is not finite."""


class StorageError(TrainingError, OSError):
    """A file could not be written: disk full, or not writable."""
