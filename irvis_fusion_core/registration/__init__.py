"""Thermal images onto the visible camera's pixel grid: see `modes.make_registration`."""

from __future__ import annotations

from irvis_fusion_core.registration.modes import (
    MODES,
    CalibratedRegistration,
    HomographyRegistration,
    NoRegistration,
    ResizeRegistration,
    fill_uncovered,
    make_registration,
)

__all__ = [
    "MODES",
    "CalibratedRegistration",
    "HomographyRegistration",
    "NoRegistration",
    "ResizeRegistration",
    "fill_uncovered",
    "make_registration",
]
