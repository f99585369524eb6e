"""Find a learning rate: train a little while the rate rises, and see where the loss falls fastest.

    python -m training.find_lr --train_root data/train --variant nano --input_size 256 \
        --batch_size 8 --output lr_finder.png

Takes every option of `training.train`, so that what is tested is what will be trained; nothing of
the run's folder is touched. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV
2017; the test is that of Lightning's tuner. Its suggestion is not: that one takes the slope on the
linear axis, where a decade at 1e-6 counts a thousand times as much as one at 1e-3, of a running
mean whose first values are halved.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import argparse
import io
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Tuple

import cv2
import lightning.pytorch as pl
import numpy as np
import torch

from irvis_fusion_core.commands.command_line import command
from irvis_fusion_core.errors import ConfigurationError
from training.errors import LossError, TrainingError
from training.evaluation.eval_report import make_folder, write_bytes
from training.loop.lightning_module import FusionModule
from training.options import check_options, make_parser
from training.train import make_data, make_task

LEAST_STEPS = 30
DIVERGED = 4.0
"""The test ends where the running mean of the loss is so many times the best one."""
SMOOTHED = 0.05
"""Standard deviation of the smoothing, as a share of all steps: batches differ in their loss."""


class Curve(NamedTuple):
    """Learning rates, rising, and the loss of the batch at each; both of one length."""

    rates: np.ndarray
    losses: np.ndarray


class RangeTest(FusionModule):
    """A training module without warm-ups, for which a broken loss is the end and no error."""

    def __init__(self, module: FusionModule) -> None:
        super().__init__(
            module.task,
            weight_decay=module.weight_decay,
            grad_clip=module.grad_clip,
            ema=0.0,
            names=module.names,
        )
        self.task.warmup_epochs = 0  # every term counts from the first step on
        self.losses: List[float] = []

    def training_step(self, batch, batch_idx: int):
        """As `FusionModule`; None and a stop where the loss is no number."""
        try:
            found = super().training_step(batch, batch_idx)
        except LossError:
            self.trainer.should_stop = True
            return None
        self.losses.append(float(found["loss"].detach()))
        return found

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, **more: Any) -> None:
        """As `FusionModule`; no step and a stop where a gradient is no number."""
        try:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, **more)
        except LossError:
            optimizer.zero_grad(set_to_none=False)
            self.trainer.should_stop = True


def range_test(
    module: FusionModule,
    loader: Any,
    rates: Tuple[float, float],
    steps: int,
    **trainer_options: Any,
) -> Curve:
    """Train `steps` steps with a rate that rises exponentially between `rates`.

    :param trainer_options: of Lightning's Trainer: accelerator, precision ...
    :return: the curve up to where the loss diverged. The module's weights are as before.
    """
    from lightning.pytorch.tuner import Tuner

    test = RangeTest(module)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        for message in (".*in eval mode", ".*no `val_dataloader`", ".*num_workers", ".*LeafSpec"):
            warnings.filterwarnings("ignore", message)
        trainer = pl.Trainer(
            max_epochs=-1,
            max_steps=steps,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=scratch,
            **trainer_options,
        )
        found = Tuner(trainer).lr_find(
            test,
            train_dataloaders=loader,
            min_lr=rates[0],
            max_lr=rates[1],
            num_training=steps,
            early_stop_threshold=DIVERGED,
            update_attr=False,
        )
    losses = np.array(test.losses, np.float64)
    return Curve(np.array(found.results["lr"], np.float64)[: len(losses)], losses)


def smooth(curve: Curve) -> np.ndarray:
    """The losses averaged over neighbours by a Gaussian, centred, so that nothing lags."""
    count = len(curve.losses)
    distance = np.arange(count)[:, None] - np.arange(count)[None]
    weights = np.exp(-0.5 * (distance / max(1.0, SMOOTHED * count)) ** 2)
    return weights @ curve.losses / weights.sum(1)


def suggest(curve: Curve) -> Optional[float]:
    """The rate at which the smoothed loss falls fastest a decade, before it is least.

    None where the loss does not fall, or there are too few steps to tell.
    """
    if len(curve.losses) < LEAST_STEPS // 2:
        return None
    losses = smooth(curve)
    least = int(np.argmin(losses))
    if least < 3:
        return None
    slope = np.gradient(losses[: least + 1], np.log10(curve.rates[: least + 1]))
    steepest = int(np.argmin(slope))
    return float(curve.rates[steepest]) if slope[steepest] < 0.0 else None


def plot(curve: Curve, suggestion: Optional[float]) -> bytes:
    """The curve as a PNG image, the suggestion marked."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=110)
    FigureCanvasAgg(figure)  # draws without a display
    axes = figure.subplots()
    axes.plot(curve.rates, curve.losses, color="0.75", label="each batch")
    axes.plot(curve.rates, smooth(curve), label="smoothed")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    if suggestion is not None:
        axes.axvline(suggestion, color="tab:red", label=f"steepest fall: {suggestion:.2g}")
    axes.legend()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight")
    return stream.getvalue()


