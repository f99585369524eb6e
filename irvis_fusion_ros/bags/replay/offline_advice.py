"""Why a bag gave no fused frame, and which parameter would change that."""

from __future__ import annotations

import statistics
from collections import Counter, deque
from typing import Deque, Dict, Mapping, Optional, Tuple

from irvis_fusion_core.streams.health import AHEAD, LATE, OK, STALE
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.frame_decision import FUSED, Decision

SKEWS_KEPT = 300
APART = (AHEAD, LATE, STALE)
"""Verdicts by the thermal camera's stamps: `max_ir_age_s` is what they go by."""


class SkewWatch:
    """Remembers how far the streams lay apart at visible frames that were left alone.

    Two skews, as there are two limits. Where the verdict on the camera's stamps was bad, it is
    that of the newest thermal frame at the visible one's arrival (by `max_ir_age_s`); else that
    of the nearest thermal frame in memory (by `slop_s`).
    """

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._seen: Dict[str, Deque[float]] = {
            "max_ir_age_s": deque(maxlen=SKEWS_KEPT),
            "slop_s": deque(maxlen=SKEWS_KEPT),
        }
        self._times: Dict[str, int] = Counter()

    def add(self, decision: Decision, arrival_skew_s: Optional[float], policy: str) -> None:
        """Note a decision, where it says that a frame stays alone."""
        if decision.ir is not None or decision.health not in (*APART, OK):
            return  # fused, or alone for another reason than time
        by_age = decision.health in APART or policy == "latest_ir"
        skew_s = arrival_skew_s if by_age else decision.skew_s
        if skew_s is not None:
            limit = "max_ir_age_s" if by_age else "slop_s"
            self._seen[limit].append(skew_s)
            self._times[limit] += 1

    def most(self) -> Optional[Tuple[str, Deque[float]]]:
        """The limit that most frames were beyond, and their last skews; None without any."""
        if not self._times:
            return None
        limit = max(self._times, key=lambda name: (self._times[name], name))
        return limit, self._seen[limit]


def why_nothing_fused(counts: Mapping[str, int], skews: SkewWatch, settings: Settings) -> str:
    """One sentence or two: what became of the frames, the skew that was seen, what would help.

    Args:
        counts, skews: `OfflineFusion.counts()` and `.skews` after the walk.
        settings: the parameters that it was made with.
    """
    outcomes = {
        name: count
        for name, count in counts.items()
        if name != FUSED and name.startswith(("passed", "dropped"))
    }
    if not outcomes:
        return "there was no visible frame"
    said = ", ".join(f"{name} {count}" for name, count in sorted(outcomes.items()))
    return f"of the visible frames {said}" + _advice(skews, settings)


def _advice(skews: SkewWatch, settings: Settings) -> str:
    most = skews.most()
    if most is None:
        return ""
    limit, seen = most
    skews_s = sorted(seen)
    low_s, high_s, allowed_s = skews_s[0], skews_s[-1], settings.value(limit)
    by_age = limit == "max_ir_age_s"
    which = "newest thermal stamps at their arrival" if by_age else "nearest thermal frames"
    text = (
        f"; the {which} lie {low_s:+.3f} to {high_s:+.3f} s from the visible ones (median "
        f"{statistics.median(skews_s):+.3f} s), and {limit} is {allowed_s:g}"
    )
    if max(abs(low_s), abs(high_s)) <= allowed_s:
        return text
    text += f"; {limit}:={_rounded_up(max(abs(low_s), abs(high_s))):g} would take all of them"
    # The newest thermal frame is up to a period old: only the freshest tell how clocks differ.
    apart_s = skews_s[int(0.9 * (len(skews_s) - 1))] if by_age else statistics.median(skews_s)
    offset_s = settings.pairing.ir_time_offset_s - apart_s
    if abs(offset_s) <= 10 and abs(apart_s) > allowed_s:
        text += (
            f", ir_time_offset_s:={offset_s:.3f} would bring them together if the thermal "
            "camera's clock differs by so much"
        )
    return text


def _rounded_up(seconds: float) -> float:
    return (int(seconds * 1e3) + 1) / 1e3
