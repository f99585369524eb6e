"""Every exception the core raises, so that a caller can tell them apart.

Each message says what was expected, what was found, and what to do about it.
"""

from __future__ import annotations


class FusionError(Exception):
    """The root of all errors raised by `irvis_fusion_core`."""


class FrameError(FusionError, ValueError):
    """A frame has the wrong dtype, rank, channel count, size, or values."""


class ModelError(FusionError):
    """A model file is missing, truncated, or not one of ours."""


class CheckpointError(ModelError):
    """A checkpoint does not fit the student it is loaded into."""


class EngineUnavailableError(FusionError):
    """An inference engine is not installed, or cannot run on this machine."""


class EngineError(FusionError):
    """An engine was there but failed to build, load, or run the model."""


class CalibrationError(FusionError):
    """Calibration data (for INT8, or for cameras) is missing or unusable."""


class ConfigurationError(FusionError, ValueError):
    """An option has a value that it cannot have."""
