"""Find a learning rate: train a little while the rate rises, and see where the loss falls fastest.

    python -m training.find_lr --train_root data/train --variant nano --input_size 256 \
        --batch_size 8 --output lr_finder.png

Takes every option of `training.train`, so that the test runs on the later training; the run's
folder is not touched. A few batches come again and again, and each loss is relative to the first
one of its batch: batches differ more than one step improves them. In a notebook `LRFinder` does
the same for any model. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV
2017; the test is Lightning's tuner. The suggestion is ours: Lightning's takes the slope on the
linear axis, where a decade at 1e-6 counts a thousand times as much as one at 1e-3.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import argparse
import contextlib
import copy
import io
import itertools
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.tuner import Tuner
from torch import nn
from torch.utils.data import DataLoader

from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import luminance
from training.errors import LossError, TrainingError
from training.loop.distillation import DistillationTask, TaskLoss
from training.loop.lightning_module import Batch, FusionModule
from training.loop.set_up import precision, set_up_process
from training.options import check_options, make_parser, require_at_least
from training.storage import make_folder, write_bytes
from training.train import find_objects, make_data, make_task

LEAST_STEPS = 30
DIVERGED = 4.0  # times the best running mean of the loss: the test ends there
SMOOTHED = 0.05  # standard deviation of the smoothing, as a share of all steps
BATCHES = 4  # different ones in a test
FALLEN = 0.1  # share of the whole fall from which on a rate is useful


class Curve(NamedTuple):
    """Learning rates, rising, and the loss of the batch at each; both of one length."""

    rates: np.ndarray
    losses: np.ndarray


class RangeTest(FusionModule):
    """A training module without warm-ups, which keeps the loss of every step."""

    def __init__(self, task: DistillationTask, **options: Any) -> None:
        super().__init__(task, ema=0.0, **options)
        task.warmup_epochs = 0  # every term counts from the first step on
        self.losses: list[float] = []

    def training_step(self, batch: Batch, batch_idx: int) -> TaskLoss:
        found = super().training_step(batch, batch_idx)
        self.losses.append(float(found["loss"].detach()))
        return found


class LRFinder(pl.LightningModule):
    """The range test of a notebook.

        finder = LRFinder(model, optimizer, criterion, device="cpu")
        finder.range_test(train_loader)
        finder.plot(save_path="lr_finder.png")
        finder.suggestion                  # a rate, or None

    Args:
        model: A student.
        optimizer: Of its parameters; it keeps its rates.
        criterion: Loss of the fused and the teacher's luminance, N x 1 x H x W, 0..1, such as
            `torch.nn.L1Loss`; or a `DistillationTask` of the model.
        device: ``cpu``, ``cuda``, ``cuda:1`` ...
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        criterion: Callable[..., torch.Tensor] | DistillationTask,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__()
        self.model, self.optimizer, self.criterion = model, optimizer, criterion
        self._place = torch.device(device)
        self.curve: Curve | None = None
        self.lr = 0.0
        self.losses: list[float] = []

    def range_test(
        self,
        train_loader: Iterable[Batch],
        start_lr: float = 1e-6,
        end_lr: float = 1.0,
        num_iter: int = 100,
    ) -> Curve:
        """Train with a rate that rises; the model and the optimizer are then as before.

        Args:
            train_loader: Batches of `training.data.dataset`, with teacher images unless the
                criterion is a task.

        Raises:
            ConfigurationError: a range or a number of steps that cannot be.
        """
        if not 0.0 < start_lr < end_lr or num_iter < LEAST_STEPS:
            raise ConfigurationError(
                f"expected 0 < start_lr < end_lr and num_iter of at least {LEAST_STEPS}, found "
                f"{start_lr}, {end_lr} and {num_iter}"
            )
        self.losses.clear()
        on_cpu, index = self._place.type == "cpu", self._place.index or 0
        how = {"accelerator": "cpu" if on_cpu else "gpu", "devices": 1 if on_cpu else [index]}
        kept = copy.deepcopy(self.optimizer.state_dict())
        device = next(self.model.parameters()).device
        self.curve = range_test(self, train_loader, (start_lr, end_lr), num_iter, **how)
        self.model.to(device)
        self.optimizer.load_state_dict(kept)
        return self.curve

    @property
    def suggestion(self) -> float | None:
        """The rate at which the loss fell fastest; None before a test, or if it did not fall."""
        return None if self.curve is None else suggest(self.curve)

    def plot(self, save_path: str | Path = "lr_finder.png") -> None:
        """Write the curve as a PNG image.

        Raises:
            ConfigurationError: there was no `range_test`.
        """
        if self.curve is None:
            raise ConfigurationError("expected a range_test before the plot, found none")
        write_bytes(Path(save_path), plot(self.curve, self.suggestion))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = self._loss(batch)
        self.losses.append(float(loss.detach()))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer

    def _loss(self, batch: Batch) -> torch.Tensor:
        if isinstance(self.criterion, DistillationTask):
            return self.criterion(batch)["loss"]
        if not bool(batch["has_teacher"].all()):
            raise ConfigurationError(
                "expected a teacher image for every pair, found pairs without; give a "
                "DistillationTask as the criterion to train by the sources"
            )
        ir, vis = batch["ir"].float() / 255.0, batch["vis"].float() / 255.0
        fused = self.model(ir.expand_as(vis), vis)
        return self.criterion(luminance(fused), batch["teacher"] / 255.0)


