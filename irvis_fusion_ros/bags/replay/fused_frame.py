"""One visible frame of a bag and what became of it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from irvis_fusion_core.frames import in_order
from irvis_fusion_ros.bags.bag import BagMessage
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.messages.serialized_image import SerializedImage
from irvis_fusion_ros.pipeline.frame_decision import Decision
from irvis_fusion_ros.pipeline.frames import PASSED, VisFrame
from irvis_fusion_ros.pipeline.pair_fuser import Fused


class FusedFrame:
    """One visible frame and what became of it; `OfflineFusion` fills it in.

    Frames come in the order of `index`, the number of the visible message in the bag, from 0.

    Attributes:
        outcome, reason, skew_s, ir_health: Those of the `Decision`, unless the pair did not suit.
        recorded_ns: When the visible message was recorded.
        ir_stamp_ns: Stamp of the thermal frame fused into it; None unless FUSED.
        frame: The visible frame as the pipeline read it; `source` is its message as recorded.
        message: What the node publishes on fused/image_raw; None when DROPPED.
        pair: The fused pair; None unless FUSED. Its timings are not repeatable.
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
        self.pair: Fused | None = None
        self.counts: dict[str, int] = {}

    @property
    def ir(self) -> np.ndarray | None:
        """The thermal image of the pair, `Fused.ir8`; None unless FUSED."""
        return None if self.pair is None else self.pair.ir8

    @cached_property
    def vis(self) -> np.ndarray | None:
        """The visible image, uint8 HxWx3 RGB; None where it cannot be decoded."""
        if self.pair is not None:
            return in_order(self.pair.vis, self.pair.order, "rgb")
        try:
            pixels = image_messages.visible_frame(self.frame.message, self.frame.pixels)
        except image_messages.ImageMessageError:
            return None
        return in_order(*pixels, "rgb")

    @cached_property
    def fused(self) -> np.ndarray | None:
        """What goes out, uint8 HxWx3 RGB: `vis` when PASSED, None when DROPPED."""
        if self.pair is not None:
            return in_order(self.pair.image, self.pair.order, "rgb")
        return self.vis if self.outcome == PASSED else None

    def pass_on(self, reason: str) -> None:
        """The pair did not suit: the visible image passes."""
        self.outcome, self.reason = PASSED, reason
        self.ir_stamp_ns = self.pair = None
