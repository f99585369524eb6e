"""The training task on Lightning: optimiser, schedule, average, validation, and when to stop."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

import lightning.pytorch as pl
import torch
import torch.distributed as dist

from training.errors import LossError
from training.loop.averaging import WeightAverage
from training.loop.distillation import DistillationTask
from training.loop.validation import score_batch

FORMAT = "irvis_fusion.training"
"""The key in a checkpoint under which the run describes itself."""


class FusionModule(pl.LightningModule):
    """Trains the student of a `DistillationTask`.

    :param total_steps: where the cosine ends.
    :param last_step: where this call ends; `total_steps` by default.
    :param steps_per_epoch: what counts as an epoch (of the warm-up of losses).
    :param ema: decay of the moving average, which is validated and shipped; 0: the last weights.
    :param names: file names of a batch's indices, for messages.
    :param lpips: for validation against the teacher, if there is one.
    :param config: JSON-like settings that checkpoints carry.
    """

    def __init__(
        self,
        task: DistillationTask,
        lr: float = 1e-3,
        total_steps: int = 1000,
        last_step: Optional[int] = None,
        steps_per_epoch: int = 100,
        weight_decay: float = 1e-4,
        lr_warmup_steps: int = 200,
        grad_clip: float = 1.0,
        ema: float = 0.998,
        names: Optional[Callable[[Sequence[int]], List[str]]] = None,
        lpips: Optional[torch.nn.Module] = None,
        config: Optional[Mapping[str, Any]] = None,
    ) -> None:
        super().__init__()
        self.task, self.lr, self.weight_decay = task, lr, weight_decay
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
        self.last_step = total_steps if last_step is None else last_step
        self.lr_warmup_steps, self.grad_clip = lr_warmup_steps, grad_clip
        self.average = WeightAverage(task.student, ema)
        self.names, self.config = names or (lambda indices: [str(int(i)) for i in indices]), config
        # In a tuple: not part of the checkpoint.
        self._lpips = (lpips,)
        self._good: Dict[str, torch.Tensor] = {}
        self._baselines_known = False
        self.rows: List[Dict[str, float]] = []
        """The figures of each validation image of this process, in the last validation."""
        self.validation: Dict[str, float] = {}
        """Their means over all processes."""
        self.stop_asked = False
        """Set (by a signal) to stop; `stopping` says when all processes know."""
        self.stopping = False

    @property
    def epoch(self) -> int:
        """The epoch of the step that is being done."""
        return self.global_step // self.steps_per_epoch

    def training_step(self, batch: Mapping[str, torch.Tensor], batch_idx: int):
        """Loss and terms of a batch.

        :raises LossError: the loss of this or another process is not finite; the student is as
            it was before this step.
        """
        self._remember_statistics()
        found = self.task(batch, self.epoch)
        bad = not bool(torch.isfinite(found["loss"]))
        any_bad, self.stopping = self._any_process(bad, self.stop_asked)
        if any_bad:
            self._restore_statistics()
            raise LossError(self._loss_message(found, batch) if bad else self._elsewhere())
        self.log("loss", found["loss"].detach(), prog_bar=True, logger=False)
        self._batch = batch
        return found

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, **_: Any) -> None:
        """Clip by norm, and refuse gradients that are no numbers.

        :raises LossError: they are not; the student is as it was before this step.
        """
        parameters = [p for p in self.task.parameters() if p.requires_grad]
        limit = self.grad_clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
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
        """A step, and the average's: before any callback can save the one without the other."""
        super().optimizer_step(*arguments, **options)
        self.average.update(self.task.student, self.global_step + 1)

    def validation_step(self, batch: Mapping[str, torch.Tensor], batch_idx: int) -> None:
        """Score one whole image."""
        baselines = not self._baselines_known
        self.rows.append(score_batch(self.average.student, batch, self._lpips[0], baselines))

    def on_validation_epoch_start(self) -> None:
        """Forget the last rows."""
        self.rows = []

    def on_validation_epoch_end(self) -> None:
        """Means over all images of all processes, logged as ``val/<name>``."""
        sums: Dict[str, List[float]] = {}
        for row in self._gathered(self.rows):
            for name, value in row.items():
                sums.setdefault(name, []).append(value)
        known = {k: v for k, v in self.validation.items() if "/" in k}
        self.validation = {**known, **{k: sum(v) / len(v) for k, v in sums.items()}}
        self._baselines_known = True
        if self.logger is not None:
            named = {f"val/{name}": value for name, value in self.validation.items()}
            self.logger.log_metrics(named, step=self.global_step)

    def configure_optimizers(self):
        """AdamW; cosine to a hundredth after a linear warm-up, by steps."""
        parameters = [p for p in self.task.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.lr_share)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def lr_share(self, step: int) -> float:
        """The learning rate of a step (0, 1, ...), in units of `lr`."""
        warm = min(1.0, (step + 1) / self.lr_warmup_steps) if self.lr_warmup_steps else 1.0
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step + 1) / self.total_steps)))
        return warm * max(cosine, 0.01)

    def on_save_checkpoint(self, checkpoint: Dict[str, Any]) -> None:
        """Add what `load_checkpoint` looks for, and how this run was set up."""
        checkpoint["average"] = dict(self.average.student.state_dict())
        checkpoint[FORMAT] = {"variant": self.task.student.variant, "config": self.config}

    def on_load_checkpoint(self, checkpoint: Dict[str, Any]) -> None:
        """Keep this call's learning rate: the schedule's own state would bring the old one."""
        for state in checkpoint.get("lr_schedulers", []):
            state["base_lrs"] = [self.lr] * len(state.get("base_lrs", [0]))
            # The step's rate comes from the schedule at the restored step.
            state["_last_lr"] = [self.lr * self.lr_share(state.get("last_epoch", 0))]
        for state in checkpoint.get("optimizer_states", []):
            for group in state["param_groups"]:
                group["initial_lr"] = self.lr
                group["lr"] = self.lr * self.lr_share(checkpoint["global_step"])
                group["weight_decay"] = self.weight_decay

    def _loss_message(self, found: Mapping[str, Any], batch: Mapping[str, torch.Tensor]) -> str:
        broken = [k for k, term in found["terms"].items() if not bool(torch.isfinite(term))]
        return (
            f"expected a finite loss, found {found['loss'].item()} at step {self.global_step}, "
            f"terms: {', '.join(broken) or 'their sum'}, files: "
            f"{', '.join(self.names(batch['index'].tolist()))}; look at these images, lower "
            "--lr, or leave out --use_amp"
        )

    def _elsewhere(self) -> str:
        return f"another process found a loss that is not finite at step {self.global_step}"

    def _any_process(self, *flags: bool) -> List[bool]:
        """Whether any process raises each flag: all stop together, or they wait for ever."""
        if self.trainer.world_size == 1 or not dist.is_initialized():
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int32, device=self.device)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return [bool(flag) for flag in raised.tolist()]

    def _gathered(self, rows: List[Dict[str, float]]) -> List[Dict[str, float]]:
        if self.trainer.world_size == 1 or not dist.is_initialized():
            return rows
        parts: List[Any] = [None] * self.trainer.world_size
        dist.all_gather_object(parts, rows)
        return [row for part in parts for row in part]

    # A forward pass moves the batch norms' statistics, the only part of the student that a
    # broken step has changed by the time it is noticed.
    def _remember_statistics(self) -> None:
        for name, buffer in self.task.student.named_buffers():
            if name in self._good and self._good[name].device == buffer.device:
                self._good[name].copy_(buffer)
            else:
                self._good[name] = buffer.clone()

    def _restore_statistics(self) -> None:
        for name, buffer in self.task.student.named_buffers():
            buffer.copy_(self._good[name])
