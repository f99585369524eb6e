"""The files of a run, written so that a full disk or a lost process loses nothing.

::

    <checkpoint_dir>/config.json               every option, loss weights, data found, versions
    <checkpoint_dir>/training.jsonl            means of loss and terms between log lines
    <checkpoint_dir>/validation.jsonl          figures of every validation
    <checkpoint_dir>/last.pth                  to continue from: --resume
    <checkpoint_dir>/checkpoint_epoch_<n>.pth  the same, every --save_freq epochs
    <checkpoint_dir>/best_model.pth            the best so far; its figures in best_model.json
    <checkpoint_dir>/best_model_<monitor>.*    the same by another --monitor than best_model's
    <checkpoint_dir>/best_model.safetensors    its averaged weights, with variant and recipe
    <checkpoint_dir>/<variant>.safetensors     the same at the end of the last call

Every ``.pth`` can be resumed, and `irvis_fusion_core.network.checkpoint.load_checkpoint` reads its
averaged weights.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

import irvis_fusion_core
from irvis_fusion_core.errors import CheckpointError
from irvis_fusion_core.network.checkpoint import load_plain
from training.errors import StorageError
from training.loop.lightning_module import FORMAT
from training.storage import make_folder, writing

LAST, BEST = "last.pth", "best_model"

HARMLESS = {
    *("resume", "init", "overwrite", "checkpoint_dir", "log_dir", "log_freq", "vis_freq"),
    *("save_freq", "stop_after_epochs", "no_check", "num_workers", "cache_gb", "threads"),
    *("data", "versions", "total_steps"),
}
"""Settings that may differ when a run is resumed: they do not change the training."""

LOSS_OPTIONS = ("lambda_", "detector", "teacher_checkpoint", "train_root")
"""Beginnings of the options that choose the losses."""


class WholeFiles(TorchCheckpointIO):
    """Checkpoints appear whole or not at all; the earlier file stays until then."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; errors as `training.storage.writing`."""
        with writing(Path(path)) as temporary, open(temporary, "wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint; see `read_run`."""
        return read_run(path)


def read_run(path: str | Path, variant: str | None = None) -> dict[str, Any]:
    """Return a training checkpoint, on the CPU; a foreign file cannot run code.

    Raises:
        CheckpointError: missing, truncated, not made by this training, or not of `variant`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"expected a checkpoint to resume at {path}, found no such file")
    try:
        found = load_plain(path)
    except CheckpointError as error:
        raise CheckpointError(
            f"expected a whole checkpoint of training.train in {path}, found: {error}; take an "
            "older one of the same folder"
        ) from error
    if not isinstance(found, dict) or not _is_state(found.get(FORMAT)):
        raise CheckpointError(
            f"expected a checkpoint of training.train in {path}, found one without its state; to "
            "start from these weights use --init"
        )
    own = found[FORMAT]["variant"]
    if variant not in (None, own):
        raise CheckpointError(
            f"expected a {variant} student in {path}, found {own}; pass --variant {own}, or train "
            "this variant from the start"
        )
    return found


def _is_state(state: object) -> bool:
    """Return whether this is what `FusionModule` notes of a run: a variant and plain settings."""
    if not isinstance(state, dict) or "config" not in state:
        return False
    config = state["config"] or {}
    losses = config.get("losses", ()) if isinstance(config, dict) else None
    try:
        json.dumps(config)
    except (TypeError, ValueError, RecursionError):  # tensors, for example
        return False
    named = isinstance(losses, (dict, list, tuple)) and all(isinstance(n, str) for n in losses)
    return named and isinstance(state.get("variant"), str)


def differences(
    checkpoint: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return setting -> (then, now) of the settings that change a resumed training.

    Args:
        config: Options and what was resolved from them and the data, as checkpoints carry them.
    """
    then = checkpoint[FORMAT]["config"] or {}
    return {
        name: (then[name], now)
        for name, now in config.items()
        if name not in HARMLESS
        and name in then
        and then[name] != now
        # Older checkpoints hold these two as they were given.
        and not (name in ("monitor", "warmup_epochs") and then[name] in ("auto", None))
    }


def check_losses(
    checkpoint: Mapping[str, Any], options: Mapping[str, Any], losses: Mapping[str, float]
) -> None:
    """Refuse to go on with other losses than those of the checkpoint that no option asks for.

    Raises:
        CheckpointError: images in TEACHER_FUSED/ appeared, or are gone; or ``--train_only`` names
            other parameters, for which the checkpoint has no optimiser.
    """
    then = checkpoint[FORMAT]["config"] or {}
    trained, asked = then.get("train_only") or "all", options.get("train_only") or "all"
    if trained != asked:
        raise CheckpointError(
            f"expected --train_only as in the training that is resumed, {trained}, found {asked}; "
            "give the same, or start another run from these weights with --init"
        )
    before, now = sorted(then.get("losses", ())), sorted(k for k, w in losses.items() if w)
    asked = any(n.startswith(LOSS_OPTIONS) and then.get(n) != v for n, v in options.items())
    if before and before != now and not asked:
        raise CheckpointError(
            f"expected the losses of the training that is resumed, {', '.join(before)}, found "
            f"{', '.join(now)}: images in TEACHER_FUSED/ appeared or are gone; restore the "
            "folder, or start another run from these weights with --init"
        )


def prepare_folder(folder: Path, resume: str | None, overwrite: bool, needed: int) -> None:
    """Make the run's folder.

    Args:
        needed: Bytes that the run will write at least.

    Raises:
        StorageError: another run is in it, or there is no space.
    """
    if (
        not resume
        and not overwrite
        and any((folder / name).exists() for name in (LAST, f"{BEST}.pth"))
    ):
        raise StorageError(
            f"expected an unused --checkpoint_dir, found a run in {folder}; go on with --resume "
            f"{folder / LAST}, choose another folder, or pass --overwrite to lose it"
        )
    free = shutil.disk_usage(make_folder(folder)).free
    if free < needed:
        raise StorageError(
            f"expected {needed / 1e6:.0f} MB of free space for checkpoints in {folder}, found "
            f"{free / 1e6:.0f} MB; make room, or choose another --checkpoint_dir"
        )
    if overwrite and not resume:
        for pattern in ("*.jsonl", "best_model*", LAST, "checkpoint_epoch_*.pth"):
            for path in folder.glob(pattern):
                path.unlink()


def recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration without local paths, for the header of published weights."""
    local = ("root", "dir", "resume", "init", "checkpoint", "weights", "data", "boxes")
    public = {k: v for k, v in config.items() if not k.endswith(local)}
    folders = ["/".join(Path(str(text)).parts[-2:]) for text in config.get("train_root") or ()]
    detectors = [Path(path).name for path in config.get("detector") or ()]
    return {**public, "train_folders": folders, "detector": detectors}


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide a run."""
    modules = {"irvis_fusion": irvis_fusion_core, "lightning": pl, "numpy": np, "torch": torch}
    found = {name: str(module.__version__) for name, module in modules.items()}
    return {**found, "python": platform.python_version()}
