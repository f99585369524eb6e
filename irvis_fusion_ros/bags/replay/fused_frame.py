"""One visible frame of a bag and what became of it."""

from __future__ import annotations

import cv2
import numpy as np

from irvis_fusion_ros.bags.bag import BagMessage
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.messages.serialized_image import SerializedImage
from irvis_fusion_ros.pipeline.frame_decision import Decision
from irvis_fusion_ros.pipeline.frames import PASSED, VisFrame


class FusedFrame:
    """One visible frame and what became of it; `OfflineFusion` fills it in.

    Frames come in the order of `index`, the number of the visible message in the bag, from 0.

    Attributes:
        outcome, reason, skew_s, ir_health: Those of the `Decision`, unless the pair did not suit.
        recorded_ns: When the visible message was recorded.
        ir_stamp_ns: Stamp of the thermal frame fused into it; None unless FUSED.
        frame: The visible frame as the pipeline read it; `source` is its message as recorded.
        message: What the node publishes on fused/image_raw; None when DROPPED.
        ir: uint8 HxW, rescaled and on the visible grid, as the engine got it; None unless FUSED.
        coverage: uint8 HxW, 0 where the thermal camera sees nothing (there `ir` shows the visible
            image); None where it sees everything, and unless FUSED.
        base_ir: `ir` before it was refined (`protocols.Refiner`) and filled; None unless FUSED.
        field: Its displacements; None in other modes, and unless FUSED.
        engine_ms: Time of the engine for this frame; None unless FUSED. Not repeatable.
        counts: Outcomes and drops up to and including this frame, by cause: "fused",
            "passed: <reason>", "dropped: <reason>", "ir_dropped.superseded", ...
    """

    def __init__(self, frame: VisFrame, decision: Decision, source: BagMessage) -> None:
        self.index = frame.number
        self.outcome = decision.action
        self.reason = decision.reason
        self.recorded_ns = source.recorded_ns
        self.vis_stamp_ns = decision.stamp_ns
        self.ir_stamp_ns = None if decision.ir is None else decision.ir.stamp_ns
        self.skew_s = decision.skew_s
        self.ir_health = decision.health
        self.frame = frame
        self.source = source
        self.message: SerializedImage | None = None
        self.ir: np.ndarray | None = None
        self.coverage: np.ndarray | None = None
        self.base_ir: np.ndarray | None = None
        self.field: np.ndarray | None = None
        self.engine_ms: float | None = None
        self.counts: dict[str, int] = {}
        self._images: dict[str, tuple[np.ndarray, str]] = {}

    @property
    def vis(self) -> np.ndarray | None:
        """The visible image, uint8 HxWx3 RGB; None where it cannot be decoded."""
        if "vis" not in self._images:
            try:
                decoded = image_messages.visible_frame(self.frame.message, self.frame.pixels)
            except image_messages.ImageMessageError:
                return None
            self.keep("vis", *decoded)
        return self._as_rgb("vis")

    @property
    def fused(self) -> np.ndarray | None:
        """What goes out, uint8 HxWx3 RGB: `vis` when PASSED, None when DROPPED."""
        if self.outcome == PASSED:
            return self.vis
        return self._as_rgb("fused") if "fused" in self._images else None

    def keep(self, name: str, pixels: np.ndarray, order: str) -> None:
        """Remember the image "vis" or "fused" in the order it has."""
        self._images[name] = (pixels, order)

    def pass_on(self, reason: str) -> None:
        """The pair did not suit: the visible image passes."""
        self.outcome, self.reason = PASSED, reason
        self.ir_stamp_ns = self.ir = self.coverage = self.engine_ms = None
        self.base_ir = self.field = None
        self._images.pop("fused", None)

    def _as_rgb(self, name: str) -> np.ndarray:
        pixels, order = self._images[name]
        if order == "bgr":
            pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_BGR2RGB)
            self._images[name] = (pixels, "rgb")
        return np.ascontiguousarray(pixels)
