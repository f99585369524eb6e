"""Writes the fused frames of a walk and topics of the old bag into a bag, in recorded order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

from irvis_fusion_core.streams.health import OK as HEALTHY
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.bags.bag import CAMERA_INFO_TYPE, COMPRESSED_TYPE, IMAGE_TYPE, read_messages
from irvis_fusion_ros.bags.bag_storage import OnIncomplete
from irvis_fusion_ros.bags.bag_topics import FusionTopics
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.made_images import make_header
from irvis_fusion_ros.bags.replay.interrupted_run import InterruptedRun
from irvis_fusion_ros.bags.replay.offline_fusion import FusedFrame, OfflineFusion
from irvis_fusion_ros.bags.storage.stored_topic import StoredTopic
from irvis_fusion_ros.messages import compressed_messages
from irvis_fusion_ros.messages.serialized_image import Bytes, image_bytes, info_bytes
from irvis_fusion_ros.pipeline.frames import DROPPED, FUSED, PASSED

DIAGNOSTICS_TYPE = "diagnostic_msgs/msg/DiagnosticArray"
OK, WARN, ERROR = 0, 1, 2


class FusedTopics(NamedTuple):
    """Names of the topics for fused images; None for a topic that is not wanted."""

    image: str | None
    compressed: str | None
    info: str | None
    ir: str | None
    diagnostics: str | None = None

    def all(self) -> list[tuple[str, str]]:
        """Return name and type of the wanted topics."""
        kinds = (IMAGE_TYPE, COMPRESSED_TYPE, CAMERA_INFO_TYPE, IMAGE_TYPE, DIAGNOSTICS_TYPE)
        return [(name, kind) for name, kind in zip(self, kinds) if name is not None]


@dataclass(eq=False)
class FusedBag:
    """Writes the `fused` topics and the `copied` ones of a bag into another; `run` does it all."""

    fusion: OfflineFusion
    writer: BagWriter
    cameras: FusionTopics
    fused: FusedTopics
    copied: Sequence[StoredTopic]
    on_incomplete: OnIncomplete | None = None
    interrupted: InterruptedRun | None = None

    def __post_init__(self) -> None:
        # Not written yet, because an earlier visible frame still waits for its partner.
        self._held: list[tuple[int, int, str, str, bytes]] = []
        self._number = 0
        self._info: bytes | None = None
        self._seconds = SecondsOfFrames()

    def run(self, bag: str) -> Iterator[FusedFrame]:
        """Yield every frame once it is held for the new bag.

        Raises:
            BagError: The old bag cannot be read to its end, or the new one cannot be written.
            EngineError: The engine failed.
        """
        for topic in self.copied:
            self.writer.add_topic(topic)
        for name, kind in self.fused.all():
            self.writer.add_topic(StoredTopic(name, kind, 0))
        cameras, copied = self.cameras, {topic.name for topic in self.copied}
        others = copied.union(self.fusion.needs(cameras))
        if cameras.vis_info:
            others.add(cameras.vis_info)
        images = (cameras.ir, cameras.vis)
        for message in read_messages(bag, images, sorted(others), self.on_incomplete):
            if message.topic in copied:
                self._put(message.recorded_ns, message.topic, message.type, message.raw)
            if message.topic == cameras.vis_info and message.message is not None:
                self._info = message.raw
            yield from self._take(self.fusion.add(message, cameras))
        yield from self._take(self.fusion.finish())

    def _take(self, frames: Iterator[FusedFrame]) -> Iterator[FusedFrame]:
        for frame in frames:
            self._add(frame)
            yield frame
        # What no earlier message can still precede.
        waiting_ns = self.fusion.oldest_waiting_ns
        while self._held and (waiting_ns is None or self._held[0][0] <= waiting_ns):
            recorded_ns, _, topic, kind, raw = heapq.heappop(self._held)
            if self.interrupted is not None:
                self.interrupted.check(topic, recorded_ns, raw)
            self.writer.write_raw(topic, kind, recorded_ns, raw)

    def _add(self, frame: FusedFrame) -> None:
        """Hold what the node would publish of a frame."""
        topics, source, at_ns = self.fused, frame.source, frame.recorded_ns
        if topics.diagnostics:
            report = self._seconds.add(frame)
            if report is not None:
                raw = self.writer.serialize(report, DIAGNOSTICS_TYPE)
                self._put(at_ns, topics.diagnostics, DIAGNOSTICS_TYPE, raw)
        if frame.outcome == DROPPED or frame.message is None:
            return
        if self.interrupted is not None:
            self.interrupted.published += 1
        head = source.message.head
        self._put(at_ns, topics.image, IMAGE_TYPE, frame.message.raw)
        if topics.compressed:
            self._put(at_ns, topics.compressed, COMPRESSED_TYPE, self._compressed(frame))
        if self._info is not None and topics.info:
            self._put(at_ns, topics.info, CAMERA_INFO_TYPE, info_bytes(self._info, head))
        if frame.ir is not None:
            self._put(at_ns, topics.ir, IMAGE_TYPE, image_bytes(head, "mono8", frame.ir))

    def _put(self, recorded_ns: int, topic: str | None, kind: str, raw: Bytes | None) -> None:
        """Hold a serialized message, where there is one and the topic is wanted."""
        if topic is not None and raw is not None:
            heapq.heappush(self._held, (recorded_ns, self._number, topic, kind, bytes(raw)))
            self._number += 1

    def _compressed(self, frame: FusedFrame) -> Bytes | None:
        """Return the frame as JPEG; None for a passed image that cannot be decoded."""
        source = frame.source
        if frame.outcome == PASSED and source.type == COMPRESSED_TYPE:
            return source.raw
        if frame.fused is None:
            return None
        quality = self.fusion.settings.topics.jpeg_quality
        return compressed_messages.encode(frame.fused, source.message.head, quality=quality)


class SecondsOfFrames:
    """Gathers frames and reports once a second of recording what became of them.

    Nothing in it depends on the speed of the machine: the same bag gives the same diagnostics.
    """

    def __init__(self) -> None:
        self._from_ns: int | None = None
        self._frames: list[FusedFrame] = []

    def add(self, frame: FusedFrame) -> Any | None:
        """Take the next frame; return the message about the second that it ends, or None."""
        if self._from_ns is None:
            self._from_ns = frame.recorded_ns
        self._frames.append(frame)
        passed_ns = frame.recorded_ns - self._from_ns
        if passed_ns < NS_PER_S:
            return None
        message = _message(self._frames, passed_ns / NS_PER_S)
        self._from_ns, self._frames = frame.recorded_ns, []
        return message


def _message(frames: list[FusedFrame], seconds: float) -> Any:
    last = frames[-1]
    fused = [frame for frame in frames if frame.outcome == FUSED]
    skews_s = [abs(frame.skew_s) for frame in fused if frame.skew_s is not None]
    if any(frame.outcome == DROPPED for frame in frames):
        level, said = ERROR, "visible frames are dropped"
    elif len(fused) < len(frames):
        level, said = WARN, "visible frames pass unchanged: " + last.reason
    else:
        level, said = OK, "all visible frames are fused"
    values: dict[str, str] = {
        "visible rate (Hz)": f"{len(frames) / seconds:.2f}",
        "fused of them": f"{len(fused)} of {len(frames)}",
        "largest skew (ms)": f"{1e3 * max(skews_s):.1f}" if skews_s else "none fused",
    }
    values.update({name: str(count) for name, count in sorted(last.counts.items())})
    health_level = OK if last.ir_health == HEALTHY else WARN
    return SimpleNamespace(
        header=make_header(last.recorded_ns, ""),
        status=[
            _status("fuse_bag: fusion", level, said, values),
            _status("fuse_bag: ir", health_level, "thermal camera: " + last.ir_health, {}),
        ],
    )


def _status(name: str, level: int, text: str, values: Mapping[str, str]) -> Any:
    return SimpleNamespace(
        level=level,
        name=name,
        message=text,
        hardware_id="",
        values=[SimpleNamespace(key=key, value=value) for key, value in values.items()],
    )
