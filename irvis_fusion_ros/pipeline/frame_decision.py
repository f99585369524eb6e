"""Decides what becomes of each visible frame: pairing, health of the thermal camera, parameters.

The node and the bag tools use the same `FrameDecider`. It reads no clock: the caller gives the
time of arrival, so the same bag always gives the same decisions. It imports no ROS, unless the
parameters name ROS's own synchroniser.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from irvis_fusion_core.streams import pairing as pairing_module
from irvis_fusion_core.streams.health import HOLD, MISSING, STOP, IrHealth, Verdict, decide
from irvis_fusion_core.streams.pairing import PAIRED, Pair, PairingPolicy, make_pairing
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.frames import DISABLED, DROPPED, FUSED, PASSED, IrFrame
from irvis_fusion_ros.pipeline.message_filters_pairing import StockPairing

UNPAIRED = (pairing_module.NO_PARTNER, pairing_module.WAITED, pairing_module.QUEUE_FULL)
"""Reasons for which a visible frame stays alone although the thermal camera is well."""

Vis = TypeVar("Vis")


class Decision(NamedTuple):
    """What to do with a visible frame, and why."""

    action: str  # FUSED, PASSED or DROPPED
    reason: str  # FUSED, or why the frame is not fused
    vis: Any  # the visible frame as given to `add_vis`
    stamp_ns: int  # its stamp
    ir: IrFrame | None  # the thermal frame to fuse it with; None unless FUSED
    # IR stamp, with ir_time_offset_s, minus visible stamp: of `ir`, or, for a frame that is not
    # fused, of the nearest thermal frame known. None where there is none.
    skew_s: float | None
    health: str  # the verdict on the thermal camera, one of `health.REASONS` of the core


@dataclass(eq=False)
class FrameDecider(Generic[Vis]):
    """Feeds pairing and health, and decides on every visible frame exactly once.

    All times `now_ns` are on one steady clock: the monotonic clock in the node, the time of
    recording for a bag.

    Attributes:
        engine_ready: Whether the engine can fuse. While it cannot, `on_ir_loss: stop` passes
            visible frames: nothing could be fused anyway.
        verdict: The newest verdict on the thermal camera.

    Raises:
        ConfigurationError: Pairing or health parameters that do not go together.
    """

    settings: Settings
    engine_ready: Callable[[], bool] = lambda: True

    def __post_init__(self) -> None:
        self.verdict = Verdict(False, MISSING, "no thermal frame has arrived")
        self._pairing = make_policy(self.settings)
        self._health = make_health(self.settings)
        self._past_counts: Counter[str] = Counter()
        self._last_usable: tuple[IrFrame, int] | None = None

    def prepare(self, settings: Settings) -> Callable[[int], list[Decision]]:
        """Build what other parameters change; call the result with `now_ns` to put it to use.

        Nothing changes before that call. Counts go on. The watch over the thermal camera keeps
        what it has seen unless the time offset changes.

        Raises:
            ConfigurationError: Pairing or health parameters that do not go together.
        """
        before = self.settings
        policy = make_policy(settings)
        health = make_health(settings)
        other_policy = policy_options(settings) != policy_options(before)
        other_offset = settings.pairing.ir_time_offset_s != before.pairing.ir_time_offset_s

        def put_to_use(now_ns: int) -> list[Decision]:
            released: list[Decision] = []
            if other_policy:
                released = self._decide_all(self._pairing.clear("parameters"), now_ns)
                self._past_counts.update(self._pairing.counters)
                self._pairing = policy
            if other_offset:
                self._health = health
            else:
                self._health.take_limits(health)
            self.settings = settings
            return released

        return put_to_use

    @property
    def pending(self) -> int:
        """Visible frames that wait for a partner."""
        return int(self._pairing.pending)

    def counters(self) -> dict[str, int]:
        """Return the counts of pairing: frames in, pairs, frames left alone and dropped."""
        return dict(self._past_counts + Counter(self._pairing.counters))

    def add_ir(self, frame: IrFrame, now_ns: int) -> list[Decision]:
        """Take a thermal frame; return the decisions that it settles."""
        self._health.add_frame(frame.stamp_ns, frame.pixels, now_ns)
        return self._decide_all(self._pairing.add_ir(frame.stamp_ns, frame, now_ns), now_ns)

    def add_vis(self, stamp_ns: int, vis: Vis, now_ns: int) -> list[Decision]:
        """Take a visible frame; return what can be decided now."""
        pairs = self._pairing.add_vis(stamp_ns, vis, now_ns)
        return [self._decide(pair, now_ns) for pair in pairs]

    def expire(self, now_ns: int) -> list[Decision]:
        """Return the decisions on visible frames whose wait is over."""
        return self._decide_all(self._pairing.expire(now_ns), now_ns)

    def clear(self, cause: str, now_ns: int) -> list[Decision]:
        """Forget both streams; return the decisions on the frames that waited."""
        released = self._decide_all(self._pairing.clear(cause), now_ns)
        self._health.reset()
        self._last_usable = None
        return released

    def judge(self, stamp_ns: int, now_ns: int) -> Verdict:
        """Judge the thermal camera at `stamp_ns`, a time on the scale of the stamps."""
        self.verdict = self._health.verdict(stamp_ns, now_ns)
        return self.verdict

    def drop(self, reason: str, stamp_ns: int, vis: Vis) -> Decision:
        """Return the decision on a visible frame that cannot be read; pairing never sees it."""
        return Decision(DROPPED, reason, vis, stamp_ns, None, None, self.verdict.reason)

    def _decide_all(self, pairs: list[Pair], now_ns: int) -> list[Decision]:
        return [self._decide(pair, now_ns) for pair in pairs]

    def _decide(self, pair: Pair, now_ns: int) -> Decision:
        settings = self.settings
        if not settings.node.enabled:
            return self._decided(PASSED, DISABLED, pair)
        verdict = self.verdict = self._health.verdict(pair.vis_stamp_ns, now_ns)
        if pair.reason == PAIRED and verdict.usable:
            self._last_usable = (pair.ir, now_ns)
            stamp_ns = pair.vis_stamp_ns
            return Decision(FUSED, FUSED, pair.vis, stamp_ns, pair.ir, pair.skew_s, verdict.reason)
        # Against a stamp of zero every thermal frame is ahead: the thermal camera is not to blame.
        unstamped = pair.reason == pairing_module.ZERO_STAMP
        blame_ir = not verdict.usable and not unstamped
        reason = "ir_" + verdict.reason if blame_ir else pair.reason
        if verdict.usable and pair.reason in UNPAIRED:
            action = DROPPED if settings.pairing.on_unpaired == "drop" else PASSED
            return self._decided(action, reason, pair)
        action = decide(verdict._replace(usable=False), settings.ir_loss.on_ir_loss)
        if action == STOP and self.engine_ready():
            return self._decided(DROPPED, reason, pair)
        if action == HOLD and self._last_usable is not None:
            frame, since_ns = self._last_usable
            if now_ns - since_ns <= settings.ir_loss.hold_s * NS_PER_S:
                offset_ns = round(settings.pairing.ir_time_offset_s * NS_PER_S)
                skew_s = (frame.stamp_ns + offset_ns - pair.vis_stamp_ns) / NS_PER_S
                return self._decided(FUSED, FUSED, pair._replace(skew_s=skew_s), frame)
        return self._decided(PASSED, reason, pair)

    def _decided(
        self, action: str, reason: str, pair: Pair, ir: IrFrame | None = None
    ) -> Decision:
        health = self.verdict.reason
        return Decision(action, reason, pair.vis, pair.vis_stamp_ns, ir, pair.skew_s, health)


def policy_options(settings: Settings) -> dict[str, Any]:
    """Return what the pairing policy is built from."""
    options = asdict(settings.pairing)
    del options["on_unpaired"]  # decided here
    return {"policy": options.pop("pairing"), "depth": options.pop("pairing_depth"), **options}


def make_policy(settings: Settings) -> PairingPolicy:
    """Build the pairing policy that the parameters name; raises ConfigurationError."""
    options = policy_options(settings)
    if options["policy"] == StockPairing.name:
        values = (options[name] for name in ("slop_s", "ir_time_offset_s", "depth", "max_wait_s"))
        return StockPairing(*values)
    return make_pairing(**options)


def make_health(settings: Settings) -> IrHealth:
    """Build the watch over the thermal camera; raises ConfigurationError."""
    loss = settings.ir_loss
    size = (loss.ir_height, loss.ir_width)
    return IrHealth(
        max_ir_age_s=settings.pairing.max_ir_age_s,
        frozen_after_s=loss.ir_frozen_after_s,
        expected_size=size,
        ir_time_offset_s=settings.pairing.ir_time_offset_s,
        missing_after_s=loss.ir_missing_after_s,
    )
