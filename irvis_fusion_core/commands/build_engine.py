"""Build a TensorRT engine in advance, so that the robot does not wait at its first start.

examples::

  irvis_fusion build_engine --model base --precision fp16 --size 640x480
  irvis_fusion build_engine --model my.onnx --size 640x512 --cache-dir /opt/engines
  irvis_fusion build_engine --engine tensorrt_rtx --compute-capability 8.6   (needs no GPU)

Building takes minutes. Build on the machine that will run the engine: it fits one TensorRT
version and one GPU. The node and `fuse` find it in the cache.
"""

from __future__ import annotations

import argparse
import sys

from irvis_fusion_core import model_zoo
from irvis_fusion_core.command_line import command, make_parser, parse_size, say
from irvis_fusion_core.fusion import automatic_variant


@command
def main(arguments: list[str]) -> int:
    parser = make_parser(__doc__, "build_engine")
    add = parser.add_argument
    add("--model", default="auto", help="nano, small, base, or an .onnx file (default: auto)")
    add("--precision", default="fp16", help="of a shipped model: fp32, fp16, int8 (default: fp16)")
    add("--size", type=parse_size, default=(480, 640), help="frame size (default: 640x480)")
    add("--engine", default="auto", help="tensorrt, tensorrt_rtx or auto (default: auto)")
    absent = "build for a GPU that is not here, such as 8.6 (tensorrt_rtx only)"
    add("--compute-capability", type=_capability, metavar="X.Y", help=absent)
    add("--device", help="cuda, cuda:1, ... (default: cuda)")
    add("--cache-dir", metavar="DIR", help="folder to keep engines in")
    options = parser.parse_args(arguments)

    from irvis_fusion_core.backends import BackendOptions
    from irvis_fusion_core.backends.engine_builder import build_engine

    model = automatic_variant(on_gpu=True) if options.model == "auto" else options.model
    height, width = options.size
    built = build_engine(
        model_zoo.path(model, options.precision),
        height,
        width,
        BackendOptions(device=options.device, cache_dir=options.cache_dir),
        say,
        engine=options.engine,
        compute_capability=options.compute_capability,
    )
    if built.built:
        print("built in %.0f s, because %s" % (built.build_seconds, built.reason), file=sys.stderr)
    else:
        print("nothing to build: %s" % built.reason, file=sys.stderr)
    print(built.path)
    return 0


def _capability(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    if not (major.isdigit() and minor.isdigit()):
        expected = "a compute capability such as 8.6"
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")
    return int(major), int(minor)


if __name__ == "__main__":
    sys.exit(main())
