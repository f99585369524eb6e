"""The walk with the pairs given: what a live run fused with what, done again bit for bit.

A live run may pair otherwise than the recorded times say, for messages arrive when they arrive,
and what it skips moves the thermal limits otherwise. Given its pairs, the walk has to make the
very same images; where it does not, something is wrong.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Dict, List, Mapping, Optional, Tuple

from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.bags.replay.offline_fusion import OfflineFusion
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.frame_decision import Decision, FrameDecider
from irvis_fusion_ros.pipeline.frames import FUSED, PASSED, IrFrame

NOT_FUSED = "not_fused_live"
_KEPT = 64
_TOLERANCE_NS = 2_000
"""Skews are published in 32-bit milliseconds."""
_WAIT_NS = 2 * NS_PER_S


class ScriptedDecider(FrameDecider):
    """Fuses the pairs of a script, and passes everything else on."""

    def __init__(self, settings: Settings, script: Mapping[int, int]) -> None:
        """Take `script`: visible stamp -> thermal stamp, in ns, as the headers have them."""
        super().__init__(settings)
        self._script = script
        self._thermal: Deque[IrFrame] = deque(maxlen=_KEPT)
        self._queue: Deque[Tuple[int, Any, int]] = deque()

    @property
    def pending(self) -> int:
        """Visible frames whose thermal frame is still to come."""
        return len(self._queue)

    def counters(self) -> Dict[str, int]:
        """Nothing: pairing is not asked."""
        return {}

    def add_ir(self, frame: IrFrame, now_ns: int) -> List[Decision]:
        """Keep a thermal frame; decide what waited for it."""
        self._thermal.append(frame)
        return self._settle(now_ns)

    def add_vis(self, stamp_ns: int, vis: Any, now_ns: int) -> List[Decision]:
        """Take a visible frame; in order, each as soon as its thermal frame is there."""
        self._queue.append((stamp_ns, vis, now_ns))
        return self._settle(now_ns)

    def expire(self, now_ns: int) -> List[Decision]:
        """Give up what has waited too long."""
        return self._settle(now_ns)

    def _settle(self, now_ns: int) -> List[Decision]:
        settled: List[Decision] = []
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

    def _find(self, stamp_ns: int) -> Optional[IrFrame]:
        for item in reversed(self._thermal):
            if abs(item.stamp_ns - stamp_ns) <= _TOLERANCE_NS:
                return item
        return None


class ScriptedFusion(OfflineFusion):
    """The walk of `OfflineFusion` with the pairs of a script."""

    def __init__(self, settings: Settings, script: Mapping[int, int], fusion: Any = None) -> None:
        """As `OfflineFusion`, with `script` as of `ScriptedDecider`."""
        super().__init__(settings, fusion, decider=ScriptedDecider(settings, script))
