"""Export a trained student to an ONNX file that every engine here runs, or for a phone.

examples::

  irvis_fusion export --checkpoint best.safetensors --output fusion_fp16.onnx --precision fp16
  irvis_fusion export --checkpoint best.pth --variant small --output small.onnx --size 640x480
  irvis_fusion export --variant nano --output nano_bgr.onnx --vis-order bgr
  irvis_fusion export --variant nano --output nano.param --format ncnn --size 640x480

Without --size the file takes any size. For int8 see `irvis_fusion quantize`. With --pairs the
file's images are compared with the student's own. ncnn, executorch and coreml need --size, and
take and give planes of floats (docs/mobile.md).
"""

from __future__ import annotations

import os
import sys

from irvis_fusion_core import model_zoo
from irvis_fusion_core.backends.model_file import BOUNDS
from irvis_fusion_core.command_line import command, make_parser, parse_size
from irvis_fusion_core.image_files import pairs_in, read_pairs
from irvis_fusion_core.optional_packages import import_engine


@command
def main(arguments: list[str]) -> int:
    parser = make_parser(__doc__, "export")
    add = parser.add_argument
    add("--checkpoint", help=".safetensors or .pth (default: the shipped weights of --variant)")
    add("--variant", choices=model_zoo.VARIANTS, help="size of the student; a .pth does not tell")
    add("--output", required=True, help="file to write: .onnx, .param, .pte or .mlpackage")
    add("--format", choices=("onnx", "ncnn", "executorch", "coreml"), default="onnx")
    add("--precision", choices=sorted(BOUNDS), default="fp32")
    add("--size", type=parse_size, help="WIDTHxHEIGHT, where only one will come")
    add("--vis-order", choices=("rgb", "bgr"), default="rgb")
    add("--opset", type=int, default=17)
    add("--pairs", metavar="DIR", help="folder with IR/ and VIS/ to compare on")
    options = parser.parse_args(arguments)
    if options.checkpoint is None and options.variant is None:
        parser.error("one of --checkpoint and --variant is needed")
    if options.format != "onnx" and (options.size is None or options.pairs):
        parser.error(f"--format {options.format} needs --size, and does not take --pairs")
    import_engine("torch")
    from irvis_fusion_core.backends.comparison import require_likeness
    from irvis_fusion_core.network.checkpoint import load_checkpoint
    from irvis_fusion_core.network.export import export_to_onnx

    checkpoint = options.checkpoint or model_zoo.weights_path(options.variant)
    model = load_checkpoint(checkpoint, options.variant)
    if options.format != "onnx":
        from irvis_fusion_core.network.mobile_export import export_mobile

        how = options.size, options.precision, options.vis_order
        for path in export_mobile(model, options.output, options.format, *how):
            print(path)
        return 0
    os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
    export_to_onnx(
        model, options.output, options.size, options.opset, options.precision, options.vis_order
    )
    print("%s: %.1f kB" % (options.output, os.path.getsize(options.output) / 1e3))
    if options.pairs:
        pairs = read_pairs(pairs_in(options.pairs), options.vis_order)
        expected = options.precision, options.vis_order
        worst = require_likeness(model, options.output, pairs, *expected)
        print("differs from the student by at most %d grey levels" % worst)
    return 0


if __name__ == "__main__":
    sys.exit(main())
