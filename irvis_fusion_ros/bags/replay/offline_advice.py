"""Why a bag gave no fused frame, and which parameter would change that."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict, deque
from collections.abc import Mapping

from irvis_fusion_core.streams.health import AHEAD, LATE, OK, STALE
from irvis_fusion_ros.parameters.settings import Settings, spec_of
from irvis_fusion_ros.pipeline.frame_decision import Decision

SKEWS_KEPT = 300
APART = (AHEAD, LATE, STALE)
"""Verdicts that depend on the stamps of the thermal camera and on `max_ir_age_s`."""


class SkewWatch:
    """Remembers the skew of visible frames that were not paired.

    There are two limits, so there are two skews. Where the verdict on the stamps was bad, it is
    the skew of the newest thermal frame when the visible one arrived (limit `max_ir_age_s`); else
    that of the nearest thermal frame in memory (limit `slop_s`).
    """

    def __init__(self) -> None:
        self._seen: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=SKEWS_KEPT))
        self._times: Counter[str] = Counter()

    def add(self, decision: Decision, arrival_skew_s: float | None, policy: str) -> None:
        """Take the skew of a decision on a frame that stays alone because of its time."""
        if decision.ir is not None or decision.health not in (*APART, OK):
            return  # fused, or alone for another reason than time
        by_age = decision.health in APART or policy == "latest_ir"
        skew_s = arrival_skew_s if by_age else decision.skew_s
        if skew_s is not None:
            limit = "max_ir_age_s" if by_age else "slop_s"
            self._seen[limit].append(skew_s)
            self._times[limit] += 1

    def most(self) -> tuple[str, deque[float]] | None:
        """Return the limit that most frames exceeded, and their last skews; None without any."""
        if not self._times:
            return None
        limit = max(self._times, key=lambda name: (self._times[name], name))
        return limit, self._seen[limit]


def why_nothing_fused(counts: Mapping[str, int], skews: SkewWatch, settings: Settings) -> str:
    """Return the outcomes of the frames, the skew that was seen, and which parameter helps.

    `counts` and `skews` are those of the `OfflineFusion` after its walk.
    """
    outcomes = sorted(item for item in counts.items() if item[0].startswith(("passed", "dropped")))
    if not outcomes:
        return "there was no visible frame"
    said = ", ".join(f"{name} {count}" for name, count in outcomes)
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
    largest_s = max(abs(low_s), abs(high_s))
    if largest_s <= allowed_s:
        return text
    changes = []
    limit_s = (int(largest_s * 1e3) + 1) / 1e3
    if _is_allowed(limit, limit_s):
        changes.append(f"{limit}:={limit_s:.3f} would take all of them")
    # The newest thermal frame is up to a period old: only the freshest tell how clocks differ.
    apart_s = skews_s[int(0.9 * (len(skews_s) - 1))] if by_age else statistics.median(skews_s)
    offset_s = settings.pairing.ir_time_offset_s - apart_s
    if abs(apart_s) > allowed_s and _is_allowed("ir_time_offset_s", offset_s):
        changes.append(
            f"ir_time_offset_s:={offset_s:.3f} would bring them together if the thermal "
            "camera's clock differs by that"
        )
    return "; ".join([text, ", ".join(changes)]) if changes else text


def _is_allowed(name: str, value: float) -> bool:
    spec = spec_of(name)
    return spec is not None and spec.why_invalid(value) is None
