"""Logs, checkpoints, and an orderly stop, around the steps of a run."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F

from irvis_fusion_core.bounded_file import parse_json_object
from irvis_fusion_core.errors import CheckpointError, FileContentError
from irvis_fusion_core.network.checkpoint import save_checkpoint
from irvis_fusion_core.network.student import luminance
from training.data.data_module import FusionData
from training.errors import DataError, LossError, TrainingError
from training.loop.lightning_module import Batch, FusionModule, of_all_processes
from training.loop.run_files import BEST, LAST, recipe
from training.loop.validation import COMPARED, chosen_monitor, is_better
from training.storage import append_json, write_json, writing


class StoppedEarly(TrainingError):
    """The run was asked to stop, and has saved itself."""

    exit_status = 130


class TermLog(pl.Callback):
    """Means of the loss and its terms over every `log_freq` steps and all processes, by name.

    To TensorBoard, to ``training.jsonl``, and as a line where there is no progress bar.
    """

    def __init__(self, folder: Path, log_freq: int, vis_freq: int, lines: bool) -> None:
        self.folder, self.log_freq, self.vis_freq, self.lines = folder, log_freq, vis_freq, lines
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: FusionModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Add a step; log every `log_freq` steps."""
        for name, term in (("loss", outputs["loss"]), *outputs["terms"].items()):
            self._sums[name] = self._sums.get(name, 0.0) + term.detach().float()
            self._counts[name] = self._counts.get(name, 0) + 1
        step = trainer.global_step
        if step % self.log_freq == 0:
            self._write(trainer, module, step)
        if self.vis_freq and step % self.vis_freq == 0 and trainer.is_global_zero:
            whole = outputs["teacher"] is not None and len(outputs["teacher"]) == len(batch["ir"])
            image = panel(batch, outputs["output"], outputs["teacher"] if whole else None)
            for logger in trainer.loggers:
                if isinstance(logger, pl.loggers.TensorBoardLogger):
                    logger.experiment.add_image("train/ir_vis_teacher_fused", image, step)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: FusionModule) -> None:
        """Log the rest of the last epoch."""
        if trainer.should_stop and self._sums:
            self._write(trainer, module, trainer.global_step)

    def _write(self, trainer: pl.Trainer, module: FusionModule, step: int) -> None:
        # A process without a teacher image lacks the teacher's terms.
        parts = of_all_processes({n: (float(s), self._counts[n]) for n, s in self._sums.items()})
        row = {}
        for name in sorted({name for part in parts for name in part}):
            sums, counts = zip(*(part[name] for part in parts if name in part))
            row[name] = sum(sums) / sum(counts)
        self._sums, self._counts = {}, {}
        if not trainer.is_global_zero:
            return
        row["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        if module.logger is not None:
            module.logger.log_metrics({f"train/{k}": v for k, v in row.items()}, step=step)
        append_json(self.folder / "training.jsonl", {"step": step, **row})
        if self.lines:
            shown = " ".join(f"{k} {v:.4g}" for k, v in row.items())
            print(f"step {step} epoch {(step - 1) // module.steps_per_epoch} {shown}", flush=True)


class RunFiles(pl.Callback):
    """Checkpoints, the best model, validation rows; see `training.loop.run_files`.

    Lightning's ModelCheckpoint does not fit: after a resume in a moved folder it forgets the best
    score, and replaces the best model by a worse one.
    """

    def __init__(self, folder: Path, monitor: str = "auto", save_freq: int = 10) -> None:
        self.folder, self.monitor, self.save_freq = folder, monitor, save_freq
        self._handlers: dict[int, Any] = {}
        self._start: tuple[str, float] | None = None

    def on_train_start(self, trainer: pl.Trainer, module: FusionModule) -> None:
        """Stop in order at Ctrl-C and at a scheduler's SIGTERM; a second Ctrl-C stops at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            module.ask_to_stop()
            signal.signal(number, self._handlers[number])

        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._handlers[number] = signal.signal(number, ask)
            except ValueError:  # only the main thread may; a notebook's thread may not
                return

    def on_train_batch_end(self, trainer: pl.Trainer, module: FusionModule, *_: Any) -> None:
        """End at the last step, or where the run was asked to stop."""
        step = trainer.global_step
        if module.stopping:
            trainer.save_checkpoint(self.folder / LAST)
            raise StoppedEarly(
                f"stopped as asked at step {step}; go on with --resume {self.folder / LAST}"
            )
        if step >= module.last_step:
            trainer.should_stop = True
            if step % module.steps_per_epoch:
                # At an epoch's end it is saved after the validation.
                trainer.save_checkpoint(self.folder / LAST)

    def on_validation_end(self, trainer: pl.Trainer, module: FusionModule) -> None:
        """Write the figures, and the model where it is the best so far."""
        if not module.validation:
            return
        monitor = chosen_monitor(self.monitor, "ssim_teacher" in module.validation)
        score = module.validation[monitor]
        if not math.isfinite(score):
            raise TrainingError(self._cause(trainer, module, monitor))
        row = {"step": trainer.global_step, "epoch": trainer.global_step / module.steps_per_epoch}
        if trainer.sanity_checking:
            self._start = monitor, score
            self._log(trainer, module, row, better=False)
            return
        # One process decides: the others may not see its disk.
        name, old = self._best(monitor)
        name, better = trainer.strategy.broadcast((name, is_better(monitor, score, old)))
        self._log(trainer, module, row, better)
        if better:
            trainer.save_checkpoint(self.folder / f"{name}.pth")
            if trainer.is_global_zero:
                found = {**row, "monitor": monitor, "score": score, **module.validation}
                self._ship(module, f"{name}.safetensors", found)
                write_json(self.folder / f"{name}.json", found)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: FusionModule) -> None:
        """Save, after the validation of the epoch."""
        epoch, rest = divmod(trainer.global_step, module.steps_per_epoch)
        if rest:
            return
        trainer.save_checkpoint(self.folder / LAST)
        if epoch % self.save_freq == 0:
            trainer.save_checkpoint(self.folder / f"checkpoint_epoch_{epoch}.pth")

    def on_train_end(self, trainer: pl.Trainer, module: FusionModule) -> None:
        """Write the last averaged weights to a file of their own."""
        if trainer.is_global_zero:
            variant = module.task.student.variant
            self._ship(module, f"{variant}.safetensors", {"step": trainer.global_step})
            self._compare_with_start()

    def on_exception(
        self, trainer: pl.Trainer, module: FusionModule, exception: BaseException
    ) -> None:
        """Save the weights from before a broken step, or an unreadable image."""
        # All processes find a broken loss together. An image breaks one alone, which must not
        # wait for the others.
        alone = trainer.world_size == 1 and isinstance(exception, DataError)
        if alone or isinstance(exception, LossError):
            path = self.folder / LAST
            trainer.save_checkpoint(path)
            if trainer.is_global_zero:
                print(f"the weights before step {trainer.global_step} are in {path}", flush=True)

    def teardown(self, trainer: pl.Trainer, module: FusionModule, stage: str) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _log(
        self, trainer: pl.Trainer, module: FusionModule, row: dict[str, float], better: bool
    ) -> None:
        if trainer.is_global_zero:
            append_json(self.folder / "validation.jsonl", {**row, **module.validation})
            print(validation_line(trainer.global_step, module.validation, better), flush=True)

    def _compare_with_start(self) -> None:
        """Say so where no validation was better than the one before the first step."""
        if self._start is None:
            return
        monitor, start = self._start
        best = self._best(monitor)[1]
        if best is not None and not is_better(monitor, best, start):
            print(
                f"no validation was better than the start: {monitor} {start:.3f}, then {best:.3f} "
                "at best; train longer, lower --lr, --noise_prob or --misalign_prob",
                flush=True,
            )

    def _best(self, monitor: str) -> tuple[str, float | None]:
        """Return the name of the best model's files and its score; None where there is none.

        A model that another figure chose keeps its files; this figure's have its name.
        """
        for name in (BEST, f"{BEST}_{monitor}"):
            path = self.folder / f"{name}.json"
            if not path.is_file():
                return name, None
            try:
                best = parse_json_object(path.read_bytes())
            except FileContentError as error:
                raise CheckpointError(
                    f"expected the figures of the best model in {path}, found: {error}; move it "
                    "and its model away to begin a new best"
                ) from error
            if best.get("monitor") == monitor:
                return name, best.get("score")
        return name, None

    def _cause(self, trainer: pl.Trainer, module: FusionModule, monitor: str) -> str:
        """Return the message of a figure that is not finite: which images, and why."""
        indices = module.not_finite.get(monitor, [])
        data: FusionData = trainer.datamodule  # type: ignore[attr-defined]
        names = data.validation.names(indices) if data.validation else []
        broken = [k for k, v in module.student.state_dict().items() if not v.isfinite().all()]
        why = "look at these images, or choose another --monitor"
        if broken:
            why = f"the weights are not finite ({broken[0]}): lower --lr, or leave out --use_amp"
        return (
            f"expected a finite {monitor} to choose the best model by, found "
            f"{module.validation[monitor]} at step {trainer.global_step} in {len(names)} images, "
            f"first {', '.join(names[:1])}; {why}"
        )

    def _ship(self, module: FusionModule, name: str, found: dict[str, Any]) -> None:
        shown = {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in found.items()}
        shown["training"] = json.dumps(recipe(module.config or {}), sort_keys=True)
        with writing(self.folder / name) as temporary:
            save_checkpoint(module.student, temporary, shown)


def validation_line(step: int, row: dict[str, float], better: bool) -> str:
    """Return one line: our figures, and those of the trivial fusions in brackets."""
    parts: list[str] = []
    for name in (name for name in row if "/" not in name):
        trivial = [f"{row[key]:.3f}" for b in COMPARED if (key := f"{b}/{name}") in row]
        parts.append(f"{name} {row[name]:.3f}" + (f" ({', '.join(trivial)})" if trivial else ""))
    best = ", the best so far" if better else ""
    return f"validation at step {step} (of maximum, mean): {'; '.join(parts)}{best}"


GAP = 4
"""White pixels between images."""


def panel(
    batch: Mapping[str, torch.Tensor],
    fused: torch.Tensor,
    teacher: torch.Tensor | None = None,
    rows: int = 4,
) -> torch.Tensor:
    """Return uint8 3xHxW: a row for each sample, with IR, visible, teacher and fused.

    Args:
        fused: Luminance Nx1xHxW in grey levels; shown with the visible chroma.
        teacher: The same of the teacher; drawn black where a sample has none.
        rows: Samples to show at most.
    """
    vis = batch["vis"][:rows].float().expand(-1, 3, -1, -1)
    y = luminance(vis)
    columns = [batch["ir"][:rows].float().expand(-1, 3, -1, -1), vis]
    if teacher is not None:
        there = batch["has_teacher"][:rows].view(-1, 1, 1, 1)
        columns.append((vis + teacher[:rows].float() - y) * there)
    columns.append(vis + fused[:rows].float() - y)
    # Samples x columns x 3xHxW, each with a gap below and on the right.
    grid = F.pad(torch.stack(columns, 1), (0, GAP, 0, GAP), value=255.0).permute(2, 0, 3, 1, 4)
    image = grid.flatten(3, 4).flatten(1, 2)[:, :-GAP, :-GAP]
    return image.clamp(0, 255).round().to(torch.uint8).cpu()
