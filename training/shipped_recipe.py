"""Train and ship the models again: every stage of every variant, by one command.

    python -m training.shipped_recipe --data DATA --runs runs --output irvis_fusion_core/models

DATA holds msrs/{train,val}, roadscene/{train,val} and llvip/train, each with IR/ and VIS/. The
stages, in ``shipped_recipe.yaml``, run one after another, each from the best weights of the one
before. A finished stage is skipped, an interrupted one starts again. The shipped weights lie
between those of the last two stages. Then `training.ship_models` writes the files. `--print` shows
the commands instead. Takes one hour (nano) to five (base) on one CPU core. Two loss
terms were corrected while the shipped weights were trained, so these commands give other weights;
the difference was not measured.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import shlex
import sys
from pathlib import Path
from typing import Any

import yaml

from irvis_fusion_core.network.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from training import ship_models, train
from training.loop.averaging import blend
from training.loop.run_files import BEST
from training.options import script_parser

WEIGHTS = Path(BEST).with_suffix(".safetensors").name

_RECIPE = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
RECIPES: dict[str, list[dict[str, Any]]] = _RECIPE["stages"]
BLENDS: dict[str, float] = _RECIPE["blends"]


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
    for name, share in zip(_RECIPE["sets"], stage["shares"]):
        found += ["--train_root", f"{data / name / 'train'}={share:g}"]
    for name in _RECIPE["validation"]:
        found += ["--val_root", str(data / name)]
    if number:
        found += ["--init", str(stage_folder(runs, variant, number - 1) / WEIGHTS)]
    options = dict(_RECIPE["common"])
    for part in (*(_RECIPE["parts"][name] for name in stage["parts"]), stage["options"]):
        options.update(part)
    for name, value in options.items():
        found += [f"--{name}", f"{value:g}"]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Train and ship; return the exit status of the first stage that fails, else 0."""
    parser = script_parser(__doc__, "shipped_recipe")
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
    for name in _RECIPE["sets"]:
        shipping += ["--calibrate", str(options.data / name / "train")]
    if options.print:
        print(shlex.join(["python", "-m", "training.ship_models", *shipping]))
        return 0
    return ship_models.main(shipping)


if __name__ == "__main__":
    sys.exit(main())
