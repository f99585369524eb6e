"""The options of `training.train`, their defaults, and what is left to find out from the data."""

from __future__ import annotations

import argparse
from typing import Dict, List, Optional

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import SIZES
from training.loop.distillation import TEACHER_TERMS, TERMS
from training.loop.validation import MONITORS

# Weights where a term's flag is not given: with teacher images, and from the sources alone.
WITH_TEACHER = {"pix": 1.0, "perc": 0.1, "ssim": 1.0, "grad": 0.5, "feat": 0.5}
FROM_SOURCES = {
    # As the shipped models have it for most of their steps: docs/training_log.md.
    "src_ssim": 5.0,
    "src_qabf": 8.0,
    "src_vif": 1.0,
    "src_scd": 0.4,
    "src_intensity": 5.0,
}

_HELP = {
    "pix": "L1 to the teacher",
    "perc": "VGG-16 features of the teacher's image",
    "ssim": "SSIM to the teacher",
    "grad": "Sobel gradient of the teacher",
    "feat": "feature distillation",
    "src_ssim": "SSIM to both sources",
    "src_qabf": "edges of both sources (Qabf)",
    "src_vif": "information of both sources (VIF)",
    "src_scd": "correlation of differences (SCD)",
    "src_intensity": "blurred brightness of the brighter source",
    "src_noise": "flat regions no noisier than the louder source",
    "src_warm": "edges of the thermal image about warm things in the dark",
    "src_max": "pixels of the brighter source",
    "src_grad": "gradient of the stronger source",
    "src_colour": "chroma of the visible image",
    "src_flicker": "no change from frame to frame that neither source shows",
}


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Shows every default that is a value and is not explained in the option's own words."""

    def _get_help_string(self, action):
        if action.default in (None, False) or action.default == [] or "default:" in action.help:
            return action.help
        return super()._get_help_string(action)


