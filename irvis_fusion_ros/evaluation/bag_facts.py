"""What a bag holds, as far as the report tells it and has to know before the walk."""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from irvis_fusion_ros.bags.bag import NS_PER_S, BagError, image_topics, read_messages
from irvis_fusion_ros.bags.bag_topics import FusionTopics

_RATE_FROM = 30
"""Visible frames that the rate is told by."""
_LOOKED_AT = 400


class BagFacts(NamedTuple):
    """Counts are the bag's own; sizes and rate are of its beginning."""

    path: str
    topics: FusionTopics
    vis_frames: int
    ir_frames: int
    vis_rate_hz: float  # 0 where that cannot be told
    vis_size: Optional[Tuple[int, int]]  # height, width of the first; None for compressed ones
    formats: Dict[str, str]  # "vis" and "ir": "640x480 bgr8", where a message was seen

    @property
    def name(self) -> str:
        """The bag's name without folders."""
        return os.path.basename(os.path.normpath(os.path.abspath(self.path)))

    @property
    def apart_s(self) -> float:
        """How far apart frames must be to be shown as different ones: less in short bags."""
        if self.vis_rate_hz <= 0:
            return 0.0
        return min(1.0, 0.05 * self.vis_frames / self.vis_rate_hz)

    def as_dict(self) -> Dict[str, Any]:
        """What is written into summary.json."""
        return {
            "name": self.name,
            "path": self.path,
            "vis_topic": self.topics.vis,
            "ir_topic": self.topics.ir,
            "vis_frames": self.vis_frames,
            "ir_frames": self.ir_frames,
            "vis_rate_hz": round(self.vis_rate_hz, 3),
            "formats": self.formats,
        }


def read_facts(bag: str, topics: FusionTopics) -> BagFacts:
    """Look at the bag's index and its first messages.

    Raises:
        BagError: it cannot be read, or a topic is not there.
    """
    counts: Dict[str, int] = {}
    for topic in image_topics(bag):
        counts[topic.name] = counts.get(topic.name, 0) + topic.messages
    recorded_ns: List[int] = []
    formats: Dict[str, str] = {}
    size: Optional[Tuple[int, int]] = None
    try:
        for looked_at, found in enumerate(read_messages(bag, (topics.ir, topics.vis))):
            if found.topic == topics.vis:
                recorded_ns.append(found.recorded_ns)
                size = size or _size(found.message)
            name = "vis" if found.topic == topics.vis else "ir"
            formats.setdefault(name, _format(found.message))
            enough = len(recorded_ns) >= _RATE_FROM and len(formats) == 2
            if enough or looked_at >= _LOOKED_AT:
                break
    except BagError:
        if not formats:
            raise  # not one message; else the walk tells it, with what there is until then
    span_s = (recorded_ns[-1] - recorded_ns[0]) / NS_PER_S if recorded_ns else 0.0
    rate_hz = (len(recorded_ns) - 1) / span_s if span_s > 0 else 0.0
    return BagFacts(
        bag, topics, counts.get(topics.vis, 0), counts.get(topics.ir, 0), rate_hz, size, formats
    )


def _size(message: Any) -> Optional[Tuple[int, int]]:
    if not hasattr(message, "height"):
        return None
    return int(message.height), int(message.width)


def _format(message: Any) -> str:
    if hasattr(message, "format"):
        return f"compressed, {message.format}"
    return f"{message.width}x{message.height} {message.encoding}"
