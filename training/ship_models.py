"""Make the files that ship from trained weights: fp32, fp16 and int8 ONNX, weights, checksums.

    python -m training.ship_models --runs runs --calibrate DATA/msrs/train \
        --calibrate DATA/roadscene/train --output irvis_fusion_core/models

``runs`` holds a run folder of `training.train` for each variant: ``<variant>/`` with
``best_model.safetensors``, or ``<variant>.safetensors`` where nothing was validated or `--last` is
given. The weights of convolutions are rounded (`MANTISSA_BITS`), so that every file holds the
same student.

``base`` ships its fp16 file alone, for size: it runs in fp32 on a CPU; ``irvis_fusion export`` and
``irvis_fusion quantize`` write the others.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import sys
from pathlib import Path

import torch

from irvis_fusion_core import model_zoo
from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import CheckpointError
from irvis_fusion_core.network.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from irvis_fusion_core.network.student import SIZES
from training.export import export_student, read_calibration
from training.options import script_parser

PRECISIONS = {
    "nano": ("fp32", "fp16", "int8"),
    "small": ("fp32", "fp16", "int8"),
    "base": ("fp16",),
}
MANTISSA_BITS = {"nano": 8, "small": 6, "base": 6}  # fp16 has 10
PAIRS_OF_EACH = 12
"""Calibration pairs of each folder."""


def trained_weights(run: Path, variant: str, last: bool = False) -> Path:
    """Return the file of a run that ships: the best by validation, else the last."""
    for name in ("best_model.safetensors", f"{variant}.safetensors")[last:]:
        if (run / name).is_file():
            return run / name
    raise CheckpointError(
        f"expected best_model.safetensors or {variant}.safetensors in {run}, found neither; train "
        f"first: python -m training.train --variant {variant} --checkpoint_dir {run}"
    )


def round_weights(model: torch.nn.Module, mantissa_bits: int) -> None:
    """Round the weights of convolutions to fp16 with a short mantissa, kept as fp32.

    So all files hold the same student, and compress well in the repository.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            mantissa, exponent = torch.frexp(module.weight.data)
            steps = 2.0 ** (mantissa_bits + 1)
            rounded = torch.ldexp((mantissa * steps).round() / steps, exponent)
            module.weight.data = rounded.half().float()


@command
def main(arguments: list[str]) -> int:
    parser = script_parser(__doc__, "ship_models")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--last", action="store_true", help="the last weights, not the best")
    parser.add_argument("--variant", action="append", choices=sorted(SIZES))
    parser.add_argument("--calibrate", type=Path, action="append", required=True)
    parser.add_argument("--output", type=Path, default=Path("irvis_fusion_core/models"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    count = PAIRS_OF_EACH * len(options.calibrate)
    pairs = read_calibration(options.calibrate, count, "rgb")
    for variant in options.variant or sorted(SIZES):
        source = trained_weights(options.runs / variant, variant, options.last)
        model = load_checkpoint(source)
        round_weights(model, MANTISSA_BITS[variant])
        metadata = {k: v for k, v in read_metadata(source).items() if "." not in k}
        save_checkpoint(model, options.output / f"{variant}.safetensors", metadata, half=True)
        for path, _, difference in export_student(
            model, options.output, variant, PRECISIONS[variant], pairs
        ):
            print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {difference}", flush=True)
        log = source.with_name("validation.jsonl")
        if log.exists():
            print(f"{variant} at the end of training: {log.read_text().splitlines()[-1]}")
    model_zoo.write_checksums(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
