"""The options of `training.train`: their defaults, and those that depend on the data."""

from __future__ import annotations

import argparse
from typing import Literal

import torch

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import SIZES
from training.loop.distillation import TEACHER_TERMS, TERMS
from training.loop.validation import MONITORS

# Weights of terms whose flag is not given: with teacher images, and from the sources alone.
WITH_TEACHER = {"pix": 1.0, "perc": 0.1, "ssim": 1.0, "grad": 0.5, "feat": 0.5}
FROM_SOURCES = {
    # As in most steps of the shipped models: docs/training_log.md.
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
    """Shows the defaults that the help texts do not explain."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if (
            action.default in (None, False)
            or action.default == []
            or "default:" in (action.help or "")
        ):
            return action.help
        return super()._get_help_string(action)


def documented_parser(name: str, text: str | None) -> argparse.ArgumentParser:
    """Return a parser of the script `name` whose help begins with its module's docstring."""
    return argparse.ArgumentParser(
        prog=name, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def make_parser(
    description: str | None = None, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Return the parser of every training option."""
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


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read and check the options.

    Raises:
        ConfigurationError: a number outside its range, or options that exclude each other.
    """
    return check_options(make_parser().parse_args(arguments))


def check_options(options: argparse.Namespace) -> argparse.Namespace:
    """Return the same options, checked.

    Raises:
        ConfigurationError: a number outside its range.
    """
    require_at_least(
        options,
        **dict.fromkeys(("batch_size", "epochs", "input_size", "log_freq", "save_freq"), 1),
        **dict.fromkeys(("num_workers", "vis_freq", "lr_warmup_steps", "stop_after_epochs"), 0),
        **dict.fromkeys(("val_limit", "samples_per_epoch", "weight_decay", "grad_clip"), 0),
    )
    if not 0.0 < options.lr < float("inf"):
        raise ConfigurationError(f"expected --lr above 0, found {options.lr}")
    if not 0.0 <= options.ema < 1.0:
        raise ConfigurationError(f"expected --ema within 0 and below 1, found {options.ema}")
    if options.max_steps == 0 or options.max_steps < -1:
        raise ConfigurationError(f"expected --max_steps of 1 or more, found {options.max_steps}")
    return options


def require_at_least(options: argparse.Namespace, **limits: float) -> None:
    """Refuse options below their limits.

    Raises:
        ConfigurationError: names the first of them.
    """
    for name, least in limits.items():
        if not getattr(options, name) >= least:
            raise ConfigurationError(
                f"expected --{name} of at least {least}, found {getattr(options, name)}"
            )


def precision(
    use_amp: bool, accelerator: str = "auto"
) -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """Return Lightning's name of the precision: ``--use_amp`` is fp16 on GPUs, bf16 on CPUs."""
    if not use_amp:
        return "32-true"
    return "16-mixed" if accelerator != "cpu" and torch.cuda.is_available() else "bf16-mixed"


def term_weights(options: argparse.Namespace, with_teacher: bool) -> dict[str, float]:
    """Return the weight of every term: as its flag says, else by whether there is a teacher.

    Raises:
        ConfigurationError: all weights are 0.
    """
    defaults = WITH_TEACHER if with_teacher else FROM_SOURCES
    weights = {}
    for name in TERMS:
        given = getattr(options, "lambda_" + name)
        usable = with_teacher or name not in TEACHER_TERMS
        weights[name] = (defaults.get(name, 0.0) if given is None else given) if usable else 0.0
    if not any(weights.values()):
        raise ConfigurationError(
            "expected a loss with a weight above 0, found none: there is no teacher image under "
            "TEACHER_FUSED/, and every --lambda_src_... is 0"
        )
    return weights


def warmup_epochs(options: argparse.Namespace, with_teacher: bool) -> int:
    """Return the epochs of L1 alone: by default a twelfth of all, none without a teacher."""
    if options.warmup_epochs is not None:
        return options.warmup_epochs
    return options.epochs // 12 if with_teacher else 0


def _add_data(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--train_root",
        action="append",
        required=True,
        metavar="DIR[=SHARE]",
        help="folder with IR/, VIS/ and optionally TEACHER_FUSED/; several are drawn by share",
    )
    add("--val_root", action="append", default=[], metavar="DIR", help="the same for validation")
    add("--input_size", type=int, default=512, help="side of the crops, pixels")
    add("--batch_size", type=int, default=8, help="crops a step and process")
    add("--num_workers", type=int, default=2, help="processes that load, for each that trains")
    add("--samples_per_epoch", type=int, default=0, help="crops an epoch (default: one a pair)")
    add("--val_limit", type=int, default=24, help="pairs of each --val_root; 0: all")
    add("--cache_gb", type=float, default=2.0, help="memory for decoded images, GiB")
    add("--skip_bad", action="store_true", help="train without unusable files")
    add("--no_check", action="store_true", help="do not decode every image before the start")
    add(
        "--teacher_target",
        default="mean",
        choices=("mean", "sample"),
        help="what to learn from several teacher images of one pair",
    )
    add("--resize_prob", type=float, default=0.5, help="crops resized, 0..1")
    add("--tone_prob", type=float, default=0.5, help="another exposure and thermal gain, 0..1")
    add("--misalign_prob", type=float, default=0.5, help="IR displaced, 0..1")
    add("--misalign_px", type=float, default=20.0, help="its reach, pixels")
    add("--misalign_deg", type=float, default=5.0, help="its reach, degrees")
    add("--misalign_scale", type=float, default=0.05, help="1 +- this")
    add("--noise_prob", type=float, default=0.25, help="each kind of noise, 0..1")
    add("--ir_noise", type=float, default=2.0, help="grey levels")
    add("--column_noise", type=float, default=1.5, help="IR columns, grey levels")


def _add_model(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--variant", default="nano", choices=sorted(SIZES), help="the student's size")
    add("--in_channels", type=int, default=3, choices=(1, 3), help="3 is RGB")
    add("--out_channels", type=int, default=3, choices=(1, 3), help="3 is RGB")
    add("--init", metavar="FILE", help="start from these weights, step 0")
    add(
        "--teacher_checkpoint",
        metavar="FILE",
        help="a larger trained student: its features are distilled, and its images stand in "
        "where TEACHER_FUSED/ has none",
    )
    add("--vgg_weights", metavar="FILE", help="torchvision's vgg16-397923af.pth")
    for name in TERMS:
        shown = {**WITH_TEACHER, **FROM_SOURCES}.get(name, 0.0)
        when = "with a teacher" if name in WITH_TEACHER else "without a teacher"
        add(
            f"--lambda_{name}",
            type=float,
            metavar="W",
            help=f"{_HELP[name]} (default: {shown:g}{f' {when}' if shown else ''})",
        )
    add(
        "--warmup_epochs",
        type=int,
        help="epochs of L1 alone; deep features join after twice as many (default: a twelfth "
        "of --epochs with a teacher, else 0)",
    )
    add(
        "--variance_noise",
        type=float,
        default=4.0,
        help="grey levels: a teacher whose samples vary by this counts half; 0: no weighting",
    )
    add(
        "--lead_share",
        type=float,
        default=1.0,
        help="share of what an image leads the pixel-wise maximum by that still counts; below "
        "1 the terms in which it is short come first",
    )
    add(
        "--emphasis",
        action="append",
        default=[],
        metavar="DIR:TERM=FACTOR",
        help="a src_ term that counts FACTOR times as much for the images of one --train_root",
    )
    add("--no_rounding", action="store_true", help="do not round the image as on the topic")
    add("--leak", type=float, default=0.01, help="share of the gradient kept where clipped")


def _add_training(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--epochs", type=int, default=120, help="passes over the pairs")
    add("--max_steps", type=int, default=-1, help="end there, and the cosine too")
    add(
        "--stop_after_epochs",
        type=int,
        default=0,
        help="end this call early, the schedule still being that of --epochs; go on by --resume",
    )
    add("--lr", type=float, default=1e-3, help="the cosine's top (AdamW)")
    add("--lr_warmup_steps", type=int, default=200, help="linear rise")
    add("--weight_decay", type=float, default=1e-4, help="AdamW's")
    add("--grad_clip", type=float, default=1.0, help="largest norm; 0: no clipping")
    add("--use_amp", action="store_true", help="fp16 on GPUs, bf16 on CPUs")
    add("--ema", type=float, default=0.998, help="moving average of the weights")
    add("--seed", type=int, default=0, help="of weights, draws and variants")
    add("--accelerator", default="auto", help="cpu, gpu, ... (Lightning's; default: the best)")
    add("--devices", default="1", help="how many, a list (0,1), or auto")
    add("--num_nodes", type=int, default=1, help="machines")
    add("--strategy", default="auto", help="Lightning's: auto, ddp, ddp_spawn")
    add("--threads", type=int, default=0, help="CPU threads a process (default: torch's)")


def _add_files(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--checkpoint_dir", default="checkpoints", help="the run's folder")
    add("--log_dir", default="logs", help="TensorBoard's folder")
    add("--resume", metavar="FILE", help="go on exactly from a checkpoint")
    add("--overwrite", action="store_true", help="replace the run in --checkpoint_dir")
    add("--monitor", default="auto", choices=MONITORS, help="validation figure of best_model")
    add("--log_freq", type=int, default=100, help="steps between log lines")
    add("--vis_freq", type=int, default=500, help="steps between panels; 0: none")
    add("--save_freq", type=int, default=10, help="epochs between checkpoints")
