"""What the demo's processes wrote down, put together into one table. Knows no ROS."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from irvis_fusion_core.detectors.box import Box
from irvis_fusion_core.detectors.people_detector import count_hits


class Stream(NamedTuple):
    """How one topic arrived at the consumer during the measured time."""

    published: int
    arrived: int  # of those published
    rate_hz: float
    p50_ms: float  # stamp to arrival
    p99_ms: float
    people: str  # found of those that were there, or found an image

    @property
    def missing(self) -> int:
        """Frames that never arrived."""
        return self.published - self.arrived


def make_stream(
    published: Sequence[Dict[str, Any]], record: Dict[str, Any], window_ns: Tuple[int, int]
) -> Stream:
    """Compare what the cameras published with what a consumer received.

    Args:
        published: `{"stamp_ns", "people"}` of each visible frame.
        record: of the consumer: `arrivals` and `detections`.
        window_ns: frames stamped within (from, until) count.
    """
    begin, end = window_ns
    truth = {f["stamp_ns"]: f["people"] for f in published if begin <= f["stamp_ns"] < end}
    latencies_ms: Dict[int, float] = {}
    for arrival in record["arrivals"]:
        if arrival["stamp_ns"] in truth:
            taken = 1e-6 * (arrival["arrived_ns"] - arrival["stamp_ns"])
            latencies_ms.setdefault(arrival["stamp_ns"], taken)
    p50, p99 = (float("nan"),) * 2
    if latencies_ms:
        p50, p99 = np.percentile(list(latencies_ms.values()), [50, 99])
    seconds = 1e-9 * (end - begin)
    return Stream(
        published=len(truth),
        arrived=len(latencies_ms),
        rate_hz=len(latencies_ms) / seconds if seconds > 0 else 0.0,
        p50_ms=float(p50),
        p99_ms=float(p99),
        people=_people(truth, record["detections"]),
    )


def _people(truth: Dict[int, Any], detections: Sequence[Dict[str, Any]]) -> str:
    looked_at = [d for d in detections if d["stamp_ns"] in truth and d["people"] is not None]
    if not looked_at:
        return "-"
    found = there = 0
    for detection in looked_at:
        boxes = [Box(*box) for box in detection["people"]]
        people = truth[detection["stamp_ns"]]
        if people is None:  # real images: nobody knows how many there are
            found += len(boxes)
        else:
            there += len(people)
            found += count_hits(boxes, [Box(*box) for box in people])
    if there:
        return "%d of %d (%d %%)" % (found, there, round(100.0 * found / there))
    return "%.2f an image" % (found / len(looked_at))


def make_table(streams: Dict[str, Stream]) -> List[List[str]]:
    """Rows with headings, one for each topic."""
    rows = [["topic", "Hz", "published", "arrived", "missing", "p50 ms", "p99 ms", "people found"]]
    for name, stream in streams.items():
        rows.append(
            [
                name,
                "%.1f" % stream.rate_hz,
                str(stream.published),
                str(stream.arrived),
                str(stream.missing),
                "%.1f" % stream.p50_ms,
                "%.1f" % stream.p99_ms,
                stream.people,
            ]
        )
    return rows
