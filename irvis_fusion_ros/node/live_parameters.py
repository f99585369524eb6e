"""Parameters that are set while the node runs: refused with a reason, or put to use at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.node.frame_intake import FrameIntake
from irvis_fusion_ros.node.topics.calibration_topics import CalibrationTopics
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings, spec_of, why_refused
from irvis_fusion_ros.pipeline.current_stages import CurrentStages


class Parts(NamedTuple):
    """The parts that parameters are put to use in."""

    intake: FrameIntake
    stages: CurrentStages
    calibrations: CalibrationTopics
    follow_demand: Callable[[], None]


def refusal(error: Exception) -> SetParametersResult:
    """Return the answer to a request at which `error` was raised."""
    return SetParametersResult(successful=False, reason=f"{type(error).__name__}: {error}")


class LiveParameters:
    """Answers `set_parameters`; the settings change only when all parts accept."""

    def __init__(self, live: LiveSettings) -> None:
        """Change `live`, which all parts of the node read."""
        self._live = live
        self._parts: Parts | None = None

    def use(self, parts: Parts) -> None:
        """Put what is set into `parts`: the node is configured now."""
        self._parts = parts

    def forget(self) -> None:
        """Accept any valid parameter: the node is not configured."""
        self._parts = None

    def on_set(self, wanted: Sequence[Parameter]) -> SetParametersResult:
        """Accept all of `wanted` or none."""
        values = {each.name: each.value for each in wanted if spec_of(each.name) is not None}
        parts, current = self._parts, self._live.current
        reason = why_refused(values, parts is not None, current)
        if reason is None and parts is not None:
            reason = self._exchange(parts, current.changed(values))
        return SetParametersResult(successful=reason is None, reason=reason or "")

    def _exchange(self, parts: Parts, new: Settings) -> str | None:
        """Put `new` to use; return why that cannot be, with everything as it was."""
        before = self._live.current
        try:
            put_to_use = parts.intake.prepare(new)
            parts.stages.renew(new)  # exchanges all stages, or raises and exchanges none
        except FusionError as error:
            return str(error)
        self._live.current = new
        put_to_use()
        parts.calibrations.follow()
        if parts.stages.stages.problem:
            parts.stages.renew_registration()  # `follow` may have found out why one is missing
        if new.node.lazy != before.node.lazy:
            parts.follow_demand()
        return None
