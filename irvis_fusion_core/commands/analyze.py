"""Report the parameters, FLOPs, time and memory of a student.

examples::

  irvis_fusion analyze
  irvis_fusion analyze --variants small,base --size 640x480 --device cuda
  irvis_fusion analyze --checkpoint best.safetensors

Time is measured in torch, fp32; `irvis_fusion benchmark` measures the engines.
"""

from __future__ import annotations

import sys
from typing import Any

from irvis_fusion_core import model_zoo
from irvis_fusion_core.command_line import command, make_parser, one_of, parse_size, print_table
from irvis_fusion_core.optional_packages import import_engine


@command
def main(arguments: list[str]) -> int:
    parser = make_parser(__doc__, "analyze")
    add = parser.add_argument
    every = list(model_zoo.VARIANTS)
    variants = one_of(every, "variants")
    add("--variants", type=variants, default=every, help="separated by commas (default: all)")
    add("--checkpoint", help="a .safetensors, in place of --variants")
    add("--size", type=parse_size, default=(512, 512), help="WIDTHxHEIGHT (default: 512x512)")
    add("--device", default="cpu", help="cpu or cuda (default: cpu)")
    add("--threads", type=int, default=0, help="CPU threads (default: torch's)")
    options = parser.parse_args(arguments)
    torch = import_engine("torch")
    from irvis_fusion_core.network.analysis import analyze_model
    from irvis_fusion_core.network.checkpoint import load_checkpoint
    from irvis_fusion_core.network.student import create_student_model

    if options.threads:
        torch.set_num_threads(options.threads)
    if options.checkpoint:
        models: dict[str, Any] = {options.checkpoint: load_checkpoint(options.checkpoint)}
    else:
        models = {variant: create_student_model(variant) for variant in options.variants}
    height, width = options.size
    rows = [["model", "parameters M", "GMAC", "GFLOP", "ms", "memory MB"]]
    for name, model in models.items():
        size = (1, model.in_channels, height, width)
        found = analyze_model(model, size, options.device, verbose=False)
        parameters, flops, latency_ms, memory_mb = found.values()
        sizes = ["%.3f" % (parameters / 1e6), "%.3f" % (flops / 2e9), "%.2f" % (flops / 1e9)]
        rows.append([name, *sizes, "%.1f" % latency_ms, "%.1f" % memory_mb])
    print("%dx%d, torch %s, fp32, %s" % (width, height, torch.__version__, options.device))
    print_table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
