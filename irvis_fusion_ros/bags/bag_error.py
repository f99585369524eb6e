"""What goes wrong with bags."""

from __future__ import annotations

from irvis_fusion_core.errors import FusionError


class BagError(FusionError):
    """A bag cannot be read or written, or does not hold what is looked for."""


class BagReaderUnavailableError(BagError):
    """Neither `rosbags` nor `rosbag2_py` is installed."""
