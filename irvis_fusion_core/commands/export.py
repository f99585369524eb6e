"""Export a trained student to an ONNX file that every engine here runs.

examples::

  irvis_fusion export --checkpoint best.safetensors --output fusion_fp16.onnx --precision fp16
  irvis_fusion export --checkpoint best.pth --variant small --output small.onnx --size 640x480
  irvis_fusion export --variant nano --output nano_bgr.onnx --vis-order bgr

Without --size the file takes any size. For int8 see `irvis_fusion quantize`. With --pairs the
file's images are compared with the student's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import numpy as np

from irvis_fusion_core import model_zoo
from irvis_fusion_core.backends.model_file import BOUNDS
from irvis_fusion_core.command_line import command, make_parser, parse_size
from irvis_fusion_core.errors import EngineUnavailableError, ModelError
from irvis_fusion_core.image_files import pairs_in, read_thermal_8_bit, read_visible


@command
def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = make_parser(__doc__, "export")
    parser.add_argument(
        "--checkpoint", help=".safetensors or .pth (default: the shipped weights of --variant)"
    )
    parser.add_argument(
        "--variant", choices=model_zoo.VARIANTS, help="size of the student; a .pth does not tell"
    )
    parser.add_argument("--output", required=True, help=".onnx file to write")
    parser.add_argument("--precision", choices=sorted(BOUNDS), default="fp32")
    parser.add_argument("--size", type=parse_size, help="WIDTHxHEIGHT, where only one will come")
    parser.add_argument("--vis-order", choices=("rgb", "bgr"), default="rgb")
    parser.add_argument("--opset", type=int, default=17)
    parser.add_argument("--pairs", metavar="DIR", help="folder with IR/ and VIS/ to compare on")
    options = parser.parse_args(arguments)
    if options.checkpoint is None and options.variant is None:
        parser.error("one of --checkpoint and --variant is needed")
    try:
        from irvis_fusion_core.network.checkpoint import load_checkpoint
        from irvis_fusion_core.network.comparison import largest_difference
        from irvis_fusion_core.network.export import export_to_onnx
        from irvis_fusion_core.network.student import create_student_model
    except ImportError as error:
        raise EngineUnavailableError(
            f"expected torch to export with, found: {error}; pip install 'irvis_fusion[train]'"
        ) from error

    checkpoint = options.checkpoint or model_zoo.weights_path(options.variant)
    model = create_student_model(options.variant) if options.variant else None
    model = load_checkpoint(checkpoint, model)
    os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
    export_to_onnx(
        model, options.output, options.size, options.opset, options.precision, options.vis_order
    )
    print("%s: %.1f kB" % (options.output, os.path.getsize(options.output) / 1e3))
    if options.pairs:
        pairs = read_pairs(options.pairs, options.vis_order)
        worst = largest_difference(model, options.output, pairs, options.vis_order)
        print("differs from the student by at most %d grey levels" % worst)
        if worst > BOUNDS[options.precision]:
            raise ModelError(
                "expected %s to differ from the student by at most %d grey levels, found %d; "
                "export it as fp32, or report the weights that do this"
                % (options.output, BOUNDS[options.precision], worst)
            )
    return 0


def read_pairs(folder: str, vis_order: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pairs of a folder: uint8 HxWx1, and uint8 HxWx3 in `vis_order`."""
    for pair in pairs_in(folder):
        vis = read_visible(pair.vis)
        vis = np.ascontiguousarray(vis[:, :, ::-1] if vis_order == "rgb" else vis)
        yield np.ascontiguousarray(read_thermal_8_bit(pair.ir)[:, :, np.newaxis]), vis


if __name__ == "__main__":
    sys.exit(main())
