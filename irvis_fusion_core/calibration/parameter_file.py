"""Writes measured parameters into the YAML file of the node, and keeps the rest.

Comments and other parameters stay as they are: single lines are replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.errors import ConfigurationError

_SECTION = re.compile(r"^(\s*)ros__parameters\s*:\s*(#.*)?$")
_HEAD = "# Written by irvis_fusion; read by the fusion node.\n/**:\n  ros__parameters:\n"


def update_parameters(path: str, values: Mapping[str, Any], note: str = "") -> None:
    """Set `name: value` under the only `ros__parameters:` of a file, which is made if missing.

    Args:
        values: by dotted name; numbers, strings, and lists of numbers.
        note: a comment put above parameters that are new to the file.

    Raises:
        ConfigurationError: the file has no section, several, or nested forms of a name, is not
            writable, or a value is not finite.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        text = _HEAD
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"expected a YAML file at {path}, found: {error}") from error
    replace_file(path, updated(text, values, note, path))


def updated(text: str, values: Mapping[str, Any], note: str = "", name: str = "the file") -> str:
    """Return the text of a parameter file with these values; see `update_parameters`."""
    lines = text.splitlines()
    sections = [number for number, line in enumerate(lines) if _SECTION.match(line)]
    if len(sections) != 1:
        raise ConfigurationError(
            f"expected one `ros__parameters:` on a line of its own in {name}, found "
            f"{len(sections)}; write to a new file and copy what is wanted"
        )
    begin = sections[0] + 1
    outer = len(_SECTION.match(lines[sections[0]]).group(1))  # type: ignore[union-attr]
    end, indent = _extent(lines, begin, outer)
    new = []
    for key, value in values.items():
        line = f"{indent}{key}: {yaml_text(key, value)}"
        pattern = re.compile(rf"^{indent}([\"']?){re.escape(key)}\1\s*:")
        at = [number for number in range(begin, end) if pattern.match(lines[number])]
        if not at:
            _refuse_nested(lines[begin:end], indent, key, name)
            new.append(line)
            continue
        lines[at[-1]] = line
        # A list may continue on deeper lines.
        while at[-1] + 1 < end and _continues(lines[at[-1] + 1], indent):
            del lines[at[-1] + 1]
            end -= 1
    if new and note:
        new = [f"{indent}# {part}" for part in note.splitlines()] + new
    lines[end:end] = new
    return "\n".join(lines) + "\n"


def yaml_text(key: str, value: Any) -> str:
    """Return a number, string or list of numbers as YAML; ROS needs the point of floats."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return "[" + ", ".join(yaml_text(key, item) for item in value) + "]"
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, float):
        return json.dumps(value, ensure_ascii=False)
    if not np.isfinite(value):
        raise ConfigurationError(f"expected a finite {key}, found {value}")
    # YAML 1.1 reads 1e-07, as repr gives it, as a string: a point is needed.
    mantissa, letter, exponent = repr(value).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{letter}{exponent}"


def _extent(lines: list[str], begin: int, outer: int) -> tuple[int, str]:
    """Return the end of the section (last own line + 1), and the indentation in it."""
    end, indent = begin, ""
    for number, line in enumerate(lines[begin:], begin):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if _depth(line) <= outer:
            break
        indent = indent or " " * _depth(line)
        end = number + 1
    return end, indent or " " * (outer + 2)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _continues(line: str, indent: str) -> bool:
    bare = line.strip()
    if not bare or bare.startswith("#"):
        return False
    return _depth(line) > len(indent) or bare.startswith("- ") or bare in ("]", "-")


def _refuse_nested(lines: list[str], indent: str, key: str, name: str) -> None:
    group = key.partition(".")[0]
    if group != key and any(re.match(rf"^{indent}{re.escape(group)}\s*:", line) for line in lines):
        raise ConfigurationError(
            f"expected dotted names such as {key} in {name}, found a nested `{group}:`; write to "
            "a new file and copy what is wanted"
        )


def replace_file(path: str, text: str) -> None:
    """Write a file whole or not at all; ConfigurationError where that is not possible."""
    try:
        write_file(path, text)
    except OSError as error:
        raise ConfigurationError(f"expected to write {path}, found: {error}") from error
