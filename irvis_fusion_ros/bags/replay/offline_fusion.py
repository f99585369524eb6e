"""The node's work on a bag, without a ROS graph: the walk of `fuse_bag` and `evaluate_bag`.

    settings = load_settings("fusion.yaml")                # the YAML that the node reads
    with OfflineFusion(settings) as fusion:
        for frame in fusion.walk("bag", find_topics("bag")):
            print(frame.index, frame.outcome, frame.reason)

Pairing, health, thermal rescaling, registration and the engine are the node's own, and the time
of recording stands for its clock: the same bag gives the same images, bit for bit, however fast
the machine is. What a live run adds is left out: frames displaced because the engine was late,
and the frame of each size at which the node lets its engine warm up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from irvis_fusion_core.errors import CalibrationError, ConfigurationError, FrameError
from irvis_fusion_core.frames import in_order
from irvis_fusion_core.protocols import Engine
from irvis_fusion_core.streams.health import MISSING
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.bags.bag import BagMessage, read_messages
from irvis_fusion_ros.bags.bag_storage import OnIncomplete
from irvis_fusion_ros.bags.bag_topics import FusionTopics
from irvis_fusion_ros.bags.replay.offline_advice import SkewWatch
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.messages.image_messages import ImageMessageError
from irvis_fusion_ros.messages.serialized_image import SerializedImage
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline import frames
from irvis_fusion_ros.pipeline.current_stages import CurrentStages
from irvis_fusion_ros.pipeline.events import Event, EventCounter
from irvis_fusion_ros.pipeline.frame_decision import Decision, FrameDecider
from irvis_fusion_ros.pipeline.frames import DROPPED, FUSED, PASSED, IrFrame, VisFrame
from irvis_fusion_ros.pipeline.known_cameras import KnownCameras, needed_topics
from irvis_fusion_ros.pipeline.message_checks import MessageChecks
from irvis_fusion_ros.pipeline.pair_fuser import Fused, PairFuser, offer_pair, open_fusion

EXPIRE_NS = 10_000_000
"""The node looks this often whether a visible frame has waited long enough."""


class RecordedVis(NamedTuple):
    """A visible frame of a bag."""

    frame: VisFrame  # its number is the index in the bag
    source: BagMessage
    arrival_skew_s: float | None  # the newest thermal stamp, offset applied, minus this one


class FusedFrame:
    """One visible frame of a bag and what became of it.

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
        except ImageMessageError:
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


