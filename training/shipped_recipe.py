"""Train and ship the models again: every stage of every variant, by one command.

    python -m training.shipped_recipe --data DATA --runs runs --output irvis_fusion_core/models

DATA holds msrs/{train,val}, roadscene/{train,val} and llvip/train, each with IR/ and VIS/. The
stages run one after another, each from the best weights of the one before. A finished stage is
skipped, an interrupted one starts again. The shipped weights lie between those of the last two
stages (`BLENDS`). Then `training.ship_models` writes the files. `--print` shows the commands
instead. Takes one hour (nano) to five (base) on one CPU core; docs/training_log.md gives the
reasons for these figures. Two loss terms were corrected while the shipped weights were trained, so
these commands give other weights; the difference was not measured.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

from irvis_fusion_core.network.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from training import ship_models, train
from training.loop.averaging import blend
from training.loop.run_files import BEST
from training.options import documented_parser

SETS = ("msrs", "roadscene", "llvip")
VALIDATION = ("msrs/val", "roadscene/val")
WEIGHTS = Path(BEST).with_suffix(".safetensors").name


class Stage(NamedTuple):
    """One call of `training.train`: the shares of `SETS`, and the options besides `COMMON`."""

    shares: dict[str, float]
    options: dict[str, Any]


COMMON: dict[str, Any] = {
    "batch_size": 6,
    "misalign_prob": 0.1,
    "misalign_px": 8,
    "misalign_deg": 2,
    "misalign_scale": 0.02,
    "noise_prob": 0.08,
    "num_workers": 0,
    "threads": 1,
}

# First find the fusion: half of the crops are resized, half have another exposure.
BEGIN = {
    "lambda_src_ssim": 3,
    "lambda_src_qabf": 8,
    "lambda_src_vif": 0.5,
    "lambda_src_scd": 0.3,
    "lambda_src_intensity": 4,
}
# Then train on native pixels: faint edges of night scenes exist at that scale only.
NATIVE = {
    "resize_prob": 0.25,
    "tone_prob": 0.25,
    "lambda_src_ssim": 5,
    "lambda_src_qabf": 8,
    "lambda_src_vif": 1,
    "lambda_src_scd": 0.4,
    "lambda_src_intensity": 5,
}
# Long: VIF and SCD exceed their targets, so Qabf and SSIM get the weight.
DETAIL = {
    "resize_prob": 0.1,
    "tone_prob": 0.1,
    "lambda_src_ssim": 7,
    "lambda_src_qabf": 11,
    "lambda_src_vif": 0.3,
    "lambda_src_scd": 0.1,
    "lambda_src_intensity": 5,
}
BASE_DETAIL = {**DETAIL, "lambda_src_ssim": 8, "lambda_src_qabf": 12, "lambda_src_vif": 0.1}
# Only a share of each lead counts: in every scene the weakest terms come first.
LEAD = {
    **DETAIL,
    "lambda_src_ssim": 14,
    "lambda_src_qabf": 15,
    "lambda_src_vif": 1,
    "lambda_src_scd": 1,
    "lead_share": 0.2,
}
# Last for robots: no flicker and noise that neither source has, whole outlines of people.
STEADY = {"lambda_src_flicker": 2.5, "lambda_src_noise": 1, "lambda_src_warm": 12}

BASE_LEAD = {
    **LEAD,
    "lambda_src_ssim": 12,
    "lambda_src_qabf": 20,
    "lambda_src_vif": 0.6,
    "lambda_src_scd": 0.6,
}
BASE_STEADY = {**BASE_LEAD, **STEADY, "lambda_src_ssim": 14}
# Regain the Qabf that this cost, at the expense of SSIM.
EDGES = {"lambda_src_ssim": 13, "lambda_src_qabf": 22}
BASE_EDGES = {**BASE_STEADY, "lambda_src_ssim": 13, "lambda_src_qabf": 26, "lambda_src_scd": 1}
# Return half of it to SSIM, of which a small network lost too much.
SETTLE = {"lambda_src_ssim": 17, "lambda_src_qabf": 20}


def _shares(*shares: float) -> dict[str, float]:
    return dict(zip(SETS, shares))


def _schedule(size: int, lr: float, samples: int, epochs: int, stop: int = 0) -> dict[str, Any]:
    """Return the options of a schedule; `lr` is the cosine's top, `stop` epochs (0: the end)."""
    kept = {"input_size": size, "lr": lr, "samples_per_epoch": samples, "epochs": epochs}
    return {**kept, "stop_after_epochs": stop} if stop else kept


NIGHTS = _shares(0.68, 0.22, 0.1)
EVEN = _shares(0.54, 0.28, 0.18)

