"""Settings without a node: from the YAML file that the node reads, and from the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from irvis_fusion_core.bounded_file import PARAMETER_BYTES, parse_yaml, read_text
from irvis_fusion_core.errors import ConfigurationError, FileContentError
from irvis_fusion_ros.parameters.declaration import NODE_NAME, NOT_OURS
from irvis_fusion_ros.parameters.settings import Settings, spec_of

_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def load_settings(path: str | None = None, changes: Iterable[str] = ()) -> Settings:
    """Return the defaults, changed by the file, then by `changes`.

    Args:
        path: a parameter file as ROS reads it: `/**`, `fusion_node` or `/ns/fusion_node`, with
            `ros__parameters` below; a later section wins.
        changes: each `name:=value` or `name=value`, the value as YAML writes it.

    Raises:
        ConfigurationError: the file is missing or no parameter file, a name is not the node's,
            or a value is not allowed.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values.update(_from_file(path))
    for change in changes:
        name, separator, text = change.partition(":=")
        if not separator:
            name, separator, text = change.partition("=")
        if not separator or not name:
            raise ConfigurationError(f"expected NAME:=VALUE, found {change!r}")
        try:
            values[name.strip()] = _number(parse_yaml(text))
        except FileContentError as error:
            raise ConfigurationError(
                f"expected YAML in the value of {name}, found: {error}"
            ) from error
    return Settings.of(values)


def settings_of_arguments(arguments: Sequence[str]) -> Settings:
    """Return the settings in `--params-file PATH` and `-p NAME:=VALUE`, before a node reads them.

    What cannot be read is left at its default: the node names it when it starts.
    """
    values: dict[str, Any] = {}
    for option, given in zip(arguments, arguments[1:]):
        with suppress(ConfigurationError, FileContentError):
            if option == "--params-file":
                values.update(_from_file(given))
            elif option in ("-p", "--param"):
                name, _, text = given.partition(":=")
                values[name.rpartition(":")[2]] = _number(parse_yaml(text))
    try:
        return Settings.of({name: each for name, each in values.items() if spec_of(name)})
    except ConfigurationError:
        return Settings()


def _number(value: Any) -> Any:
    """Return text such as 1.7e9 as the number that ROS reads in it; PyYAML wants `1.7e+9`."""
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    return value


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested parameter mapping with dotted names, as ROS reads it."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = prefix + str(key)
        if isinstance(value, Mapping):
            flat.update(flatten(value, name + "."))
        else:
            flat[name] = _number(value)
    return flat


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """Add the options `--config` and `--param`, in the node's own form."""
    group = parser.add_argument_group("the node's parameters")
    group.add_argument("--config", metavar="YAML", help="a parameter file, as the node reads it")
    group.add_argument(
        "-p",
        "--param",
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="one parameter, over the file's; may be repeated (model:=small, pairing:=pair, ...)",
    )


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings of these options; raises as `load_settings`."""
    return load_settings(options.config, options.param)


def read_yaml(path: str) -> Any:
    """Return what a YAML file holds.

    Raises:
        ConfigurationError: the file is missing or no YAML.
    """
    try:
        return parse_yaml(read_text(path, PARAMETER_BYTES))
    except FileContentError as error:
        raise ConfigurationError(
            f"expected a parameter file (YAML) at {path}, found: {error}"
        ) from error


def _from_file(path: str) -> dict[str, Any]:
    tree = read_yaml(path)
    values: dict[str, Any] = {}
    sections = 0
    for node, section in (tree if isinstance(tree, Mapping) else {}).items():
        if not isinstance(section, Mapping) or "ros__parameters" not in section:
            continue
        if str(node).rpartition("/")[2] not in ("**", "*", NODE_NAME):
            continue  # another node's
        sections += 1
        parameters = section["ros__parameters"] or {}
        if not isinstance(parameters, Mapping):
            raise ConfigurationError(
                f"expected names and values below `ros__parameters:` in {path}, found "
                f"{str(parameters)[:80]!r}; config/fusion.yaml shows the form"
            )
        values.update(flatten(parameters))
    if not sections:
        raise ConfigurationError(
            f"expected `/**:` or `{NODE_NAME}:` with `ros__parameters:` below in {path}, found"
            " neither; config/fusion.yaml shows the form"
        )
    return {name: value for name, value in values.items() if not name.startswith(NOT_OURS)}
