"""Measure the worth of distillation: the same student, the same steps, different teachers.

    python -m training.ablation --train_root DATA/train --val_root DATA/val \
        --teacher ddfm=DATA/train/TEACHER_FUSED_ddfm \
        --teacher mask_difuser=DATA/train/TEACHER_FUSED_mask_difuser \
        --teacher selected=DATA/train/TEACHER_FUSED --weighted selected \
        --max_steps 2000 --output runs/ablation

Arms: ``sources`` (source terms only), and for every --teacher its images alone: L1, SSIM and
gradient to the ensemble's mean; those named by --weighted trust it by its variance. --both adds,
for each teacher, an arm of source and teacher terms together; --arms chooses. With --detector all
see it. All start from the same weights and see the same crops. Writes ``ablation.json``,
``ablation.md`` and ``sheet.png``; an arm whose weights exist is not trained again.

What targets are worth to a student that learns to repair its inputs, with two seeds each::

    python -m training.ablation --train_root DATA/train --val_root DATA/val --detector FILE \
        --teacher optimised=DIR --teacher proximal=OTHER --init nano.safetensors --noise_prob 0.5 \
        --seeds 2 --arms sources sources+optimised sources+proximal

Each validation folder has three tables: clean, with noise of `NOISE` in both inputs, and with a
thermal image that is `SHIFT` pixels away; all compared with the clean sources in their places.
Each --video, a folder of consecutive frames, has a column in the table of flicker.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import argparse
import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.image_sheet import caption_row, stack_rows
from irvis_fusion_core.metrics import luminance, score_pair
from irvis_fusion_core.metrics.trivial_fusions import TRIVIAL_FUSIONS
from training import options as training_options
from training.data.augmentation import add_noise
from training.data.images import read_pair
from training.data.listing import list_images
from training.evaluation.fusers import CheckpointFuser
from training.evaluation.scores import merit
from training.evaluation.video import warped_flicker
from training.storage import write_bytes, write_png
from training.tables import markdown_table
from training.train import train

METRICS = ("EN", "SD", "SF", "MI", "SCD", "VIF", "Qabf", "SSIM", "SSIM255")
FROM_TEACHER = {"pix": 1.0, "ssim": 1.0, "grad": 0.5}
"""Without the terms of deep features: their VGG-16 may be missing."""

NOISE = 10.0
"""Deviation of the noise in both inputs, grey levels."""
SHIFT = 4.0
"""Displacement of the thermal image, pixels; its direction differs from pair to pair."""
FLICKER = "flicker"

Scores = dict[str, dict[str, dict[str, float]]]  # row -> validation folder -> metric


@command
def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    arms = plan(options)
    output = Path(options.output)
    seeds = range(options.seed, options.seed + options.seeds)
    students: dict[str, list[Path]] = {name: [] for name in arms}
    for options.seed in seeds:  # read by `_train_options`
        for name, (images, flags) in arms.items():
            folder = output / (name if options.seed == seeds[0] else f"{name}.{options.seed}")
            students[name].append(folder / f"{options.variant}.safetensors")
            if not students[name][-1].is_file():
                root = _with_teacher(Path(options.train_root), images, output / "data" / name)
                train(_train_options(options, root, folder, flags))
    if options.init:
        students = {"start": [Path(options.init)], **students}
    fusers = {name: [CheckpointFuser(path) for path in paths] for name, paths in students.items()}
    scores, spreads, panels = evaluate(fusers, options.val_root, options.val_limit)
    for video in options.video:
        for name, values in flicker(fusers, Path(video)).items():
            of = Path(video).name
            scores[name].setdefault(FLICKER, {})[of] = float(np.mean(values))
            spreads[name].setdefault(FLICKER, {})[of] = float(np.ptp(values)) / 2.0
    table = markdown(scores, spreads)
    write_bytes(output / "ablation.json", (json.dumps(scores, indent=2) + "\n").encode())
    write_bytes(output / "ablation.md", table.encode())
    write_png(output / "sheet.png", stack_rows(panels))
    print(table)
    return 0


def plan(options: argparse.Namespace) -> dict[str, tuple[Path | None, dict[str, float]]]:
    """Return arm -> (folder of teacher images or None, train's flags with a number each)."""
    teachers = {}
    for text in options.teacher:
        name, _, folder = text.partition("=")
        if not folder or not Path(folder).is_dir() or name in ("", "sources"):
            raise ConfigurationError(
                f"expected --teacher NAME=DIR with a folder that exists, found {text!r}"
            )
        teachers[name] = Path(folder)
    unknown = sorted(set(options.weighted) - set(teachers))
    if unknown:
        raise ConfigurationError(f"expected --weighted out of {sorted(teachers)}, found {unknown}")
    of_sources = {f"lambda_src_{k[4:]}": v for k, v in training_options.FROM_SOURCES.items()}
    of_teacher = {f"lambda_{k}": v for k, v in FROM_TEACHER.items()}
    nothing = {"lambda_perc": 0.0, "lambda_feat": 0.0}
    # With the images of a teacher, unseen by its terms: what is drawn for a crop depends on them.
    unseen = {f"lambda_{k}": 0.0 for k in (*FROM_TEACHER, "perc", "feat")}
    first = next(iter(teachers.values()), None)
    arms: dict[str, tuple[Path | None, dict[str, float]]]
    arms = {"sources": (first, {**of_sources, **unseen})}
    for name, folder in teachers.items():
        trust = {} if name in options.weighted else {"variance_noise": 0.0}
        arms[name] = (folder, {**of_teacher, **nothing, **trust})
        if options.both or options.arms:
            arms[f"sources+{name}"] = (folder, {**of_sources, **of_teacher, **nothing, **trust})
    if unknown := sorted(set(options.arms) - set(arms)):
        raise ConfigurationError(f"expected --arms out of {', '.join(arms)}, found {unknown}")
    return {name: arm for name, arm in arms.items() if name in (options.arms or arms)}


def evaluate(
    fusers: dict[str, list[CheckpointFuser]], roots: Sequence[str], limit: int
) -> tuple[Scores, Scores, list[np.ndarray]]:
    """Return mean metrics of every arm and of the trivial fusions, and rows of images.

    The second result is half the range of the seeds of an arm, 0 where there is one.
    """
    scores: Scores = {}
    spreads: Scores = {}
    panels: list[np.ndarray] = []
    for root in roots:
        found: dict[tuple[str, str], list[list[list[float]]]] = {}
        folder = Path(root).resolve()
        label = folder.parent.name if folder.name in ("train", "val", "test") else folder.name
        pairs = list_images(Path(root), check=False, limit=limit).pairs
        for number, paths in enumerate(pairs):
            clean = read_pair(paths.ir, paths.vis)
            y = luminance(clean[1])
            moved = displaced(clean[0], number), clean[1]
            kinds = {"": clean, ", noisy": _noisy(*clean), f", {SHIFT:g} px": moved}
            for kind, (ir, vis) in kinds.items():
                seen = ir, luminance(vis)
                fused = {name: [TRIVIAL_FUSIONS[name](*seen)] for name in ("maximum", "mean")}
                for name, of in fusers.items():
                    fused[name] = [luminance(fuser.fuse([ir], [vis])[0]) for fuser in of]
                for name, images in fused.items():
                    rows = [list(score_pair(x, clean[0], y, METRICS).values()) for x in images]
                    found.setdefault((label + kind, name), []).append(rows)
                if number in (0, len(pairs) // 2):
                    first = {name: images[0] for name, images in fused.items()}
                    shown = {"infrared": seen[0], "visible": seen[1], **first}
                    panels.append(caption_row(shown, width=320))
        for (kind, name), values in found.items():
            seeds = [dict(zip(METRICS, each)) for each in np.mean(values, 0).tolist()]
            seeds = [{**row, "merit": merit(row)} for row in seeds]
            table = {column: [row[column] for row in seeds] for column in seeds[0]}
            means = {column: float(np.mean(each)) for column, each in table.items()}
            scores.setdefault(name, {})[kind] = means
            spreads.setdefault(name, {})[kind] = {
                c: float(np.ptp(e)) / 2.0 for c, e in table.items()
            }
    return scores, spreads, panels


def flicker(fusers: dict[str, list[CheckpointFuser]], folder: Path) -> dict[str, list[float]]:
    """Return the flicker of every arm's seeds, and of the trivial fusions, in grey levels."""
    frames = [read_pair(paths.ir, paths.vis) for paths in list_images(folder, check=False).pairs]
    if len(frames) < 2:
        raise ConfigurationError(f"expected frames of a video in {folder}, found {len(frames)}")
    ir, y = [ir for ir, _ in frames], [luminance(vis) for _, vis in frames]
    fused = {
        name: [[TRIVIAL_FUSIONS[name](*pair) for pair in zip(ir, y)]]
        for name in ("maximum", "mean")
    }
    for name, of in fusers.items():
        fused[name] = [[luminance(one.fuse([a], [b])[0]) for a, b in frames] for one in of]
    return {name: [warped_flicker(each, ir, y) for each in of] for name, of in fused.items()}


def displaced(ir: np.ndarray, number: int) -> np.ndarray:
    """Return the thermal image of pair `number`, moved by `SHIFT`; its border is repeated."""
    angle = 2.0 * np.pi * number * 0.381966  # the golden angle: directions spread evenly
    move = np.array([[1.0, 0.0, SHIFT * np.cos(angle)], [0.0, 1.0, SHIFT * np.sin(angle)]])
    how, border = cv2.INTER_CUBIC, cv2.BORDER_REPLICATE
    return cv2.warpAffine(ir, move, ir.shape[::-1], flags=how, borderMode=border)


def _noisy(ir: np.ndarray, vis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pair with noise of `NOISE` in both; the same for the same images."""
    random = np.random.default_rng(zlib.crc32(ir.tobytes()))
    planes = [add_noise(image, random.normal(0.0, NOISE, image.shape)) for image in (ir, vis)]
    return planes[0], planes[1]


def markdown(scores: Scores, spreads: Scores) -> str:
    """Return the tables; `merit` is 2 SSIM + VIF + 3 Qabf."""
    two = ("EN", "SD", "SF")
    tables = []
    for label, columns in next(iter(scores.values())).items():
        styles = {name: ".2f" if name in two else ".3f" for name in columns}
        rows: dict[str, list[object]] = {}
        for name, of in scores.items():
            spread, rows[name] = spreads[name][label], []
            for column, style in styles.items():
                text = f"{of[label][column]:{style}}"
                rows[name].append(text + f" ±{spread[column]:{style}}" * (spread[column] > 0))
        tables.append(markdown_table(list(columns), rows, corner=label) + "\n")
    return "\n".join(tables)


def _with_teacher(root: Path, images: Path | None, view: Path) -> Path:
    """Make a folder that shows the pairs of `root` and, where given, one teacher's images."""
    view.mkdir(parents=True, exist_ok=True)
    for name, target in {"IR": root / "IR", "VIS": root / "VIS", "TEACHER_FUSED": images}.items():
        (view / name).unlink(missing_ok=True)
        if target is not None:
            (view / name).symlink_to(target.resolve())
    return view


def _train_options(
    options: argparse.Namespace, root: Path, folder: Path, flags: dict[str, float]
) -> argparse.Namespace:
    """Return the options of `training.train` for one arm."""
    chosen = vars(training_options.parse_options(["--train_root", str(root), "--overwrite"]))
    own = {"train_root", "val_root", "val_limit"}
    chosen.update({k: v for k, v in vars(options).items() if k in chosen and k not in own})
    # --max_steps ends it.
    chosen.update(epochs=1_000_000, save_freq=1_000_000, warmup_epochs=0, vis_freq=0)
    chosen.update(freeze_norm=None)  # by whether there is an --init
    chosen.update(checkpoint_dir=str(folder), log_dir=str(folder / "log"), **flags)
    return training_options.check_options(argparse.Namespace(**chosen))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = training_options.script_parser(__doc__, "ablation")
    add = parser.add_argument
    add("--train_root", required=True, help="one folder with IR/ and VIS/")
    add("--val_root", required=True, action="append", metavar="DIR", help="again for more")
    text = "folder of consecutive frames, for flicker; again for more"
    add("--video", action="append", default=[], metavar="DIR", help=text)
    add("--teacher", action="append", default=[], metavar="NAME=DIR", help="its TEACHER_FUSED")
    add("--weighted", action="append", default=[], metavar="NAME", help="trust by variance")
    add("--both", action="store_true", help="also source and teacher terms together")
    add("--arms", nargs="+", default=[], metavar="ARM", help="of all with --both (default: all)")
    add("--seeds", type=int, default=1, metavar="N", help="runs of each arm, from --seed on")
    add(
        "--detector",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="as of training.train",
    )
    add("--boxes", action="append", default=[], metavar="DIR", help="as of training.train")
    add("--output", default="runs/ablation")
    add("--variant", default="nano")
    add("--init", metavar="FILE", help="start every arm from these weights")
    others = {"max_steps": 2000, "input_size": 160, "batch_size": 6, "lr": 2e-3, "threads": 1}
    others.update(misalign_prob=0.0, val_limit=0, num_workers=0)
    names = "accelerator seed noise_prob lr_warmup_steps ema"
    training_options.add_options(parser, names, **others)
    options = parser.parse_args(arguments)
    training_options.require_at_least(options, 1, "max_steps seeds")
    torch.set_num_threads(options.threads)
    return options


if __name__ == "__main__":
    sys.exit(main())
