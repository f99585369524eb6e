"""The parts that fuse a pair, as their users see them.

    grey = thermal(raw, stamp_s)                     # raw frame -> uint8 HxW
    ir, coverage = registration.warp(grey, size)     # -> uint8 of the visible size
    fused = engine.fuse_frame(ir, vis, order="rgb")  # -> uint8 HxWx3

Classes need not inherit from these protocols.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np


class Engine(Protocol):
    """Fuses pairs of equal size as `irvis_fusion_core.RealtimeFusion`, whose methods it has."""

    def fuse_frame(
        self,
        ir_frame: np.ndarray,
        vis_frame: np.ndarray,
        /,
        order: str = "rgb",
        *,
        out: np.ndarray | None = None,
    ) -> np.ndarray: ...

    def warm_up(self, height: int, width: int, /) -> None: ...

    def describe(self) -> dict[str, Any]: ...

    def close(self) -> None: ...


class ThermalStage(Protocol):
    """Turns raw thermal frames into 8-bit images; may remember earlier frames."""

    def __call__(self, raw: np.ndarray, stamp_s: float | None = None, /) -> np.ndarray:
        """Return raw (uint8, uint16 or float32) [height, width] as uint8, owned by the caller.

        The stamp is in seconds, and None where it is unknown.
        """
        ...

    def reset(self) -> None: ...


class Registration(Protocol):
    """Maps thermal images to the visible camera's pixel grid."""

    mode: str

    def warp(
        self, ir: np.ndarray, vis_size: tuple[int, int], /
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Map one uint8 [height, width] image to `vis_size`, (height, width).

        Returns:
            The image, uint8 of `vis_size`, and its coverage, uint8 of `vis_size` (255: thermal
            data, 0: none) or None where the whole image is covered. Do not write to the coverage.
        """
        ...

    def describe(self) -> dict[str, Any]: ...


@runtime_checkable
class Refiner(Registration, Protocol):
    """A registration that looks at each pair after `warp`, and displaces what is left."""

    field: np.ndarray | None
    """The last displacements, float32 2 x rows x columns (x, y in pixels); None before a pair."""

    def refine(
        self, ir: np.ndarray, coverage: np.ndarray | None, vis: np.ndarray, now_s: float, /
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the result of `warp` as it fits the visible luminance, uint8 of its size.

        Args:
            now_s: stamp of the visible frame, seconds.
        """
        ...


@runtime_checkable
class OnlineAligner(Registration, Protocol):
    """A registration that corrects itself from the pairs it is offered."""

    def offer(self, ir: np.ndarray, vis: np.ndarray, now_s: float | None = None, /) -> bool:
        """Offer a pair of one moment; return whether it was taken.

        Args:
            ir: uint8 [height, width] before `warp`; must not change afterwards.
            vis: uint8 [height, width(, 3)]; must not change afterwards.
            now_s: monotonic time, seconds; None reads the clock.
        """
        ...
