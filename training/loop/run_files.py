"""What a run leaves on disk, written so that a full disk or a lost process loses nothing.

::

    <checkpoint_dir>/config.json               every option, loss weights, data found, versions
    <checkpoint_dir>/training.jsonl            means of loss and terms between log lines
    <checkpoint_dir>/validation.jsonl          figures of every validation
    <checkpoint_dir>/last.pth                  to go on with: --resume
    <checkpoint_dir>/checkpoint_epoch_<n>.pth  the same, every --save_freq epochs
    <checkpoint_dir>/best_model.pth            the best so far; its figures in best_model.json
    <checkpoint_dir>/best_model.safetensors    its averaged weights, with variant and recipe
    <checkpoint_dir>/<variant>.safetensors     the same at the end of the last call

Every ``.pth`` can be resumed, and `irvis_fusion_core.network.checkpoint.load_checkpoint` reads its
averaged weights.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

import irvis_fusion_core
from irvis_fusion_core.errors import CheckpointError
from training.errors import StorageError
from training.loop.lightning_module import FORMAT

LAST, BEST = "last.pth", "best_model.pth"


class WholeFiles(TorchCheckpointIO):
    """Checkpoints appear whole or not at all; what was there before stays until then."""

    def save_checkpoint(self, checkpoint: Dict[str, Any], path, storage_options=None) -> None:
        """Write beside, then rename.

        :raises StorageError: the disk is full, or the folder not writable.
        """
        path = Path(path)
        part = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        # torch reports a failed write as a RuntimeError of its zip writer.
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            raise storage_error(path, error) from error

    def load_checkpoint(self, path, map_location=None, weights_only=None) -> Dict[str, Any]:
        """Tensors and plain values only: a foreign file cannot run code.

        :raises CheckpointError: missing, truncated, or not made by this training.
        """
        return read_run(path)


def read_run(path) -> Dict[str, Any]:
    """A training checkpoint, on the CPU.

    :raises CheckpointError: missing, truncated, or not made by this training.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"expected a checkpoint to resume at {path}, found no such file")
    try:
        found = torch.load(str(path), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds: pickle, zip, runtime, EOF
        raise CheckpointError(
            f"expected a whole checkpoint of training.train in {path}, found: {error}; take an "
            "older one of the same folder"
        ) from error
    if not isinstance(found, dict) or FORMAT not in found:
        raise CheckpointError(
            f"expected a checkpoint of training.train in {path}, found one without its state; to "
            "start from these weights use --init"
        )
    return found


def check_resume(path, config: Mapping[str, Any]) -> Tuple[Dict[str, Any], Dict[str, Tuple]]:
    """The checkpoint to resume, once it is known to fit.

    :return: it, and option -> (then, now) of those that differ and change what is trained.
    :raises CheckpointError: it is of another variant, or see `read_run`.
    """
    checkpoint = read_run(path)
    found = checkpoint[FORMAT]
    if found["variant"] != config["variant"]:
        raise CheckpointError(
            f"expected a {config['variant']} student in {path}, found {found['variant']}; pass "
            f"--variant {found['variant']}, or train this variant anew"
        )
    then = found["config"] or {}
    quiet = {"resume", "checkpoint_dir", "log_dir", "overwrite", "stop_after_epochs", "no_check"}
    quiet |= {"num_workers", "log_freq", "vis_freq", "save_freq", "cache_gb", "threads", "init"}
    return checkpoint, {
        name: (then[name], now)
        for name, now in config.items()
        if name not in quiet and name in then and then[name] != now
    }


def prepare_folder(folder: Path, resume: Optional[str], overwrite: bool, needed: int) -> None:
    """Make the run's folder.

    :param needed: bytes that the run will write at least.
    :raises StorageError: another run is in it, or there is no space.
    """
    folder = Path(folder)
    if not resume and not overwrite and any((folder / name).exists() for name in (LAST, BEST)):
        raise StorageError(
            f"expected an unused --checkpoint_dir, found a run in {folder}; go on with --resume "
            f"{folder / LAST}, choose another folder, or pass --overwrite to lose it"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise storage_error(folder, error) from error
    if free < needed:
        raise StorageError(
            f"expected {needed / 1e6:.0f} MB of free space for checkpoints in {folder}, found "
            f"{free / 1e6:.0f} MB; make room, or choose another --checkpoint_dir"
        )
    if overwrite and not resume:
        for pattern in ("*.jsonl", "best_model.*", LAST, "checkpoint_epoch_*.pth"):
            for path in folder.glob(pattern):
                path.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write whole or not at all.

    :raises StorageError: the disk is full, or the folder not writable.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")
        os.replace(part, path)
    except OSError as error:
        raise storage_error(path, error) from error


def append_json(path: Path, row: Dict[str, Any]) -> None:
    """Add a line; errors as `write_json`."""
    try:
        with open(path, "a") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        raise storage_error(path, error) from error


def recipe(config: Mapping[str, Any]) -> Dict[str, Any]:
    """What published weights say about their training: the configuration without local paths."""
    local = ("root", "dir", "resume", "init", "checkpoint", "weights", "data")
    public = {k: v for k, v in config.items() if not k.endswith(local)}
    folders, emphasis = (
        ["/".join(Path(str(text)).parts[-2:]) for text in config.get(name) or ()]
        for name in ("train_root", "emphasis")
    )
    return {**public, "train_folders": folders, "emphasis": emphasis}


def versions() -> Dict[str, str]:
    """What the run was made with."""
    return {
        "irvis_fusion": irvis_fusion_core.__version__,
        "lightning": str(pl.__version__),
        "numpy": str(np.__version__),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }


def storage_error(path: Path, error: Exception) -> StorageError:
    """The error of a failed write, saying whether the disk is full."""
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space" in str(error)
    # torch hides the reason; the disk does not.
    if not full and path.parent.is_dir():
        full = shutil.disk_usage(path.parent).free < 1 << 20
    why = "no space is left on the device" if full else str(error)
    return StorageError(
        f"expected to write {path}, found: {why}; make room or another --checkpoint_dir; "
        "earlier checkpoints are whole, go on with --resume"
    )
