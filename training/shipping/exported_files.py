"""The folder of exports: whole files, their checksums, and files that are out of date."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from irvis_fusion_core import model_zoo
from irvis_fusion_core.errors import ConfigurationError

PRECISIONS = ("fp32", "fp16", "int8")


def put_in_place(built: Path, output: Path) -> list[Path]:
    """Move the finished files of one folder into another, each in one step.

    ``checksums.json`` goes last; it keeps the sums of files that were there before.

    Raises:
        ConfigurationError: The record that is there cannot be read; nothing was moved.
    """
    output.mkdir(parents=True, exist_ok=True)
    checksums = Path(model_zoo.write_checksums(str(built)))
    record = json.loads(checksums.read_text())
    known = output / checksums.name
    if known.is_file():
        try:
            earlier = dict(json.loads(known.read_text()))
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"expected names and checksums in {known}, found: {error}; remove it"
            ) from error
        record = {**{n: v for n, v in earlier.items() if (output / n).is_file()}, **record}
    checksums.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    finished = sorted(built.iterdir(), key=lambda p: (p.name == checksums.name, p.name))
    return [path.replace(output / path.name) for path in finished]


def stale_files(output: Path, name: str, written: Sequence[str]) -> list[Path]:
    """Return ONNX files of this name in other precisions, left from an earlier export."""
    found = (output / f"{name}_{precision}.onnx" for precision in PRECISIONS)
    return [path for path in found if path.name not in written and path.is_file()]