RECIPES: dict[str, list[Stage]] = {
    "nano": [
        Stage(_shares(0.5, 0.38, 0.12), {**BEGIN, **_schedule(192, 3e-3, 6000, 6, stop=2)}),
        Stage(NIGHTS, {**NATIVE, **_schedule(192, 2.5e-3, 6000, 4)}),
        Stage(EVEN, {**LEAD, **_schedule(160, 2e-3, 12000, 2)}),
        Stage(EVEN, {**LEAD, **STEADY, **_schedule(160, 1e-3, 7200, 2)}),
        Stage(EVEN, {**LEAD, **STEADY, **EDGES, **_schedule(160, 1e-3, 7200, 2)}),
        Stage(
            _shares(0.5, 0.34, 0.16), {**LEAD, **STEADY, **SETTLE, **_schedule(160, 7e-4, 7200, 1)}
        ),
    ],
    "small": [
        Stage(NIGHTS, {**NATIVE, **_schedule(160, 3e-3, 7200, 3)}),
        Stage(NIGHTS, {**DETAIL, **_schedule(160, 2e-3, 9000, 8)}),
        Stage(EVEN, {**LEAD, **_schedule(160, 2e-3, 12000, 3)}),
        Stage(EVEN, {**LEAD, **STEADY, **_schedule(160, 1e-3, 7200, 2)}),
        Stage(EVEN, {**LEAD, **STEADY, **EDGES, **_schedule(160, 1e-3, 7200, 2)}),
    ],
    "base": [
        Stage(_shares(0.5, 0.38, 0.12), {**BEGIN, **_schedule(160, 2e-3, 4800, 8, stop=3)}),
        Stage(NIGHTS, {**NATIVE, **_schedule(160, 1.5e-3, 5400, 5, stop=4)}),
        Stage(NIGHTS, {**BASE_DETAIL, **_schedule(160, 2e-3, 6000, 6)}),
        Stage(
            _shares(0.57, 0.33, 0.1),
            {
                **BASE_DETAIL,
                "lambda_src_ssim": 9,
                "lambda_src_qabf": 13,
                **_schedule(160, 2e-3, 7200, 7, stop=1),
            },
        ),
        Stage(
            _shares(0.6, 0.3, 0.1),
            {**BASE_LEAD, "lead_share": 0.1, **_schedule(160, 2e-3, 7200, 4)},
        ),
        Stage(EVEN, {**BASE_LEAD, **_schedule(160, 1.5e-3, 8000, 3)}),
        Stage(EVEN, {**BASE_STEADY, **_schedule(160, 7e-4, 4800, 1)}),
        Stage(EVEN, {**BASE_EDGES, **_schedule(160, 1e-3, 8400, 1)}),
    ],
}

BLENDS: dict[str, float] = {"nano": 1.0, "small": 1.0, "base": 0.5}
"""Position of the shipped weights between the last stage but one (0) and the last (1)."""


def stage_folder(runs: Path, variant: str, number: int) -> Path:
    """Return the folder of stage 0, 1, ...; the shipped weights go to ``runs / variant``."""
    return runs / f"{variant}_stage{number + 1}"


def blended(variant: str, runs: Path) -> Path:
    """Write the shipped weights of a variant whose stages are done; return the file."""
    count, share = len(RECIPES[variant]), BLENDS[variant]
    before, last = (stage_folder(runs, variant, n) / WEIGHTS for n in (count - 2, count - 1))
    student = load_checkpoint(before)
    blend(student, load_checkpoint(last), share)
    # The recipe holds for the blend too; the figures of the last stage do not.
    facts = {k: v for k, v in read_metadata(last).items() if k == "training"}
    path = runs / variant / WEIGHTS
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(student, path, {**facts, "blend": f"{share:g}"})
    return path


def arguments_of(variant: str, number: int, data: Path, runs: Path) -> list[str]:
    """Return the arguments of `training.train` for one stage."""
    stage = RECIPES[variant][number]
    folder = stage_folder(runs, variant, number)
    found = ["--variant", variant, "--checkpoint_dir", str(folder)]
    found += ["--log_dir", str(runs / "logs")]
    for name, share in stage.shares.items():
        found += ["--train_root", f"{data / name / 'train'}={share:g}"]
    for name in VALIDATION:
        found += ["--val_root", str(data / name)]
    if number:
        found += ["--init", str(stage_folder(runs, variant, number - 1) / WEIGHTS)]
    for name, value in {**COMMON, **stage.options}.items():
        found += [f"--{name}", f"{value:g}"]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Train and ship; return the exit status of the first stage that fails, else 0."""
    parser = documented_parser("shipped_recipe", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--variant", action="append", choices=sorted(RECIPES))
    parser.add_argument("--output", type=Path, default=Path("irvis_fusion_core/models"))
    parser.add_argument("--print", action="store_true", help="show the commands, run nothing")
    options = parser.parse_args(arguments)
    variants = options.variant or sorted(RECIPES)
    for variant in variants:
        for number in range(len(RECIPES[variant])):
            stage = arguments_of(variant, number, options.data, options.runs)
            if options.print:
                print(shlex.join(["python", "-m", "training.train", *stage]))
                continue
            # A run writes this file last.
            done = stage_folder(options.runs, variant, number) / f"{variant}.safetensors"
            status = 0 if done.is_file() else train.main([*stage, "--overwrite"])
            if status:
                return status
        if not options.print:
            blended(variant, options.runs)
    shipping = ["--runs", str(options.runs), "--output", str(options.output)]
    for variant in variants:
        shipping += ["--variant", variant]
    for name in SETS:
        shipping += ["--calibrate", str(options.data / name / "train")]
    if options.print:
        print(shlex.join(["python", "-m", "training.ship_models", *shipping]))
        return 0
    return ship_models.main(shipping)


if __name__ == "__main__":
    sys.exit(main())
