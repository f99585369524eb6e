r"""Fuse the pairs of a folder with a diffusion teacher, to distil a student from the images.

    python -m training.make_teacher_images --teacher mask_difuser \
        --checkpoint mask_difuser.safetensors --data_root DATA/train --samples 4

Writes ``TEACHER_FUSED/`` next to ``IR/`` and ``VIS/`` (or under ``--output``): every sample, the
mean and the per-pixel variance of the ensemble. An interrupted run continues where it stopped; a
sample depends on its pair's name, its number and ``--seed`` only. Several GPUs or machines:
``--devices 4``, or torchrun, whose RANK and WORLD_SIZE share the pairs out.

Several teachers, and for every pair the better one by 2 SSIM + VIF + 3 Qabf::

    python -m training.make_teacher_images --teacher ddfm --checkpoint ddfm.safetensors \
        --teacher mask_difuser --checkpoint mask_difuser.safetensors \
        --data_root DATA/train --select
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import ConfigurationError, FusionError
from irvis_fusion_core.model_zoo import sha256_of
from training.data.images import PairPaths, read_luminance, read_pair
from training.data.listing import list_images
from training.options import add_options, require_at_least, script_parser
from training.teachers import ddfm, diffusion
from training.teachers.ensemble_files import EnsembleFolder, refuse_ambiguous, to_bytes
from training.teachers.ensembles import Ensemble, EnsembleSampler, Pair, same_size, summarize
from training.teachers.images import restore_colour
from training.teachers.mask_difuser import teacher as mask_difuser
from training.teachers.prior_files import TEACHERS, load_network
from training.teachers.selection import choose
from training.teachers.shares import Share, device_of, launch, share_of_environment

FOLDER = "TEACHER_FUSED"
SPLITS = ("train", "val", "test")


@dataclass
class Tally:
    """Counts for the last lines."""

    made: int = 0
    kept: int = 0
    diverged: int = 0
    before: int = 0
    failed: list[str] = field(default_factory=list)


@command
def main(arguments: list[str]) -> int:
    """Run the command."""
    options = _parse(arguments)
    share = share_of_environment()
    if options.devices.isdigit() and int(options.devices) > 1 and share.world_size == 1:
        return launch("training.make_teacher_images", int(options.devices), arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
        torch.set_flush_denormal(True)
    device = device_of(options.devices, share)
    # One teacher at a time: two published networks may not fit into memory.
    several = len(options.teacher) > 1
    tally = Tally()
    for teacher, checkpoint in zip(options.teacher, options.checkpoint):
        sampler = _open(teacher, checkpoint, device, options)
        settings = _settings(teacher, checkpoint, options)
        name = f"{FOLDER}_{teacher}" if several else FOLDER
        for root in _roots(options):
            folder = EnsembleFolder(_output(options, root) / name)
            folder.open(settings, share.rank == 0)
            _make(folder, root, sampler, share, options, tally)
    if options.select:
        for root in _roots(options):
            _select(_output(options, root), root, share, options)
    print(
        f"{tally.made} ensembles made ({tally.kept} samples kept, {tally.diverged} diverged and "
        f"left out), {tally.before} were there before, {len(tally.failed)} failed",
        flush=True,
    )
    for line in tally.failed:
        print(f"failed: {line}", file=sys.stderr)
    return 1 if tally.failed else 0


def _make(
    folder: EnsembleFolder,
    root: Path,
    sampler: EnsembleSampler,
    share: Share,
    options: argparse.Namespace,
    tally: Tally,
) -> None:
    """Make the missing images of this process's part of one folder."""
    paths = _own_pairs(root, share, options)
    missing = [pair for pair in paths if not folder.is_done(pair.stem)]
    tally.before += len(paths) - len(missing)
    title = f"{sampler.teacher.name} {root.name} [{share.rank + 1}/{share.world_size}]"
    with tqdm(total=len(missing), desc=title, unit="pair", file=sys.stderr) as bar:
        for group in same_size(_read(missing, tally, bar), sampler.pairs_at_once):
            for ensemble in sampler.draw(group):
                _store(folder, ensemble, share.rank, tally)
                bar.update()
                bar.set_postfix(diverged=tally.diverged)


def _store(folder: EnsembleFolder, ensemble: Ensemble, rank: int, tally: Tally) -> None:
    kept = sorted(ensemble.samples)
    row = {"stem": ensemble.stem, "kept": kept, "diverged": ensemble.diverged}
    tally.kept += len(kept)
    tally.diverged += len(ensemble.diverged)
    if kept:
        mean, variance = summarize(ensemble)
        coloured = restore_colour(
            torch.stack([*(ensemble.samples[k] for k in kept), mean]), ensemble.vis[None]
        )
        *samples, mean_image = to_bytes(coloured)
        folder.write(ensemble.stem, dict(zip(kept, samples)), mean_image, variance.numpy())
        tally.made += 1
    else:
        tally.failed.append(f"{ensemble.stem}: every sample diverged")
    folder.note(rank, {**row, "seconds": round(ensemble.seconds, 3)})


def _select(output: Path, root: Path, share: Share, options: argparse.Namespace) -> None:
    """Keep the best teacher of every pair of this process."""
    sources = {t: EnsembleFolder(output / f"{FOLDER}_{t}") for t in options.teacher}
    target = EnsembleFolder(output / FOLDER)
    target.open({"selected_from": sorted(sources), "by": "2 SSIM + VIF + 3 Qabf"}, share.rank == 0)
    wins = dict.fromkeys(sources, 0)
    for paths in tqdm(_own_pairs(root, share, options), desc="select", file=sys.stderr):
        stem = paths.stem
        means = {k: read_luminance(s.mean(stem)) for k, s in sources.items() if s.is_done(stem)}
        if not means:
            continue
        best, merits = choose(means, *read_pair(paths.ir, paths.vis))
        target.take_over(stem, sources[best])
        wins[best] += 1
        scores = {name: round(score, 4) for name, score in merits.items()}
        target.note(share.rank, {"stem": stem, "best": best, "scores": scores})
    print(f"{root.name}: " + ", ".join(f"{name} best of {n} pairs" for name, n in wins.items()))


