"""The replay: every configuration over one bag in step, measured and written to tables.

frames.csv       outcome and scores of every visible frame: the same in every run
references.csv   scores of the trivial fusions
timing.csv       times of each frame on this machine: differ from run to run
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Dict, NamedTuple

import numpy as np

from irvis_fusion_core import metrics
from irvis_fusion_core.registration.learned.field_image import field_image
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.bags.bag_storage import OnIncomplete
from irvis_fusion_ros.bags.bag_topics import FusionTopics
from irvis_fusion_ros.bags.replay.offline_fusion import FUSED, FusedFrame, OfflineFusion
from irvis_fusion_ros.evaluation import measure
from irvis_fusion_ros.evaluation.detection_check import DetectionCheck
from irvis_fusion_ros.evaluation.image_store import Animation, Extremes, Shown, jpeg
from irvis_fusion_ros.evaluation.measure import REGISTRATION_COLUMNS, SCORE_COLUMNS, Moment
from irvis_fusion_ros.evaluation.tables import CellValue, Table
from irvis_fusion_ros.messages.protocols import ImageMessage

Row = Dict[str, CellValue]

FRAMES, REFERENCE_ROWS, TIMING = "frames.csv", "references.csv", "timing.csv"
LIVE = "live.csv"
FRAME_COLUMNS = (
    "configuration", "frame", "time_s", "vis_stamp_ns", "ir_stamp_ns", "outcome", "reason",
    "ir_health", "skew_ms", "image", "found", "flicker", *SCORE_COLUMNS,
    *REGISTRATION_COLUMNS,
)  # fmt: skip
"""`image` is a digest of the published message, `found` the number of detections."""
REFERENCE_COLUMNS = ("reference", "frame", "time_s", "found", "flicker", *SCORE_COLUMNS)
TIMING_COLUMNS = ("configuration", "frame", "time_s", "engine_ms", "frame_ms")
SMALLEST_SIDE = 8
"""Images with a shorter side are not measured."""


class Step(NamedTuple):
    """One visible frame as each configuration fused it, and the time each took."""

    frames: list[FusedFrame]
    took_ms: list[float]


@dataclass(eq=False)
class Recording:
    """Measures the steps of a replay, writes the tables, and keeps the images for the page.

    Every method raises FusionError if a table cannot be written.
    """

    folder: str
    names: Sequence[str]  # of the configurations
    scorer: measure.Scorer
    sampling: measure.Sampling
    detection: DetectionCheck | None
    animation: Animation
    rank_by: str
    apart_s: float = 1.0

    def __post_init__(self) -> None:
        self.extremes = {name: Extremes(apart_s=self.apart_s) for name in self.names}
        self.seconds = 0.0  # recorded time since the first frame
        self._frames = Table(os.path.join(self.folder, FRAMES), FRAME_COLUMNS)
        self._references = Table(os.path.join(self.folder, REFERENCE_ROWS), REFERENCE_COLUMNS)
        self._timing = Table(os.path.join(self.folder, TIMING), TIMING_COLUMNS)
        self._flicker = measure.FlickerTrack()
        self._begin_ns: int | None = None

    def add(self, step: Step) -> None:
        """Measure a step and write its rows."""
        frames = dict(zip(self.extremes, step.frames))
        first = step.frames[0]
        if self._begin_ns is None:
            self._begin_ns = first.recorded_ns
        seconds = (first.recorded_ns - self._begin_ns) / NS_PER_S
        self.seconds = max(self.seconds, seconds)
        place: Row = {"frame": first.index, "time_s": round(seconds, 6)}
        moments = _moments(frames)
        rows: dict[str, Row] = {name: dict(place) for name in (*frames, *moments)}
        for name, moment in moments.items():
            rows[name]["flicker"] = self._flicker.add(name, first.index, moment)
        if moments and self.sampling.take(first.index):
            for name, scores in self.scorer.score(moments).items():
                rows[name].update(scores)
                if name in frames:
                    frame, vis = frames[name], moments[name].vis
                    pair = frame.pair
                    if pair is not None and pair.field is not None:
                        shown = (pair.ir8, pair.base_ir8, vis)
                        rows[name].update(measure.registration_scores(pair.field, *shown))
                    self._show(name, frame, seconds, scores)
        images = _images(frames)
        if images and self.animation.wanted(first.index):
            self.animation.add(images)
        if images and self.detection and self.detection.wants(first.index, first.vis_stamp_ns):
            if "maximum" in moments:
                images["maximum"] = moments["maximum"].fused
            found = self.detection.look(first.index, first.vis_stamp_ns, seconds, images)
            for name, number in found.items():
                rows.setdefault(name, dict(place))["found"] = number
        for (name, frame), took_ms in zip(frames.items(), step.took_ms):
            own: Row = {"configuration": name, **rows.pop(name)}
            self._frames.add({**own, **_facts(frame)})
            engine_ms = None if frame.pair is None else frame.pair.timings.engine_ms
            times = {"engine_ms": engine_ms, "frame_ms": took_ms}
            self._timing.add({"configuration": name, **times, **place})
        for name, row in rows.items():
            self._references.add({"reference": name, **row})

    def close(self) -> None:
        """Finish the tables."""
        for table in (self._frames, self._references, self._timing):
            table.close()

    def _show(
        self, name: str, frame: FusedFrame, seconds: float, scores: dict[str, float]
    ) -> None:
        """Keep the images of a frame among the best or the worst."""
        value = scores.get(self.rank_by)
        if value is None or not self.extremes[name].wants(value, seconds):
            return
        images = {"visible": frame.vis, "IR": frame.ir, "fused": frame.fused}
        field = None if frame.pair is None else frame.pair.field
        if field is not None and frame.vis is not None:
            images["field"] = field_image(frame.vis, field)
        thumbs = {k: jpeg(image) for k, image in images.items() if image is not None}
        self.extremes[name].add(Shown(value, frame.index, seconds, scores, thumbs))


def _moments(frames: Mapping[str, FusedFrame]) -> dict[str, Moment]:
    """Return what can be measured: fused images, and the trivial fusions of the same pair."""
    moments: dict[str, Moment] = {}
    references: dict[str, Moment] = {}
    for name, frame in frames.items():
        if frame.outcome != FUSED or frame.ir is None or min(frame.ir.shape) < SMALLEST_SIDE:
            continue
        if frame.vis is None or frame.fused is None:
            continue
        vis, fused = metrics.luminance(frame.vis), metrics.luminance(frame.fused)
        moments[name] = Moment(fused, frame.ir, vis)
        references = references or measure.reference_moments(frame.ir, vis)
    return {**moments, **references}


def _images(frames: Mapping[str, FusedFrame]) -> dict[str, np.ndarray]:
    """Return the sources and every configuration's image; nothing if none was fused."""
    for frame in frames.values():
        if frame.outcome == FUSED and frame.vis is not None and frame.ir is not None:
            outputs = {name: each.fused for name, each in frames.items()}
            images = {"visible alone": frame.vis, "IR alone": frame.ir, **outputs}
            return {name: image for name, image in images.items() if image is not None}
    return {}


