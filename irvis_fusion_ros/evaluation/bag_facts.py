"""Facts about the bag for the report, read before the replay."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from typing import Any, NamedTuple

from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.bags.bag import BagError, image_topics, read_messages
from irvis_fusion_ros.bags.bag_topics import FusionTopics

_RATE_FRAMES = 30
"""Visible frames from which the rate is computed."""
_MOST_MESSAGES = 400


class BagFacts(NamedTuple):
    """Counts are of the whole bag; sizes, formats and rate are of its first messages."""

    name: str
    path: str
    vis_topic: str
    ir_topic: str
    vis_frames: int
    ir_frames: int
    vis_rate_hz: float  # 0 if unknown
    formats: dict[str, str]  # "vis" and "ir": "640x480 bgr8", if a message was seen
    vis_size: tuple[int, int] | None  # height, width; None for compressed images

    @property
    def apart_s(self) -> float:
        """The least time between two frames on the page; shorter for short bags."""
        if self.vis_rate_hz <= 0:
            return 0.0
        return min(1.0, 0.05 * self.vis_frames / self.vis_rate_hz)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of summary.json."""
        return {name: value for name, value in self._asdict().items() if name != "vis_size"}


def read_facts(bag: str, topics: FusionTopics) -> BagFacts:
    """Read the bag's index and its first messages.

    Raises:
        BagError: The bag cannot be read, or lacks a topic.
    """
    counts: Counter[str] = Counter()
    for topic in image_topics(bag):
        counts[topic.name] += topic.messages
    recorded_ns: list[int] = []
    formats: dict[str, str] = {}
    size: tuple[int, int] | None = None
    messages = read_messages(bag, (topics.ir, topics.vis))
    try:
        for found in itertools.islice(messages, _MOST_MESSAGES):
            if found.message is None:
                continue
            is_vis = found.topic == topics.vis
            if is_vis:
                recorded_ns.append(found.recorded_ns)
                if size is None and hasattr(found.message, "height"):
                    size = (int(found.message.height), int(found.message.width))
            formats.setdefault("vis" if is_vis else "ir", _format(found.message))
            if len(recorded_ns) >= _RATE_FRAMES and len(formats) == 2:
                break
    except BagError:
        if not formats:
            raise  # otherwise the replay raises it, and reports what there was before
    span_s = (recorded_ns[-1] - recorded_ns[0]) / NS_PER_S if recorded_ns else 0.0
    rate_hz = round((len(recorded_ns) - 1) / span_s, 3) if span_s > 0 else 0.0
    bag = os.fsencode(bag).decode("utf-8", "replace")  # names are bytes, the report is text
    name = os.path.basename(os.path.abspath(bag))
    frames = (counts[topics.vis], counts[topics.ir])
    return BagFacts(name, bag, topics.vis, topics.ir, *frames, rate_hz, formats, size)


def _format(message: Any) -> str:
    if hasattr(message, "format"):
        return f"compressed, {message.format}"
    return f"{message.width}x{message.height} {message.encoding}"
