"""What is compared: parameter files and models, each with a short name for tables."""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.evaluation.references import REFERENCES
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.parameters.settings_file import load_settings

DEFAULT_NAME = "default"


class Configuration(NamedTuple):
    """One set of the node's parameters; `path` is the file it came from, None for none."""

    name: str
    settings: Settings
    path: Optional[str]

    @property
    def changed(self) -> Dict[str, Any]:
        """The parameters that differ from the node's defaults."""
        default = Settings().to_mapping()
        return {k: v for k, v in self.settings.to_mapping().items() if v != default[k]}


def make_configurations(
    files: Sequence[str], models: Sequence[str], changes: Sequence[str]
) -> List[Configuration]:
    """Every file with every model; one of defaults where nothing is given.

    Args:
        files: parameter files as the node reads them.
        models: variants or .onnx files, in place of the files' `model`.
        changes: `name:=value`, over all of them.

    Raises:
        ConfigurationError: a file or value that the node would refuse.
    """
    chosen = []
    paths: List[Optional[str]] = list(files) or [None]
    variants: List[Optional[str]] = list(models) or [None]
    for path in paths:
        for model in variants:
            extra = list(changes) + ([] if model is None else ["model:='%s'" % model])
            parts = [] if path is None else [_stem(path)]
            parts += [] if model is None else [_stem(model)]
            name = " ".join(parts) or DEFAULT_NAME
            chosen.append(Configuration(name, load_settings(path, extra), path))
    return _with_own_names(chosen)


def _stem(path: str) -> str:
    name = os.path.basename(path)
    return os.path.splitext(name)[0] if name.endswith((".yaml", ".yml", ".onnx")) else name


def _with_own_names(configurations: List[Configuration]) -> List[Configuration]:
    """Number those of one name, and any that is called as a reference is."""
    names = [c.name for c in configurations]
    named: List[Configuration] = []
    for index, configuration in enumerate(configurations):
        name = configuration.name
        if names.count(name) > 1 or name in REFERENCES:
            name = f"{name} ({1 + names[:index].count(name)})"
        if name in [other.name for other in named]:
            raise ConfigurationError(
                f"expected configurations of different names, found {name!r} twice; rename a file"
            )
        named.append(configuration._replace(name=name))
    return named
