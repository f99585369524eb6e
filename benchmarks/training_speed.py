"""Images a second of loading alone, of training steps alone, and of training.

    python -m benchmarks.training_speed --train_root DATA/train --input_size 160 --batch_size 6

Takes the options of `training.train`. Three loops over the same draws, each after a warm-up:

* loader: what the loader gives when nobody else works; once decoding every file, once from memory.
* step: forward, loss, backward and optimiser, on one batch again and again.
* training: both, as `training.train` does them, without logs, checkpoints and validation.

Loading is no bottleneck where the loader alone is faster than steps alone, and training about as
fast as steps alone.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import argparse
import itertools
import sys
import time
from collections.abc import Iterator

import cv2
import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from training.data.data_module import FusionData
from training.loop.lightning_module import FusionModule
from training.options import check_options, make_parser
from training.train import make_data, make_task

SECONDS = 10.0


def endless(data: FusionData) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batch after batch, epoch after epoch."""
    loader = data.train_dataloader()
    for epoch in itertools.count():
        loader.sampler.set_epoch(epoch)
        yield from loader


def loader_rate(data: FusionData, warm_up: int = 3) -> float:
    """Return images a second of the loader alone."""
    batches = endless(data)
    for _ in range(warm_up):
        next(batches)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        done += len(next(batches)["ir"])
    return done / (time.perf_counter() - started)


class Stopwatch(pl.Callback):
    """Images a second of a training, from its fourth step until `SECONDS` later."""

    def __init__(self, batch_size: int) -> None:
        """Count nothing yet."""
        self.batch_size, self.steps, self.started, self.rate = batch_size, 0, 0.0, 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Count a step."""
        self.steps += 1
        now = time.perf_counter()
        if self.steps == 3:
            self.started = now
        elif self.steps > 3:
            elapsed = now - self.started
            self.rate = (self.steps - 3) * self.batch_size / elapsed
            trainer.should_stop = elapsed > SECONDS


def train_rate(
    options: argparse.Namespace,
    data: FusionData,
    device_batch: dict[str, torch.Tensor] | None = None,
) -> float:
    """Return images a second of training; with `device_batch` every step takes that batch."""
    task = make_task(options, data.train.has_teachers)
    module = FusionModule(task, lr=1e-6, grad_clip=options.grad_clip)
    watch = Stopwatch(options.batch_size)
    trainer = pl.Trainer(
        accelerator=options.accelerator,
        devices=1,
        precision="bf16-mixed" if options.use_amp else "32-true",
        max_epochs=100_000,
        logger=False,
        callbacks=[watch],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
    )
    if device_batch is None:
        trainer.fit(module, datamodule=data)
    else:
        # No workers, no collating: the batch itself.
        trainer.fit(module, DataLoader([device_batch] * 10_000, batch_size=None))
    return watch.rate


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = make_parser(*(__doc__ or "").split("\n", 1))
    parser.prog = "python -m benchmarks.training_speed"
    options = check_options(parser.parse_args(arguments))
    if options.threads:
        torch.set_num_threads(options.threads)
    cv2.setNumThreads(0)
    torch.set_flush_denormal(True)
    data = make_data(options)
    kept = data.train.read
    data.train.read = type(kept)(0)
    rows = {"loader alone, decoding every file": loader_rate(data)}
    data.train.read = kept
    rows["loader alone, images in memory"] = loader_rate(data)
    rows["training steps alone"] = train_rate(options, data, next(endless(data)))
    rows["training"] = train_rate(options, data)
    print(
        f"{options.variant}, {options.input_size} pixels, batch {options.batch_size}, "
        f"{options.num_workers} workers, {torch.get_num_threads()} threads, "
        f"{len(data.train)} pairs"
    )
    for name, value in rows.items():
        print(f"{name:36s} {value:8.1f} images/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
