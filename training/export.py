"""Export a checkpoint for a robot: ONNX in three precisions, weights, and a model card.

    python -m training.export --checkpoint checkpoints/best_model.pth --name yard \
        --calibrate data/train --evaluation eval_results/summary.json --output exported

writes into ``exported/``: ``yard_fp32.onnx``, ``yard_fp16.onnx``, ``yard_int8.onnx`` (its scales
drawn from the pairs in ``--calibrate``), ``yard.safetensors``, ``MODEL_CARD.md`` and
``checksums.json``. Each ONNX file is run and compared with the student before any file is put in
place; after an error the folder is unchanged.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from irvis_fusion_core import model_zoo
from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.backends.comparison import require_likeness
from irvis_fusion_core.backends.model_file import read_model_file
from irvis_fusion_core.benchmark import example_pair
from irvis_fusion_core.bounded_file import parse_json
from irvis_fusion_core.command_line import command, parse_size
from irvis_fusion_core.errors import CalibrationError, ConfigurationError
from irvis_fusion_core.network.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from irvis_fusion_core.network.export import FramePair, export_to_onnx, quantize
from irvis_fusion_core.network.student import SIZES, Student
from training.data.images import read_pair
from training.data.listing import list_images
from training.errors import StorageError
from training.options import require_at_least, script_parser
from training.shipping.model_card import CardFacts, missing_answers, model_card

CARD = "MODEL_CARD.md"
PRECISIONS = ("fp32", "fp16", "int8")
COMPARED_PAIRS = 8


class Exported(NamedTuple):
    """One ONNX file and how its images compare with the student's."""

    path: Path
    precision: str
    difference: str


def export_student(
    model: Student,
    folder: Path,
    name: str,
    precisions: Sequence[str],
    pairs: Sequence[FramePair] = (),
    vis_order: str = "rgb",
    size: Sequence[int] | None = None,
) -> list[Exported]:
    """Write ``<name>_<precision>.onnx`` for each precision into `folder`, and compare them.

    Args:
        pairs: Real pairs in `vis_order`, to compare on and to calibrate int8 with. Without any,
            files are compared on a drawn pair, and int8 is refused.
        size: (height, width) where only one will come.

    Raises:
        CalibrationError: int8 without enough real pairs.
        ModelError: a file differs from the student by more than `BOUNDS` of its precision.
    """
    if "int8" in precisions and not pairs:
        raise CalibrationError(
            "expected real pairs to calibrate int8 with, found none; name a folder with IR/ and "
            "VIS/ of your cameras (--calibrate), or leave int8 out of --precisions"
        )
    _check_sizes(pairs, size, "int8" in precisions)
    compared = list(pairs[:COMPARED_PAIRS]) or [example_pair(*(size or (240, 320)))]
    written = []
    with tempfile.TemporaryDirectory() as scratch:
        # int8 is made from fp32, even where that file is not wanted.
        reference = Path(scratch) / f"{name}_fp32.onnx"
        export_to_onnx(model, reference, size, vis_order=vis_order)
        # int8 first: it is the likeliest to fail, on its pairs.
        for precision in sorted(precisions, key=lambda p: p != "int8"):
            path = folder / f"{name}_{precision}.onnx"
            if precision == "int8":
                lines: list[str] = []
                quantize(reference, path, pairs, report=lines.append)
                written.append(Exported(path, precision, lines[0]))
                continue
            if precision == "fp32":
                shutil.copyfile(reference, path)
            else:
                export_to_onnx(model, path, size, precision=precision, vis_order=vis_order)
            worst = require_likeness(model, path, compared, precision, vis_order)
            what = f"{len(compared)} real pairs" if pairs else "a drawn pair"
            difference = f"at most {worst} grey levels from it on {what}"
            written.append(Exported(path, precision, difference))
    return written


def _check_sizes(pairs: Sequence[FramePair], size: Sequence[int] | None, calibrates: bool) -> None:
    """Refuse pairs that do not fit a model for one size."""
    if size is None:
        return
    others = {pair[0].shape[:2] for pair in pairs} - {tuple(size)}
    if others:
        raise ConfigurationError(
            f"expected pairs of {size[1]}x{size[0]} as --size says, found "
            f"{', '.join(f'{w}x{h}' for h, w in sorted(others))}; leave --size out, or resize them"
        )
    if calibrates and (size[0] > 480 or size[1] > 640):
        raise ConfigurationError(
            f"expected int8 for one size of at most 640x480 (calibration images are cut to "
            f"that), found {size[1]}x{size[0]}; leave --size out: the file then takes any size"
        )


