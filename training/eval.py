"""Measure how good and how fast a trained model is: figures, tables, and images to look at.

    python -m training.eval --checkpoint checkpoints/best_model.pth --data_root data/test \
        --save_dir eval_results --batch_size 1 --benchmark_speed --input_size 512

``--checkpoint`` may also be an exported .onnx, run by RealtimeFusion as on a robot, or nano, small
or base. The folder holds ``IR/``, ``VIS/`` and, where there is a teacher, ``TEACHER_FUSED/``.

Writes ``per_image.csv``, ``summary.json``, ``summary.md`` and ``sheets/``. The tables also hold
the trivial fusions (maximum, mean, visible alone, IR alone), which a useful fusion must beat.
Images keep their own size; ``--input_size`` is that of the benchmark.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import argparse
import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from irvis_fusion_core import metrics
from irvis_fusion_core.command_line import command, show_progress
from irvis_fusion_core.image_sheet import caption_row
from irvis_fusion_core.metrics.trivial_fusions import TRIVIAL_FUSIONS
from irvis_fusion_core.network.student import SIZES
from training.data.images import Images, PairPaths, read_images
from training.data.listing import PairListing, list_images
from training.evaluation import eval_report
from training.evaluation.eval_report import FUSED, Scored, speed_of
from training.evaluation.fusers import Fuser, open_fuser, recolour
from training.evaluation.lpips import BACKBONES, Lpips, open_lpips
from training.evaluation.scores import TEACHER_METRICS, Row, score, teacher_of
from training.losses.backbones import WeightsMissingError
from training.options import require_at_least, script_parser
from training.storage import make_folder, write_bytes, write_png

WARM_UP_RUNS = 5


@command
def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    save_dir = Path(options.save_dir)
    listing = list_images(Path(options.data_root))
    print(listing.report())
    if not options.skip_bad:
        listing.require_clean()
    engine = {name: getattr(options, name) for name in ("variant", "backend", "device", "threads")}
    speed = None
    with contextlib.closing(open_fuser(options.checkpoint, **engine)) as fuser:
        make_folder(save_dir)
        lpips, not_computed = _teacher_metrics(options, listing)
        scored = list(evaluate(fuser, listing, lpips, options))
        if options.benchmark_speed:
            speed = benchmark(fuser, listing.pairs[0], options.input_size, options.benchmark_runs)
    found = (fuser.description, not_computed, listing.with_teacher, speed)
    summary = eval_report.summarize(scored, Path(options.data_root), *found)
    write_bytes(save_dir / "per_image.csv", eval_report.csv_text(scored).encode())
    text = json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_bytes(save_dir / "summary.json", text.encode())
    report = eval_report.markdown(summary, scored)
    write_bytes(save_dir / "summary.md", report.encode())
    print("\n" + report)
    print(f"written to {save_dir}: summary.md, summary.json, per_image.csv, sheets/")
    return 0


def evaluate(
    fuser: Fuser, listing: PairListing, lpips: Lpips | None, options: argparse.Namespace
) -> Iterator[Scored]:
    """Fuse and score every pair of a listing, in its order; write sheets on the way."""
    save_dir, pairs = Path(options.save_dir), listing.pairs
    count = len(pairs) if options.sheets < 0 else min(options.sheets, len(pairs))
    shown = {pairs[i * len(pairs) // count].stem for i in range(count)}  # evenly spread
    with ThreadPoolExecutor(options.num_workers) as threads:
        work = fused_images(fuser, listing, options.batch_size)
        for stem, images, fused in show_progress(work, len(pairs)):
            yield Scored(stem, score_fusions(fused, images, lpips, threads))
            if stem in shown:
                write_png(save_dir / "sheets" / f"{stem}.png", sheet(images, fused))
            if options.save_fused:
                write_png(save_dir / "fused" / f"{stem}.png", fused)


def fused_images(
    fuser: Fuser, listing: PairListing, batch_size: int
) -> Iterator[tuple[str, Images, np.ndarray]]:
    """Yield (stem, images, fused RGB) of every pair; fuse neighbours of one size together."""
    read = ((paths.stem, read_images(paths)) for paths in listing.pairs)
    for _, of_one_size in itertools.groupby(read, key=lambda scene: scene[1].ir.shape):
        while batch := list(itertools.islice(of_one_size, batch_size)):
            fused = fuser.fuse([i.ir for _, i in batch], [i.vis for _, i in batch])
            for (stem, images), image in zip(batch, fused):
                yield stem, images, image


def score_fusions(
    fused: np.ndarray, images: Images, lpips: Lpips | None, threads: ThreadPoolExecutor
) -> dict[str, Row]:
    """Return the row of the model and of every trivial fusion for one scene."""
    vis_y = metrics.luminance(images.vis)
    teacher = teacher_of(images.teachers)
    planes = {FUSED: metrics.luminance(fused)}
    planes.update({name: fuse(images.ir, vis_y) for name, fuse in TRIVIAL_FUSIONS.items()})
    rows = threads.map(lambda y: score(y, images.ir, vis_y, teacher), planes.values())
    result = dict(zip(planes, rows))
    if lpips is not None and teacher is not None:
        for name, y in planes.items():
            result[name]["lpips_teacher"] = lpips(y, teacher)
    return result


def sheet(images: Images, fused: np.ndarray) -> np.ndarray:
    """Return a comparison sheet: IR | VIS | teacher | fused."""
    shown = {"IR": images.ir, "VIS": images.vis}
    teacher = teacher_of(images.teachers)
    if teacher is not None:
        shown["teacher"] = recolour(teacher, images.vis, metrics.luminance(images.vis))
    return caption_row({**shown, FUSED: fused})


def benchmark(
    fuser: Fuser, paths: PairPaths, size: tuple[int, int], runs: int
) -> dict[str, float]:
    """Time one pair of a given (height, width) `runs` times, uint8 in and out."""
    images, (height, width) = read_images(paths), size
    ir, vis = (
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        for image in (images.ir, images.vis)
    )
    durations_s = []
    for number in range(WARM_UP_RUNS + runs):
        began = time.perf_counter()
        fuser.fuse([ir], [vis])
        if number >= WARM_UP_RUNS:
            durations_s.append(time.perf_counter() - began)
    return speed_of(durations_s, width, height)


def _teacher_metrics(
    options: argparse.Namespace, listing: PairListing
) -> tuple[Lpips | None, dict[str, str]]:
    """Return LPIPS or None, and the reason for each metric that cannot be computed."""
    if not listing.with_teacher:
        why = f"{options.data_root} has no TEACHER_FUSED/"
        return None, dict.fromkeys(TEACHER_METRICS, why)
    try:
        lpips = open_lpips(options.lpips_net, options.lpips_backbone, options.lpips_heads)
    except WeightsMissingError as error:
        print(f"LPIPS is not computed: {error}", file=sys.stderr)
        return None, {"lpips_teacher": str(error)}
    return lpips, {}


def _input_size(text: str) -> tuple[int, int]:
    """Read `512` (a square) or `640x480` (width x height) as (height, width)."""
    width, _, height = text.lower().partition("x")
    height = height or width
    if not all(side.isdigit() and int(side) >= 16 for side in (height, width)):
        raise argparse.ArgumentTypeError(
            f"expected pixels such as 512 or 640x480, 16 or more, found {text!r}"
        )
    return int(height), int(width)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = script_parser(__doc__, "eval")
    add = parser.add_argument
    add("--checkpoint", required=True, help=".safetensors, .pth, an exported .onnx, or nano ...")
    add("--data_root", required=True, help="folder with IR/, VIS/ and perhaps TEACHER_FUSED/")
    add("--save_dir", default="eval_results", help="folder to write into")
    add("--batch_size", type=int, default=1, help="pairs of one size at a time (.onnx: always 1)")
    add("--benchmark_speed", action="store_true", help="print how long one pair takes")
    add("--input_size", type=_input_size, default="512", help="of the benchmark: 512 or 640x480")
    add("--benchmark_runs", type=int, default=50, help="timed runs of the benchmark")
    add("--variant", choices=sorted(SIZES), help="expected variant of the checkpoint")
    add("--skip_bad", action="store_true", help="leave bad images out, instead of stopping")
    add("--sheets", type=int, default=20, help="comparison sheets, evenly spread; -1: of all")
    add("--save_fused", action="store_true", help="also write every fused image")
    add("--lpips_net", choices=sorted(BACKBONES), default="alex", help="network of LPIPS")
    add("--lpips_backbone", help="its weights (default: torch.hub's cache, torchvision)")
    add("--lpips_heads", help="the heads of LPIPS (default: torchmetrics')")
    add("--backend", default="auto", help="engine of an .onnx")
    add("--device", help="cpu, cuda ... (default: a GPU where there is one)")
    add("--threads", type=int, default=0, help="CPU threads of the engine; 0: its own choice")
    add("--num_workers", type=int, default=os.cpu_count() or 1, help="threads that score")
    options = parser.parse_args(arguments)
    require_at_least(options, 1, "batch_size benchmark_runs num_workers")
    return options


if __name__ == "__main__":
    sys.exit(main())
