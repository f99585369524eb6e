"""The node's work on a bag, without a ROS graph: the walk of `fuse_bag` and `evaluate_bag`.

    settings = load_settings("fusion.yaml")                # the YAML that the node reads
    with OfflineFusion(settings) as fusion:
        for frame in fusion.walk("bag", find_topics("bag")):
            print(frame.index, frame.outcome, frame.reason, frame.engine_ms)

Pairing, health, thermal rescaling, registration and the engine are the node's own, and the time
of recording stands for its clock: the same bag gives the same images, bit for bit, however fast
the machine is. What a live run adds is left out: frames displaced because the engine was late,
and the frame of each size at which the node lets its engine warm up.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from irvis_fusion_core.errors import CalibrationError, ConfigurationError, FrameError
from irvis_fusion_core.streams.health import MISSING
from irvis_fusion_ros.bags.bag import BagMessage, read_messages, stamp_of
from irvis_fusion_ros.bags.bag_topics import FusionTopics
from irvis_fusion_ros.bags.replay.fused_frame import FusedFrame
from irvis_fusion_ros.bags.replay.offline_advice import SkewWatch
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.messages.image_messages import ImageMessageError
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.frame_decision import (
    DROPPED,
    FUSED,
    NS_PER_S,
    PASSED,
    Decision,
    FrameDecider,
    ThermalItem,
)
from irvis_fusion_ros.pipeline.pair_fuser import PairFuser, blank_message
from irvis_fusion_ros.pipeline.stages import open_fusion

__all__ = ["DROPPED", "FUSED", "PASSED", "Event", "FusedFrame", "OfflineFusion"]

EXPIRE_NS = 10_000_000
"""The node looks this often whether a visible frame has waited long enough."""

UNUSABLE_PAIR = "unusable_pair"


class Event(NamedTuple):
    """Something worth telling that happened so many `times`; `text` describes the first."""

    times: int
    text: str


class OfflineFusion:
    """Pairing, health and engine as the node runs them, over the messages of one bag.

    `walk` does a whole bag. Who reads the bag for other topics, too, feeds `add` and then calls
    `finish`. One object is for one pass: counts and history begin with it.

    Attributes:
        settings: the values of the node's parameters.
        engine: what fuses: `fuse_frame(ir, vis, order)`, `warm_up(height, width)`, `describe()`
            and `close()`, as RealtimeFusion has them.
        events: by kind ("ir: short_data", "vis: size changed", "pair: FrameError",
            "registration", "ir_frozen", ...).
        skews: how far apart the streams lay; for `offline_advice.why_nothing_fused`.
    """

    def __init__(
        self,
        settings: Settings,
        fusion: Optional[Any] = None,
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Take the settings (see `settings_file.load_settings`), and open the engine.

        `fusion` is an engine that is open already, and stays the caller's to close. `progress`
        is told what the engine builds, which may take minutes the first time.

        Raises:
            ConfigurationError: parameters that do not go together.
            FusionError: the engine or its model cannot be opened.
        """
        self.settings = settings
        self.events: Dict[str, Event] = {}
        self.skews = SkewWatch()
        self._decider = FrameDecider(settings)
        self._fuser = PairFuser(settings)
        self._owns_engine = fusion is None
        self.engine = open_fusion(settings, progress) if fusion is None else fusion
        self._fuser.engine = self.engine
        self._outcomes: Dict[str, int] = Counter()
        self._now_ns = 0
        self._numbers = {"ir": 0, "vis": 0}
        self._sizes: Dict[str, Tuple[int, ...]] = {}
        self._last_stamp_ns: Dict[str, int] = {}
        self._waiting: Dict[int, int] = {}  # index of a visible frame: when it was recorded
        self._newest_ir_ns: Optional[int] = None

    def __enter__(self) -> OfflineFusion:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the engine, if it was opened here."""
        if self._owns_engine:
            self.engine.close()

    def walk(self, bag: str, topics: FusionTopics) -> Iterator[FusedFrame]:
        """Every visible frame of a bag once, in order; memory holds what may still pair.

        Raises:
            BagError: the bag cannot be read (to its end), or lacks a topic.
            EngineError: the engine failed.
        """
        for message in read_messages(bag, (topics.ir, topics.vis), self.needs(topics)):
            yield from self.add(message, topics)
        yield from self.finish()

    def needs(self, topics: FusionTopics) -> List[str]:
        """Topics beside the images that the parameters ask for: calibrations, transforms."""
        return self._fuser.needs(topics)

    def add(self, message: BagMessage, topics: FusionTopics) -> Iterator[FusedFrame]:
        """Take the next message in order of recording; give the frames that it settles.

        Messages of topics that are neither the images' nor of `needs` are passed over. Exhaust the
        iterator before the next call.
        """
        if message.message is None:
            return
        if message.topic not in (topics.ir, topics.vis):
            self._learn(message)
            return
        yield from self._let_pass(message.recorded_ns)
        self._now_ns = max(self._now_ns, message.recorded_ns)
        is_ir = message.topic == topics.ir
        for decision in self._add_ir(message) if is_ir else self._add_vis(message):
            yield self._complete(decision)

    def finish(self) -> Iterator[FusedFrame]:
        """Give the visible frames that still wait, as the node does when nothing follows."""
        while self._decider.pending:
            yield from self._let_pass(self._now_ns + EXPIRE_NS)

    @property
    def oldest_waiting_ns(self) -> Optional[int]:
        """When the first visible message was recorded that is still to come out, or None."""
        return min(self._waiting.values(), default=None)

    def counts(self) -> Dict[str, int]:
        """Outcomes of visible frames, and drops of thermal ones, by cause (see FusedFrame)."""
        of_pairing = {
            name: count
            for name, count in self._decider.counters().items()
            if name.startswith(("ir_dropped.", "cleared."))
        }
        return {**self._outcomes, **of_pairing}

    def _learn(self, message: BagMessage) -> None:
        try:
            self._fuser.learn(message.topic, message.message)
        except CalibrationError as error:
            self._note("registration", str(error))

    def _let_pass(self, end_ns: int) -> Iterator[FusedFrame]:
        """Let time pass, in the steps of the node's timer while a frame waits."""
        while self._decider.pending and self._now_ns < end_ns:
            self._now_ns = min(self._now_ns + EXPIRE_NS, end_ns)
            for decision in self._decider.expire(self._now_ns):
                yield self._complete(decision)

    def _add_ir(self, message: BagMessage) -> List[Decision]:
        try:
            # Dead pixels (NaN) are for thermal rescaling to mask; they are told, not refused.
            pixels = image_messages.thermal_frame(message.message, check_finite=False)
        except ImageMessageError as error:
            self._note("ir: " + error.kind, str(error))
            return []
        if pixels.dtype.kind == "f":
            bad = pixels.size - int(np.isfinite(pixels).sum())
            if bad:
                text = f"NaN or infinity in {bad} of {pixels.size} pixels"
                self._note("ir: not_finite", text)
        stamp_ns = self._check("ir", message.message, pixels.shape)
        self._numbers["ir"] += 1
        frame = ThermalItem(self._numbers["ir"], stamp_ns, pixels)
        self._newest_ir_ns = stamp_ns if stamp_ns > 0 else self._newest_ir_ns
        return self._decider.add_ir(frame, self._now_ns)

    def _add_vis(self, message: BagMessage) -> List[Decision]:
        image, index = message.message, self._numbers["vis"]
        self._numbers["vis"] += 1
        self._waiting[index] = message.recorded_ns
        shape: Tuple[int, ...] = ()
        if not image_messages.is_compressed(image):
            try:
                image_messages.view(image, check_finite=False)
            except ImageMessageError as error:
                self._note("vis: " + error.kind, str(error))
                # Downstream may know an encoding that is not known here.
                if error.kind != "unknown_encoding" or not len(image.data):
                    stamp_ns = stamp_of(image)
                    return [
                        self._decider.drop("vis_" + error.kind, stamp_ns, (message, index, None))
                    ]
            shape = (image.height, image.width)
        stamp_ns = self._check("vis", image, shape)
        item = (message, index, self._skew_at_arrival(stamp_ns))
        return self._decider.add_vis(stamp_ns, item, self._now_ns)

    def _complete(self, decision: Decision) -> FusedFrame:
        """Carry out what was decided, and count it."""
        source, index, arrival_skew_s = decision.vis
        frame = FusedFrame(index, decision, source)
        self._waiting.pop(index, None)
        self.skews.add(decision, arrival_skew_s, self.settings.pairing.pairing)
        verdict = self._decider.verdict
        if decision.reason == "ir_" + verdict.reason and verdict.reason != MISSING:
            self._note(decision.reason, verdict.text)
        if decision.ir is not None:
            try:
                self._fuser.fuse(frame, decision.ir)
            except (FrameError, ConfigurationError, CalibrationError) as error:
                # The pair does not suit; the engine is well.
                kind = getattr(error, "kind", type(error).__name__)
                self._note("pair: " + kind, str(error))
                frame.pass_on(UNUSABLE_PAIR)
            if self._fuser.problem:
                self._note("registration", self._fuser.problem)
        if frame.outcome == PASSED:
            self._pass_on(frame)
        reason = "" if frame.outcome == FUSED else ": " + frame.reason
        self._outcomes[frame.outcome + reason] += 1
        frame.counts = self.counts()
        return frame

    def _pass_on(self, frame: FusedFrame) -> None:
        """The visible image, as the node publishes it."""
        try:
            frame.message = image_messages.passed_image(frame.source.message, blank_message())
        except ImageMessageError as error:
            self._note("vis: " + error.kind, str(error))
            frame.outcome, frame.reason = DROPPED, error.kind

    def _skew_at_arrival(self, stamp_ns: int) -> Optional[float]:
        """The newest thermal stamp, offset applied, minus this one, in s."""
        if self._newest_ir_ns is None or stamp_ns <= 0:
            return None
        return (self._newest_ir_ns - stamp_ns) / NS_PER_S + self.settings.pairing.ir_time_offset_s

    def _check(self, stream: str, message: Any, shape: Tuple[int, ...]) -> int:
        """Note what is odd about a message of this stamp and size; the stamp in ns."""
        stamp_ns = stamp_of(message)
        if shape:
            before = self._sizes.setdefault(stream, shape)
            if before != shape:
                text = "from {1}x{0} to {3}x{2}".format(*before, *shape)
                self._note(stream + ": size changed", text)
                self._sizes[stream] = shape
        if stamp_ns <= 0:
            self._note(stream + ": zero stamp", "the driver did not stamp its images")
            return stamp_ns
        last_ns = self._last_stamp_ns.get(stream, stamp_ns)
        if stamp_ns < last_ns:
            text = f"by {(last_ns - stamp_ns) / NS_PER_S:.3f} s"
            self._note(stream + ": stamp went back", text)
        self._last_stamp_ns[stream] = stamp_ns
        return stamp_ns

    def _note(self, kind: str, text: str) -> None:
        times, first = self.events.get(kind, Event(0, text))
        self.events[kind] = Event(times + 1, first)
