"""Maps thermal images to the visible camera's pixel grid: see `modes.make_registration`."""

from __future__ import annotations

from irvis_fusion_core.registration.modes import (
    MODES,
    CalibratedRegistration,
    HomographyRegistration,
    ResizeRegistration,
    make_registration,
)
from irvis_fusion_core.registration.warp_maps import fill_uncovered

__all__ = ["MODES", "fill_uncovered", "make_registration"]
__all__ += ["CalibratedRegistration", "HomographyRegistration", "ResizeRegistration"]
