"""The offline replay with given pairs: repeats bit for bit what a live run fused.

A live run may pair differently, because messages arrive with delays, and the frames that it skips
change the history of the thermal limits. With its pairs the replay must make the same images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.bags.replay.offline_fusion import RecordedVis
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.frame_decision import Decision, FrameDecider
from irvis_fusion_ros.pipeline.frames import FUSED, PASSED, IrFrame

NOT_FUSED = "not_fused_live"
_KEPT = 64
_TOLERANCE_NS = 2_000
"""Skews are published in milliseconds as float32."""
_WAIT_NS = 2 * NS_PER_S


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
