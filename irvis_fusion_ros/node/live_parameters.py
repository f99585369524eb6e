"""Parameters that are set while the node runs: refused with a reason, or put to use at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rcl_interfaces.msg import SetParametersResult

from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.parameters.settings import (
    LiveSettings,
    Settings,
    spec_of,
    why_refused,
)


class Parts(NamedTuple):
    """What parameters are put to use in."""

    intake: Any
    processor: Any
    follow_demand: Callable[[], None]


def refusal(error: Exception) -> SetParametersResult:
    """Return the answer to a request at which `error` was raised."""
    return SetParametersResult(successful=False, reason=f"{type(error).__name__}: {error}")


class LiveParameters:
    """The node's answer to `set_parameters`, and its settings with what was accepted."""

    def __init__(self, settings: LiveSettings) -> None:
        """Keep the holder `settings`, which all parts of the node read."""
        self._settings = settings
        self._parts: Parts | None = None

    def use(self, parts: Parts) -> None:
        """From now on the node is configured: what is set goes into `parts`."""
        self._parts = parts

    def forget(self) -> None:
        """From now on the node is not configured, and any parameter may be set."""
        self._parts = None

    def on_set(self, wanted: list[Any]) -> SetParametersResult:
        """Accept all of `wanted` or none: what refuses is asked before anything is exchanged."""
        values = {each.name: each.value for each in wanted if spec_of(each.name) is not None}
        parts, current = self._parts, self._settings.current
        reason = why_refused(values, parts is not None, current)
        if reason is None and parts is not None:
            reason = self._exchange(parts, current.changed(values))
        return SetParametersResult(successful=reason is None, reason=reason or "")

    def _exchange(self, parts: Parts, new: Settings) -> str | None:
        """Put `new` to use; return why that cannot be, with everything as it was."""
        before = self._settings.current
        try:
            put_to_use = parts.intake.prepare(new)
            self._settings.current = new
            if (new.thermal, new.registration) != (before.thermal, before.registration):
                parts.processor.renew_stages()  # exchanges both, or raises and exchanges neither
        except FusionError as error:
            self._settings.current = before
            return str(error)
        except Exception:
            self._settings.current = before
            raise
        put_to_use()
        if new.node.lazy != before.node.lazy:
            parts.follow_demand()
        return None