def make_parser(description: Optional[str] = None, epilog: Optional[str] = None):
    """The parser of every training option."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description=description,
        epilog=epilog,
        formatter_class=_Help,
    )
    _add_data(parser.add_argument_group("data"))
    _add_model(parser.add_argument_group("model and losses"))
    _add_training(parser.add_argument_group("training"))
    _add_files(parser.add_argument_group("logs and files"))
    return parser


def parse_options(arguments: Optional[List[str]] = None) -> argparse.Namespace:
    """Read and check the options.

    :raises ConfigurationError: a number outside its range, or options that exclude each other.
    """
    options = make_parser().parse_args(arguments)
    return check_options(options)


def check_options(options: argparse.Namespace) -> argparse.Namespace:
    """The same options when they can be used.

    :raises ConfigurationError: a number outside its range.
    """
    limits = {
        **dict.fromkeys(("batch_size", "epochs", "input_size", "log_freq", "save_freq"), 1),
        **dict.fromkeys(("num_workers", "vis_freq", "lr_warmup_steps", "stop_after_epochs"), 0),
        **dict.fromkeys(("val_limit", "samples_per_epoch", "weight_decay", "grad_clip"), 0),
    }
    for name, least in limits.items():
        if not getattr(options, name) >= least:
            raise ConfigurationError(
                f"expected --{name} of {least} or more, found {getattr(options, name)}"
            )
    if not 0.0 < options.lr < float("inf"):
        raise ConfigurationError(f"expected --lr above 0, found {options.lr}")
    if not 0.0 <= options.ema < 1.0:
        raise ConfigurationError(f"expected --ema within 0 and below 1, found {options.ema}")
    if options.max_steps == 0 or options.max_steps < -1:
        raise ConfigurationError(f"expected --max_steps of 1 or more, found {options.max_steps}")
    return options


def term_weights(options: argparse.Namespace, with_teacher: bool) -> Dict[str, float]:
    """The weight of every term: flags as given, the others by whether there is a teacher.

    :raises ConfigurationError: all weights are 0.
    """
    defaults = WITH_TEACHER if with_teacher else FROM_SOURCES
    weights = {}
    for name in TERMS:
        given = getattr(options, "lambda_" + name)
        usable = with_teacher or name not in TEACHER_TERMS
        weights[name] = (defaults.get(name, 0.0) if given is None else given) if usable else 0.0
    if not any(weights.values()):
        raise ConfigurationError(
            "expected a loss of a weight above 0, found none: there is no teacher image under "
            "TEACHER_FUSED/, and every --lambda_src_... is 0"
        )
    return weights


def warmup_epochs(options: argparse.Namespace, with_teacher: bool) -> int:
    """Epochs of L1 alone: a twelfth of all by default, none from the sources alone."""
    if options.warmup_epochs is not None:
        return options.warmup_epochs
    return options.epochs // 12 if with_teacher else 0


def _add_data(group) -> None:
    group.add_argument(
        "--train_root",
        action="append",
        required=True,
        metavar="DIR[=SHARE]",
        help="folder with IR/, VIS/ and optionally TEACHER_FUSED/; several are drawn by share",
    )
    group.add_argument(
        "--val_root", action="append", default=[], metavar="DIR", help="the same for validation"
    )
    group.add_argument("--input_size", type=int, default=512, help="side of the crops, pixels")
    group.add_argument("--batch_size", type=int, default=8, help="crops a step and process")
    group.add_argument(
        "--num_workers", type=int, default=2, help="processes that load, for each that trains"
    )
    group.add_argument(
        "--samples_per_epoch", type=int, default=0, help="crops an epoch (default: one a pair)"
    )
    group.add_argument(
        "--val_limit", type=int, default=24, help="pairs of each --val_root; 0: all"
    )
    group.add_argument(
        "--cache_gb", type=float, default=2.0, help="memory for decoded images, GiB"
    )
    group.add_argument("--skip_bad", action="store_true", help="train without unusable files")
    group.add_argument(
        "--no_check", action="store_true", help="do not decode every image before the start"
    )
    group.add_argument(
        "--teacher_target",
        default="mean",
        choices=("mean", "sample"),
        help="what to learn from several teacher images of one pair",
    )
    group.add_argument("--resize_prob", type=float, default=0.5, help="crops resized, 0..1")
    group.add_argument(
        "--tone_prob", type=float, default=0.5, help="another exposure and thermal gain, 0..1"
    )
    group.add_argument("--misalign_prob", type=float, default=0.5, help="IR displaced, 0..1")
    group.add_argument("--misalign_px", type=float, default=20.0, help="its reach, pixels")
    group.add_argument("--misalign_deg", type=float, default=5.0, help="its reach, degrees")
    group.add_argument("--misalign_scale", type=float, default=0.05, help="1 +- this")
    group.add_argument("--noise_prob", type=float, default=0.25, help="each kind of noise, 0..1")
    group.add_argument("--ir_noise", type=float, default=2.0, help="grey levels")
    group.add_argument("--column_noise", type=float, default=1.5, help="IR columns, grey levels")


def _add_model(group) -> None:
    group.add_argument(
        "--variant", default="nano", choices=sorted(SIZES), help="the student's size"
    )
    group.add_argument("--in_channels", type=int, default=3, choices=(1, 3), help="3 is RGB")
    group.add_argument("--out_channels", type=int, default=3, choices=(1, 3), help="3 is RGB")
    group.add_argument("--init", metavar="FILE", help="start from these weights, step 0")
    group.add_argument(
        "--teacher_checkpoint",
        metavar="FILE",
        help="a larger trained student: its features are distilled, and its images stand in "
        "where TEACHER_FUSED/ has none",
    )
    group.add_argument("--vgg_weights", metavar="FILE", help="torchvision's vgg16-397923af.pth")
    for name in TERMS:
        shown = {**WITH_TEACHER, **FROM_SOURCES}.get(name, 0.0)
        when = "with a teacher" if name in WITH_TEACHER else "without a teacher"
        group.add_argument(
            f"--lambda_{name}",
            type=float,
            metavar="W",
            help=f"{_HELP[name]} (default: {shown:g}{f' {when}' if shown else ''})",
        )
    group.add_argument(
        "--warmup_epochs",
        type=int,
        help="epochs of L1 alone; deep features join after twice as many (default: a twelfth "
        "of --epochs with a teacher, else 0)",
    )
    group.add_argument(
        "--variance_noise",
        type=float,
        default=4.0,
        help="grey levels: a teacher whose samples vary by this counts half; 0: no weighting",
    )
    group.add_argument(
        "--lead_share",
        type=float,
        default=1.0,
        help="share of what an image leads the pixel-wise maximum by that still counts; below "
        "1 the terms in which it is short come first",
    )
    group.add_argument(
        "--emphasis",
        action="append",
        default=[],
        metavar="DIR:TERM=FACTOR",
        help="a src_ term that counts FACTOR times as much for the images of one --train_root",
    )
    group.add_argument(
        "--no_rounding", action="store_true", help="do not round the image as on the topic"
    )
    group.add_argument(
        "--leak", type=float, default=0.01, help="share of the gradient kept where clipped"
    )


def _add_training(group) -> None:
    group.add_argument("--epochs", type=int, default=120, help="passes over the pairs")
    group.add_argument("--max_steps", type=int, default=-1, help="end there, and the cosine too")
    group.add_argument(
        "--stop_after_epochs",
        type=int,
        default=0,
        help="end this call early, the schedule still being that of --epochs; go on by --resume",
    )
    group.add_argument("--lr", type=float, default=1e-3, help="the cosine's top (AdamW)")
    group.add_argument("--lr_warmup_steps", type=int, default=200, help="linear rise")
    group.add_argument("--weight_decay", type=float, default=1e-4, help="AdamW's")
    group.add_argument("--grad_clip", type=float, default=1.0, help="largest norm; 0: no clipping")
    group.add_argument("--use_amp", action="store_true", help="fp16 on GPUs, bf16 on CPUs")
    group.add_argument("--ema", type=float, default=0.998, help="moving average of the weights")
    group.add_argument("--seed", type=int, default=0, help="of weights, draws and variants")
    group.add_argument(
        "--accelerator", default="auto", help="cpu, gpu, ... (Lightning's; default: the best)"
    )
    group.add_argument("--devices", default="1", help="how many, a list (0,1), or auto")
    group.add_argument("--num_nodes", type=int, default=1, help="machines")
    group.add_argument("--strategy", default="auto", help="Lightning's: auto, ddp, ddp_spawn")
    group.add_argument(
        "--threads", type=int, default=0, help="CPU threads a process (default: torch's)"
    )


def _add_files(group) -> None:
    group.add_argument("--checkpoint_dir", default="checkpoints", help="the run's folder")
    group.add_argument("--log_dir", default="logs", help="TensorBoard's folder")
    group.add_argument("--resume", metavar="FILE", help="go on exactly from a checkpoint")
    group.add_argument(
        "--overwrite", action="store_true", help="start anew where --checkpoint_dir has a run"
    )
    group.add_argument(
        "--monitor", default="auto", choices=MONITORS, help="validation figure of best_model"
    )
    group.add_argument("--log_freq", type=int, default=100, help="steps between log lines")
    group.add_argument("--vis_freq", type=int, default=500, help="steps between panels; 0: none")
    group.add_argument("--save_freq", type=int, default=10, help="epochs between checkpoints")