def read_calibration(folders: Sequence[str | Path], count: int, vis_order: str) -> list[FramePair]:
    """Return at most `count` 8-bit pairs in the model's order, evenly spread over each folder."""
    each = max(1, count // max(1, len(folders)))
    pairs: list[FramePair] = []
    for folder in folders:
        for paths in list_images(Path(folder), check=False, limit=each).pairs:
            ir, vis = read_pair(paths.ir, paths.vis)
            vis = vis if vis_order == "rgb" else np.ascontiguousarray(vis[:, :, ::-1])
            pairs.append((ir[:, :, None], vis))
    return pairs


def put_in_place(built: Path, output: Path) -> list[Path]:
    """Move the finished files of one folder into another, each in one step.

    ``checksums.json`` goes last; it keeps the sums of files that were there before. Where that
    record cannot be read, nothing is moved: ConfigurationError.
    """
    output.mkdir(parents=True, exist_ok=True)
    checksums = Path(model_zoo.write_checksums(str(built)))
    record = json.loads(checksums.read_text())
    known = output / checksums.name
    if known.is_file():
        try:
            earlier = dict(parse_json(known.read_text()))
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


@command
def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    checkpoint = Path(options.checkpoint)
    model = load_checkpoint(checkpoint, options.variant)
    name = options.name or model.variant
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ConfigurationError(
            f"expected a --name of letters, digits, dots, dashes and underscores, found {name!r}"
        )
    precisions = options.precisions or (PRECISIONS if options.calibrate else PRECISIONS[:2])
    config = options.run_config or checkpoint.with_name("config.json")
    facts = CardFacts(
        name=name,
        model=model,
        checkpoint=checkpoint,
        vis_order=options.vis_order,
        evaluation=options.evaluation,
        run_config=config if options.run_config or config.is_file() else None,
    )
    model_card(facts)  # checks its sources
    pairs = read_calibration(options.calibrate, options.count, options.vis_order)
    output = Path(options.output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        # Inside the target, so that the last step is a rename on one file system.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=output) as scratch:
            built = Path(scratch)
            files = export_student(
                model, built, name, precisions, pairs, options.vis_order, options.size
            )
            save_checkpoint(model, built / f"{name}.safetensors", _header(checkpoint))
            scales_from = len(pairs) if "int8" in precisions else 0
            facts = facts._replace(
                files=[(file.path, file.difference) for file in files],
                calibration_pairs=scales_from,
            )
            write_file(built / CARD, model_card(facts))
            for file in files:
                read_model_file(str(file.path))  # as the node will
            for path in put_in_place(built, output):
                print(f"{path}: {path.stat().st_size / 1e3:.1f} kB")
    except OSError as error:
        raise StorageError(
            f"expected to write the export into {output}, found: {error}; make room or name "
            "another folder (--output)"
        ) from error
    for file in files:
        print(f"{file.precision}: {file.difference}")
    if not options.calibrate and not options.precisions:
        print("int8: not exported, it needs real pairs to calibrate with (--calibrate DIR)")
    for path in stale_files(output, name, [file.path.name for file in files]):
        print(f"{path} is of an earlier export: its weights may differ; remove it")
    questions = missing_answers((output / CARD).read_text(encoding="utf-8"))
    print(f"{output / CARD}: {len(questions)} lines begin with TODO:, they are for you to answer")
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = script_parser(__doc__, "export")
    add = parser.add_argument
    add("--checkpoint", required=True, help=".safetensors, .pth or .pt")
    add("--output", default="exported", help="folder to write into")
    add("--name", help="of the files (default: the variant's)")
    add("--variant", choices=sorted(SIZES), help="expected (default: as it comes)")
    add("--precisions", nargs="+", choices=PRECISIONS, help="default: all that are possible")
    seen = "folder with IR/ and VIS/ of the cameras it will see; may be given again"
    add("--calibrate", action="append", default=[], metavar="DIR", help=seen)
    add("--count", type=int, default=64, help="calibration pairs, all folders")
    add("--vis-order", dest="vis_order", choices=("rgb", "bgr"), default="rgb")
    add("--size", type=parse_size, help="WIDTHxHEIGHT, where only one will come")
    add("--evaluation", type=Path, help="summary.json of training.eval, for the card")
    add(
        "--run_config",
        type=Path,
        help="of the training (default: config.json next to the checkpoint)",
    )
    options = parser.parse_args(arguments)
    require_at_least(options, 1, "count")
    return options


def _header(path: Path) -> dict[str, str]:
    """Return the origin of the weights of a checkpoint, for the header of their file."""
    known = read_metadata(path) if path.suffix == ".safetensors" else {}
    own = {key: value for key, value in known.items() if not key.startswith("irvis_fusion.")}
    return {**own, "exported_from": path.name}


if __name__ == "__main__":
    sys.exit(main())