class OfflineFusion:
    """Pairing, health and engine as the node runs them, over the messages of one bag.

    `walk` does a whole bag. Who reads the bag for other topics, too, calls `add` for each message
    and then `finish`. One object is for one pass: counts and history begin with it.

    Attributes:
        skews: How far apart the streams lay; for `offline_advice.why_nothing_fused`.
    """

    def __init__(
        self,
        settings: Settings,
        fusion: Engine | None = None,
        progress: Callable[[str], None] = lambda line: None,
        decider: FrameDecider[RecordedVis] | None = None,
        fuser: Callable[[Engine], PairFuser] = PairFuser,
    ) -> None:
        """Open the engine, unless `fusion` is one that is open; that stays the caller's to close.

        `progress` is told what the engine builds, which may take minutes the first time. A
        `decider` of None takes that of the node. `fuser` makes what fuses pairs with the engine.

        Raises:
            ConfigurationError: Parameters that do not go together.
            FusionError: The engine or its model cannot be opened.
        """
        self.settings = settings
        self.skews = SkewWatch()
        self._events = EventCounter(kinds_kept=10_000)
        self._checks = MessageChecks(self._events.add, live=LiveSettings(settings))
        self._decider = FrameDecider(settings) if decider is None else decider
        self._topics: FusionTopics | None = None
        self._known = KnownCameras(
            lambda name: getattr(self._topics, name + "_info", None) or name + "/camera_info"
        )
        # Not in the background: the same bag gives the same images.
        self._stages = CurrentStages(settings, self._known.snapshot, in_background=False)
        self._owns_engine = fusion is None
        self.engine = open_fusion(settings, progress) if fusion is None else fusion
        self._fuser = fuser(self.engine)
        self._outcomes: Counter[str] = Counter()
        self._now_ns = 0
        self._vis_count = 0
        self._waiting: dict[int, int] = {}  # index of a visible frame: when it was recorded
        self._newest_ir_ns: int | None = None

    def __enter__(self) -> OfflineFusion:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the engine, if it was opened here."""
        if self._owns_engine:
            self._fuser.close()

    @property
    def events(self) -> dict[str, Event]:
        """What was odd, by kind ("ir: short_data", "pair: FrameError", "ir_frozen", ...)."""
        return self._events.events()

    def walk(
        self, bag: str, topics: FusionTopics, on_incomplete: OnIncomplete | None = None
    ) -> Iterator[FusedFrame]:
        """Yield every visible frame of a bag once, in order; memory holds what may still pair.

        `on_incomplete` is that of `read_messages`.

        Raises:
            BagError: The bag cannot be read (to its end), or lacks a topic.
            EngineError: The engine failed.
        """
        cameras, others = (topics.ir, topics.vis), self.needs(topics)
        for message in read_messages(bag, cameras, others, on_incomplete):
            yield from self.add(message, topics)
        yield from self.finish()

    def needs(self, topics: FusionTopics) -> list[str]:
        """Return the other topics that the parameters ask for: calibrations, transforms."""
        self._topics = topics
        names = topics.ir_info, topics.vis_info, topics.tf_static
        wanted = zip(needed_topics(self.settings), names)
        return [name for is_needed, name in wanted if is_needed and name]

    def add(self, message: BagMessage, topics: FusionTopics) -> Iterator[FusedFrame]:
        """Take the next message in order of recording; yield the frames that it settles.

        Messages of other topics are passed over. Exhaust the iterator before the next call.
        """
        if message.message is None:
            return
        if message.topic not in (topics.ir, topics.vis):
            self._learn(message, topics)
            return
        yield from self._let_pass(message.recorded_ns)
        self._now_ns = max(self._now_ns, message.recorded_ns)
        is_ir = message.topic == topics.ir
        for decision in self._add_ir(message) if is_ir else self._add_vis(message):
            yield self._complete(decision)

    def finish(self) -> Iterator[FusedFrame]:
        """Yield the visible frames that still wait, as the node does when nothing follows."""
        while self._decider.pending:
            yield from self._let_pass(self._now_ns + EXPIRE_NS)

    @property
    def oldest_waiting_ns(self) -> int | None:
        """When the first visible message was recorded that is still to come out, or None."""
        return min(self._waiting.values(), default=None)

    def counts(self) -> dict[str, int]:
        """Return outcomes of visible frames, and drops of thermal ones, by cause."""
        of_pairing = self._decider.counters().items()
        drops = {n: count for n, count in of_pairing if n.startswith(("ir_dropped.", "cleared."))}
        return {**self._outcomes, **drops}

    def _learn(self, message: BagMessage, topics: FusionTopics) -> None:
        """Take a calibration or static transforms."""
        if message.topic not in self.needs(topics):
            return
        try:
            if message.topic == topics.tf_static:
                changed = self._known.add_transforms(message.message, self.settings)
            else:
                camera = "ir" if message.topic == topics.ir_info else "vis"
                changed = self._known.add_info(camera, message.message)
            if changed:
                self._stages.renew_registration()
        except CalibrationError as error:
            self._events.add("registration", str(error))

    def _let_pass(self, end_ns: int) -> Iterator[FusedFrame]:
        """Let time pass, in the steps of the node's timer while a frame waits."""
        while self._decider.pending and self._now_ns < end_ns:
            self._now_ns = min(self._now_ns + EXPIRE_NS, end_ns)
            for decision in self._decider.expire(self._now_ns):
                yield self._complete(decision)

    def _add_ir(self, message: BagMessage) -> list[Decision]:
        frame = self._checks.ir(message.message)
        if frame is None:
            return []
        self._newest_ir_ns = frame.stamp_ns if frame.stamp_ns > 0 else self._newest_ir_ns
        return self._decider.add_ir(frame, self._now_ns)

    def _add_vis(self, message: BagMessage) -> list[Decision]:
        bare = VisFrame(self._vis_count, message.message, None, 0, self._now_ns)
        self._vis_count += 1
        self._waiting[bare.number] = message.recorded_ns
        frame, refused = self._checks.vis(bare)
        skew_s = None
        if refused is None and self._newest_ir_ns is not None and frame.stamp_ns > 0:
            offset_s = self.settings.pairing.ir_time_offset_s
            skew_s = (self._newest_ir_ns - frame.stamp_ns) / NS_PER_S + offset_s
        item = RecordedVis(frame, message, skew_s)
        if refused is not None:
            return [self._decider.drop("vis_" + refused, frame.stamp_ns, item)]
        return self._decider.add_vis(frame.stamp_ns, item, self._now_ns)

    def _complete(self, decision: Decision) -> FusedFrame:
        """Carry out what was decided, and count it."""
        item: RecordedVis = decision.vis
        result = FusedFrame(item.frame, decision, item.source)
        self._waiting.pop(item.frame.number, None)
        self.skews.add(decision, item.arrival_skew_s, self.settings.pairing.pairing)
        verdict = self._decider.verdict
        if decision.reason == "ir_" + verdict.reason and verdict.reason != MISSING:
            self._events.add(decision.reason, verdict.text)
        if decision.ir is not None:
            try:
                self._fuse(result, decision.ir)
            except (FrameError, ConfigurationError, CalibrationError) as error:
                # The pair does not suit; the engine is healthy.
                kind = getattr(error, "kind", type(error).__name__)
                self._events.add("pair: " + kind, str(error))
                result.pass_on(frames.UNUSABLE_PAIR)
            if self._stages.stages.problem:
                self._events.add("registration", self._stages.stages.problem)
        if result.outcome == PASSED:
            self._pass_on(result)
        reason = "" if result.outcome == FUSED else ": " + result.reason
        self._outcomes[result.outcome + reason] += 1
        result.counts = self.counts()
        return result

    def _fuse(self, result: FusedFrame, ir: IrFrame) -> None:
        """Fuse a frame, or pass it where there is no registration."""
        if self._fuser.needs_warm_up(result.frame):
            self._fuser.warm_up(
                result.frame.size
            )  # no frame's time includes the building of the engine
        stages = self._stages.stages
        fused = self._fuser.fuse(result.frame, ir, stages)
        if fused is None:
            result.pass_on(frames.UNCALIBRATED)
            return
        result.pair, result.message = fused, SerializedImage(fused.message)
        offer_pair(stages, fused, result.skew_s, result.recorded_ns / NS_PER_S)

    def _pass_on(self, result: FusedFrame) -> None:
        """Give the visible image, as the node publishes it."""
        frame = result.frame
        try:
            passed = image_messages.passed_bytes(frame.message, frame.pixels)
            result.message = SerializedImage(passed)
        except ImageMessageError as error:
            self._events.add("vis: " + error.kind, str(error))
            result.outcome, result.reason = DROPPED, error.kind
