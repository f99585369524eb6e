"""Go on with a run of `fuse_bag` that was interrupted, without fusing its frames again.

The walk begins anew: pairing, health, thermal limits and registration go through the whole bag, as
each depends on what came before. Where the interrupted run has written a fused image, that image
takes the engine's place. Every message is compared with what the interrupted run has written: the
result has the messages of an uninterrupted run, or the run ends with an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from irvis_fusion_core.protocols import Engine
from irvis_fusion_ros.bags.bag import BagImage, BagMessage, all_topics, read_images, read_messages
from irvis_fusion_ros.bags.bag_error import BagError, IncompleteBagError
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.pipeline.frames import IrFrame
from irvis_fusion_ros.pipeline.pair_fuser import Fused, PairFuser, Stages

_EXACT = ("rgb8", "bgr8")
"""Encodings whose pixels are those of the engine; others were converted."""


class InterruptedRun:
    """What an interrupted run has written; nothing until `begin`.

    Attributes:
        published: Images that the new run has given to the topic of fused images.
        reused: Frames that were not fused again.
    """

    def __init__(self) -> None:
        self.published = self.reused = 0
        self._bag = ""
        self._messages: Iterator[BagMessage] = iter(())
        self._images: Iterator[BagImage] = iter(())
        self._read = 0

    def begin(self, bag: str, image_topic: str | None) -> None:
        """Take the bag of the interrupted run; it may be damaged or cut off.

        `image_topic` has the fused images; without it every frame is fused again.

        Raises:
            BagError: The bag cannot be read.
        """
        self._bag = bag
        names = [topic.name for topic in all_topics(bag)]
        self._messages = read_messages(bag, (), names, on_incomplete=_ignore)
        if image_topic in names:
            self._images = read_images(bag, [image_topic], on_incomplete=_ignore)

    def fuser(self, engine: Engine) -> PairFuser:
        """Return what fuses pairs, with the images of the interrupted run where there are any."""
        return _ResumedFuser(engine, self)

    def check(self, topic: str, recorded_ns: int, raw: bytes) -> None:
        """Compare the next message with that of the interrupted run.

        Raises:
            BagError: They differ.
        """
        there = next(self._messages, None)
        if there is None:
            return
        if (there.topic, there.recorded_ns) != (topic, recorded_ns) or bytes(there.raw) != raw:
            raise BagError(
                f"expected the messages of this run in {self._bag}, found another one of "
                f"{there.topic} at {there.recorded_ns} ns; start again without --resume"
            )

    def next_image(self, vis: np.ndarray, order: str) -> np.ndarray | None:
        """Return the image that was fused with `vis`, or None where it has to be fused."""
        image = None
        while self._read <= self.published:
            image = next(self._images, None)
            self._read += 1
        if image is None or getattr(image.message, "encoding", "") not in _EXACT:
            return None
        pixels, found = image_messages.visible_frame(image.message)
        if found != order:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)  # the same in both directions
        if pixels.shape != vis.shape or np.array_equal(pixels, vis):  # it passed unchanged
            return None
        self.reused += 1
        return np.array(pixels, order="C")


class _ResumedFuser(PairFuser):
    def __init__(self, engine: Engine, run: InterruptedRun) -> None:
        super().__init__(engine)
        self._run = run

    def fuse(
        self, vis: np.ndarray, order: str, ir: IrFrame, stages: Stages, stamp_ns: int = 0
    ) -> Fused | None:
        """Fuse a pair as `PairFuser` does, or take the image that was fused before."""
        image = None
        # The limiter needs what the engine gave before it was limited, which is not recorded.
        if stages.limiter is None and stages.registration is not None:
            image = self._run.next_image(vis, order)
        if image is None:
            return super().fuse(vis, order, ir, stages, stamp_ns)
        engine, self.engine = self.engine, _Given(image)  # type: ignore[assignment]
        try:
            return super().fuse(vis, order, ir, stages, stamp_ns)
        finally:
            self.engine = engine


@dataclass
class _Given:
    """An engine that has fused already."""

    image: np.ndarray

    def fuse_frame(self, ir: np.ndarray, vis: np.ndarray, order: str = "rgb") -> np.ndarray:
        return self.image


def _ignore(error: IncompleteBagError) -> None:
    pass
