"""Find a learning rate: train a little while the rate rises, and see where the loss falls fastest.

    python -m training.find_lr --train_root data/train --variant nano --input_size 256 \
        --batch_size 8 --output lr_finder.png

Takes every option of `training.train`, so that the test runs on the later training; the run's
folder is not touched. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV
2017; the test is Lightning's tuner. The suggestion is ours: Lightning's takes the slope on the
linear axis, where a decade at 1e-6 counts a thousand times as much as one at 1e-3.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import argparse
import contextlib
import io
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader

from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import ConfigurationError
from training.errors import LossError, TrainingError
from training.loop.distillation import DistillationTask, TaskLoss
from training.loop.lightning_module import Batch, FusionModule
from training.options import check_options, make_parser, precision, require_at_least
from training.storage import make_folder, write_bytes
from training.train import make_data, make_task, set_up_process

LEAST_STEPS = 30
DIVERGED = 4.0  # times the best running mean of the loss: the test ends there
SMOOTHED = 0.05  # standard deviation of the smoothing, as a share of all steps


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
        """Record the loss."""
        found = super().training_step(batch, batch_idx)
        self.losses.append(float(found["loss"].detach()))
        return found


def range_test(
    test: RangeTest, loader: DataLoader, rates: tuple[float, float], steps: int, **options: Any
) -> Curve:
    """Train `steps` steps with a rate that rises exponentially between `rates`.

    Takes options of Lightning's Trainer. Returns the curve up to where the loss diverged; the
    module's weights are as before.
    """
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
    step = np.arange(len(test.losses))
    return Curve(rates[0] * (rates[1] / rates[0]) ** (step / steps), np.array(test.losses))


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
    """Run the command."""
    options = _parse(arguments)
    # The test takes minutes: check first that the curve can be written.
    output = Path(options.output)
    make_folder(output.absolute().parent)
    set_up_process(options.threads)
    options.val_root = []
    data = make_data(options)
    print(data.train.report())
    task = make_task(options, data.train.has_teachers)
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
    print(f"suggested: --lr {suggestion:.2g}")
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