def _own_pairs(root: Path, share: Share, options: argparse.Namespace) -> list[PairPaths]:
    listing = list_images(root, check=not options.skip_bad)
    if not options.skip_bad:
        listing.unmatched = [n for n in listing.unmatched if not n.startswith(FOLDER)]
        listing.require_clean()
    pairs = listing.pairs[: options.limit or None]
    refuse_ambiguous([pair.stem for pair in pairs], options.samples)
    return pairs[share.rank :: share.world_size]


def _read(paths: Sequence[PairPaths], tally: Tally, bar: tqdm) -> Iterator[Pair]:
    """Yield the pairs; note those that cannot be read."""
    for one in paths:
        try:
            yield Pair(one.stem, *read_pair(one.ir, one.vis))
        except FusionError as error:
            tally.failed.append(str(error))
            bar.update()


def _open(
    teacher: str, checkpoint: str, device: torch.device, options: argparse.Namespace
) -> EnsembleSampler:
    network = load_network(teacher, checkpoint).to(device)
    model: ddfm.DDFM | mask_difuser.MaskDiFuser
    if teacher == "ddfm":
        steps = options.steps or ddfm.PUBLISHED_STEPS
        model = ddfm.DDFM(network, steps, options.sampler, options.eta, options.mode)
    else:
        steps = options.steps or mask_difuser.PUBLISHED_STEPS
        model = mask_difuser.MaskDiFuser(network, steps, options.eta)
    settings = (
        options.seed,
        options.max_side,
        options.use_amp,
        teacher in options.hold_brightness,
    )
    return EnsembleSampler(model, options.samples, options.batch_size, device, *settings)


def _settings(teacher: str, checkpoint: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that change the images."""
    names = ("samples", "steps", "eta", "seed", "max_side", "use_amp")
    chosen = {name: getattr(options, name) for name in names}
    if teacher in options.hold_brightness:
        chosen["hold_brightness"] = True
    if teacher == "ddfm":
        chosen.update(sampler=options.sampler, mode=options.mode)
    return {"teacher": teacher, "checkpoint_sha256": sha256_of(checkpoint), **chosen}


def _roots(options: argparse.Namespace) -> list[Path]:
    """Return the folder itself, or those of its splits that hold pairs."""
    root = Path(options.data_root)
    if (root / "IR").is_dir() or (root / "VIS").is_dir():
        return [root]
    return [root / split for split in SPLITS if (root / split / "IR").is_dir()] or [root]


def _output(options: argparse.Namespace, root: Path) -> Path:
    inside = root.name if root != Path(options.data_root) else ""
    return root if options.output is None else Path(options.output) / inside


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = script_parser(__doc__, "make_teacher_images")
    add = parser.add_argument
    add("--teacher", required=True, action="append", choices=sorted(TEACHERS))
    add("--checkpoint", required=True, action="append", help="one for each --teacher")
    add("--data_root", required=True, help="holds IR/ and VIS/, or train/, val/, test/ that do")
    add("--output", help="where TEACHER_FUSED/ goes (default: next to IR/ and VIS/)")
    add("--samples", type=int, default=4, metavar="K", help="of each pair (default: 4)")
    add("--steps", type=int, default=0, help="default: 100 (ddfm), 5 (mask_difuser)")
    add("--sampler", default="ddpm", choices=diffusion.SAMPLERS, help="of ddfm (default: ddpm)")
    add("--mode", default="regional", choices=sorted(ddfm.MODES), help="of ddfm (see its module)")
    add("--eta", type=float, default=1.0, help="noise of ddim, 0..1 (default: 1)")
    add("--select", action="store_true", help="keep the best of several teachers for each pair")
    add("--batch_size", type=int, default=4, help="samples drawn at once (default: 4)")
    add("--max_side", type=int, default=0, metavar="PX", help="downscale longer images")
    add("--devices", default="auto", help="auto, cpu, cuda:N, or how many processes to start")
    add(
        "--hold_brightness",
        action="append",
        default=[],
        choices=sorted(TEACHERS),
        help="bring this teacher's brightness into its sources' range, by blocks of 8 pixels",
    )
    add("--limit", type=int, default=0, help="pairs of a folder at most; 0 for all")
    add("--skip_bad", action="store_true", help="do not stop for faulty files at the start")
    add_options(parser, "use_amp seed threads")
    options = parser.parse_args(arguments)
    if len(options.teacher) != len(options.checkpoint):
        raise ConfigurationError(
            f"expected one --checkpoint for each --teacher, found {len(options.checkpoint)} for "
            f"{len(options.teacher)}"
        )
    if len(set(options.teacher)) != len(options.teacher):
        raise ConfigurationError("expected each --teacher once")
    if options.select and len(options.teacher) < 2:
        raise ConfigurationError("expected at least two --teacher to --select from, found one")
    require_at_least(options, 1, "samples batch_size")
    require_at_least(options, 0, "steps max_side")
    if not 0.0 <= options.eta <= 1.0:
        raise ConfigurationError(f"expected --eta between 0 and 1, found {options.eta}")
    return options


if __name__ == "__main__":
    sys.exit(main())
