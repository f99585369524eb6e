"""Report installed packages, the engine that would run and why, and intact models.

example::

  irvis_fusion doctor
  irvis_fusion doctor --model small --backend openvino     (tries these)

Exit status 1: nothing can fuse; the last lines say what to install.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from irvis_fusion_core import __version__, model_zoo
from irvis_fusion_core.backends import probe_backends
from irvis_fusion_core.benchmark import cpu_info, example_pair, machine
from irvis_fusion_core.command_line import add_engine_options, command, make_parser, open_fusion
from irvis_fusion_core.errors import FusionError, ModelError
from irvis_fusion_core.optional_packages import installed_version

# Module -> purpose. Engines are probed instead.
PACKAGES = (
    ("numpy", "arrays"),
    ("cv2", "images and videos"),
    ("onnx", "export"),
    ("safetensors", "weights"),
    ("cuda.bindings", "GPU memory for TensorRT (cuda-python)"),
    ("pycuda", "GPU memory for TensorRT"),
    ("rclpy", "the ROS 2 node"),
    ("cv_bridge", "rare image encodings in the node"),
    ("message_filters", "ROS's own pairing in the node"),
    ("rosbags", "ROS 2 bags"),
)
# Instructions that make bf16 and int8 fast on a CPU, in Linux's names.
CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@command
def main(arguments: list[str]) -> int:
    parser = make_parser(__doc__, "doctor")
    add_engine_options(parser)
    options = parser.parse_args(arguments)
    print(f"irvis_fusion {__version__} in {os.path.dirname(model_zoo.MODELS_DIR)}")
    print("\nMachine")
    for name, value in machine().items():
        _line(True, name, value)
    flags = cpu_flags()
    if flags:
        _line(True, "instructions", ", ".join(flags))
    print("\nPackages")
    for name, purpose in PACKAGES:
        version = installed_version(name)
        _line(version is not None, name, f"{version or 'not installed'} ({purpose})")
    print("\nEngines")
    for found in probe_backends():
        _line(found.available, found.name, found.reason)
    print("\nModels")
    _print_models()
    print("\nWhat would run")
    return _print_choice(options)


def _print_models() -> None:
    try:
        names = model_zoo.list_models()
    except ModelError as error:
        _line(False, "models", str(error))
        return
    if not names:
        _line(False, "models", f"none in {model_zoo.MODELS_DIR}; give the path of one by --model")
    for name, precision in [(n, p) for n in names for p in model_zoo.precisions(n)]:
        label = f"{name} {precision}"
        try:
            size = os.path.getsize(model_zoo.path(name, precision))
            _line(True, label, "%.0f kB, checksum holds" % (size / 1e3))
        except ModelError as error:
            _line(False, label, str(error))


def _print_choice(options: Any) -> int:
    """Open the engine that would be chosen, fuse a small pair, and print the choice."""
    try:
        with open_fusion(options) as fusion:
            facts = fusion.describe()
            for reason in facts["passed_over"]:
                _line(False, "passed over", reason)
            # Building a TensorRT engine takes minutes: it is not tried.
            tried = "opened; an engine is built for each frame size when first used"
            if "tensorrt" not in facts["backend"]:
                fusion.fuse_frame(*example_pair(64, 96))
                tried = "opened, and fused a pair"
            _line(True, "engine", "{engine} on {device}".format(**facts))
            _line(True, "model", "{variant} {precision}: {model}".format(**facts))
            _line(True, "tried", tried)
            return 0
    except FusionError as error:
        _line(False, "nothing", str(error))
        return 1


def cpu_flags() -> list[str]:
    """Return the `CPU_FLAGS` that the processor has (Linux on x86)."""
    present = cpu_info("flags").split()
    return [flag for flag in CPU_FLAGS if flag in present]


def _line(good: bool, name: str, text: str) -> None:
    first, *rest = text.split("\n")
    print("  {}  {:<16}{}".format("ok" if good else "--", name, first))
    for line in rest:
        print(" " * 22 + line.strip())


if __name__ == "__main__":
    sys.exit(main())
