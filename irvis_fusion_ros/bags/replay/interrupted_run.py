"""Go on with a run of `fuse_bag` that was interrupted, without fusing its frames again.

The walk begins again: pairing, health, thermal limits and registration go through the whole bag,
as each depends on what came before. Where the interrupted run has written a fused image, that
image takes the engine's place. The flicker limiter needs what the engine gave: each run writes the
limiter's block means (2 % of an image) beside its bag. Every message is compared with what the
interrupted run has written: the result has the messages of an uninterrupted run, or the run ends
with an error.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, BinaryIO

import cv2
import numpy as np

from irvis_fusion_core.flicker_limiter import BLOCK_PX
from irvis_fusion_core.protocols import Engine
from irvis_fusion_ros.bags.bag import BagImage, BagMessage, all_topics, read_images, read_messages
from irvis_fusion_ros.bags.bag_error import BagError, ignore_incomplete
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.messages.image_messages import ImageMessageError
from irvis_fusion_ros.pipeline.frames import IrFrame, VisFrame
from irvis_fusion_ros.pipeline.pair_fuser import Fused, PairFuser, Stages

LEVELS = "levels"
_LEVEL = struct.Struct("<QII")  # number of published images, rows, columns; float32 follow
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
        self._levels: Iterator[tuple[int, np.ndarray]] = iter(())
        self._new_levels: BinaryIO = io.BytesIO()

    def begin(self, writer: BagWriter, image_topic: str | None) -> None:
        """Take what an interrupted run has written beside this writer; it may be damaged.

        `image_topic` has the fused images; without it every frame is fused again.

        Raises:
            BagError: The bag cannot be read, or nothing can be written beside it.
        """
        levels, bag = writer.place.beside(LEVELS), writer.place.before
        try:
            if bag is not None and os.path.exists(levels):
                kept = levels + ".before"
                if not os.path.exists(kept) or os.path.getsize(kept) < os.path.getsize(levels):
                    os.replace(levels, kept)  # the same in each run, as far as it goes
                self._levels = _read_levels(kept)
            self._new_levels = open(levels, "wb")  # noqa: SIM115 - until the process ends
        except OSError as error:
            raise BagError(
                f"expected to write beside the unfinished bag in {writer.place.part}, found: "
                f"{error}; make it writable, and start again with --resume"
            ) from error
        if bag is None:
            return
        self._bag = bag
        names = [topic.name for topic in all_topics(bag)]
        self._messages = read_messages(bag, (), names, on_incomplete=ignore_incomplete)
        if image_topic in names:
            self._images = read_images(bag, [image_topic], on_incomplete=ignore_incomplete)

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
        try:
            pixels, found = image_messages.visible_frame(image.message)
        except ImageMessageError:
            return None  # damaged, as what is read of it may be
        if found != order:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)  # the same in both directions
        if pixels.shape != vis.shape or np.array_equal(pixels, vis):  # it passed unchanged
            return None
        return np.array(pixels, order="C")

    def next_level(self, shape: tuple[int, int]) -> np.ndarray | None:
        """Return the state of the limiter, of this shape, after that image; or None."""
        for position, level in self._levels:
            if position >= self.published:
                fits = position == self.published and level.shape == shape
                return level if fits else None
        return None

    def note_level(self, level: np.ndarray | None) -> None:
        """Remember the state of the limiter after the next image to publish."""
        if level is not None:
            with contextlib.suppress(OSError):  # the disk is full: the bag's writer tells it
                head = _LEVEL.pack(self.published, *level.shape)
                self._new_levels.write(head + level.astype("<f4").tobytes())
                self._new_levels.flush()


class _ResumedFuser(PairFuser):
    def __init__(self, engine: Engine, run: InterruptedRun) -> None:
        super().__init__(engine)
        self._run = run

    def fuse(self, frame: VisFrame, ir: IrFrame, stages: Stages) -> Fused | None:
        """Fuse a pair as `PairFuser` does, or take the image that was fused before."""
        fused = self._again(frame, ir, stages)
        if fused is None:
            fused = super().fuse(frame, ir, stages)
        if fused is not None and stages.limiter is not None:
            self._run.note_level(stages.limiter.level)
        return fused

    def _again(self, frame: VisFrame, ir: IrFrame, stages: Stages) -> Fused | None:
        """Return the pair with the image of the interrupted run, or None where it has none."""
        if stages.registration is None:
            return None
        vis, order = image_messages.visible_frame(frame.message, frame.pixels)
        image = self._run.next_image(vis, order)
        if image is None:
            return None
        if stages.limiter is not None:
            level = self._run.next_level((vis.shape[0] // BLOCK_PX, vis.shape[1] // BLOCK_PX))
            if level is None:
                return None
            # The image was limited; the limiter has to know of it.
            follow = partial(stages.limiter.follow, level)
            passing: Any = SimpleNamespace(limit=lambda fused, *rest: follow(*rest))
            stages = stages._replace(limiter=passing)
        self._run.reused += 1
        given: Any = SimpleNamespace(fuse_frame=lambda ir, vis, order, out: image)
        engine, self.engine = self.engine, given
        try:
            return super().fuse(frame, ir, stages)
        finally:
            self.engine = engine


def _read_levels(path: str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the complete records of a file that may be cut off or damaged."""
    with contextlib.suppress(OSError), open(path, "rb") as stream:
        left = os.fstat(stream.fileno()).st_size
        while left >= _LEVEL.size:
            position, rows, columns = _LEVEL.unpack(stream.read(_LEVEL.size))
            left -= _LEVEL.size + 4 * rows * columns
            if left < 0:  # also where a damaged head states gigabytes
                return
            data = stream.read(4 * rows * columns)
            yield position, np.frombuffer(data, "<f4").reshape(rows, columns)
