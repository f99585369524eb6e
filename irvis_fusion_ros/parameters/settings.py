"""Every parameter of the node once: `Settings` joins the sections, `TABLE` derives from them.

A new parameter is one row, a field and the text below it, in `node_settings.py` or
`camera_settings.py`. Declaration, validation, `config/fusion.yaml` and `docs/parameters.md` follow
from it.

A parameter marked `live` may change at any time. The others may be set only while the node is
unconfigured (`ros2 lifecycle set /fusion_node cleanup`).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.parameters.camera_settings import RegistrationSettings, ThermalSettings
from irvis_fusion_ros.parameters.node_settings import (
    EngineSettings,
    IrLossSettings,
    NodeSettings,
    PairingSettings,
    ReportSettings,
    TopicSettings,
)
from irvis_fusion_ros.parameters.spec import ParameterSpec, specs_of


@dataclass(frozen=True)
class Settings:
    """The values of all parameters; `Settings()` has the defaults."""

    node: NodeSettings = NodeSettings()
    topics: TopicSettings = TopicSettings()
    engine: EngineSettings = EngineSettings()
    pairing: PairingSettings = PairingSettings()
    ir_loss: IrLossSettings = IrLossSettings()
    thermal: ThermalSettings = ThermalSettings()
    registration: RegistrationSettings = RegistrationSettings()
    reports: ReportSettings = ReportSettings()

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Settings:
        """Return the defaults changed by `values`; raises as `changed`."""
        return cls().changed(values)

    def changed(self, values: Mapping[str, object]) -> Settings:
        """Return new settings in which `values` (ROS name to value) replace the old ones.

        Raises:
            ConfigurationError: a name that the table lacks, or a value that it does not allow.
        """
        fields: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            spec = spec_of(name)
            if spec is None:
                raise ConfigurationError(no_such_parameter(name))
            reason = spec.why_invalid(value)
            if reason:
                raise ConfigurationError(f"parameter {name}: {reason}")
            fields.setdefault(spec.section, {})[_FIELDS[name]] = spec.coerced(value)
        sections = {
            name: dataclasses.replace(getattr(self, name), **new) for name, new in fields.items()
        }
        return dataclasses.replace(self, **sections)

    def value(self, name: str) -> Any:
        """Return the value of the parameter with the ROS name `name`."""
        return getattr(getattr(self, _BY_NAME[name].section), _FIELDS[name])

    def to_mapping(self) -> dict[str, Any]:
        """Return every value by its ROS name, tuples as lists: what YAML and JSON write."""
        values = ((spec.name, self.value(spec.name)) for spec in TABLE)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values}


@dataclass
class LiveSettings:
    """Holds the current settings; a change replaces `current` with new settings."""

    current: Settings


def spec_of(name: str) -> ParameterSpec | None:
    """Return the row of the parameter `name`, or None when there is none."""
    return _BY_NAME.get(name)


def no_such_parameter(name: str) -> str:
    """Return a sentence on a name that the table lacks, with the closest one."""
    close = difflib.get_close_matches(name, _BY_NAME, 1)
    advice = f"did you mean {close[0]!r}?" if close else "docs/parameters.md lists them"
    return f"no parameter is named {name!r}; {advice}"


def why_refused(
    changes: Mapping[str, object], configured: bool, current: Settings | None = None
) -> str | None:
    """Return why `changes` (ROS name to new value) cannot be made now, or None when they can.

    A value that equals the one in `current` is no change, so a whole file may be loaded at any
    time. Names outside the table (use_sim_time, QoS overrides) are never refused.
    """
    for name, value in changes.items():
        spec = spec_of(name)
        if spec is None:
            continue
        reason = spec.why_invalid(value)
        if reason:
            return f"{name}: {reason}"
        unchanged = current is not None and current.value(name) == spec.coerced(value)
        if configured and not spec.live and not unchanged:
            return (
                f"{name} cannot change while the node is configured; run `ros2 lifecycle set` with"
                " deactivate and cleanup, set it, then configure and activate"
            )
    return None


_FIELDS: dict[str, str] = {}
"""ROS name to the name of the field within its section."""
_BY_NAME: dict[str, ParameterSpec] = {}
for _section in dataclasses.fields(Settings):
    for _field, _spec in specs_of(_section.name, _section.default).items():
        _FIELDS[_spec.name] = _field
        _BY_NAME[_spec.name] = _spec

TABLE = tuple(_BY_NAME.values())
SECTION_TITLES = {
    field.name: getattr(Settings, field.name).TITLE for field in dataclasses.fields(Settings)
}