def range_test(
    test: RangeTest | LRFinder,
    loader: Iterable[Batch],
    rates: tuple[float, float],
    steps: int,
    **options: Any,
) -> Curve:
    """Train `steps` steps with a rate that rises exponentially between `rates`.

    The first `BATCHES` batches of the loader come in turn. Takes options of Lightning's Trainer.
    Returns the curve up to where the loss diverged; the module's weights are as before.
    """
    batches = list(itertools.islice(loader, BATCHES))
    loader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", ".*(in eval mode|no `val_dataloader`|num_workers|LeafSpec)"
        )
        trainer = pl.Trainer(
            max_epochs=-1,
            max_steps=steps,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=scratch,
            **options,
        )
        # A loss or a gradient that is not finite is the end of the curve, not an error.
        with contextlib.suppress(LossError):
            Tuner(trainer).lr_find(
                test,
                train_dataloaders=loader,
                min_lr=rates[0],
                max_lr=rates[1],
                num_training=steps,
                early_stop_threshold=DIVERGED,
                update_attr=False,
            )
    step, losses = np.arange(len(test.losses)), np.array(test.losses)
    # At the first, tiny rates nothing changes: they tell how hard each batch is.
    first = losses[: len(batches)]
    if len(losses):
        losses = losses * first.mean() / first[step % len(batches)]
    return Curve(rates[0] * (rates[1] / rates[0]) ** (step / steps), losses)


def smooth(curve: Curve) -> np.ndarray:
    """Return the losses, averaged by a centred Gaussian over the steps."""
    count = len(curve.losses)
    distance = np.subtract.outer(np.arange(count), np.arange(count))
    weights = np.exp(-0.5 * (distance / max(1.0, SMOOTHED * count)) ** 2)
    return weights @ curve.losses / weights.sum(1)


def suggest(curve: Curve) -> float | None:
    """Return the rate at which the smoothed loss falls fastest a decade, before its minimum.

    None where the loss does not fall, or there are too few steps.
    """
    losses = smooth(curve)
    least = int(np.argmin(losses)) if len(losses) >= LEAST_STEPS // 2 else 0
    if least < 3:
        return None
    slope = np.gradient(losses[: least + 1], np.log10(curve.rates[: least + 1]))
    steepest = int(np.argmin(slope))
    return float(curve.rates[steepest]) if slope[steepest] < 0.0 else None


def useful_rates(curve: Curve) -> tuple[float, float]:
    """Return the rates from which on the smoothed loss falls, and at its minimum."""
    losses = smooth(curve)
    least = int(np.argmin(losses))
    fall = losses[0] - losses[: least + 1]
    first = int(np.argmax(fall >= FALLEN * fall[-1]))
    return float(curve.rates[first]), float(curve.rates[least])


def plot(curve: Curve, suggestion: float | None) -> bytes:
    """Return the curve as a PNG image, with the suggestion marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=110)
    axes = figure.subplots()
    axes.plot(curve.rates, curve.losses, color="0.75", label="each batch")
    axes.plot(curve.rates, smooth(curve), label="smoothed")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    axes.grid(alpha=0.3)
    if suggestion is not None:
        axes.axvline(suggestion, color="tab:red", label=f"steepest fall: {suggestion:.2g}")
    axes.legend()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight")
    return stream.getvalue()


@command
def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    # The test takes minutes: check first that the curve can be written.
    output = Path(options.output)
    make_folder(output.absolute().parent)
    set_up_process(options.threads)
    options.val_root = []
    data = make_data(options)
    print(data.train.report())
    task = make_task(options, data.train.has_teachers)
    find_objects(options, data.train, task)
    rest = {"weight_decay": options.weight_decay, "grad_clip": options.grad_clip}
    module = RangeTest(task, names=data.train.names, **rest)
    how = {"accelerator": options.accelerator, "devices": 1}
    how["precision"] = precision(options.use_amp, options.accelerator)
    rates = options.min_lr, options.max_lr
    curve = range_test(module, data.train_dataloader(), rates, options.num_steps, **how)
    suggestion = suggest(curve)
    write_bytes(output, plot(curve, suggestion))
    print(f"{len(curve.losses)} steps, curve: {output}")
    if suggestion is None:
        raise TrainingError(
            f"expected the loss to fall between {options.min_lr:g} and {options.max_lr:g}, found "
            f"that it does not; look at {output}, widen --min_lr and --max_lr, or give more "
            "--num_steps"
        )
    low, high = useful_rates(curve)
    print(f"suggested: --lr {suggestion:.2g} (the loss falls from {low:.2g} to {high:.2g})")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = make_parser(__doc__, "find_lr")
    add = parser.add_argument_group("range test").add_argument
    add("--min_lr", type=float, default=1e-6, help="the first rate")
    add("--max_lr", type=float, default=1.0, help="the last rate")
    add("--num_steps", type=int, default=100, help="rates to try, one a step")
    add("--output", default="lr_finder.png", help="image of the curve")
    options = check_options(parser.parse_args(arguments))
    if not 0.0 < options.min_lr < options.max_lr:
        raise ConfigurationError(
            f"expected 0 < --min_lr < --max_lr, found {options.min_lr} and {options.max_lr}"
        )
    require_at_least(options, LEAST_STEPS, "num_steps")
    return options


if __name__ == "__main__":
    sys.exit(main())
