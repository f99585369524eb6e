"""The exceptions of the core. Messages say what was expected, what was found, and what to do."""

from __future__ import annotations

from collections.abc import Collection


class FusionError(Exception):
    """The root of all errors raised by `irvis_fusion_core`.

    Attributes:
        exit_status: Of a command that ends with it.
    """

    exit_status = 1


class FrameError(FusionError, ValueError):
    """A frame has the wrong dtype, rank, channel count, size, or values."""


class ImageFileError(FrameError):
    """An image file that is not decoded; `kind`, see `image_bytes.check`, is stable."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class ModelError(FusionError):
    """A model file is missing, truncated, or not an irvis_fusion model."""


class CheckpointError(ModelError):
    """A checkpoint does not fit the student it is loaded into."""


class EngineUnavailableError(FusionError):
    """An inference engine is not installed, or cannot run on this machine."""


class EngineError(FusionError):
    """An engine failed to build, load, or run the model."""


class CalibrationError(FusionError):
    """Calibration data (for INT8, or for cameras) is missing or unusable."""


class ConfigurationError(FusionError, ValueError):
    """An option has an impossible value."""


class FileContentError(FusionError, ValueError):
    """A file cannot be read, or is not the text, YAML or JSON that it should be."""


def expect_one_of(name: str, value: object, allowed: Collection[str]) -> None:
    """Raise ConfigurationError, which names the choices, for any other value."""
    if value not in allowed:
        expected = f"{name} to be one of {', '.join(allowed)}"
        raise ConfigurationError(f"expected {expected}, found {value!r}")
