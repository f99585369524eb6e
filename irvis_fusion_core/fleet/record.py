"""The record of a finished run, and the check whether it still holds.

It holds while the options, the version, the sizes and times of the inputs, and the bytes of the
outputs are those of the record.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from irvis_fusion_core import __version__
from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.bounded_file import parse_json_object
from irvis_fusion_core.errors import FusionError


class Run(NamedTuple):
    """What determines a run.

    Attributes:
        path: The record.
        options: As JSON; those that do not change the outputs are left out.
        inputs: Files and folders.
    """

    path: str
    options: dict[str, Any]
    inputs: tuple[str, ...]


def inputs_of(options: object) -> tuple[str, ...]:
    """Return the files that nested options name, such as models and calibrations."""
    if isinstance(options, Mapping):
        options = list(options.values())
    if isinstance(options, str):
        return (options,) if os.path.isfile(options) else ()
    if isinstance(options, Sequence):
        return tuple(path for each in options for path in inputs_of(each))
    return ()


def stamps(inputs: Sequence[str]) -> dict[str, Any]:
    """Return path -> `[[name, bytes, ns of its last change], ...]` of the files of the inputs."""
    found: dict[str, Any] = {}
    for path in inputs:
        of_path = [(name, os.stat(file)) for name, file in _files(path)]
        found[path] = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in of_path]
    return found


def write(run: Run, inputs: dict[str, Any], output: str, facts: Mapping[str, Any]) -> None:
    """Write the record of a finished run; `inputs` are the stamps from before it began.

    Raises:
        OSError: The record or an output cannot be read or written.
        FusionError: There is no output.
    """
    outputs = {name: _digest(path) for name, path in _files(output)}
    if not outputs:
        raise FusionError(f"expected a result in {output}, found none")
    content = {**_determined(run, inputs), "outputs": outputs, "facts": facts}
    write_file(run.path, json.dumps(content, indent=1))


def facts_of_finished(run: Run, inputs: dict[str, Any], output: str) -> dict[str, Any] | None:
    """Return the facts of a finished run, or None where it has to be done (again)."""
    try:
        found = parse_json_object(Path(run.path).read_bytes())
        expected = json.loads(json.dumps(_determined(run, inputs)))
        if any(found.get(name) != value for name, value in expected.items()):
            return None
        files = dict(_files(output))
        if any(_digest(files[name]) != digest for name, digest in found["outputs"].items()):
            return None
        return dict(found["facts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # gone, cut, or edited
        return None


def _determined(run: Run, inputs: dict[str, Any]) -> dict[str, Any]:
    return {"version": __version__, "options": run.options, "inputs": inputs}


def _files(path: str) -> Iterator[tuple[str, str]]:
    """Yield the name below `path` and the path of every file, in order; `path` may be one."""
    if os.path.isfile(path):
        yield "", path
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)
            yield os.path.relpath(file, path), file


def _digest(path: str) -> list[Any]:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
        return [stream.tell(), digest.hexdigest()]
