"""Fuses one pair, from message to message. The node and the bag tools use it.

It belongs to one engine and to the thread that opened it. A thermal frame that serves several
visible ones is prepared once. So limits that are smoothed over time depend on the frames that came
and not on the speed of the engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import cv2
import numpy as np

from irvis_fusion_core.flicker_limiter import FlickerLimiter
from irvis_fusion_core.fusion import RealtimeFusion
from irvis_fusion_core.protocols import (
    Engine,
    OnlineAligner,
    Refiner,
    Registration,
    ThermalStage,
)
from irvis_fusion_core.registration import fill_uncovered
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.frames import IrFrame, VisFrame

LARGEST_SKEW_S = 0.05
"""Images further apart in time differ by what moved, and say nothing about the cameras."""

WARM_SIZES_KEPT = 4


@dataclass(eq=False)
class ThermalOnce:
    """Rescales each thermal frame once: a method that smooths over time counts its calls.

    One thread uses it. A jump of the stamps needs no call: the methods notice it themselves.
    """

    rescale: ThermalStage
    _newest: tuple[int, np.ndarray] | None = None

    def __call__(self, frame: IrFrame) -> np.ndarray:
        """Return the frame in 8 bits."""
        if self._newest is None or self._newest[0] != frame.number:
            grey = self.rescale(frame.pixels, frame.stamp_ns / NS_PER_S)
            self._newest = (frame.number, grey)
        return self._newest[1]

    def follow(self, frame: IrFrame) -> None:
        """Let the limits see a frame that is not fused, unless a newer one was rescaled."""
        if self._newest is None or frame.number > self._newest[0]:
            self(frame)


class Stages(NamedTuple):
    """What is in use now. Parts that did not change are shared with the stages before."""

    thermal: ThermalOnce  # raw thermal frame to 8 bits
    registration: Registration | None  # None: the visible image passes unchanged
    limiter: FlickerLimiter | None  # of flicker
    problem: str = ""  # why `registration` is not the one asked for; empty when it is

    # An isinstance with a protocol takes as long as all checks of a message.
    @property
    def refiner(self) -> Refiner | None:
        """The registration, where it refines each pair."""
        return cast(Refiner, self.registration) if hasattr(self.registration, "refine") else None

    @property
    def aligner(self) -> OnlineAligner | None:
        """The registration, where it takes pairs to correct itself."""
        registration = self.registration
        return cast(OnlineAligner, registration) if hasattr(registration, "offer") else None


class Timings(NamedTuple):
    """Milliseconds of one fusion. Not repeatable."""

    read_ms: float
    thermal_ms: float
    registration_ms: float
    engine_ms: float
    write_ms: float  # with the flicker limit


class Fused(NamedTuple):
    """A fused pair."""

    message: bytes  # what goes out, serialized
    image: np.ndarray  # uint8 HxWx3 in `order`; often a part of `message`, not to be written to
    vis: np.ndarray  # the visible image, uint8 HxWx3 in `order`
    order: str  # "rgb" or "bgr"
    ir8: np.ndarray  # uint8 HxW on the visible grid, as the engine got it
    # uint8 HxW, 0 where the thermal camera sees nothing (there `ir8` shows the visible image);
    # None where it sees everything.
    coverage: np.ndarray | None
    grey: np.ndarray  # the thermal frame in 8 bits on its own grid
    timings: Timings
    base_ir8: np.ndarray  # `ir8` before it was refined and filled
    # Displacements of a registration that refines, float32 2 x rows x columns.
    field: np.ndarray | None = None


def open_fusion(settings: Settings, progress: Callable[[str], None]) -> Engine:
    """Open the engine; it may build for minutes on its first run and reports to `progress`.

    Raises:
        FusionError: The engine or its model cannot be opened.
    """

    def given(value: str) -> str | None:
        return None if value in ("auto", "") else value

    engine = settings.engine
    return RealtimeFusion(
        model=engine.model,
        backend=engine.backend,
        thermal=None,  # `ThermalOnce` has rescaled the frames
        precision=given(engine.precision),
        device=given(engine.device),
        threads=engine.threads,
        cache_dir=given(engine.engine_cache_dir),
        progress=progress,
    )


@dataclass(eq=False)
class PairFuser:
    """Fuses one pair after the other with an engine that is open; `close` closes it.

    Attributes:
        warm_sizes: (height, width) of the frames that the engine is prepared for.
    """

    engine: Engine

    def __post_init__(self) -> None:
        self.warm_sizes: list[tuple[int, int]] = []
        # For which frame, visible size and stages; grey, warped, and its coverage.
        self._prepared: tuple[tuple, np.ndarray, np.ndarray, np.ndarray | None] | None = None

    def needs_warm_up(self, frame: VisFrame) -> bool:
        """Return whether the engine is still to be prepared for the size of a frame.

        Raises:
            ImageMessageError: The image cannot be read, so no engine is built for it.
        """
        if frame.size in self.warm_sizes:
            return False
        image_messages.visible_frame(frame.message, frame.pixels)
        return True

    def warm_up(self, size: tuple[int, int]) -> None:
        """Let the engine prepare for frames of (height, width); it may build for minutes."""
        # Noted first: a size that the engine refuses is refused at each frame, cheaply.
        self.warm_sizes = [*self.warm_sizes[1 - WARM_SIZES_KEPT :], size]
        self.engine.warm_up(*size)

    def fuse(self, frame: VisFrame, ir: IrFrame, stages: Stages) -> Fused | None:
        """Fuse a visible frame with a thermal one: read, rescale, register, fuse, limit, write.

        Returns:
            The fused pair, or None where there is no registration: then the visible image passes.

        Raises:
            FrameError, ConfigurationError, CalibrationError: The pair does not suit.
            EngineError: The engine failed.
        """
        if stages.registration is None:
            return None
        begin_ns = time.monotonic_ns()
        vis, order = image_messages.visible_frame(frame.message, frame.pixels)
        read_ms = (time.monotonic_ns() - begin_ns) / 1e6
        size, registration = (vis.shape[0], vis.shape[1]), stages.registration
        thermal_ms = registration_ms = 0.0
        # A slow thermal camera's frame serves several visible ones and is prepared once.
        if self._prepared is None or self._prepared[0] != (ir.number, size, stages):
            start_ns = time.monotonic_ns()
            grey = stages.thermal(ir)
            thermal_ns = time.monotonic_ns()
            warped = registration.warp(grey, size)
            self._prepared = ((ir.number, size, stages), grey, *warped)
            thermal_ms = (thermal_ns - start_ns) / 1e6
            registration_ms = (time.monotonic_ns() - thermal_ns) / 1e6
        _, grey, base_ir8, coverage = self._prepared
        ir8 = base_ir8
        refiner = stages.refiner
        if coverage is not None or refiner is not None:
            code = cv2.COLOR_RGB2GRAY if order == "rgb" else cv2.COLOR_BGR2GRAY
            grey_vis = cv2.cvtColor(vis, code)
        start_ns = time.monotonic_ns()
        if refiner is not None:
            ir8, coverage = refiner.refine(ir8, coverage, grey_vis, frame.stamp_ns / NS_PER_S)
            registration_ms += (time.monotonic_ns() - start_ns) / 1e6
        if coverage is not None:
            ir8 = fill_uncovered(ir8, grey_vis, coverage)
        room_ns = time.monotonic_ns()
        outgoing = image_messages.fused_in_place(frame.message, vis.shape, order)
        out = None if outgoing is None else outgoing.pixels
        start_ns = time.monotonic_ns()
        image = self.engine.fuse_frame(ir8, vis, order=order, out=out)
        engine_ns = time.monotonic_ns()
        if stages.limiter is not None:
            stages.limiter.limit(image, ir8, vis, frame.stamp_ns / NS_PER_S, order)
        if coverage is not None:  # beyond the thermal image the visible one stands exactly
            cv2.copyTo(vis, cv2.compare(coverage, 0, cv2.CMP_EQ), image)
        if outgoing is None or image is not out:
            message = image_messages.fused_bytes(image, frame.message, order)
        else:
            del image, out  # now nobody can write to the message any more
            message, image = outgoing.finish()
        engine_ms = (engine_ns - start_ns) / 1e6
        write_ms = (time.monotonic_ns() - room_ns) / 1e6 - engine_ms
        timings = Timings(read_ms, thermal_ms, registration_ms, engine_ms, write_ms)
        field = None if refiner is None else refiner.field
        return Fused(message, image, vis, order, ir8, coverage, grey, timings, base_ir8, field)

    def describe(self) -> dict[str, Any]:
        """Return what runs, as the engine describes it."""
        return self.engine.describe()

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


def offer_pair(
    stages: Stages, fused: Fused, skew_s: float | None, now_s: float | None = None
) -> None:
    """Offer a pair fused by `stages` to online alignment, unless its stamps lie too far apart.

    `now_s` is the time of the pair; None reads the clock.
    """
    aligner = stages.aligner
    if aligner is not None and abs(skew_s or 0.0) <= LARGEST_SKEW_S:
        aligner.offer(fused.grey, fused.vis, now_s)
