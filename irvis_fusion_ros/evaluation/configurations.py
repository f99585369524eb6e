"""The configurations to compare: parameter files and models, with short names for tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.evaluation.measure import REFERENCES
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.parameters.settings_file import load_settings

DEFAULT_NAME = "default"


class Configuration(NamedTuple):
    """One set of the node's parameters; `path` is the file it came from, or None."""

    name: str
    settings: Settings
    path: str | None

    @property
    def changed(self) -> dict[str, Any]:
        """The parameters that differ from the node's defaults."""
        default = Settings().to_mapping()
        return {k: v for k, v in self.settings.to_mapping().items() if v != default[k]}


def make_configurations(
    files: Sequence[str], models: Sequence[str], changes: Sequence[str]
) -> list[Configuration]:
    """Return every file with every model; the defaults if nothing is given.

    `models`, variants or .onnx files, replace the files' `model`; `changes`, each `name:=value`,
    apply to all.

    Raises:
        ConfigurationError: A file or value that the node would refuse.
    """
    chosen: list[Configuration] = []
    for path in files or (None,):
        for model in models or (None,):
            extra = list(changes) + ([] if model is None else [f"model:='{model}'"])
            name = " ".join(_stem(part) for part in (path, model) if part is not None)
            settings = load_settings(path, extra)
            chosen.append(Configuration(name or DEFAULT_NAME, settings, path))
    return _with_own_names(chosen)


def _stem(path: str) -> str:
    name = os.path.basename(path)
    return os.path.splitext(name)[0] if name.endswith((".yaml", ".yml", ".onnx")) else name


def _with_own_names(configurations: Sequence[Configuration]) -> list[Configuration]:
    """Number the configurations that share a name, or have the name of a reference."""
    names = [c.name for c in configurations]
    named: list[Configuration] = []
    for index, name in enumerate(names):
        if names.count(name) > 1 or name in REFERENCES:
            name = f"{name} ({1 + names[:index].count(name)})"
        if name in [other.name for other in named]:
            raise ConfigurationError(
                f"expected configurations of different names, found {name!r} twice; rename a file"
            )
        named.append(configurations[index]._replace(name=name))
    return named
