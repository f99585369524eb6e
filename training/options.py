"""The options of `training.train`: their defaults, and those that depend on the data."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import torch

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import SIZES
from training.loop.distillation import TEACHER_TERMS, TERMS
from training.loop.validation import MONITORS
from training.losses.detector_term import DETECTOR_TERMS
from training.losses.source_terms import LEAST_VIF

# Name of a loss term -> its weight where the flag is not given, help. docs/training_log.md has the
# reasons for the weights of the sources and the detector.
_TERMS = {
    "pix": (1.0, "L1 to the teacher"),
    "perc": (0.1, "deep features of the teacher's image"),
    "ssim": (1.0, "SSIM to the teacher"),
    "grad": (0.5, "Sobel gradient of the teacher"),
    "feat": (0.5, "feature distillation"),
    "src_ssim": (0.4, "SSIM to both sources"),
    "src_qabf": (0.5, "edges of both sources (Qabf), as far as below the pixel-wise maximum's"),
    "src_vif": (0.3, "information of both sources (VIF)"),
    "src_scd": (0.15, "correlation of differences (SCD)"),
    "src_base": (1.0, "brightness: the lit visible image's, else the brighter source's"),
    "src_noise": (0.06, "flat regions no noisier than the visible image"),
    "src_colour": (1.0, "saturation of the lit visible image"),
    "src_hot_colour": (1.0, "and of lit, coloured things for which thermal is brighter"),
    "src_sky": (2.0, "the visible image in daylight skies"),
    "src_flicker": (0.5, "no change from frame to frame that neither source shows"),
    "det": (1.0, "the detector finds what it finds in either source"),
    "det_box": (0.5, "and where it finds it there"),
    "det_object": (2.0, "thermal contrast of objects that the visible image does not show"),
    "det_visible": (1.5, "the visible image where it shows vehicles at least as surely"),
}
FROM_SOURCES = {k: v for k, (v, _) in _TERMS.items() if k.startswith("src_")}
"""Weights of the terms where there is no teacher."""


def default_weights(with_detector: bool) -> dict[str, float]:
    """Return the default weights of the terms of one still image, without a teacher."""
    names = [*FROM_SOURCES, *(DETECTOR_TERMS if with_detector else ())]
    return {name: _TERMS[name][0] for name in names if name != "src_flicker"}


_Row = tuple[bool | int | float | str, str]
# Group -> options of one value, which several scripts share: name -> default, help.
_GROUPS: dict[str, dict[str, _Row]] = {
    "data": {
        "input_size": (512, "side of the crops, pixels"),
        "batch_size": (8, "crops a step and process"),
        "num_workers": (2, "processes that load, for each that trains"),
        "samples_per_epoch": (0, "crops an epoch (default: one a pair)"),
        "val_limit": (24, "pairs of each --val_root; 0: all"),
        "cache_gb": (2.0, "memory for decoded images, GiB"),
        "skip_bad": (False, "train without unusable files"),
        "no_check": (False, "do not decode every image before the start"),
        "exclude_validation": (False, "leave out the scenes of training/data/scene_parts.py"),
        "resize_prob": (0.7, "crops resized, 0..1"),
        "tone_prob": (0.3, "another exposure and thermal gamma, 0..1"),
        "misalign_prob": (0.03, "IR displaced, 0..1"),
        "misalign_px": (4.0, "its reach, pixels"),
        "misalign_deg": (1.0, "its reach, degrees"),
        "misalign_scale": (0.01, "1 +- this"),
        "parallax_prob": (0.0, "IR displaced, then put back by the learned registration, 0..1"),
        "parallax_px": (16.0, "reach of this displacement, pixels"),
        "noise_prob": (0.1, "sensor noise, 0..1"),
        "ir_noise": (14.0, "its largest strength in IR, grey levels"),
    },
    "model and losses": {
        "source_window": (
            160,
            "side of the window of each crop that SSIM, Qabf, VIF and SCD see, pixels; 0: all",
        ),
        "variance_noise": (
            4.0,
            "grey levels of variance at which a teacher counts half; 0: always fully",
        ),
        "no_rounding": (False, "do not round the image as on the topic"),
        "leak": (0.02, "share of the gradient kept where clipped"),
    },
    "training": {
        "epochs": (120, "passes over the training images"),
        "max_steps": (-1, "end there, and the cosine too"),
        "stop_after_epochs": (
            0,
            "end this call early, by the schedule of --epochs; then --resume",
        ),
        "lr": (1e-3, "the cosine's top (AdamW)"),
        "lr_warmup_steps": (200, "linear rise"),
        "weight_decay": (1e-4, "AdamW's"),
        "grad_clip": (1.0, "largest norm; 0: no clipping"),
        "use_amp": (False, "half precision: fp16 on GPUs, bf16 on CPUs that have it"),
        "ema": (0.998, "moving average of the weights, decay a step"),
        "seed": (0, "of weights, draws and variants"),
        "accelerator": ("auto", "cpu, gpu, ... (Lightning's; default: the best)"),
        "devices": ("1", "how many, a list (0,1), or auto"),
        "num_nodes": (1, "machines"),
        "strategy": ("auto", "Lightning's: auto, ddp, ddp_spawn"),
        "threads": (0, "CPU threads a process (default: torch's)"),
    },
    "logs and files": {
        "checkpoint_dir": ("checkpoints", "the run's folder"),
        "log_dir": ("logs", "TensorBoard's folder"),
        "overwrite": (False, "replace the run in --checkpoint_dir"),
        "log_freq": (100, "steps between log lines"),
        "vis_freq": (500, "steps between panels; 0: none"),
        "save_freq": (10, "epochs between checkpoints"),
    },
}
_PLAIN = {name: row for group in _GROUPS.values() for name, row in group.items()}


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Shows the defaults that the help texts do not explain."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        if action.default in (None, False) or action.default == [] or "default:" in text:
            return action.help
        return super()._get_help_string(action)


def script_parser(doc: str | None, name: str) -> argparse.ArgumentParser:
    """Return a parser of the script `name` whose help begins with its module's docstring."""
    return argparse.ArgumentParser(
        f"python -m training.{name}", description=doc, formatter_class=_Help
    )


