"""The training task on Lightning: optimiser, schedule, average, validation, and when to stop."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import nn
from torch.optim.swa_utils import AveragedModel

from training.errors import LossError
from training.evaluation.lpips import Lpips
from training.loop.distillation import DistillationTask, TaskLoss
from training.loop.validation import score_batch

FORMAT = "irvis_fusion.training"
"""The key in a checkpoint under which the run describes itself."""

Batch = Mapping[str, torch.Tensor]


def of_all_processes(value: Any) -> list[Any]:
    """Return the values of all processes; each of them must call this."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


class FusionModule(pl.LightningModule):
    """Trains the student of a `DistillationTask`.

    Args:
        total_steps: Where the cosine ends.
        last_step: Where this call ends; `total_steps` by default.
        steps_per_epoch: Steps that count as an epoch (for the warm-up of losses).
        ema: Decay of the moving average, which is validated and shipped; 0: the last weights.
        names: File names of a batch's indices, for messages.
        lpips: For validation against the teacher.
        config: JSON-like settings that checkpoints carry.
    """

    def __init__(
        self,
        task: DistillationTask,
        lr: float = 1e-3,
        total_steps: int = 1000,
        last_step: int | None = None,
        steps_per_epoch: int = 100,
        weight_decay: float = 1e-4,
        lr_warmup_steps: int = 200,
        grad_clip: float = 1.0,
        ema: float = 0.998,
        names: Callable[[Sequence[int]], list[str]] | None = None,
        lpips: Lpips | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.task, self.lr, self.weight_decay = task, lr, weight_decay
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
        self.last_step = total_steps if last_step is None else last_step
        self.lr_warmup_steps, self.grad_clip = lr_warmup_steps, grad_clip
        self.average = moving_average(task.student, ema)
        self.names, self.config = names or (lambda indices: [str(int(i)) for i in indices]), config
        self.validation: dict[str, float] = {}
        """Figures of the last validation: means over the images of all processes."""
        self.not_finite: dict[str, list[int]] = {}
        """Figure -> indices of the images of the last validation where it is not finite."""
        self.stopping = False
        """Whether a process was asked to stop; all processes know it after the next step."""
        self._stop_asked = False
        self._lpips = lpips
        self._statistics: list[torch.Tensor] = []
        self._trivial_known = False
        self._rows: list[tuple[int, dict[str, float]]] = []

    @property
    def epoch(self) -> int:
        """The epoch of the current step."""
        return self.global_step // self.steps_per_epoch

    @property
    def student(self) -> torch.nn.Module:
        """The averaged student, which is validated and shipped."""
        return self.average.module

    def ask_to_stop(self) -> None:
        """Stop all processes after the next step; a signal handler may call this."""
        self._stop_asked = True

    def training_step(self, batch: Batch, batch_idx: int) -> TaskLoss:
        """Return the loss and the terms of a batch.

        Raises:
            LossError: the loss of this or another process is not finite; the student is as it was
                before this step.
        """
        self._remember_statistics()
        found = self.task(batch, self.epoch, self.global_step)
        bad = not bool(torch.isfinite(found["loss"]))
        # All processes stop together: one that stops alone leaves the others waiting.
        any_process = self.trainer.strategy.reduce_boolean_decision
        self.stopping = any_process(self._stop_asked, all=False)
        if any_process(bad, all=False):
            self._restore_statistics()
            raise LossError(
                self._loss_message(found, batch)
                if bad
                else f"another process found a loss that is not finite at step {self.global_step}"
            )
        self.log("loss", found["loss"].detach(), prog_bar=True, logger=False)
        self._batch = batch
        return found

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm, and refuse gradients that are not finite.

        Raises:
            LossError: they are not; the student is as it was before this step.
        """
        norm = torch.nn.utils.clip_grad_norm_(self._trained(), self.grad_clip or float("inf"))
        # A gradient scaler skips such steps itself, and lowers its scale.
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        if not scaled and not bool(torch.isfinite(norm)):
            self._restore_statistics()
            names = ", ".join(self.names(self._batch["index"].tolist()))
            raise LossError(
                f"expected finite gradients, found a norm of {norm.item()} at step "
                f"{self.global_step} though the loss is finite, files: {names}; lower --lr"
            )

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Take a step and update the average, before a callback can save one without the other."""
        super().optimizer_step(*arguments, **options)
        self.average.update_parameters(self.task.student)

    def on_validation_epoch_start(self) -> None:
        """Forget the rows of the last validation."""
        self._rows = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        row = score_batch(self.student, batch, self._lpips, not self._trivial_known)
        self._rows.append((int(batch["index"][0]), row))

    def on_validation_epoch_end(self) -> None:
        """Take the means over all images of all processes, and log them as ``val/<name>``."""
        sums: dict[str, list[float]] = {}
        self.not_finite = {}
        for index, row in itertools.chain(*of_all_processes(self._rows)):
            for name, value in row.items():
                sums.setdefault(name, []).append(value)
                if not math.isfinite(value):
                    self.not_finite.setdefault(name, []).append(index)
        known = {k: v for k, v in self.validation.items() if "/" in k}
        self.validation = {**known, **{k: sum(v) / len(v) for k, v in sums.items()}}
        self._trivial_known = True
        if self.logger is not None:
            named = {f"val/{name}": value for name, value in self.validation.items()}
            self.logger.log_metrics(named, step=self.global_step)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW, with a cosine to a hundredth after a linear warm-up, by steps."""
        optimizer = torch.optim.AdamW(self._trained(), self.lr, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.lr_share)
        by_step = {"scheduler": schedule, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": by_step}

    def lr_share(self, step: int) -> float:
        """Return the learning rate of a step (0, 1, ...), in units of `lr`."""
        warm = min(1.0, (step + 1) / self.lr_warmup_steps) if self.lr_warmup_steps else 1.0
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step + 1) / self.total_steps)))
        return warm * max(cosine, 0.01)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what `load_checkpoint` looks for, and how this run was set up."""
        checkpoint["average"] = dict(self.student.state_dict())
        checkpoint[FORMAT] = {"variant": self.task.student.variant, "config": self.config}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep this call's learning rate: the schedule's state has that of the earlier call."""
        for state in checkpoint.get("lr_schedulers", []):
            state["base_lrs"] = [self.lr] * len(state.get("base_lrs", [0]))
            # The step's rate comes from the schedule at the restored step.
            state["_last_lr"] = [self.lr * self.lr_share(state.get("last_epoch", 0))]
        for state in checkpoint.get("optimizer_states", []):
            for group in state["param_groups"]:
                group["initial_lr"] = self.lr
                group["lr"] = self.lr * self.lr_share(checkpoint["global_step"])
                group["weight_decay"] = self.weight_decay

    def _trained(self) -> list[torch.nn.Parameter]:
        return [p for p in self.task.parameters() if p.requires_grad]

    def _loss_message(self, found: TaskLoss, batch: Batch) -> str:
        broken = [k for k, term in found["terms"].items() if not bool(torch.isfinite(term))]
        return (
            f"expected a finite loss, found {found['loss'].item()} at step {self.global_step}, "
            f"terms: {', '.join(broken) or 'their sum'}, files: "
            f"{', '.join(self.names(batch['index'].tolist()))}; look at these images, lower "
            "--lr, or leave out --use_amp"
        )

    # When a broken step is noticed, the forward pass has changed one part of the student: the
    # batch norms' statistics.
    def _remember_statistics(self) -> None:
        self._statistics = [buffer.clone() for buffer in self.task.student.buffers()]

    def _restore_statistics(self) -> None:
        for buffer, kept in zip(self.task.student.buffers(), self._statistics):
            buffer.copy_(kept)


def moving_average(student: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average that starts as a copy of `student`.

    It takes no gradients. ``update_parameters(student)`` moves it, ``module`` is the student that
    it holds. Batch norms' statistics are averaged too.

    Args:
        decay: Share that is kept each step, 0..1; 0 follows the student exactly. In step n it is
            at most ``n / (n + 10)``, so that the first weights are soon forgotten.
    """
    average = AveragedModel(
        student, multi_avg_fn=functools.partial(_follow, decay), use_buffers=True
    )
    # From 1 on torch calls our function; at 0 it would copy the student.
    average.n_averaged.fill_(1)
    return average.requires_grad_(False)


def _follow(
    decay: float, kept: Sequence[torch.Tensor], fresh: Sequence[torch.Tensor], step: torch.Tensor
) -> None:
    count = int(step)
    share = 1.0 - min(decay, count / (count + 10.0))
    for old, new in zip(kept, fresh, strict=True):
        if old.is_floating_point():
            old.lerp_(new, share)
        else:
            old.copy_(new)
