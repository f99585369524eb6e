"""What becomes of each visible frame, decided without a ROS graph and without a clock of its own.

Pairing first, then the thermal camera's health, then what the parameters ask for: the decisions
of the running node, in its order, for frames that come out of a bag. The time of arrival is the
caller's, so that the same bag always gives the same decisions. Nothing here imports ROS, unless
the parameters name ROS's own synchroniser.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from irvis_fusion_core.streams import pairing as pairing_module
from irvis_fusion_core.streams.health import HOLD, STOP, Verdict, decide
from irvis_fusion_core.streams.pairing import Pair
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.pairing_and_health import make_health, make_policy

FUSED = "fused"
PASSED = "passed"
DROPPED = "dropped"

DISABLED = "disabled"
UNPAIRED = (pairing_module.NO_PARTNER, pairing_module.WAITED, pairing_module.QUEUE_FULL)
"""Why a visible frame stays alone although the thermal camera is well."""

NS_PER_S = 1_000_000_000


class ThermalItem(NamedTuple):
    """A thermal frame as it came: HxW uint8, uint16 or float32; its place in the stream."""

    number: int
    stamp_ns: int
    pixels: np.ndarray


class Decision(NamedTuple):
    """What is to be done with a visible frame, and why.

    `ir` is the thermal frame to fuse it with (FUSED alone). `skew_s` is thermal minus visible
    after ir_time_offset_s: of that frame, else of the nearest one known, else None. `health` is
    the thermal camera's verdict, one of `irvis_fusion_core.streams.health.REASONS`.
    """

    action: str  # FUSED, PASSED or DROPPED
    reason: str  # FUSED, or why not
    vis: Any  # as it was given to add_vis
    stamp_ns: int
    ir: Optional[ThermalItem]
    skew_s: Optional[float]
    health: str


class FrameDecider:
    """Feeds pairing and health, and says of every visible frame exactly once what is to be done.

    `now_ns` is the time of arrival on any clock that does not go back; a bag's is the time of
    recording.
    """

    def __init__(self, settings: Settings) -> None:
        """Take the node's parameters.

        Raises:
            ConfigurationError: pairing or health parameters that do not go together.
        """
        self.verdict = Verdict(False, "missing", "no thermal frame has arrived")
        self._settings = settings
        self._pairing = make_policy(settings)
        self._health = make_health(settings)
        self._offset_ns = round(settings.pairing.ir_time_offset_s * NS_PER_S)
        self._last_usable: Optional[Tuple[ThermalItem, int]] = None

    @property
    def pending(self) -> int:
        """Visible frames that wait for a partner."""
        return int(self._pairing.pending)

    def counters(self) -> Dict[str, int]:
        """Pairing's counts: frames in, pairs, frames left alone and dropped, by cause."""
        return dict(self._pairing.counters)

    def add_ir(self, frame: ThermalItem, now_ns: int) -> List[Decision]:
        """Take a thermal frame; decide what it settles."""
        self._health.add_frame(frame.stamp_ns, frame.pixels, now_ns)
        return self._decide_all(self._pairing.add_ir(frame.stamp_ns, frame, now_ns), now_ns)

    def add_vis(self, stamp_ns: int, vis: Any, now_ns: int) -> List[Decision]:
        """Take a visible frame, whatever stands for it; decide what can be decided now."""
        return self._decide_all(self._pairing.add_vis(stamp_ns, vis, now_ns), now_ns)

    def expire(self, now_ns: int) -> List[Decision]:
        """Decide on visible frames whose wait is over."""
        return self._decide_all(self._pairing.expire(now_ns), now_ns)

    def drop(self, reason: str, stamp_ns: int, vis: Any) -> Decision:
        """A visible frame that is no image: pairing is not bothered with it."""
        return Decision(DROPPED, reason, vis, stamp_ns, None, None, self.verdict.reason)

    def _decide_all(self, pairs: List[Pair], now_ns: int) -> List[Decision]:
        return [self._decide(pair, now_ns) for pair in pairs]

    def _decide(self, pair: Pair, now_ns: int) -> Decision:
        settings = self._settings
        if not settings.node.enabled:
            return self._without_ir(PASSED, DISABLED, pair)
        self.verdict = self._health.verdict(pair.vis_stamp_ns, now_ns)
        if pair.paired and self.verdict.usable:
            self._last_usable = (pair.ir, now_ns)
            return self._fuse(pair, pair.ir, pair.skew_s)
        # Against a stamp of zero every thermal frame is ahead: that is not the thermal camera's.
        unstamped = pair.reason == pairing_module.ZERO_STAMP
        blame_ir = not self.verdict.usable and not unstamped
        reason = "ir_" + self.verdict.reason if blame_ir else pair.reason
        if self.verdict.usable and pair.reason in UNPAIRED:
            action = DROPPED if settings.pairing.on_unpaired == "drop" else PASSED
            return self._without_ir(action, reason, pair)
        action = decide(self.verdict._replace(usable=False), settings.ir_loss.on_ir_loss)
        if action == STOP:
            return self._without_ir(DROPPED, reason, pair)
        if action == HOLD and self._last_usable is not None:
            frame, since_ns = self._last_usable
            if now_ns - since_ns <= settings.ir_loss.hold_s * NS_PER_S:
                skew_s = (frame.stamp_ns + self._offset_ns - pair.vis_stamp_ns) / NS_PER_S
                return self._fuse(pair, frame, skew_s)
        return self._without_ir(PASSED, reason, pair)

    def _fuse(self, pair: Pair, ir: ThermalItem, skew_s: Optional[float]) -> Decision:
        health = self.verdict.reason
        return Decision(FUSED, FUSED, pair.vis, pair.vis_stamp_ns, ir, skew_s, health)

    def _without_ir(self, action: str, reason: str, pair: Pair) -> Decision:
        health = self.verdict.reason
        return Decision(action, reason, pair.vis, pair.vis_stamp_ns, None, pair.skew_s, health)
