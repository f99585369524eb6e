r"""Train a student from pairs, with or without teacher images.

    python -m training.train --train_root DATA/train --val_root DATA/val --input_size 256 \
        --batch_size 8 --epochs 120 --checkpoint_dir runs/nano --log_dir logs
    python -m training.train ... --resume runs/nano/last.pth

Images: <root>/IR, <root>/VIS and, where there is a teacher, <root>/TEACHER_FUSED, matched by
name. Without a teacher the student learns from the sources alone. Several GPUs: --devices 4
--strategy ddp; several machines: torchrun or SLURM, with --num_nodes.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import argparse
import dataclasses
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import ConfigurationError, FusionError
from irvis_fusion_core.network.checkpoint import load_checkpoint
from irvis_fusion_core.network.student import create_student_model
from training import options as training_options
from training.data import found_objects
from training.data.augmentation import Augmentation
from training.data.data_module import FusionData, same_images
from training.data.dataset import FusionDataset
from training.errors import TrainingError
from training.evaluation.lpips import Lpips, open_lpips
from training.loop import set_up
from training.loop.callbacks import RunFiles, TermLog
from training.loop.distillation import SOURCE_TERMS, DistillationTask, active_terms, needs_backbone
from training.loop.lightning_module import FusionModule
from training.loop.run_files import (
    WholeFiles,
    check_losses,
    differences,
    prepare_folder,
    read_run,
    versions,
)
from training.loop.synced_norm import SyncedNorm
from training.loop.validation import chosen_monitor
from training.losses.backbones import WeightsMissingError
from training.losses.frozen_detector import FrozenDetector
from training.losses.perceptual import open_backbone
from training.storage import write_json


class Run(NamedTuple):
    """A training run, ready to start."""

    data: FusionData
    module: FusionModule
    trainer: pl.Trainer
    config: dict[str, Any]


def make_data(options: argparse.Namespace) -> FusionData:
    """Return the loaders of these options.

    Raises:
        DataError: images are missing, faulty, or in both parts.
    """
    given = vars(options)
    names = [field.name for field in dataclasses.fields(Augmentation) if field.name in given]
    augmentation = Augmentation(options.input_size, **{name: given[name] for name in names})
    common = {"check": not options.no_check, "skip_bad": options.skip_bad}
    names = ["seed", "cache_gb", "teacher_target", "in_channels", "boxes", "exclude_validation"]
    own = {n: given[n] for n in names}
    train = FusionDataset(options.train_root, augmentation, **own, **common)
    weights = training_options.term_weights(options, train.has_teachers)
    by_sources = any(weights[name] for name in SOURCE_TERMS)
    if train.has_teachers and not options.teacher_checkpoint and not by_sources:
        train.keep_taught()
    validation = None
    if options.val_root:
        validation = FusionDataset(options.val_root, limit=options.val_limit, **common)
        same_images(train, validation)
    drawn = {n: given[n] for n in ("batch_size", "num_workers", "samples_per_epoch", "seed")}
    return FusionData(train, validation, **drawn)


def find_objects(
    options: argparse.Namespace, train: FusionDataset, task: DistillationTask
) -> None:
    """Give `train` the objects of its images if a term needs them; a file keeps them.

    Raises:
        DataError: the file that should have them is another.
    """
    if task.weights.keys() & {"det_object", "det_visible"}:
        file = Path(options.checkpoint_dir).resolve().parent / found_objects.FILE
        train.objects = found_objects.load_or_find(
            options.detector, train.pairs, train.read, file, options.threads
        )


def make_task(options: argparse.Namespace, has_teacher_images: bool) -> DistillationTask:
    """Return the student, the teacher and the losses of these options."""
    torch.manual_seed(options.seed)
    student = create_student_model(options.variant, options.in_channels, options.out_channels)
    if options.init:
        student.load_state_dict(load_checkpoint(options.init, options.variant).state_dict())
    student = student.to(memory_format=torch.channels_last)
    teacher = load_checkpoint(options.teacher_checkpoint) if options.teacher_checkpoint else None
    with_teacher = has_teacher_images or teacher is not None
    weights = training_options.term_weights(options, with_teacher)
    training_options.check_crop(options, weights)
    needed = needs_backbone(weights, teacher is not None)
    return DistillationTask(
        student,
        weights,
        teacher,
        open_backbone(options.vgg_weights) if needed else None,
        training_options.warmup_epochs(options, with_teacher),
        not options.no_rounding,
        **{name: getattr(options, name) for name in ("leak", "variance_noise")},
        window=options.source_window,
        detectors=[FrozenDetector(path) for path in options.detector],
        freeze_norm=options.freeze_norm,
        train_only=options.train_only,
    ).train()


def make_trainer(options: argparse.Namespace, with_validation: bool = True) -> pl.Trainer:
    """Return Lightning's trainer of these options."""
    folder = Path(options.checkpoint_dir)
    logger = TensorBoardLogger(options.log_dir, name=folder.resolve().name, version="")
    terminal = sys.stderr.isatty()
    try:
        return pl.Trainer(
            **set_up.trainer_options(options),
            plugins=[WholeFiles(), SyncedNorm()],
            logger=logger,
            callbacks=[
                TermLog(folder, options.log_freq, options.vis_freq, lines=not terminal),
                RunFiles(folder, options.monitor, options.save_freq),
            ],
            enable_checkpointing=False,
            enable_progress_bar=terminal,
            enable_model_summary=False,
            limit_val_batches=1.0 if with_validation else 0,
            # The student before the first step is validated too.
            num_sanity_val_steps=0 if options.resume else -1,
        )
    except (MisconfigurationException, ValueError) as error:
        raise ConfigurationError(
            "expected --accelerator, --devices, --num_nodes and --strategy that work here, "
            f"found: {error}"
        ) from error


