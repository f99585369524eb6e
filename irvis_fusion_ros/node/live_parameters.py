"""Parameters that are set while the node runs: refused with a reason, or put to use at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rcl_interfaces.msg import SetParametersResult

from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.parameters import declaration as parameters


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

    def __init__(self, settings: dict[str, Any]) -> None:
        """Keep `settings`, which all parts of the node read, as they are set."""
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
        values = {parameter.name: parameter.value for parameter in wanted}
        parts = self._parts
        reason = parameters.why_refused(values, parts is not None, self._settings)
        if reason is None and parts is not None:
            known = parameters.known(values).items()
            new = {name: value for name, value in known if value != self._settings[name]}
            reason = self._exchange(parts, new)
        return SetParametersResult(successful=reason is None, reason=reason or "")

    def _exchange(self, parts: Parts, new: Mapping[str, Any]) -> str | None:
        """Put `new` to use; return why that cannot be, with everything as it was."""
        before = dict(self._settings)
        sections = {spec.section for spec in map(parameters.spec_of, new) if spec is not None}
        try:
            put_to_use = parts.intake.prepare({**before, **new}, new)
            self._settings.update(new)
            if sections & {"thermal", "registration"}:
                parts.processor.renew_stages()  # exchanges both, or raises and exchanges neither
        except FusionError as error:
            self._settings.update(before)
            return str(error)
        except Exception:
            self._settings.update(before)
            raise
        put_to_use()
        if "lazy" in new:
            parts.follow_demand()
        return None