def _facts(frame: FusedFrame) -> Row:
    return {
        "vis_stamp_ns": frame.vis_stamp_ns,
        "ir_stamp_ns": frame.ir_stamp_ns,
        "outcome": frame.outcome,
        "reason": frame.reason,
        "ir_health": frame.ir_health,
        "skew_ms": None if frame.skew_s is None else 1e3 * frame.skew_s,
        "image": digest(frame.message),
    }


def digest(message: ImageMessage | None) -> str | None:
    """Return 16 hex digits of an image's size, encoding and bytes with padding; None for None."""
    if message is None:
        return None
    text = f"{message.height} {message.width} {message.encoding} {message.step} "
    text += f"{int(message.is_bigendian)} "
    found = hashlib.blake2b(text.encode(), digest_size=8)
    found.update(memoryview(message.data).cast("B"))
    return found.hexdigest()


def in_step(
    bag: str,
    topics: FusionTopics,
    fusions: Sequence[OfflineFusion],
    on_incomplete: OnIncomplete | None = None,
) -> Iterator[Step]:
    """Yield every visible frame once, from each fusion; memory holds one frame of each.

    `on_incomplete` is that of `read_messages`.

    Raises:
        BagError: The bag cannot be read to its end.
        EngineError: An engine failed.
    """
    walks = [fusion.walk(bag, topics, on_incomplete) for fusion in fusions]
    while True:
        frames: list[FusedFrame] = []
        took_ms: list[float] = []
        for walk in walks:
            started_s = time.perf_counter()
            frame = next(walk, None)
            took_ms.append(1e3 * (time.perf_counter() - started_s))
            if frame is None:
                return
            frames.append(frame)
        yield Step(frames, took_ms)
