"""Parameters that are set while the node runs: refused with a reason, or put to use at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.node.configured import Configured
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings, spec_of, why_refused

if TYPE_CHECKING:
    from irvis_fusion_ros.node.fusion_node import FusionNode


def refusal(error: Exception) -> SetParametersResult:
    """Return the answer to a request at which `error` was raised."""
    return SetParametersResult(successful=False, reason=f"{type(error).__name__}: {error}")


def set_live(node: FusionNode, wanted: Sequence[Parameter]) -> SetParametersResult:
    """Put all of `wanted` to use or none; any valid one is accepted while not configured."""
    values = {each.name: each.value for each in wanted if spec_of(each.name) is not None}
    current = node.live.current
    reason = why_refused(values, node.configured is not None, current)
    if reason is None and node.configured is not None:
        reason = _exchange(node.live, node.configured, current.changed(values))
        node.follow_demand()
    return SetParametersResult(successful=reason is None, reason=reason or "")


def _exchange(live: LiveSettings, parts: Configured, new: Settings) -> str | None:
    """Put `new` to use; return why that cannot be, with everything as it was."""
    try:
        put_to_use = parts.intake.prepare(new)
        parts.stages.renew(new)  # exchanges all stages, or raises and exchanges none
    except FusionError as error:
        return str(error)
    live.current = new
    put_to_use()
    parts.calibrations.follow()
    if parts.stages.stages.problem:
        parts.stages.renew_registration()  # `follow` may have found out why one is missing
    return None