def add_options(to: argparse._ActionsContainer, names: str = "", **defaults: Any) -> None:
    """Add options that scripts share.

    Args:
        to: A parser, or a group of one.
        names: Separated by spaces: options with the defaults of `training.train`.
        defaults: Options with other defaults.
    """
    for name in (*names.split(), *defaults):
        default, text = _PLAIN[name]
        if isinstance(default, bool):
            to.add_argument(f"--{name}", action="store_true", help=text)
        else:
            chosen = defaults.get(name, default)
            to.add_argument(f"--{name}", type=type(default), default=chosen, help=text)


def make_parser(doc: str | None = None, name: str = "train") -> argparse.ArgumentParser:
    """Return the parser of every training option; see `script_parser`."""
    parser = script_parser(doc, name)
    groups = {title: parser.add_argument_group(title) for title in _GROUPS}
    _add_data(groups["data"].add_argument)
    _add_model(groups["model and losses"].add_argument)
    add = groups["logs and files"].add_argument
    add("--resume", metavar="FILE", help="go on exactly from a checkpoint")
    add("--monitor", default="auto", choices=MONITORS, help="validation figure of best_model")
    for title, group in groups.items():
        add_options(group, " ".join(_GROUPS[title]))
    return parser


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read and check the options; errors as `check_options`."""
    return check_options(make_parser().parse_args(arguments))


def check_options(options: argparse.Namespace) -> argparse.Namespace:
    """Return the same options, checked.

    Raises:
        ConfigurationError: a number outside its range.
    """
    require_at_least(options, 1, "batch_size epochs input_size log_freq save_freq")
    require_at_least(
        options,
        0,
        "num_workers vis_freq lr_warmup_steps stop_after_epochs val_limit source_window",
    )
    require_at_least(options, 0, "samples_per_epoch weight_decay grad_clip")
    if not 0.0 < options.lr < float("inf"):
        raise ConfigurationError(f"expected --lr above 0, found {options.lr}")
    if not 0.0 <= options.ema < 1.0:
        raise ConfigurationError(f"expected --ema within 0 and below 1, found {options.ema}")
    if options.max_steps == 0 or options.max_steps < -1:
        raise ConfigurationError(f"expected --max_steps of 1 or more, found {options.max_steps}")
    if options.freeze_norm is None:
        options.freeze_norm = bool(options.init)
    if options.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigurationError(
            f"expected a GPU that torch can use for --accelerator {options.accelerator}, found "
            "none; leave the option out to train on the CPU, or install torch for this GPU's CUDA"
        )
    return options


def require_at_least(options: argparse.Namespace, least: int, names: str) -> None:
    """Refuse the first of the options `names`, separated by spaces, that is below `least`."""
    for name in names.split():
        if not (found := getattr(options, name)) >= least:
            raise ConfigurationError(f"expected --{name} of at least {least}, found {found}")


def term_weights(options: argparse.Namespace, with_teacher: bool) -> dict[str, float]:
    """Return the weight of every term: as its flag says, else by whether there is a teacher.

    Raises:
        ConfigurationError: all weights are 0.
    """
    weights = {}
    for name in TERMS:
        # By default the terms of the teacher replace those of the sources.
        of_teacher, given = name in TEACHER_TERMS, getattr(options, "lambda_" + name)
        wanted = bool(options.detector) if name in DETECTOR_TERMS else of_teacher == with_teacher
        default = _TERMS[name][0] if wanted else 0.0
        weights[name] = default if given is None else given
        if of_teacher and not with_teacher:
            weights[name] = 0.0
    if not any(weights.values()):
        raise ConfigurationError(
            "expected a loss with a weight above 0, found none: there is no teacher image under "
            "TEACHER_FUSED/, and every --lambda_src_... is 0"
        )
    return weights


def check_crop(options: argparse.Namespace, weights: Mapping[str, float]) -> None:
    """Refuse crops, or windows of them, that are too small for a term.

    Raises:
        ConfigurationError: they are.
    """
    seen = min(options.input_size, options.source_window or options.input_size)
    if weights["src_vif"] and seen < LEAST_VIF:
        raise ConfigurationError(
            f"expected --input_size and --source_window of at least {LEAST_VIF} for VIF, whose "
            f"coarsest scale needs that many pixels, found {seen}; or leave the term out: "
            "--lambda_src_vif 0"
        )


def warmup_epochs(options: argparse.Namespace, with_teacher: bool) -> int:
    """Return the epochs of L1 alone: by default a twelfth of all, none without a teacher."""
    given = options.warmup_epochs
    return (options.epochs // 12 if with_teacher else 0) if given is None else given


def _add_data(add: Callable[..., object]) -> None:
    root = "folder with IR/, VIS/ and optionally TEACHER_FUSED/; several are drawn by share"
    add("--train_root", action="append", required=True, metavar="DIR[=SHARE]", help=root)
    add("--val_root", action="append", default=[], metavar="DIR", help="the same for validation")
    objects = "folder of annotated objects, STEM.txt in YOLO's form (training/data/boxes.py)"
    add("--boxes", action="append", default=[], metavar="DIR", help=objects)
    sizes = "least and largest scale of resized crops"
    add("--resize_range", nargs=2, type=float, default=[0.65, 1.25], metavar="S", help=sizes)
    of_several = "what to learn from several teacher images of one pair"
    add("--teacher_target", default="mean", choices=("mean", "sample"), help=of_several)


def _add_model(add: Callable[..., object]) -> None:
    add("--variant", default="nano", choices=sorted(SIZES), help="the student's size")
    add("--in_channels", type=int, default=3, choices=(1, 3), help="3 is RGB")
    add("--out_channels", type=int, default=3, choices=(1, 3), help="3 is RGB")
    add("--init", metavar="FILE", help="start from these weights, step 0")
    add(
        "--freeze_norm",
        action=argparse.BooleanOptionalAction,
        help="keep the statistics of the batch norms (default: with --init)",
    )
    names = "only parameters whose names begin so change (default: all)"
    add("--train_only", nargs="+", default=[], metavar="PREFIX", help=names)
    found = "detector of RGB images (.onnx) whose finds are kept; several are used in turn"
    add("--detector", nargs="+", action="extend", default=[], metavar="FILE", help=found)
    larger = "a larger trained student: for its features, and images where TEACHER_FUSED/ has none"
    add("--teacher_checkpoint", metavar="FILE", help=larger)
    vgg = "torchvision's vgg16-397923af.pth (default: the cached one, else EfficientNet-Lite0)"
    add("--vgg_weights", metavar="FILE", help=vgg)
    for name, (weight, text) in _TERMS.items():
        when = f"with{'' if name in TEACHER_TERMS else 'out'} a teacher"
        when = "with --detector" if name in DETECTOR_TERMS else when
        shown = f"{text} (default: {weight:g} {when})"
        add(f"--lambda_{name}", type=float, metavar="W", help=shown)
    late = "deep features join after twice as many (default: a twelfth of --epochs with a teacher)"
    add("--warmup_epochs", type=int, help=f"epochs of L1 alone; {late}")
