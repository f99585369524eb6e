"""Runs that train one network and keep the average of its weights: priors, registration.

They need no more than Lightning's own checkpoints: ``last.ckpt`` and, by a figure, ``best.ckpt``.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from irvis_fusion_core.errors import CheckpointError
from irvis_fusion_core.network.checkpoint import load_plain
from training.data.data_module import FusionData
from training.errors import LossError
from training.loop.run_files import versions
from training.loop.set_up import trainer_options
from training.storage import append_json, storage_error, write_json

Save = Callable[[Any, Path, dict[str, str]], None]
"""Writes a network to a path, with facts for the header of the file."""


class AveragedTask(pl.LightningModule):
    """Trains `network`; `average` follows with a decay of `ema` a step, and is validated."""

    def __init__(
        self,
        network: Any,
        weights: Mapping[str, float],
        lr: float,
        weight_decay: float,
        total_steps: int,
        warmup_steps: int = 200,
        ema: float = 0.998,
    ) -> None:
        super().__init__()
        self.network = network
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.weights, self.lr, self.weight_decay, self.ema = weights, lr, weight_decay, ema
        self.total_steps, self.warmup_steps = max(1, total_steps), warmup_steps

    def total(self, terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of the terms; LossError where it is not finite."""
        loss = sum(self.weights.get(name, 0.0) * term for name, term in terms.items())
        if not torch.isfinite(loss):
            broken = [name for name, term in terms.items() if not torch.isfinite(term)]
            raise LossError(
                f"the loss is {loss.item()} at step {self.global_step}, terms {broken}; go on "
                "from the last checkpoint with a lower --lr (--resume PATH)"
            )
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the averaged network along."""
        # A young average follows faster, or it would remember the random start for long.
        decay = min(self.ema, (1.0 + self.global_step) / (10.0 + self.global_step))
        kept, fresh = self.average.state_dict(), self.network.state_dict()
        with torch.no_grad():
            for name in kept:
                if kept[name].is_floating_point():
                    kept[name].lerp_(fresh[name], 1.0 - decay)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW with a warm-up, then a cosine to a hundredth of the rate."""
        weights = self.network.parameters()
        optimizer = torch.optim.AdamW(weights, lr=self.lr, weight_decay=self.weight_decay)

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
            cosine = math.cos(math.pi * min(1.0, step / self.total_steps))
            return warm * max(0.01, 0.5 * (1.0 + cosine))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        by_step = {"scheduler": schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": by_step}


class AveragedData(FusionData):
    """Training crops, and validation crops that every process sees all of."""

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.validation or [], self.batch_size)  # type: ignore[arg-type]


class SaveAverage(pl.Callback):
    """Write the averaged network by `save` with Lightning's checkpoints, and at the end."""

    def __init__(self, path: Path, save: Save, options: argparse.Namespace) -> None:
        self.path, self.save, self.every = path, save, options.save_freq
        roots = ("/".join(Path(str(root)).parts[-2:]) for root in options.train_root)
        self.roots = ", ".join(roots)

    def on_train_epoch_end(self, trainer: pl.Trainer, task: AveragedTask) -> None:  # type: ignore[override]
        """Save every `save_freq` epochs; print the figures, also to ``training.jsonl``."""
        if (trainer.current_epoch + 1) % self.every == 0:
            self.on_train_end(trainer, task)
            if trainer.is_global_zero:
                shown = {k: float(v) for k, v in sorted(trainer.callback_metrics.items())}
                row = {"step": trainer.global_step, **shown}
                append_json(self.path.with_name("training.jsonl"), row)
                line = ", ".join(f"{k} {v:.3f}" for k, v in shown.items())
                print(f"step {trainer.global_step}: {line}", flush=True)

    def on_train_end(self, trainer: pl.Trainer, task: AveragedTask) -> None:  # type: ignore[override]
        if trainer.is_global_zero:
            facts = {"steps": str(trainer.global_step), "trained_on": self.roots}
            try:
                self.save(task.average, self.path, facts)
            except OSError as error:
                raise storage_error(self.path, error) from error


def fit(
    task: AveragedTask,
    data: FusionData,
    options: argparse.Namespace,
    weights: Path,
    save: Save,
    monitor: str | None,
    about: str,
) -> None:
    """Train to the end of `options`.

    Args:
        about: What is trained on, for the line that is printed before.
        weights: The file of the averaged network; checkpoints lie next to it.
        monitor: The figure that chooses ``best.ckpt``; None: there is none.
    """
    write_json(weights.with_name("config.json"), {**vars(options), "versions": versions()})
    parameters = sum(p.numel() for p in task.network.parameters())
    print(
        f"{parameters / 1e6:.3f} M parameters; {about}, {task.total_steps} steps of "
        f"{options.batch_size} crops of {options.input_size} pixels",
        flush=True,
    )
    # They are two: the `save_last` of one that monitors a figure keeps the last that was better,
    # and resuming from it would lose the epochs since.
    checkpoints = [
        ModelCheckpoint(
            weights.parent,
            filename=name,
            monitor=figure,
            enable_version_counter=False,
            every_n_epochs=options.save_freq,
            save_on_train_epoch_end=True,
        )
        for name, figure in (("best", monitor), ("last", None))
        if name == "last" or figure
    ]
    trainer = pl.Trainer(
        **trainer_options(options),
        num_sanity_val_steps=0,
        max_steps=options.max_steps if options.max_steps > 0 else -1,
        gradient_clip_val=options.grad_clip or None,
        check_val_every_n_epoch=options.save_freq,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        logger=TensorBoardLogger(options.log_dir, name=None, version=""),
        callbacks=[*checkpoints, SaveAverage(weights, save, options), LearningRateMonitor("step")],
    )
    trainer.fit(task, datamodule=data, ckpt_path=options.resume, weights_only=True)


def check_readable(path: str | None, script: str) -> None:
    """Refuse a checkpoint that is missing, broken or foreign, before any work."""
    try:
        if path:
            load_plain(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"expected a checkpoint of training.{script} in {path}, found: {error}; pass the "
            "last.ckpt of an earlier run"
        ) from error