def make_run(options: argparse.Namespace) -> Run:
    """Make and check every part of a run; write nothing but the file of `find_objects`.

    Raises:
        FusionError: the options, the data, a checkpoint or other weights cannot be used.
    """
    # The quick checks come first: reading thousands of images takes a while.
    resumed = read_run(options.resume, options.variant) if options.resume else None
    done = resumed["global_step"] if resumed else 0
    data = make_data(options)
    lpips = _lpips(data, options.monitor)
    if resumed:
        taught = data.train.has_teachers or bool(options.teacher_checkpoint)
        losses = training_options.term_weights(options, taught)
        check_losses(resumed, vars(options), losses)
    task = make_task(options, data.train.has_teachers)
    find_objects(options, data.train, task)
    trainer = make_trainer(options, data.validation is not None)
    steps_per_epoch = data.sampler(0, trainer.world_size).steps
    total, last = steps_to_do(options, done, steps_per_epoch)
    config = {
        **vars(options),
        "losses": task.weights,
        "warmup_epochs": task.warmup_epochs,
        "backbone": task.backbone.name if task.backbone else "none",
        "monitor": chosen_monitor(options.monitor, _taught(data.validation)),
        "steps_per_epoch": steps_per_epoch,
        "total_steps": total,
        "world_size": trainer.world_size,
        "data": [listing.report() for listing in data.train.listings],
        "versions": versions(),
    }
    for name, (then, now) in differences(resumed, config).items() if resumed else ():
        if name == "backbone" and task.adapters is not None:
            raise ConfigurationError(
                f"expected {then}, whose features the training that is resumed distils, found "
                f"{now}; install it or name it by --vgg_weights"
            )
        shown = f"--{name}" if name in vars(options) else name
        _say(f"{shown} was {then}, is {now}: the resumed training differs from here on")
    module = FusionModule(
        task,
        **{name: config[name] for name in ("lr", "weight_decay", "grad_clip", "ema")},
        total_steps=total,
        last_step=last,
        steps_per_epoch=steps_per_epoch,
        # A short run has a short warm-up.
        lr_warmup_steps=min(options.lr_warmup_steps, total // 10),
        names=data.train.names,
        lpips=lpips,
        config=config,
    )
    return Run(data, module, trainer, config)


def steps_to_do(options: argparse.Namespace, done: int, steps_per_epoch: int) -> tuple[int, int]:
    """Return the step where the schedule ends, and that where this call ends.

    Raises:
        ConfigurationError: they are done.
    """
    total = set_up.steps_in_all(options, steps_per_epoch)
    epochs = done // steps_per_epoch + (options.stop_after_epochs or options.epochs)
    last = min(total, epochs * steps_per_epoch)
    if done >= last:
        raise ConfigurationError(
            f"expected steps left to do, found that {options.resume} has done {done} of {last}; "
            "raise --epochs or --max_steps"
        )
    return total, last


def train(options: argparse.Namespace) -> Run:
    """Train to the end; `training.loop.run_files` lists the files that this leaves.

    Raises:
        FusionError: bad options, data or checkpoints; a loss that is not finite; a full disk.
    """
    set_up.set_up_process(options.threads)
    run = make_run(options)
    folder = Path(options.checkpoint_dir)
    if run.trainer.is_global_zero:
        size = sum(t.numel() * t.element_size() for t in run.module.state_dict().values())
        # A checkpoint holds two copies of the weights and two moments; there are three or more.
        prepare_folder(folder, options.resume, options.overwrite, needed=3 * 3 * size)
        write_json(folder / "config.json", run.config)
        describe(run)
    with warnings.catch_warnings():
        # `EpochSampler` can continue in the middle of an epoch, which Lightning does not know. Few
        # workers, few batches and what is frozen are the user's choice. The others are between
        # Lightning, onnx2torch and torch.
        few = "does not have many workers|number of training batches|Found .* in eval mode"
        of_torch = "LeafSpec.* is deprecated|Using a non-tuple sequence"
        warnings.filterwarnings("ignore", f".*(not resumable|{few}|{of_torch})")
        run.trainer.fit(run.module, datamodule=run.data, ckpt_path=options.resume)
    return run


def describe(run: Run) -> None:
    """Print the data, the student and the losses, before hours of work."""
    _say(run.data.train.report())
    if run.data.train.boxes:
        _say(f"{sum(pair.boxes is not None for pair in run.data.train.pairs)} pairs are annotated")
    for line in small_images(run.data.train, run.config["input_size"]):
        _say(line)
    validation = run.data.validation
    chosen = "no --val_root: nothing chooses a best model"
    _say(chosen if validation is None else f"validation: {validation.report()}")
    task = run.module.task
    if run.config["use_amp"] and run.trainer.precision == "32-true":
        _say("--use_amp: this CPU has no instructions for bf16; training in fp32, which is faster")
    parameters = sum(p.numel() for p in task.student.parameters())
    trained = sum(p.numel() for p in task.student.parameters() if p.requires_grad)
    part = "" if trained == parameters else f", {trained / 1e6:.3f} M of them trained"
    _say(f"{task.student.variant}: {parameters / 1e6:.3f} M parameters{part}")
    _say("losses: " + ", ".join(f"{k} {v:g}" for k, v in task.weights.items()))
    if task.warmup_epochs:
        first = active_terms(task.weights, 0, task.warmup_epochs)
        _say(f"the first {task.warmup_epochs} epochs: {', '.join(first)} alone (--warmup_epochs)")
    if task.backbone is not None:
        _say(f"deep features of {task.backbone.name}")
    if not run.data.train.has_teachers and task.teacher is None:
        _say("no teacher images: trained from the sources alone")
    _say(
        f"{run.config['steps_per_epoch']} steps an epoch, {run.config['total_steps']} in all, "
        f"{run.trainer.world_size} process(es); run folder {run.config['checkpoint_dir']}"
    )


def small_images(dataset: FusionDataset, side: int) -> list[str]:
    """Return a warning for each folder whose first image is smaller than the crops."""
    warned = []
    for root, group in zip(dataset.roots, dataset.groups):
        height, width = dataset.read(dataset.pairs[group.indices[0]]).ir.shape
        if min(height, width) < side:
            warned.append(
                f"--input_size {side} is more than the images of {root.folder} have ({width}x"
                f"{height}): their crops are enlarged; --input_size {min(height, width)} is the "
                "largest that is not"
            )
    return warned


@command
def main(arguments: list[str]) -> int:
    """Run the command; return 0 at the end, 1 after an error, 130 when asked to stop."""
    parser = training_options.make_parser(__doc__)
    try:
        train(training_options.check_options(parser.parse_args(arguments)))
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(f"{error}\nlower --batch_size or --input_size") from error
    except FusionError as error:
        # That of a loader's process starts with that process's traceback.
        if str(error).startswith("Caught "):
            error.args = (str(error).splitlines()[-1],)
        raise
    return 0


def _lpips(data: FusionData, monitor: str) -> Lpips | None:
    """Return LPIPS for validation against a teacher, where its weights are.

    Raises:
        ConfigurationError: the first validation would not have the figure `monitor`.
    """
    taught = _taught(data.validation)
    lpips = None
    if taught:
        try:
            lpips = open_lpips()
        except WeightsMissingError as missing:
            _say(f"validation without LPIPS: {missing}")
    if monitor.endswith("_teacher") and not (taught and (lpips or monitor != "lpips_teacher")):
        raise ConfigurationError(
            f"expected --monitor to name a figure of the validation, found {monitor}, which needs "
            "TEACHER_FUSED/ under --val_root, and LPIPS its weights"
        )
    return lpips


def _taught(dataset: FusionDataset | None) -> bool:
    return dataset is not None and dataset.has_teachers


@rank_zero_only
def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
