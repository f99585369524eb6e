r"""Write the files of the learned registration that ship: ONNX, weights, checksums.

    python -m training.registration.export_registration --output irvis_fusion_core/models \
        --weights runs/registration/registration.safetensors

`training.train_registration --export DIR` does the same at its end.
"""

from __future__ import annotations

if not __package__:
    import _as_module  # noqa: F401

import sys
from pathlib import Path

import torch

from irvis_fusion_core import model_zoo
from irvis_fusion_core.command_line import command
from irvis_fusion_core.network.checkpoint import read_metadata
from irvis_fusion_core.network.displacement_files import export_network, load_network, save_network
from training.options import script_parser


@command
def main(arguments: list[str]) -> int:
    parser = script_parser(__doc__, "export_registration")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("irvis_fusion_core/models"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    path = write_files(options.weights, options.output)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


def write_files(weights: Path, folder: Path) -> Path:
    """Write the files that ship to a folder, and return the path of the ONNX file."""
    network = load_network(weights)
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {k: v for k, v in read_metadata(weights).items() if "." not in k}
    path = export_network(network, folder / model_zoo.REGISTRATION)
    save_network(network, folder / "registration.safetensors", metadata)
    model_zoo.write_checksums(str(folder))
    return path


if __name__ == "__main__":
    sys.exit(main())
