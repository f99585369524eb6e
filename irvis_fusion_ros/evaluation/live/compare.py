"""Compare what the running node published with the offline replay of the same bag.

A frame is identified by its visible stamp. If both fused it with the same thermal frame, the
bytes must be equal. Every other difference has a cause: a live run may pair differently, because
messages arrive with delays, and the frames that it skips change the history of the thermal limits.
With its pairs (`ScriptedDecider`) the replay must make the same images.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.bags.replay.offline_fusion import RecordedVis
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.frame_decision import Decision, FrameDecider
from irvis_fusion_ros.pipeline.frames import FUSED, PASSED, IrFrame

IDENTICAL = "identical"
KEPT_BACK = "kept back by both"
NOT_RECEIVED = "did not come out"
PASSED_LIVE = "passed on unchanged: the node was late or warming up"
FUSED_LIVE = "fused live, left alone by the walk"
OTHER_THERMAL = "fused with another thermal frame: messages arrived in another order"
OTHER_LIMITS = "same pair, thermal limits of another history"
UNKNOWN = "cannot be told: not every skew that the node published arrived"
UNEXPLAINED = "differs for no known cause"

NOT_FUSED = "not_fused_live"
_KEPT = 64
_TOLERANCE_NS = 2_000
"""Skews are published in milliseconds as float32."""
_WAIT_NS = 2 * NS_PER_S


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

    Both come in order of publication; skews have `offset_s`, the parameter `ir_time_offset_s`,
    applied. None if their numbers differ: some skews were lost.
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
    """Return the result of the comparison from the cause of every frame.

    `shared` frames were fused by both from the same pair, `shared_equal` of them with equal bytes;
    the replay repeats `given` live fused frames with the live pairs.
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


class ScriptedDecider(FrameDecider[RecordedVis]):
    """Lets `OfflineFusion` fuse the pairs of a script, and pass everything else on."""

    def __init__(self, settings: Settings, script: Mapping[int, int]) -> None:
        """Take `script`: visible stamp -> thermal stamp in ns, as in the headers."""
        super().__init__(settings)
        self._script = script
        self._thermal: deque[IrFrame] = deque(maxlen=_KEPT)
        self._queue: deque[tuple[int, RecordedVis, int]] = deque()

    @property
    def pending(self) -> int:
        """Visible frames that wait for their thermal frame."""
        return len(self._queue)

    def counters(self) -> dict[str, int]:
        """Return nothing: pairing is not used."""
        return {}

    def add_ir(self, frame: IrFrame, now_ns: int) -> list[Decision]:
        """Keep a thermal frame; decide on the visible frames that waited for it."""
        self._thermal.append(frame)
        return self.expire(now_ns)

    def add_vis(self, stamp_ns: int, vis: RecordedVis, now_ns: int) -> list[Decision]:
        """Take a visible frame; decide in order, when the thermal frame is there."""
        self._queue.append((stamp_ns, vis, now_ns))
        return self.expire(now_ns)

    def expire(self, now_ns: int) -> list[Decision]:
        """Decide on the frames that have their thermal frame, or waited too long for it."""
        settled: list[Decision] = []
        while self._queue:
            stamp_ns, vis, since_ns = self._queue[0]
            wanted = self._script.get(stamp_ns)
            item = None if wanted is None else self._find(wanted)
            if wanted is not None and item is None and now_ns - since_ns < _WAIT_NS:
                break
            self._queue.popleft()
            action, reason = (PASSED, NOT_FUSED) if item is None else (FUSED, FUSED)
            settled.append(Decision(action, reason, vis, stamp_ns, item, None, "ok"))
        return settled

    def _find(self, stamp_ns: int) -> IrFrame | None:
        close = (f for f in reversed(self._thermal) if abs(f.stamp_ns - stamp_ns) <= _TOLERANCE_NS)
        return next(close, None)
