"""The core's parts that stand before and in the engine's place, built from the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Stages(NamedTuple):
    """`thermal(raw, stamp_s) -> grey HxW`; `registration.warp(grey, size) -> (ir, coverage)`."""

    thermal: Any
    registration: Any


def section(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the settings below `prefix` without it: the keyword arguments of a part."""
    return {
        name[len(prefix) + 1 :]: value
        for name, value in settings.items()
        if name.startswith(prefix + ".")
    }


def make_stages(settings: Mapping[str, Any]) -> Stages:
    """Build thermal rescaling and registration; raises ConfigurationError where they refuse."""
    from irvis_fusion_core.registration import make_registration
    from irvis_fusion_core.thermal import ThermalRescale

    thermal = section(settings, "thermal")
    if thermal["method"] != "window":
        thermal["window_low"] = thermal["window_high"] = None
    thermal["saturated"] = thermal["saturated"] or None
    registration = section(settings, "registration")
    for name in ("calibrated_ir_size", "calibrated_vis_size"):
        size = registration[name]
        registration[name] = tuple(size) if all(size) else None
    return Stages(ThermalRescale(**thermal), make_registration(**registration))


def open_fusion(settings: Mapping[str, Any], progress: Callable[[str], None]) -> Any:
    """Open the engine that the parameters name; may build for minutes on its first run."""
    from irvis_fusion_core.fusion import RealtimeFusion

    def given(name: str) -> Any:
        return None if settings[name] in ("auto", "") else settings[name]

    return RealtimeFusion(
        model=settings["model"],
        backend=settings["backend"],
        precision=given("precision"),
        device=given("device"),
        threads=settings["threads"],
        cache_dir=given("engine_cache_dir"),
        progress=progress,
    )
