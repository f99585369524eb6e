"""Every parameter of the node once: name, default, range, description, and when it may change.

Declaring, validating, `config/fusion.yaml` and the table in the documentation are derived from
`TABLE`::

    python -m irvis_fusion_ros.parameters --markdown
    python -m irvis_fusion_ros.parameters --yaml

A parameter marked `live` may change at any time; the others may be set while the node is
unconfigured (`ros2 lifecycle set /fusion_node cleanup`) and are refused, with that reason, else.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.parameters.node_table import SECTIONS, TABLE
from irvis_fusion_ros.parameters.spec import ParameterSpec

NODE_NAME = "fusion_node"


def spec_of(name: str) -> ParameterSpec | None:
    """Return the table's entry for `name`, or None when there is none."""
    return _BY_NAME.get(name)


def defaults() -> dict[str, Any]:
    """Return every parameter's default."""
    return {spec.name: spec.default for spec in TABLE}


def why_invalid(spec: ParameterSpec, value: Any) -> str | None:
    """Return why `spec` cannot have `value`, or None when it can.

    A whole number is taken for a float, since `ros2 param set` makes an integer of `7`.
    """
    if isinstance(spec.default, list):
        return _why_invalid_list(spec, value)
    return _why_invalid_scalar(spec, type(spec.default), value)


def why_refused(
    changes: Mapping[str, Any], configured: bool, present: Mapping[str, Any] | None = None
) -> str | None:
    """Return why `changes` (name to new value) cannot be made now, or None when they can.

    One that is as it is at `present` is none, so that a whole file may be loaded at any time.
    Names outside the table (use_sim_time, qos overrides) are not ours to judge.
    """
    for name, value in changes.items():
        spec = spec_of(name)
        if spec is None:
            continue
        reason = why_invalid(spec, value)
        if reason:
            return f"{name}: {reason}"
        unchanged = present is not None and present.get(name) == _coerce(spec, value)
        if configured and not spec.live and not unchanged:
            return (
                f"{name} cannot change while the node is configured; run `ros2 lifecycle set` with"
                " deactivate and cleanup, set it, then configure and activate"
            )
    return None


def check_all(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` over the defaults, floats made floats.

    Raises:
        ConfigurationError: a name that the table lacks, or a value that it does not allow.
    """
    for name, value in values.items():
        spec = spec_of(name)
        if spec is None:
            raise ConfigurationError(
                f"no parameter is named {name!r}; see `python -m irvis_fusion_ros.parameters"
                " --markdown` for those that are"
            )
        reason = why_invalid(spec, value)
        if reason:
            raise ConfigurationError(f"parameter {name}: {reason}")
    return {**defaults(), **known(values)}


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `values` that the table has, floats made floats."""
    specs = ((spec_of(name), value) for name, value in values.items())
    return {spec.name: _coerce(spec, value) for spec, value in specs if spec is not None}


def declare_all(node: Any) -> None:
    """Declare the table on an rclpy node; overrides from launch files and YAML are checked.

    Raises:
        ConfigurationError: an override has a value that its parameter cannot have.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    for spec in TABLE:
        descriptor = ParameterDescriptor(
            name=spec.name,
            description=spec.description,
            additional_constraints=_constraints(spec),
        )
        # Dynamic, so that `7` from a command line or a YAML file is taken for `7.0`.
        descriptor.dynamic_typing = isinstance(spec.default, (float, list))
        if type(spec.default) is float:
            descriptor.floating_point_range = [
                FloatingPointRange(
                    from_value=float(spec.minimum),
                    to_value=float(spec.maximum),
                    step=0.0,
                )
            ]
        elif type(spec.default) is int:
            descriptor.integer_range = [
                IntegerRange(from_value=int(spec.minimum), to_value=int(spec.maximum), step=1)
            ]
        try:
            node.declare_parameter(spec.name, spec.default, descriptor)
        except _declaration_errors() as error:
            raise ConfigurationError(f"parameter {spec.name}: {error}") from error
        reason = why_invalid(spec, node.get_parameter(spec.name).value)
        if reason:
            raise ConfigurationError(f"parameter {spec.name}: {reason}")


def read_all(node: Any) -> dict[str, Any]:
    """Return the present value of every parameter, floats made floats."""
    return known({spec.name: node.get_parameter(spec.name).value for spec in TABLE})


