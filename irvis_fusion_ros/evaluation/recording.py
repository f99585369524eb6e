"""The walk itself: every configuration over one bag in step, measured and written down.

frames.csv       what became of every visible frame, and its scores: the same in every run
references.csv   the scores of the trivial fusions
timing.csv       what each frame took on this machine: differs from run to run
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np

from irvis_fusion_core import metrics
from irvis_fusion_ros.bags.bag_topics import FusionTopics
from irvis_fusion_ros.bags.replay.offline_fusion import FUSED, FusedFrame, OfflineFusion
from irvis_fusion_ros.evaluation.configurations import Configuration
from irvis_fusion_ros.evaluation.detection_check import DetectionCheck
from irvis_fusion_ros.evaluation.image_store import Animation, Extremes, Shown, jpeg
from irvis_fusion_ros.evaluation.measure import (
    SCORE_COLUMNS,
    FlickerTrack,
    Moment,
    Sampling,
    Scorer,
    reference_moments,
)
from irvis_fusion_ros.evaluation.tables import Table

FRAMES, REFERENCE_ROWS, TIMING = "frames.csv", "references.csv", "timing.csv"
LIVE = "live.csv"
FRAME_COLUMNS = (
    "configuration", "frame", "time_s", "vis_stamp_ns", "ir_stamp_ns", "outcome", "reason",
    "ir_health", "skew_ms", "image", "found", "flicker", *SCORE_COLUMNS,
)  # fmt: skip
"""`image` is a digest of the published pixels, `found` what the detector found."""
REFERENCE_COLUMNS = ("reference", "frame", "time_s", "found", "flicker", *SCORE_COLUMNS)
TIMING_COLUMNS = ("configuration", "frame", "time_s", "engine_ms", "frame_ms")

_NS = 1_000_000_000


class Step(NamedTuple):
    """One visible frame: what each configuration made of it, and what that took."""

    frames: List[FusedFrame]
    took_ms: List[float]


class Recording:
    """Walks, measures, and writes the tables; keeps the few images that the report shows."""

    def __init__(
        self,
        folder: str,
        configurations: Sequence[Configuration],
        scorer: Scorer,
        sampling: Sampling,
        detection: Optional[DetectionCheck],
        animation: Animation,
        rank_by: str,
        apart_s: float = 1.0,
    ) -> None:
        """Begin the tables in `folder`.

        Raises:
            ReportError: they cannot be written.
        """
        self.names = [c.name for c in configurations]
        self.rank_by = rank_by
        self.frames = Table(os.path.join(folder, FRAMES), FRAME_COLUMNS)
        self.references = Table(os.path.join(folder, REFERENCE_ROWS), REFERENCE_COLUMNS)
        self.timing = Table(os.path.join(folder, TIMING), TIMING_COLUMNS)
        self.extremes = {name: Extremes(apart_s=apart_s) for name in self.names}
        self.animation = animation
        self.detection = detection
        self._scorer = scorer
        self._sampling = sampling
        self._flicker = FlickerTrack()
        self._begin_ns: Optional[int] = None
        self.seconds = 0.0  # from the first frame to the present one

    def add(self, step: Step) -> None:
        """Measure a step and write its rows.

        Raises:
            ReportError: the disk is full.
        """
        first = step.frames[0]
        if self._begin_ns is None:
            self._begin_ns = first.recorded_ns
        seconds = (first.recorded_ns - self._begin_ns) / _NS
        self.seconds = max(self.seconds, seconds)
        place = {"frame": first.index, "time_s": round(seconds, 6)}
        moments = self._moments(step)
        rows: Dict[str, Dict[str, Any]] = {name: dict(place) for name in moments}
        for name, moment in moments.items():
            rows[name]["flicker"] = self._flicker.add(name, first.index, moment)
        if moments and self._sampling.take(first.index):
            for name, scores in self._scorer.score(moments).items():
                rows[name].update(scores)
            self._show(step, seconds, rows)
        self._detect(step, seconds, moments, rows)
        self._write(step, place, rows)

    def close(self) -> None:
        """Finish the tables."""
        for table in (self.frames, self.references, self.timing):
            table.close()

    def _moments(self, step: Step) -> Dict[str, Moment]:
        """What can be measured: what was fused, and the trivial fusions of the same pair."""
        moments: Dict[str, Moment] = {}
        references: Dict[str, Moment] = {}
        for name, frame in zip(self.names, step.frames):
            if frame.outcome != FUSED or frame.ir is None:
                continue
            if frame.vis is None or frame.fused is None:
                continue
            vis, fused = metrics.luminance(frame.vis), metrics.luminance(frame.fused)
            if min(vis.shape) < 8:
                continue
            moments[name] = Moment(fused, frame.ir, vis)
            references = references or reference_moments(frame.ir, vis)
        return {**moments, **references}

    def _show(self, step: Step, seconds: float, rows: Dict[str, Dict[str, Any]]) -> None:
        for name, frame in zip(self.names, step.frames):
            value = rows.get(name, {}).get(self.rank_by)
            if value is None or not self.extremes[name].wanted(value, seconds):
                continue
            images = {"visible": frame.vis, "IR": frame.ir, "fused": frame.fused}
            scores = {k: rows[name][k] for k in SCORE_COLUMNS if k in rows[name]}
            thumbs = {k: jpeg(p) for k, p in images.items() if p is not None}
            shown = Shown(value, frame.index, seconds, scores, thumbs)
            self.extremes[name].add(shown)

    def _detect(
        self,
        step: Step,
        seconds: float,
        moments: Dict[str, Moment],
        rows: Dict[str, Dict[str, Any]],
    ) -> None:
        first = step.frames[0]
        wanted = self.animation.wanted(first.index)
        images: Dict[str, np.ndarray] = {}
        for frame in step.frames:
            if frame.outcome == FUSED and frame.ir is not None and frame.vis is not None:
                images = {"visible alone": frame.vis, "IR alone": frame.ir}
                break
        if not images:
            return
        for name, frame in zip(self.names, step.frames):
            if frame.fused is not None:
                images[name] = frame.fused
        if wanted:
            self.animation.add(images)
        if self.detection is None or not self.detection.wants(first.index, first.vis_stamp_ns):
            return
        if "maximum" in moments:
            images["maximum"] = moments["maximum"].fused
        found = self.detection.look(first.index, first.vis_stamp_ns, seconds, images)
        for name, number in found.items():
            rows.setdefault(name, {"frame": first.index, "time_s": round(seconds, 6)})
            rows[name]["found"] = number

    def _write(self, step: Step, place: Dict[str, Any], rows: Dict[str, Dict[str, Any]]) -> None:
        for name, frame, took_ms in zip(self.names, step.frames, step.took_ms):
            row = {
                "configuration": name,
                "vis_stamp_ns": frame.vis_stamp_ns,
                "ir_stamp_ns": frame.ir_stamp_ns,
                "outcome": frame.outcome,
                "reason": frame.reason,
                "ir_health": frame.ir_health,
                "skew_ms": None if frame.skew_s is None else 1e3 * frame.skew_s,
                "image": digest(frame.message),
                **rows.get(name, place),
            }
            self.frames.add(row)
            timing = {"engine_ms": frame.engine_ms, "frame_ms": took_ms, **place}
            self.timing.add({"configuration": name, **timing})
        for name, row in rows.items():
            if name not in self.names:
                self.references.add({"reference": name, **row})


def digest(message: Any) -> Optional[str]:
    """What tells two published images apart: 16 hex digits of size, encoding and every byte.

    The rows' padding is part of the bytes. None for no message.
    """
    if message is None:
        return None
    text = f"{message.height} {message.width} {message.encoding} {message.step} "
    text += f"{int(message.is_bigendian)} "
    found = hashlib.blake2b(text.encode(), digest_size=8)
    found.update(memoryview(message.data).cast("B"))
    return found.hexdigest()


def in_step(bag: str, topics: FusionTopics, fusions: Sequence[OfflineFusion]) -> Iterator[Step]:
    """Every visible frame once, as each of the fusions has it; memory holds one frame of each.

    Raises:
        BagError: the bag cannot be read to its end.
        EngineError: an engine failed.
    """
    walks = [fusion.walk(bag, topics) for fusion in fusions]
    while True:
        frames: List[FusedFrame] = []
        took_ms: List[float] = []
        for walk in walks:
            started_s = time.perf_counter()
            frame = next(walk, None)
            took_ms.append(1e3 * (time.perf_counter() - started_s))
            if frame is None:
                return
            frames.append(frame)
        yield Step(frames, took_ms)
