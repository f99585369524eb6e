"""Train the diffusion prior of a teacher on photographs: DDFM's or Mask-DiFuser's.

    python -m training.train_teacher --teacher ddfm --train_root DATA/msrs/train \
        --val_root DATA/msrs/val --checkpoint_dir runs/ddfm --log_dir logs/ddfm

Any folder of photographs will do; of a folder with ``VIS/`` its visible images are taken.
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
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import CheckpointError, ConfigurationError
from irvis_fusion_core.network.checkpoint import load_plain
from training.data.data_module import FusionData
from training.loop.lightning_checkpoints import best_and_last
from training.options import add_options, script_parser, trainer_options
from training.storage import write_json
from training.teachers.photographs import PhotographCrops, list_photographs
from training.teachers.prior_files import TEACHERS, create_network, save_network
from training.teachers.prior_task import PriorTask

LAMBDAS = {"noise": 10.0, "image": 0.5, "ssim": 0.5, "colour": 10.0}
"""Terms of the loss and their default weights."""


@command
def main(arguments: list[str]) -> int:
    """Run the command."""
    options = _parse(arguments)
    lightning.seed_everything(options.seed, verbose=False)
    if options.threads:
        torch.set_num_threads(options.threads)
        torch.set_flush_denormal(True)  # noise estimates near 0 would stall a CPU
    network = create_network(options.teacher, options.size, options.config)
    size, multiple = options.input_size, network.multiple
    if size % multiple:
        raise ConfigurationError(
            f"expected --input_size to be a multiple of {multiple} for this network, found "
            f"{size}; try {max(multiple, size // multiple * multiple)}"
        )
    data = Photographs(options, network.config.in_channels)
    steps = options.epochs * data.sampler().steps
    if options.max_steps > 0:
        steps = min(steps, options.max_steps)
    weights = {name: getattr(options, f"lambda_{name}") for name in LAMBDAS}
    names = ("lr", "weight_decay", "ema", "image_terms_from", "seed", "warmup_steps")
    chosen = {name: getattr(options, name) for name in names}
    task = PriorTask(network, weights, total_steps=steps, **chosen)
    if options.resume:
        check_readable(options.resume)
    folder = Path(options.checkpoint_dir)
    write_json(folder / "config.json", vars(options))
    parameters = sum(p.numel() for p in network.parameters())
    print(
        f"{options.teacher}, {parameters / 1e6:.2f} M parameters; {len(data.train)} "
        f"photographs, {steps} steps of {options.batch_size} crops of {options.input_size} pixels",
        flush=True,
    )
    trainer = Trainer(
        **trainer_options(options),
        num_sanity_val_steps=0,
        max_steps=options.max_steps if options.max_steps > 0 else -1,
        gradient_clip_val=options.grad_clip or None,
        check_val_every_n_epoch=options.save_freq,
        logger=TensorBoardLogger(options.log_dir, name=None, version=""),
        callbacks=[
            *best_and_last(folder, "val/noise" if options.val_root else None, options.save_freq),
            SavePrior(folder / f"{options.teacher}.safetensors", options),
            LearningRateMonitor("step"),
        ],
    )
    trainer.fit(task, datamodule=data, ckpt_path=options.resume, weights_only=True)
    print(f"written to {folder}: {options.teacher}.safetensors, last.ckpt, config.json")
    return 0


def check_readable(path: str, script: str = "train_teacher") -> None:
    """Refuse a checkpoint that is missing, broken or foreign, before any work."""
    try:
        load_plain(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"expected a checkpoint of training.{script} in {path}, found: {error}; pass the "
            "last.ckpt of an earlier run"
        ) from error


class Photographs(FusionData):
    """Training crops of photographs, and one fixed crop of each validation image."""

    def __init__(self, options: argparse.Namespace, channels: int) -> None:
        settings = (channels, options.input_size, options.teacher == "mask_difuser", options.seed)
        crops: list[Any] = [
            PhotographCrops(list_photographs(roots), *settings) if roots else None
            for roots in (options.train_root, options.val_root)
        ]
        names = ("batch_size", "num_workers", "crops_per_epoch", "seed")
        super().__init__(crops[0], crops[1], *(getattr(options, name) for name in names))

    def val_dataloader(self) -> Any:
        """Return the validation crops, all of them to every process."""
        return [] if self.validation is None else DataLoader(self.validation, self.batch_size)


class SavePrior(lightning.Callback):
    """Write the averaged network with Lightning's checkpoints, and at the end."""

    def __init__(self, path: Path, options: argparse.Namespace) -> None:
        self.path, self.every = path, options.save_freq
        self.roots = ", ".join(Path(root).as_posix() for root in options.train_root)

    def on_train_epoch_end(self, trainer: Trainer, task: PriorTask) -> None:
        """Save every `save_freq` epochs."""
        if (trainer.current_epoch + 1) % self.every == 0:
            self.on_train_end(trainer, task)

    def on_train_end(self, trainer: Trainer, task: PriorTask) -> None:
        """Save the network."""
        if trainer.is_global_zero:
            facts = {"steps": str(trainer.global_step), "trained_on": self.roots}
            save_network(task.average, self.path, facts)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = script_parser(__doc__, "train_teacher")
    add = parser.add_argument
    add("--teacher", required=True, choices=sorted(TEACHERS))
    add("--train_root", required=True, action="append", metavar="DIR", help="again for more")
    add("--val_root", action="append", default=[], metavar="DIR")
    add("--size", default="small", choices=("small", "published"))
    add("--config", type=json.loads, default={}, metavar="JSON", help="fields to override")
    add("--crops_per_epoch", type=int, default=4096)
    add("--warmup_steps", type=int, default=200)
    for name, weight in LAMBDAS.items():
        of = "" if name == "noise" else " (mask_difuser)"
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
    same = "max_steps weight_decay grad_clip use_amp num_workers seed"
    add_options(parser, f"{same} accelerator num_nodes strategy threads", **own)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