def markdown() -> str:
    """Return the table for the documentation, one part a section."""
    lines: list[str] = []
    for section, title in SECTIONS:
        lines += [
            "",
            f"**{title}**",
            "",
            "| parameter | default | values | at run time | meaning |",
            "|---|---|---|---|---|",
        ]
        for spec in TABLE:
            if spec.section == section:
                lines.append(
                    "| `{}` | `{}` | {} | {} | {} |".format(
                        spec.name,
                        yaml_scalar(spec.default),
                        _constraints(spec) or _TYPE_WORDS[type(spec.default)],
                        "yes" if spec.live else "no",
                        spec.description,
                    )
                )
    return "\n".join(lines[1:]) + "\n"


def yaml_text() -> str:
    """Return `config/fusion.yaml`: every parameter with its default, annotated."""
    lines = [
        "# Every parameter of fusion_node with its default value.",
        "# Made by `python -m irvis_fusion_ros.parameters --yaml`; copy it and keep what differs.",
        "# [live] may change at run time; the others only while the node is unconfigured.",
        "/**:",
        "  ros__parameters:",
    ]
    for section, title in SECTIONS:
        lines += ["", f"    # --- {title}"]
        for spec in TABLE:
            if spec.section == section:
                note = "[live] " if spec.live else ""
                values = _constraints(spec)
                text = "{}{}{}".format(
                    note, spec.description, "" if not values else f" ({values})"
                )
                lines += ["    # " + line for line in _wrapped(text, 92)]
                lines.append(f"    {spec.name}: {yaml_scalar(spec.default)}")
    return "\n".join(lines) + "\n"


def yaml_scalar(value: Any) -> str:
    """Return `value` as YAML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(yaml_scalar(item) for item in value) + "]"
    return str(value)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested parameter mapping with dotted names, as ROS reads it."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = prefix + str(key)
        if isinstance(value, Mapping):
            flat.update(flatten(value, name + "."))
        else:
            flat[name] = value
    return flat


def main(arguments: list[str] | None = None) -> int:
    """Print the table as Markdown or YAML."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m irvis_fusion_ros.parameters",
        description="The parameters of fusion_node.",
    )
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--markdown", action="store_true", help="the table of the documentation")
    form.add_argument("--yaml", action="store_true", help="config/fusion.yaml")
    options = parser.parse_args(arguments)
    sys.stdout.write(markdown() if options.markdown else yaml_text())
    return 0


def _why_invalid_list(spec: ParameterSpec, value: Any) -> str | None:
    """As `why_invalid`; rclpy gives lists as array.array, YAML as list."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        return "expected a list of {} numbers, found {!r}".format(len(spec.default), value)
    if len(value) != len(spec.default):
        return "expected {} numbers, found {}".format(len(spec.default), len(value))
    reasons = (_why_invalid_scalar(spec, type(spec.default[0]), item) for item in value)
    return next((reason for reason in reasons if reason), None)


def _why_invalid_scalar(spec: ParameterSpec, wanted: type, value: Any) -> str | None:
    found = type(value)
    if found is not wanted and not (wanted is float and found is int):
        return "expected {}, found {} {!r}".format(_TYPE_WORDS[wanted], found.__name__, value)
    if spec.choices and value not in spec.choices:
        return "expected one of {}, found {!r}".format(", ".join(spec.choices), value)
    if wanted in (int, float):
        if not math.isfinite(value):
            return "expected a finite number, found {}".format(value)
        if not spec.minimum <= value <= spec.maximum:
            low, high = _number(spec.minimum), _number(spec.maximum)
            return "expected {} to {}, found {}".format(low, high, _number(value))
    return None


def _declaration_errors() -> tuple[type[BaseException], ...]:
    from rclpy.exceptions import (
        InvalidParameterTypeException,
        InvalidParameterValueException,
    )

    return (InvalidParameterTypeException, InvalidParameterValueException)


def _coerce(spec: ParameterSpec, value: Any) -> Any:
    if isinstance(spec.default, list):
        return [type(spec.default[0])(item) for item in value]
    return float(value) if type(spec.default) is float else value


def _constraints(spec: ParameterSpec) -> str:
    if spec.choices:
        return ", ".join(choice or '""' for choice in spec.choices)
    if isinstance(spec.default, list):
        return f"{len(spec.default)} numbers"
    if type(spec.default) in (int, float):
        return f"{_number(spec.minimum)} … {_number(spec.maximum)}"
    return ""


def _number(value: float) -> str:
    return f"{value:g}"


def _wrapped(text: str, width: int) -> Iterable[str]:
    import textwrap

    return textwrap.wrap(text, width)


_BY_NAME = {spec.name: spec for spec in TABLE}
_TYPE_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}

if __name__ == "__main__":
    sys.exit(main())
