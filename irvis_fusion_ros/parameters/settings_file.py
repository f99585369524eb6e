"""The node's parameters without a node: from the YAML file that the node reads."""

from __future__ import annotations

import argparse
import importlib
from typing import Any, Dict, Iterable, Mapping, Optional

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.parameters import declaration as parameters

NOT_OURS = ("use_sim_time", "qos_overrides.", "start_type_description_service")
"""Parameters that every ROS node has; they mean nothing without a graph."""


def load_settings(path: Optional[str] = None, changes: Iterable[str] = ()) -> Dict[str, Any]:
    """Every parameter's value: defaults, over them the file's, over those the changes.

    Args:
        path: a parameter file as ROS reads it: `/**`, `fusion_node` or `/ns/fusion_node`, with
            `ros__parameters` below; a later section wins.
        changes: `name:=value` or `name=value` each, the value as YAML writes it.

    Raises:
        ConfigurationError: the file is missing or no parameter file, a name is not the node's,
            or a value is not allowed.
    """
    values: Dict[str, Any] = {}
    if path is not None:
        values.update(_from_file(path))
    for change in changes:
        name, separator, text = change.partition(":=")
        if not separator:
            name, separator, text = change.partition("=")
        if not separator or not name:
            raise ConfigurationError(f"expected NAME:=VALUE, found {change!r}")
        values[name.strip()] = _yaml(text, f"the value of {name}")
    return parameters.check_all(values)


def _from_file(path: str) -> Dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"expected a parameter file (YAML) at {path}, found: {error}"
        ) from error
    tree = _yaml(text, path)
    values: Dict[str, Any] = {}
    sections = 0
    for node, section in (tree if isinstance(tree, Mapping) else {}).items():
        if not isinstance(section, Mapping) or "ros__parameters" not in section:
            continue
        if str(node).rpartition("/")[2] not in ("**", "*", parameters.NODE_NAME):
            continue  # another node's
        sections += 1
        values.update(parameters.flatten(section["ros__parameters"] or {}))
    if not sections:
        raise ConfigurationError(
            f"expected `/**:` or `{parameters.NODE_NAME}:` with `ros__parameters:` below in "
            f"{path}, found neither; config/fusion.yaml shows the form"
        )
    return {name: value for name, value in values.items() if not name.startswith(NOT_OURS)}


def _yaml(text: str, what: str) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError as error:
        raise ConfigurationError(
            f"expected the Python package pyyaml, which reads parameter files, found: {error}; "
            "install it with `pip install pyyaml`"
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"expected YAML in {what}, found: {error}") from error


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """The options that say how to fuse: those of the node, in the node's form."""
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


def settings_of(options: argparse.Namespace) -> Dict[str, Any]:
    """Every parameter's value by `add_settings_options`; raises as `load_settings`."""
    return load_settings(options.config, options.param)
