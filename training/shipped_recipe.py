"""Train and ship the models again: every stage of every variant, by one command.

    python -m training.shipped_recipe --data DATA --detector YOLOX NANODET --runs runs

DATA holds the sets and the boxes that ``shipped_recipe.yaml`` names; the detectors are the ONNX
files of YOLOX-nano and of NanoDet-m. The first stage finds a fusion by the source terms, the
second adds YOLOX-nano, the third both; of `small` and `base` it trains the last layers alone.
Each starts from the weights of the one before. A finished stage is skipped, an interrupted one
starts again. Then `training.ship_models` writes the files.
`--print` shows the commands instead. The shipped weights had another start: docs/training_log.md.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import ConfigurationError
from training import ship_models, train
from training.options import script_parser

_RECIPE = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
RECIPES: dict[str, list[dict[str, Any]]] = _RECIPE["stages"]


def stage_folder(runs: Path, variant: str, number: int) -> Path:
    """Return the folder of stage 0, 1, ...; that of the last is ``runs / variant``."""
    last = number == len(RECIPES[variant]) - 1
    return runs / (variant if last else f"{variant}_stage{number + 1}")


def weights_of(runs: Path, variant: str, number: int) -> Path:
    """Return the last weights of a stage, which its run writes at the end."""
    return stage_folder(runs, variant, number) / f"{variant}.safetensors"


def arguments_of(
    variant: str, number: int, data: Path, runs: Path, detectors: Sequence[Path] = ()
) -> list[str]:
    """Return the arguments of `training.train` for one stage.

    Raises:
        ConfigurationError: it needs more detectors.
    """
    stage = {**_RECIPE["common"], **RECIPES[variant][number]}
    needed = stage.pop("detectors", 0)
    if len(detectors) < needed:
        raise ConfigurationError(
            f"expected --detector with the ONNX files of YOLOX-nano and NanoDet-m, in this order, "
            f"for stage {number + 1} of {variant}, found {len(detectors)}"
        )
    folder = stage_folder(runs, variant, number)
    found = ["--variant", variant, "--checkpoint_dir", str(folder)]
    found += ["--log_dir", str(runs / "logs"), "--exclude_validation"]
    for name, share in (stage.pop("sets", None) or _RECIPE["sets"]).items():
        found += ["--train_root", f"{data / name}={share:g}"]
    for flag, key in (("--boxes", "boxes"), ("--val_root", "validation")):
        for name in _RECIPE[key]:
            found += [flag, str(data / name)]
    if number:
        found += ["--init", str(weights_of(runs, variant, number - 1))]
    if needed:
        found += ["--detector", *map(str, detectors[:needed])]
    for name, value in stage.items():
        values = value if isinstance(value, list) else [value]
        found += [f"--{name}", *(v if isinstance(v, str) else f"{v:g}" for v in values)]
    return found


@command
def main(arguments: list[str]) -> int:
    """Train and ship; return the exit status of the first stage that fails, else 0."""
    parser = script_parser(__doc__, "shipped_recipe")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--detector", type=Path, nargs="+", action="extend", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--variant", action="append", choices=sorted(RECIPES))
    parser.add_argument("--output", type=Path, default=Path("irvis_fusion_core/models"))
    parser.add_argument("--print", action="store_true", help="show the commands, run nothing")
    options = parser.parse_args(arguments)
    variants = options.variant or sorted(RECIPES)
    place = options.data, options.runs, options.detector
    stages = [(name, n) for name in variants for n in range(len(RECIPES[name]))]
    commands = [arguments_of(*stage, *place) for stage in stages]
    for stage, command_line in zip(stages, commands):
        if options.print:
            print(shlex.join(["python", "-m", "training.train", *command_line]))
            continue
        done = weights_of(options.runs, *stage).is_file()
        status = 0 if done else train.main([*command_line, "--overwrite"])
        if status:
            return status
    shipping = ["--runs", str(options.runs), "--output", str(options.output), "--last"]
    for variant in variants:
        shipping += ["--variant", variant]
    for name in _RECIPE["calibration"]:
        shipping += ["--calibrate", str(options.data / name)]
    if options.print:
        print(shlex.join(["python", "-m", "training.ship_models", *shipping]))
        return 0
    return ship_models.main(shipping)


if __name__ == "__main__":
    sys.exit(main())
