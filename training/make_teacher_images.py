r"""Fuse the pairs of a folder with a diffusion teacher, to distil a student from the images.

    python -m training.make_teacher_images --teacher mask_difuser \
        --checkpoint mask_difuser.safetensors --data_root DATA/train --samples 4

Writes ``TEACHER_FUSED/`` next to ``IR/`` and ``VIS/`` (or under ``--output``): every sample, the
mean and the per-pixel variance of the ensemble. An interrupted run continues where it stopped; a
sample depends on its pair's name, its number and ``--seed`` only. Several GPUs or machines:
``--devices 4``, or torchrun, whose RANK and WORLD_SIZE share the pairs out.

``--teacher optimised`` optimises the pixels of each pair under the objective of the training,
from the image of the student in ``--checkpoint`` or from the pixel-wise ``maximum``. ``--prior
FILE``, a network of ddfm, holds them to what its denoiser gives::

    python -m training.make_teacher_images --teacher optimised --checkpoint maximum \
        --detector yolox_nano.onnx --prior ddfm.safetensors --data_root DATA/train

``--teacher conditional`` is a diffusion network that learnt such images
(`training.train_teacher`). Its samples differ, and so weigh what a student learns.

Several teachers, and for every pair the better one by 2 SSIM + VIF + 3 Qabf::

    python -m training.make_teacher_images --teacher ddfm --checkpoint ddfm.safetensors \
        --teacher mask_difuser --checkpoint mask_difuser.safetensors \
        --data_root DATA/train --select

Many folders, shared out over processes, or over the workers of a Dask cluster (``--scheduler
ADDRESS``, extra [fleet]); a folder that cannot be read is not the end::

    python -m training.make_teacher_images --teacher ddfm --checkpoint ddfm.safetensors \
        --data_root DATA/a DATA/b DATA/c --jobs 4
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import ConfigurationError, FusionError
from training.data.images import PairPaths, read_luminance, read_pair
from training.data.listing import list_images
from training.errors import DataError
from training.evaluation.scores import best_of
from training.options import add_options, require_at_least, script_parser
from training.teachers import ddfm, diffusion, optimised, teacher_fleet
from training.teachers.ensemble_files import EnsembleFolder, refuse_ambiguous
from training.teachers.ensembles import (
    AGREE,
    DISAGREE,
    Ensemble,
    EnsembleSampler,
    Pair,
    same_size,
    spread,
    summarize,
)
from training.teachers.opening import open_teacher, settings_of
from training.teachers.prior_files import TEACHERS

MODULE = "training.make_teacher_images"
FOLDER = "TEACHER_FUSED"
SPLITS = ("train", "val", "test")

Colour = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From fused luminance and the visible RGB to fused RGB, as `restore_colour`."""


class Share(NamedTuple):
    """The part of the work that one process does."""

    rank: int
    world_size: int
    local_rank: int


