"""Follows parallax: a field of displacements on top of a registration, frame by frame.

    registration = LearnedRegistration(make_registration("homography", homography=h))
    ir, coverage = registration.warp(grey, vis.shape[:2])
    ir, coverage = registration.refine(ir, coverage, luminance, stamp_s)

A homography holds at one depth. The network finds what is left of the parallax at every other one.
Where it is not confident, where it finds nothing, and where edges would not agree better, the base
stays as it is.
"""

from __future__ import annotations

import threading
from typing import Any

import cv2
import numpy as np

from irvis_fusion_core import model_zoo
from irvis_fusion_core.errors import ConfigurationError, FusionError
from irvis_fusion_core.protocols import OnlineAligner, Registration
from irvis_fusion_core.registration.camera_geometry import Size
from irvis_fusion_core.registration.learned.field_filter import EdgeCheck, FieldFilter
from irvis_fusion_core.registration.learned.field_network import FieldNetwork

# Displacements that change nothing, pixels.
_NOTHING_PX = 0.1
# Coverage from which a cell's thermal pixels are its own and no repeated border.
_COVERED = 250


class LearnedRegistration:
    """Corrects a registration by the learned field. Use it from one thread, `describe` from any.

    Args:
        base: The registration that is corrected, and that is used where nothing is known.
        model: The ONNX file of the network; empty takes the shipped one.
        smoothing_s: Time constant of the field, seconds; 0 takes every frame alone.
        min_shift_px: Displacements below this over a wide area, in visible pixels, are left alone.
        threads: CPU threads of the network; 0 leaves the number to the engine.
        in_background: Compile the network on a thread, and use the base until then. False is for
            tools that process files, which give the same images each time.

    Raises:
        ConfigurationError: An option has an impossible value.
        ModelError: The network's file cannot be used.
        EngineUnavailableError: No engine that runs the network is installed.
    """

    mode = "learned"

    def __init__(
        self,
        base: Registration,
        model: str = "",
        smoothing_s: float = 0.1,
        min_shift_px: float = 1.0,
        threads: int = 0,
        in_background: bool = True,
    ) -> None:
        if not (smoothing_s >= 0.0 and min_shift_px >= 0.0):
            raise ConfigurationError(
                "learned registration needs smoothing_s and min_shift_px of at least 0, found "
                f"{smoothing_s} and {min_shift_px}"
            )
        self.base = base
        self.network = FieldNetwork(model or model_zoo.registration_path(), threads)
        self._filter = FieldFilter(smoothing_s, min_shift_px)
        self._check = EdgeCheck(remembers=smoothing_s > 0.0)
        self._failure = ""
        self._in_background = in_background
        self._compiling: threading.Thread | None = None
        self._refused: Size | None = None  # a size for which the network cannot be compiled
        self.field: np.ndarray | None = None
        """The field of the last `refine`, float32 2 x rows x columns, pixels; None before it."""
        self.confidence = np.zeros((0, 0), np.float32)
        """Of the network in the last `refine`, float32 rows x columns, 0..1."""

    def warp(self, ir: np.ndarray, vis_size: Size) -> tuple[np.ndarray, np.ndarray | None]:
        """Warp as the base does; raises as the base."""
        return self.base.warp(ir, vis_size)

    def refine(
        self, ir: np.ndarray, coverage: np.ndarray | None, vis: np.ndarray, now_s: float
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Displace what `warp` gave so that it fits the visible luminance, uint8 HxW.

        Args:
            now_s: Stamp of the visible frame, seconds.

        Returns:
            The image and its coverage: those given, where nothing moves or the network fails.
        """
        if not self._is_ready(ir.shape):
            return ir, coverage
        try:
            found = self.network.field(ir, vis)
        except FusionError as error:
            self._failure = str(error)
            return ir, coverage
        self._failure = ""
        if coverage is not None:
            seen = cv2.resize(coverage, found.shape[:0:-1], interpolation=cv2.INTER_AREA)
            found[2][seen < _COVERED] = 0.0
        self.field, self.confidence = self._filter.add(found, now_s), found[2]
        if float(np.abs(self.field).max()) < _NOTHING_PX:
            return ir, coverage
        maps = pixel_maps(self.field, ir.shape)
        moved = cv2.remap(ir, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if not self._check(ir, moved, vis, coverage):
            self.field = np.zeros_like(self.field)
            return ir, coverage
        if coverage is not None:
            coverage = cv2.remap(
                coverage, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        return moved, coverage

    def _is_ready(self, size: Size) -> bool:
        """Return whether the network may run; start to compile it where it is not compiled."""
        if self._refused == size:
            return False
        if self.network.is_ready(size) or not self._in_background:
            return True
        if self._compiling is None or not self._compiling.is_alive():
            self._compiling = threading.Thread(target=self._compile, args=(size,), daemon=True)
            self._compiling.start()
        return False

    def _compile(self, size: Size) -> None:
        try:
            self.network.prepare(size)
        except Exception as error:  # noqa: BLE001 - else each frame would start another thread
            self._failure, self._refused = f"{type(error).__name__}: {error}", size

    def offer(self, ir: np.ndarray, vis: np.ndarray, now_s: float | None = None) -> bool:
        """Offer a pair to the base; False where it does not align itself."""
        return isinstance(self.base, OnlineAligner) and self.base.offer(ir, vis, now_s)

    def describe(self) -> dict[str, Any]:
        """Return the base's description and what the last field says."""
        found = self._filter.report
        text = {
            "displacement_median_px": f"{found.median_px:.1f}",
            "displacement_p95_px": f"{found.p95_px:.1f}",
            "confident_cells": f"{found.confident:.2f}",
            "edge_gain": f"{self._check.gain:.3f}",
            "field_engine": self.network.engine,
        }
        if self._failure:
            text["failure"] = self._failure
        return {**self.base.describe(), "base": self.base.mode, "mode": self.mode, **text}


def pixel_maps(field: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return the fixed-point maps of `cv2.remap` for a field of cells, interpolated between."""
    height, width = size
    dense = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in field]
    dense[0] += np.arange(width, dtype=np.float32)
    dense[1] += np.arange(height, dtype=np.float32)[:, None]
    return cv2.convertMaps(dense[0], dense[1], cv2.CV_16SC2)
