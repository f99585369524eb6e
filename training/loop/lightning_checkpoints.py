"""Lightning's checkpoints of the runs that need no more than those: the best, and the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


def best_and_last(folder: Path, monitor: str | None, every: int) -> list[ModelCheckpoint]:
    """Return callbacks that write ``last.ckpt``, and ``best.ckpt`` by the figure `monitor`.

    They are two: the `save_last` of one that monitors a figure keeps the last that was better, and
    resuming from it would lose the epochs since.

    Args:
        every: Epochs between checkpoints.
    """
    common: dict[str, Any] = {
        "enable_version_counter": False,
        "every_n_epochs": every,
        "save_on_train_epoch_end": True,
    }
    last = ModelCheckpoint(folder, filename="last", **common)
    if monitor is None:
        return [last]
    return [ModelCheckpoint(folder, filename="best", monitor=monitor, **common), last]
