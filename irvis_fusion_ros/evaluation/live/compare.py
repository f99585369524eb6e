"""What came out of the running node against what the walk over the same bag gives.

Frames are known by their visible stamp. "Both have" a frame when both fused it with the same
thermal frame; there the bytes have to be equal. Everything else has a cause.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

IDENTICAL = "identical"
KEPT_BACK = "kept back by both"
NOT_RECEIVED = "did not come out"
PASSED_LIVE = "passed on unchanged: the node was late or warming up"
FUSED_LIVE = "fused live, left alone by the walk"
OTHER_THERMAL = "fused with another thermal frame: messages arrived in another order"
OTHER_LIMITS = "same pair, thermal limits of another history"
UNKNOWN = "cannot be told: not every skew that the node published arrived"
UNEXPLAINED = "differs for no known cause"


class WalkFrame(NamedTuple):
    """A visible frame in the walk; digests as of `recording.digest`, None for no image."""

    stamp_ns: int
    outcome: str
    ir_stamp_ns: Optional[int]
    image: Optional[str]


class LiveFrame(NamedTuple):
    """The same frame in the live run; `scripted` is the walk's image given the live pair."""

    image: Optional[str]
    unchanged: Optional[str]  # digest of the visible image as it would pass
    ir_stamp_ns: Optional[int]  # None where it was not fused, or that is not known
    scripted: Optional[str]


def judge(walk: WalkFrame, live: Optional[LiveFrame]) -> str:
    """One of the causes above."""
    if live is None or live.image is None:
        return KEPT_BACK if walk.image is None else NOT_RECEIVED
    if live.image == walk.image:
        return IDENTICAL
    if live.image == live.unchanged:
        return PASSED_LIVE
    if live.ir_stamp_ns is None:
        return UNKNOWN
    explained = live.scripted == live.image
    if walk.outcome != "fused":
        return FUSED_LIVE if explained else UNEXPLAINED
    if live.ir_stamp_ns != walk.ir_stamp_ns:
        return OTHER_THERMAL if explained else UNEXPLAINED
    return OTHER_LIMITS if explained else UNEXPLAINED


def thermal_stamps(
    fused_stamps_ns: Sequence[int], skews_ms: Sequence[float], offset_s: float
) -> Optional[Dict[int, int]]:
    """Visible stamp -> thermal stamp of what was fused, by the skews that the node published.

    Args:
        fused_stamps_ns: visible stamps of the fused images in order of publishing.
        skews_ms: visible minus thermal stamp, offset applied, in the same order.
        offset_s: `ir_time_offset_s`.

    Returns:
        None where there are not as many skews as images: some were lost on their way.
    """
    if len(fused_stamps_ns) != len(skews_ms):
        return None
    return {
        # Whole numbers: as a float, a stamp of today is true to 256 ns only.
        stamp_ns: stamp_ns - round(1e6 * skew_ms) - round(1e9 * offset_s)
        for stamp_ns, skew_ms in zip(fused_stamps_ns, skews_ms)
    }


def count_causes(verdicts: Sequence[str]) -> Dict[str, int]:
    """How often each cause occurs, the identical ones left out."""
    return dict(Counter(v for v in verdicts if v not in (IDENTICAL, KEPT_BACK)))


def both_have(walk: WalkFrame, live: Optional[LiveFrame]) -> bool:
    """Whether both fused this frame from the same two images."""
    return (
        live is not None
        and live.image is not None
        and walk.outcome == "fused"
        and live.image != live.unchanged
        and (live.image == walk.image or live.ir_stamp_ns == walk.ir_stamp_ns)
    )


def sentence(verdicts: Sequence[str], shared: int, shared_equal: int, given: int) -> str:
    """What the comparison comes to.

    Args:
        shared: frames that both have; `shared_equal` of them with the same bytes.
        given: of the live run's fused frames, those that the walk repeats given its pairs.
    """
    frames, same = len(verdicts), verdicts.count(IDENTICAL) + verdicts.count(KEPT_BACK)
    text = f"{same} of {frames} frames came out of the running node exactly as of the walk. "
    text += f"Of {shared} frames that both fused from the same two images, {shared_equal} are "
    text += "equal byte by byte"
    if verdicts.count(UNEXPLAINED):
        return text + f"; {verdicts.count(UNEXPLAINED)} differ for no known cause."
    if same < frames and UNKNOWN not in verdicts:
        text += f"; given the pairs of the live run, the walk repeats all {given} of its images"
    return text + "."


def as_rows(
    name: str,
    walk: Sequence[WalkFrame],
    verdicts: Sequence[str],
    live: Mapping[int, Any],
    latency_ms: Mapping[int, float],
) -> List[Dict[str, Any]]:
    """The rows of live.csv."""
    rows = []
    for index, (frame, verdict) in enumerate(zip(walk, verdicts)):
        found = live.get(frame.stamp_ns)
        rows.append(
            {
                "configuration": name,
                "frame": index,
                "vis_stamp_ns": frame.stamp_ns,
                "verdict": verdict,
                "ir_stamp_ns": None if found is None else found.ir_stamp_ns,
                "image": None if found is None else found.image,
                "latency_ms": latency_ms.get(frame.stamp_ns),
            }
        )
    return rows