@command
def main(arguments: List[str]) -> int:
    """Run the command."""
    options = _parse(arguments)
    # What writes is asked first whether it can: the test takes minutes.
    output = Path(options.output)
    make_folder(output.absolute().parent)
    if options.threads:
        torch.set_num_threads(options.threads)
    # As in training: workers are forked, denormal weights stall CPUs.
    cv2.setNumThreads(0)
    torch.set_flush_denormal(True)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    options.val_root = []
    data = make_data(options)
    print(data.train.report())
    task = make_task(options, data.train.has_teachers)
    module = FusionModule(
        task,
        weight_decay=options.weight_decay,
        grad_clip=options.grad_clip,
        names=data.train.names,
    )
    curve = range_test(
        module,
        data.train_dataloader(),
        (options.min_lr, options.max_lr),
        options.num_steps,
        accelerator=options.accelerator,
        devices=1,
        precision=_precision(options),
    )
    suggestion = suggest(curve)
    write_bytes(output, plot(curve, suggestion))
    print(f"{len(curve.losses)} steps, curve: {output}")
    if suggestion is None:
        raise TrainingError(
            f"expected the loss to fall somewhere between {options.min_lr:g} and "
            f"{options.max_lr:g}, found that it does not; look at {output}, widen --min_lr and "
            "--max_lr, or give more --num_steps"
        )
    print(f"suggested: --lr {suggestion:.2g}")
    return 0


def _precision(options: argparse.Namespace) -> str:
    """As the training that will follow: `--use_amp` is fp16 on GPUs, bf16 on CPUs."""
    if not options.use_amp:
        return "32-true"
    on_gpu = options.accelerator != "cpu" and torch.cuda.is_available()
    return "16-mixed" if on_gpu else "bf16-mixed"


def _parse(arguments: List[str]) -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = make_parser(summary, rest.strip())
    parser.prog = "python -m training.find_lr"
    group = parser.add_argument_group("range test")
    group.add_argument("--min_lr", type=float, default=1e-6, help="the first rate")
    group.add_argument("--max_lr", type=float, default=1.0, help="the last rate")
    group.add_argument("--num_steps", type=int, default=100, help="rates to try, one a step")
    group.add_argument("--output", default="lr_finder.png", help="image of the curve")
    options = check_options(parser.parse_args(arguments))
    if not 0.0 < options.min_lr < options.max_lr:
        raise ConfigurationError(
            f"expected 0 < --min_lr < --max_lr, found {options.min_lr} and {options.max_lr}"
        )
    if options.num_steps < LEAST_STEPS:
        raise ConfigurationError(
            f"expected --num_steps of {LEAST_STEPS} or more, found {options.num_steps}"
        )
    return options


if __name__ == "__main__":
    sys.exit(main())
