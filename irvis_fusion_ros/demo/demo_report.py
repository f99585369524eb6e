"""Join the records of the demo's processes into one table; without ROS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from irvis_fusion_core.detectors.detection import Box
from irvis_fusion_core.detectors.people_detector import count_hits


class Stream(NamedTuple):
    """How one topic arrived at its consumer within the measured time."""

    published: int
    arrived: int  # of those published
    rate_hz: float
    p50_ms: float  # stamp to arrival
    p99_ms: float
    people: str  # found of those present, or found in an image

    @property
    def missing(self) -> int:
        """Number of frames that never arrived."""
        return self.published - self.arrived


def make_stream(
    published: Sequence[dict[str, Any]], record: Mapping[str, Any], window_ns: tuple[int, int]
) -> Stream:
    """Compare what the cameras published with what a consumer received.

    Args:
        published: `{"stamp_ns", "people"}` of each visible frame.
        record: The consumer's `arrivals` and `detections`.
        window_ns: Frames stamped within [from, until) count.
    """
    begin, end = window_ns
    truth = {f["stamp_ns"]: f["people"] for f in published if begin <= f["stamp_ns"] < end}
    latencies_ms: dict[int, float] = {}
    for arrival in record["arrivals"]:
        if arrival["stamp_ns"] in truth:
            taken = 1e-6 * (arrival["arrived_ns"] - arrival["stamp_ns"])
            latencies_ms.setdefault(arrival["stamp_ns"], taken)
    p50, p99 = np.percentile(list(latencies_ms.values()) or [float("nan")], [50, 99])
    seconds = 1e-9 * (end - begin)
    return Stream(
        published=len(truth),
        arrived=len(latencies_ms),
        rate_hz=len(latencies_ms) / seconds if seconds > 0 else 0.0,
        p50_ms=float(p50),
        p99_ms=float(p99),
        people=_people(truth, record["detections"]),
    )


def _people(truth: Mapping[int, Any], detections: Sequence[dict[str, Any]]) -> str:
    looked_at = [d for d in detections if d["stamp_ns"] in truth and d["people"] is not None]
    if not looked_at:
        return "-"
    found = present = 0
    for detection in looked_at:
        boxes = [Box(*box) for box in detection["people"]]
        people = truth[detection["stamp_ns"]]
        if people is None:  # the user's own images: the number is unknown
            found += len(boxes)
        else:
            present += len(people)
            found += count_hits(boxes, [Box(*box) for box in people])
    if present:
        return f"{found} of {present} ({100 * found / present:.0f} %)"
    return f"{found / len(looked_at):.2f} an image"


def make_table(streams: Mapping[str, Stream]) -> list[list[str]]:
    """Return a row of headings and a row for each topic."""
    rows = [["topic", "Hz", "published", "arrived", "missing", "p50 ms", "p99 ms", "people found"]]
    for name, s in streams.items():
        counts = [str(s.published), str(s.arrived), str(s.missing)]
        rows.append(
            [name, f"{s.rate_hz:.1f}", *counts, f"{s.p50_ms:.1f}", f"{s.p99_ms:.1f}", s.people]
        )
    return rows
