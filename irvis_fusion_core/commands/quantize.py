"""Quantise an fp32 ONNX file to int8, calibrated on real pairs, and report the loss.

examples::

  irvis_fusion quantize --pairs my_robot/ --output nano_int8.onnx
  irvis_fusion quantize --model my.onnx --pairs my_robot/ --output my_int8.onnx --count 48

The folder holds IR/ and VIS/ with images of the same names, from the cameras that the model
will be used with: they set the scales. Noise and constant images are refused.
"""

from __future__ import annotations

import os
import sys

from irvis_fusion_core import model_zoo
from irvis_fusion_core.backends.model_file import read_model_file
from irvis_fusion_core.command_line import command, make_parser
from irvis_fusion_core.errors import CalibrationError, FrameError
from irvis_fusion_core.image_files import FilePair, pairs_in, read_pairs
from irvis_fusion_core.optional_packages import import_engine


@command
def main(arguments: list[str]) -> int:
    parser = make_parser(__doc__, "quantize")
    add = parser.add_argument
    add("--model", default="nano", help="nano, small, base, or an fp32 .onnx file (default: nano)")
    add("--pairs", required=True, metavar="DIR", help="folder with IR/ and VIS/")
    add("--output", required=True, help=".onnx file to write")
    add("--count", type=int, default=64, help="how many pairs to use, evenly spread (default: 64)")
    options = parser.parse_args(arguments)
    source = model_zoo.path(options.model, "fp32")
    order = read_model_file(source).vis_order
    try:
        files = spread(pairs_in(options.pairs), options.count)
    except FrameError as error:
        raise CalibrationError(f"expected real pairs to calibrate with: {error}") from error
    import_engine("torch")
    from irvis_fusion_core.network.export import quantize

    os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
    quantize(source, options.output, read_pairs(files, order), report=print)
    return 0


def spread(files: list[FilePair], count: int) -> list[FilePair]:
    """Return at most `count` pairs, evenly spread: neighbours in a recording are alike."""
    if count < 1:
        raise CalibrationError(f"expected a --count of at least 1, found {count}")
    count = min(count, len(files))
    return [files[i * len(files) // count] for i in range(count)]


if __name__ == "__main__":
    sys.exit(main())
