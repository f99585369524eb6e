"""Compare what the running node published with the offline replay of the same bag.

A frame is identified by its visible stamp. If both fused it with the same thermal frame, the
bytes must be equal. Every other difference has a cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

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
    """A visible frame of the offline replay; `image` is a `recording.digest`, or None."""

    stamp_ns: int
    outcome: str
    ir_stamp_ns: int | None
    image: str | None


class LiveFrame(NamedTuple):
    """The same frame of the live run; images are digests."""

    image: str | None  # as received
    unchanged: str | None  # the visible image as it is passed on
    ir_stamp_ns: int | None  # of the fused thermal frame; None if unknown
    scripted: str | None  # as the offline replay fuses the pair of the live run


def judge(walk: WalkFrame, live: LiveFrame | None) -> str:
    """Return one of the causes above."""
    if live is None or live.image is None:
        return KEPT_BACK if walk.image is None else NOT_RECEIVED
    if live.image == walk.image:
        return IDENTICAL
    if live.image == live.unchanged:
        return PASSED_LIVE
    if live.ir_stamp_ns is None:
        return UNKNOWN
    if live.scripted != live.image:
        return UNEXPLAINED
    if walk.outcome != "fused":
        return FUSED_LIVE
    return OTHER_LIMITS if live.ir_stamp_ns == walk.ir_stamp_ns else OTHER_THERMAL


def thermal_stamps(
    fused_stamps_ns: Sequence[int], skews_ms: Sequence[float], offset_s: float
) -> dict[int, int] | None:
    """Return visible stamp -> thermal stamp of the fused frames, from the published skews.

    Args:
        fused_stamps_ns: Visible stamps of the fused images in order of publication.
        skews_ms: IR stamp minus visible stamp, with the offset applied, in the same order.
        offset_s: The parameter `ir_time_offset_s`.

    Returns:
        None if the numbers of skews and images differ: some skews were lost.
    """
    if len(fused_stamps_ns) != len(skews_ms):
        return None
    return {
        # In integers: a float64 holds a present-day stamp in ns only to 256 ns.
        stamp_ns: stamp_ns + round(1e6 * skew_ms) - round(1e9 * offset_s)
        for stamp_ns, skew_ms in zip(fused_stamps_ns, skews_ms)
    }


def count_causes(verdicts: Sequence[str]) -> dict[str, int]:
    """Return the number of frames by cause, without the identical ones."""
    return dict(Counter(v for v in verdicts if v not in (IDENTICAL, KEPT_BACK)))


def both_have(walk: WalkFrame, live: LiveFrame | None) -> bool:
    """Return whether both fused this frame from the same pair."""
    if live is None or live.image in (None, live.unchanged) or walk.outcome != "fused":
        return False
    return live.image == walk.image or live.ir_stamp_ns == walk.ir_stamp_ns


def sentence(verdicts: Sequence[str], shared: int, shared_equal: int, given: int) -> str:
    """Return the result of the comparison.

    Args:
        verdicts: The cause of every frame.
        shared: Number of frames that both fused from the same pair.
        shared_equal: Number of these with equal bytes.
        given: Number of live fused frames that the replay repeats with the live pairs.
    """
    frames, same = len(verdicts), verdicts.count(IDENTICAL) + verdicts.count(KEPT_BACK)
    text = (
        f"{same} of {frames} frames from the running node equal those of the offline replay. Both "
        f"fused {shared} frames from the same pair; {shared_equal} of them are equal byte by byte"
    )
    if verdicts.count(UNEXPLAINED):
        return text + f"; {verdicts.count(UNEXPLAINED)} differ for no known cause."
    if same < frames and UNKNOWN not in verdicts:
        text += f"; with the pairs of the live run, the replay repeats all {given} of its images"
    return text + "."
