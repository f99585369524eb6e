"""Raw thermal frames to 8-bit images."""

from irvis_fusion_core.thermal.rescale import METHODS, ThermalRescale

__all__ = ["METHODS", "ThermalRescale"]
