"""Train the diffusion network of a teacher: DDFM's, Mask-DiFuser's or the conditional one's.

    python -m training.train_teacher --teacher ddfm --train_root DATA/msrs/train \
        --val_root DATA/msrs/val --checkpoint_dir runs/ddfm --log_dir logs/ddfm

For the first two any folder of photographs will do; of a folder with ``VIS/`` its visible images
are taken (name ``IR/`` itself for the thermal ones). A prior that is a denoiser, for ``--teacher
optimised`` of `training.make_teacher_images`, needs little noise only: ``--t_below 150``.

The conditional teacher learns the images of another teacher, in ``TEACHER_FUSED/`` next to
``IR/`` and ``VIS/``, from sources with a sensor's faults in ``--noise_prob`` of the crops::

    python -m training.make_teacher_images --teacher optimised ... --data_root DATA/train
    python -m training.train_teacher --teacher conditional --train_root DATA/train

`training.make_teacher_images` loads ``<checkpoint_dir>/<teacher>.safetensors``, the averaged
network and its configuration. ``--resume <checkpoint_dir>/last.ckpt`` continues the training.
Several GPUs or machines: ``--devices``, ``--num_nodes`` and ``--strategy``, or torchrun.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning

from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import CheckpointError, ConfigurationError
from irvis_fusion_core.network.checkpoint import find_misfits
from training.data.augmentation import Augmentation
from training.data.data_module import same_images
from training.data.scene_parts import held_out
from training.errors import DataError
from training.loop.averaged_run import AveragedData, check_readable, fit
from training.loop.set_up import set_up_process, steps_in_all
from training.options import add_options, script_parser
from training.teachers.conditional import TaughtCrops
from training.teachers.photographs import PhotographCrops, list_photographs
from training.teachers.prior_files import TEACHERS, create_network, load_network, save_network
from training.teachers.prior_task import PriorTask

LAMBDAS = {"noise": 10.0, "image": 0.5, "ssim": 0.5, "colour": 10.0}
"""Terms of the loss and their default weights."""


@command
def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    lightning.seed_everything(options.seed, verbose=False)
    set_up_process(options.threads)
    check_readable(options.resume, "train_teacher")
    if options.t_below:
        options.config["t_below"] = options.t_below
    network = create_network(options.teacher, options.size, options.config)
    if options.init:
        start = load_network(options.teacher, options.init).state_dict()
        if misfits := find_misfits(start, network):
            raise CheckpointError(f"expected weights of this network in --init, found {misfits}")
        network.load_state_dict(start)
    size, multiple = options.input_size, network.multiple
    if size % multiple:
        raise ConfigurationError(
            f"expected --input_size to be a multiple of {multiple} for this network, found "
            f"{size}; try {max(multiple, size // multiple * multiple)}"
        )
    taught = options.teacher == "conditional"
    data = TaughtPairs(options) if taught else Photographs(options, network.config.in_channels)
    steps = steps_in_all(options, data.sampler().steps)
    weights = {name: getattr(options, f"lambda_{name}") for name in LAMBDAS}
    names = ("lr", "weight_decay", "ema", "image_terms_from", "seed", "warmup_steps")
    chosen = {name: getattr(options, name) for name in names}
    task = PriorTask(network, weights, total_steps=steps, **chosen)
    folder = Path(options.checkpoint_dir)
    weights_file = folder / f"{options.teacher}.safetensors"
    monitor = "val/noise" if options.val_root else None
    what = "pairs with a teacher's image" if taught else "photographs"
    about = f"{options.teacher}, {len(data.train)} {what}"
    fit(task, data, options, weights_file, save_network, monitor, about)
    print(f"written to {folder}: {weights_file.name}, last.ckpt, training.jsonl, config.json")
    return 0


class Photographs(AveragedData):
    """Training crops of photographs, and one fixed crop of each validation image."""

    def __init__(self, options: argparse.Namespace, channels: int) -> None:
        settings = (channels, options.input_size, options.teacher == "mask_difuser", options.seed)
        train = list_photographs(options.train_root)
        if options.exclude_validation:
            annotated = {p.stem for root in options.boxes for p in Path(root).glob("*.txt")}
            train = [p for p in train if not held_out(p.stem, p.stem in annotated)]
            if not train:
                raise DataError(
                    f"expected photographs in {', '.join(options.train_root)}, found that all are "
                    "held out; leave out --exclude_validation, or give other folders"
                )
        crops: list[Any] = [
            PhotographCrops(paths, *settings) if paths else None
            for paths in (train, list_photographs(options.val_root))
        ]
        names = ("batch_size", "num_workers", "crops_per_epoch", "seed")
        super().__init__(crops[0], crops[1], *(getattr(options, name) for name in names))


class TaughtPairs(AveragedData):
    """Training crops of pairs with a teacher's image, and a fixed crop of each validation pair."""

    def __init__(self, options: argparse.Namespace) -> None:
        chances = {name: getattr(options, name) for name in ("noise_prob", "misalign_prob")}
        vary = Augmentation(options.input_size, **chances)
        train = TaughtCrops(
            options.train_root, vary, options.seed, options.boxes, options.exclude_validation
        )
        validation = None
        if options.val_root:
            validation = TaughtCrops(options.val_root, vary, options.seed, (), False)
            same_images(train, validation)
        names = ("batch_size", "num_workers", "crops_per_epoch", "seed")
        super().__init__(train, validation, *(getattr(options, name) for name in names))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = script_parser(__doc__, "train_teacher")
    add = parser.add_argument
    add("--teacher", required=True, choices=sorted(TEACHERS))
    add("--train_root", required=True, action="append", metavar="DIR", help="again for more")
    add("--val_root", action="append", default=[], metavar="DIR")
    add("--size", default="small", choices=("small", "published"))
    add("--config", type=json.loads, default={}, metavar="JSON", help="fields to override")
    add("--t_below", type=int, metavar="T", help="of ddfm: timesteps below this (default: all)")
    add("--init", metavar="FILE", help="start from the network of this file")
    text = "folder of annotations: with --exclude_validation annotated images of MSRS are left out"
    add("--boxes", action="append", default=[], metavar="DIR", help=text)
    add("--crops_per_epoch", type=int, default=4096)
    add("--warmup_steps", type=int, default=200)
    for name, weight in LAMBDAS.items():
        of = "" if name == "noise" else " (not ddfm)"
        add(f"--lambda_{name}", type=float, default=weight, help=f"default: {weight}{of}")
    add("--image_terms_from", type=int, default=10, metavar="EPOCH", help="default: 10")
    add("--resume", metavar="CKPT", help="a last.ckpt")
    own: dict[str, Any] = {
        "checkpoint_dir": "runs/teacher",
        "log_dir": "logs/teacher",
        "devices": "auto",
    }
    own.update(input_size=64, batch_size=16, epochs=100, lr=3e-4, ema=0.999)
    own.update(log_freq=50, save_freq=1)
    same = "max_steps weight_decay grad_clip use_amp num_workers seed exclude_validation"
    add_options(parser, f"{same} accelerator num_nodes strategy threads", **own)
    of_pairs = parser.add_argument_group("of conditional, as of training.train")
    add_options(of_pairs, "misalign_prob", noise_prob=0.5)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
