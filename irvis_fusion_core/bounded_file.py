"""Reads text, YAML and JSON files that somebody else names or writes.

A path in a parameter may name a device, a pipe or a file made to exhaust memory. Only regular
files are opened, at most `max_bytes` are read, YAML has no aliases, and nesting is limited.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from typing import Any, BinaryIO

from irvis_fusion_core.errors import FileContentError

CALIBRATION_BYTES = 64 * 1024
"""A calibration file of ROS has about 600 bytes."""
PARAMETER_BYTES = 1024 * 1024
"""The commented file of all parameters has 11 KB; one file may serve a whole robot."""
ANNOTATION_BYTES = 512 * 1024 * 1024
"""COCO's largest file, instances_train2017.json, has 448 MiB."""

DEEPEST_NESTING = 50
LONGEST_NUMBER = 100
"""Characters of a YAML scalar other than text: Python reads long integers in quadratic time."""


def open_regular(path: str, flags: int = 0) -> BinaryIO:
    """Open a regular file for reading; `flags` are further ones of `os.open`.

    Raises:
        OSError: It is missing or unreadable, or a folder, pipe or device.
    """
    # Before it is opened, because opening some devices has an effect, and after, because the name
    # may have changed its meaning. O_NONBLOCK: opening a pipe must not wait for its writer.
    found = os.stat(path, follow_symlinks=not flags & getattr(os, "O_NOFOLLOW", 0))
    if stat.S_ISREG(found.st_mode):
        flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        stream = os.fdopen(os.open(path, os.O_RDONLY | flags), "rb")
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return stream
        stream.close()
    raise OSError(f"{os.path.basename(path)} is not a regular file")


def read_text(path: str, max_bytes: int) -> str:
    """Return the text (UTF-8) of a regular file of at most `max_bytes`.

    Raises:
        FileContentError: The file is missing, not regular, larger, or not UTF-8.
    """
    try:
        with open_regular(path) as stream:
            content = stream.read(max_bytes + 1) or b""
        text = content.decode("utf-8")
    except (OSError, ValueError) as error:
        raise FileContentError(str(error)) from error
    if len(content) > max_bytes:
        raise FileContentError(f"more than {max_bytes} bytes")
    return text


def parse_json(text: str | bytes) -> Any:
    """Return what JSON says.

    Raises:
        FileContentError: It is not JSON, or nested too deeply.
    """
    try:
        return _bounded(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise FileContentError(f"{type(error).__name__}: {error}") from error


def parse_json_object(text: str | bytes) -> dict[str, Any]:
    """Return what JSON says, which has to be an object; raises as `parse_json`."""
    tree = parse_json(text)
    if not isinstance(tree, dict):
        raise FileContentError(f"{type(tree).__name__}, not a JSON object")
    return tree


def parse_yaml(text: str) -> Any:
    """Return what YAML says.

    Raises:
        FileContentError: It is not YAML, has an alias, an overlong number or a name twice, or is
            nested too deeply; or PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise FileContentError(f"no PyYAML to read it ({error}); pip install pyyaml") from error

    def refused(found: str, node: Any) -> Exception:
        return yaml.constructor.ConstructorError(None, None, found, node.start_mark)

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):  # a few of them can stand for millions of nodes
                raise refused("an alias, which is not allowed", self.peek_event())
            return super().compose_node(parent, index)

        def construct_scalar(self, node: Any) -> Any:
            if not node.tag.endswith(":str") and len(node.value) > LONGEST_NUMBER:
                raise refused("an overlong number", node)
            return super().construct_scalar(node)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            names = set()  # of two values yaml-cpp takes the first, PyYAML the last
            for key, _ in getattr(node, "value", ()):
                if isinstance(key, yaml.ScalarNode):
                    if key.value in names:
                        raise refused(f"{key.value!r} twice", key)
                    names.add(key.value)
            return super().construct_mapping(node, deep)

    try:
        tree = yaml.load(text, Loader)  # a SafeLoader  # nosec B506
    except Exception as error:  # noqa: BLE001 - PyYAML raises KeyError and others at bad scalars
        found = " ".join(str(error).split())
        raise FileContentError(found or type(error).__name__) from error
    return _bounded(tree)


def _bounded(tree: Any) -> Any:
    """Return `tree`; raises where it is so deep that printing or comparing it could fail."""
    level = _containers([tree])
    for _ in range(DEEPEST_NESTING):
        if not level:
            return tree
        level = [
            inner
            for outer in level
            for inner in _containers(outer.values() if isinstance(outer, dict) else outer)
        ]
    raise FileContentError(f"nested more than {DEEPEST_NESTING} deep")


def _containers(nodes: Iterable[Any]) -> list[Any]:
    return [node for node in nodes if isinstance(node, (dict, list))]