def share_of_environment() -> Share:
    """Return this process's share by torchrun's environment."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    try:
        rank, world_size, local = (int(os.environ.get(n, d)) for n, d in zip(names, "010"))
    except ValueError as error:
        raise ConfigurationError(f"expected numbers in {', '.join(names)}: {error}") from error
    if not 0 <= rank < world_size:
        raise ConfigurationError(f"expected RANK below WORLD_SIZE, found {rank} and {world_size}")
    return Share(rank, world_size, local)


def device_of(devices: str, share: Share) -> torch.device:
    """Return the named device; for ``auto`` the local rank's GPU, else the CPU."""
    if devices == "auto" or devices.isdigit():
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", share.local_rank % torch.cuda.device_count())
    try:
        device = torch.device(devices)
    except RuntimeError as error:
        raise ConfigurationError(
            f"expected --devices auto, cpu, cuda:N or a number of processes, found {devices!r}"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("expected a GPU for --devices cuda, found none; try cpu")
    return device


def launch(count: int, arguments: Sequence[str]) -> int:
    """Run this command once for each device, as torchrun does; return the worst status."""
    base = [sys.executable, "-m", "training.make_teacher_images", *arguments]
    running = []
    for rank in range(count):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        running.append(subprocess.Popen(base, env={**os.environ, **place}))
    try:
        return max(abs(process.wait()) for process in running)
    except KeyboardInterrupt:
        for process in running:
            process.terminate()
        raise


@dataclass
class Work:
    """One process's part of the work, and the counts for its last lines."""

    options: argparse.Namespace
    share: Share
    made: int = 0
    kept: int = 0
    diverged: int = 0
    before: int = 0
    failed: list[str] = field(default_factory=list)
    spreads: list[tuple[float, float]] = field(default_factory=list)

    def make(self, folder: EnsembleFolder, root: Path, sampler: EnsembleSampler) -> None:
        """Make the missing images of this process's part of one folder."""
        paths = self._own_pairs(root, sampler.samples)
        missing = [pair for pair in paths if not folder.is_done(pair.stem)]
        self.before += len(paths) - len(missing)
        part = f"[{self.share.rank + 1}/{self.share.world_size}]"
        title = f"{sampler.teacher.name} {root.name} {part}"
        images = len(missing) * sampler.samples
        with tqdm(total=images, desc=title, unit="image", file=sys.stderr) as bar:
            for group in same_size(
                self._read(missing, bar, sampler.samples), sampler.pairs_at_once
            ):
                for ensemble in sampler.draw(group, bar.update):
                    self._store(folder, ensemble, sampler.teacher.colour)
                    bar.set_postfix(diverged=self.diverged)

    def select(self, root: Path) -> None:
        """Keep the best teacher of every pair of this process."""
        output, rank = output_folder(self.options, root), self.share.rank
        sources = {t: EnsembleFolder(output / f"{FOLDER}_{t}") for t in self.options.teacher}
        target = EnsembleFolder(output / FOLDER)
        target.open({"selected_from": sorted(sources), "by": "2 SSIM + VIF + 3 Qabf"}, rank == 0)
        wins = dict.fromkeys(sources, 0)
        for paths in tqdm(self._own_pairs(root), desc="select", file=sys.stderr):
            stem, done = paths.stem, {k: s for k, s in sources.items() if s.is_done(paths.stem)}
            if not done:
                continue
            means = {name: read_luminance(source.mean(stem)) for name, source in done.items()}
            best, merits = best_of(means, *read_pair(paths.ir, paths.vis))
            target.take_over(stem, sources[best])
            wins[best] += 1
            scores = {name: round(score, 4) for name, score in merits.items()}
            target.note(rank, {"stem": stem, "best": best, "scores": scores})
        shown = ", ".join(f"{name} best of {n} pairs" for name, n in wins.items())
        print(f"{root.name}: {shown}")

    def _own_pairs(self, root: Path, samples: int = 1) -> list[PairPaths]:
        listing = list_images(root, check=not self.options.skip_bad)
        if not self.options.skip_bad:
            listing.unmatched = [n for n in listing.unmatched if not n.startswith(FOLDER)]
            listing.require_clean()
        pairs = listing.pairs[: self.options.limit or None]
        refuse_ambiguous([pair.stem for pair in pairs], samples)
        return pairs[self.share.rank :: self.share.world_size]

    def _read(self, paths: Sequence[PairPaths], bar: tqdm, samples: int) -> Iterator[Pair]:
        """Yield the pairs; note those that cannot be read."""
        for one in paths:
            try:
                yield Pair(one.stem, *read_pair(one.ir, one.vis))
            except FusionError as error:
                self.failed.append(str(error))
                bar.update(samples)

    def _store(self, folder: EnsembleFolder, ensemble: Ensemble, colour: Colour) -> None:
        kept = sorted(ensemble.samples)
        self.kept += len(kept)
        self.diverged += len(ensemble.diverged)
        if kept:
            mean, variance = summarize(ensemble)
            planes = torch.stack([*(ensemble.samples[k] for k in kept), mean])
            bytes_ = (colour(planes, ensemble.vis[None]) * 255.0).round().byte()
            *samples, mean_image = bytes_.permute(0, 2, 3, 1).numpy()
            folder.write(ensemble.stem, dict(zip(kept, samples)), mean_image, variance.numpy())
            self.made += 1
            differ = spread(ensemble)
            self.spreads += [] if differ is None else [differ]
        else:
            self.failed.append(f"{ensemble.stem}: every sample diverged")
        row = {"stem": ensemble.stem, "kept": kept, "diverged": ensemble.diverged}
        folder.note(self.share.rank, {**row, "seconds": round(ensemble.seconds, 3)})


@command
def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    if len(options.data_root) > 1 or options.jobs > 1 or options.scheduler:
        return teacher_fleet.run_folders(MODULE, options, arguments)
    (options.data_root,) = options.data_root
    share = share_of_environment()
    if options.devices.isdigit() and int(options.devices) > 1 and share.world_size == 1:
        return launch(int(options.devices), arguments)
    work = _make(options)
    print(
        f"{work.made} ensembles made ({work.kept} samples kept, {work.diverged} diverged and "
        f"left out), {work.before} were there before, {len(work.failed)} failed",
        flush=True,
    )
    for line in work.failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if work.failed else 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Make this process's share of one folder; return the facts of its row in a report of several.

    Raises:
        FusionError: The folder, the checkpoint or the device; or some pairs failed.
    """
    work = _make(options)
    if work.failed:
        # The others are there, and are not made again by the next run.
        raise DataError(f"{len(work.failed)} pairs failed: " + "; ".join(work.failed))
    counts = {"ensembles made": work.made, "there before": work.before}
    return {"counts": {**counts, "samples kept": work.kept, "diverged": work.diverged}}


def _make(options: argparse.Namespace) -> Work:
    """Make the missing images of this process's share."""
    share = share_of_environment()
    if options.threads:
        torch.set_num_threads(options.threads)
        torch.set_flush_denormal(True)
    device, work = device_of(options.devices, share), Work(options, share)
    data_root = Path(options.data_root)
    roots = [data_root]
    if not (data_root / "IR").is_dir() and not (data_root / "VIS").is_dir():
        roots = [data_root / s for s in SPLITS if (data_root / s / "IR").is_dir()] or roots
    # One teacher at a time: two published networks may not fit into memory.
    chosen = zip(options.teacher, options.checkpoint, options.samples, options.steps)
    for teacher, checkpoint, samples, steps in chosen:
        one = argparse.Namespace(**{**vars(options), "samples": samples, "steps": steps})
        sampler = open_teacher(teacher, checkpoint, device, one)
        settings = settings_of(teacher, checkpoint, one)
        work.spreads.clear()
        name = f"{FOLDER}_{teacher}" if len(options.teacher) > 1 else FOLDER
        for root in roots:
            folder = EnsembleFolder(output_folder(options, root) / name)
            folder.open(settings, share.rank == 0)
            work.make(folder, root, sampler)
        if isinstance(sampler.teacher, optimised.Optimised):
            print(f"{teacher}: {sampler.teacher.report()}", file=sys.stderr)
        if work.spreads:
            disagree, agree = np.mean(work.spreads, axis=0)
            print(
                f"{teacher}: the samples of a pair differ by {disagree:.2f} grey levels where its "
                f"sources differ by {DISAGREE} or more, by {agree:.2f} where by {AGREE} or less "
                f"(standard deviation, mean of {len(work.spreads)} pairs)",
                flush=True,
            )
    for root in roots if options.select else ():
        work.select(root)
    return work


def output_folder(options: argparse.Namespace, root: Path) -> Path:
    """Return where the images of one folder of pairs go."""
    inside = root.name if root != Path(options.data_root) else ""
    return root if options.output is None else Path(options.output) / inside


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = script_parser(__doc__, "make_teacher_images")
    add = parser.add_argument
    add("--teacher", required=True, action="append", choices=sorted([*TEACHERS, "optimised"]))
    text = "one for each --teacher; of optimised a student's, or maximum"
    add("--checkpoint", required=True, action="append", help=text)
    text = "holds IR/ and VIS/, or train/, val/, test/ that do; or several of these"
    add("--data_root", required=True, nargs="+", metavar="DIR", help=text)
    text = "where TEACHER_FUSED/ goes, of several folders below their names (default: next to IR/ "
    add("--output", help=text + "and VIS/)")
    teacher_fleet.add_options(parser)
    text = "of each pair; one number for all teachers or one each (default: 4; 1 of optimised)"
    add("--samples", type=int, nargs="+", metavar="K", help=text)
    text = "the same (default: 100 of ddfm and optimised, 5 of the others)"
    add("--steps", type=int, nargs="+", metavar="N", help=text)
    text = "of optimised: as of training.train; it sees the objects of the thermal image"
    add("--detector", nargs="+", action="extend", default=[], metavar="FILE", help=text)
    text = "of optimised: also optimise for the detector's scores and places"
    add("--detector_scores", action="store_true", help=text)
    add("--prior", metavar="FILE", help="of optimised: a network of ddfm, used as a denoiser")
    add("--sampler", default="ddpm", choices=diffusion.SAMPLERS, help="of ddfm (default: ddpm)")
    add("--mode", default="regional", choices=sorted(ddfm.MODES), help="of ddfm (see its module)")
    add("--eta", type=float, default=1.0, help="noise of ddim, 0..1 (default: 1)")
    add("--select", action="store_true", help="keep the best of several teachers for each pair")
    add("--batch_size", type=int, default=4, help="samples drawn at once (default: 4)")
    add("--max_side", type=int, default=0, metavar="PX", help="downscale longer images")
    add("--devices", default="auto", help="auto, cpu, cuda:N, or how many processes to start")
    held = "bring this teacher's brightness into its sources' range, by blocks of 8 pixels"
    add("--hold_brightness", action="append", default=[], choices=sorted(TEACHERS), help=held)
    add("--limit", type=int, default=0, help="pairs of a folder at most; 0 for all")
    add("--skip_bad", action="store_true", help="do not stop for faulty files at the start")
    add_options(parser, "use_amp seed threads")
    options = parser.parse_args(arguments)
    if len(options.teacher) != len(options.checkpoint):
        raise ConfigurationError(
            f"expected one --checkpoint for each --teacher, found {len(options.checkpoint)} for "
            f"{len(options.teacher)}"
        )
    of_each = [1 if teacher == "optimised" else 4 for teacher in options.teacher]
    options.samples = _for_each(options, "samples", of_each, 1)
    options.steps = _for_each(options, "steps", [0] * len(of_each), 0)
    if len(set(options.teacher)) != len(options.teacher):
        raise ConfigurationError("expected each --teacher once")
    if options.select and len(options.teacher) < 2:
        raise ConfigurationError("expected at least two --teacher to --select from, found one")
    require_at_least(options, 1, "batch_size")
    require_at_least(options, 0, "max_side jobs")
    if not 0.0 <= options.eta <= 1.0:
        raise ConfigurationError(f"expected --eta between 0 and 1, found {options.eta}")
    return options


def _for_each(options: argparse.Namespace, name: str, default: list[int], least: int) -> list[int]:
    """Return an option's number for each teacher."""
    given, count = getattr(options, name), len(options.teacher)
    if given is None:
        return default
    if len(given) not in (1, count) or min(given) < least:
        raise ConfigurationError(
            f"expected one --{name} or one for each of {count} --teacher, of at least {least}, "
            f"found {' '.join(map(str, given))}"
        )
    return given * count if len(given) == 1 else given


if __name__ == "__main__":
    sys.exit(main())
