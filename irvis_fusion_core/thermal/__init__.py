"""Raw thermal frames to 8-bit images."""

from __future__ import annotations

from irvis_fusion_core.thermal.methods import METHODS, ThermalOptions
from irvis_fusion_core.thermal.rescale import ThermalRescale

__all__ = ["METHODS", "ThermalOptions", "ThermalRescale"]
