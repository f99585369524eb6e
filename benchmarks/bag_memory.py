"""Does memory grow with the length of a bag? Measure a command's peak memory at two lengths.

    python -m benchmarks.bag_memory                      # 1 000 and 10 000 pairs of 640x480
    python -m benchmarks.bag_memory --pairs DIR --storage mcap --frames 500 5000
    python -m benchmarks.bag_memory --command "evaluate_bag {bag} --output {output} --quiet"

Each run is a process of its own, and its peak is the kernel's figure (ru_maxrss). The bags hold
JPEG and PNG images, so that 10 000 pairs take 2 GB of disk; they are removed afterwards. The exit
status is 1 if the longer bag needs more than 10 % more.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401

import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.shared.options import make_parser

ROOT = Path(__file__).resolve().parents[1]
FUSE = "fuse_bag {bag} --output {output} --copy none --transport compressed --quiet"
FORM = "--vis-codec jpeg --ir-codec png --vis-size 640x480 --ir-size 640x480"
MOST_GROWTH = 1.10


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--pairs", help="folder with IR/ and VIS/ (default: a drawn street)")
    parser.add_argument("--frames", type=int, nargs=2, default=[1000, 10000], metavar="N")
    parser.add_argument("--storage", choices=("sqlite3", "mcap"), default="sqlite3")
    parser.add_argument("--command", default=FUSE, help=f"default: {FUSE}")
    parser.add_argument("--folder", help="for the bags (default: the temporary folder)")
    options = parser.parse_args()
    make = f"make_bag --output {{bag}} --frames {{frames}} {FORM} --storage {options.storage}"
    if options.pairs:
        make += f" --pairs {shlex.quote(options.pairs)}"
    peaks = []
    print("| frames | bag | seconds | frames a second | peak memory |\n|---|---|---|---|---|")
    for frames in options.frames:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            bag, output = os.path.join(folder, "bag"), os.path.join(folder, "output")
            peak_memory_mb(make.format(bag=bag, frames=frames))
            started_s = time.monotonic()
            peak_mb = peak_memory_mb(options.command.format(bag=bag, output=output))
            seconds = time.monotonic() - started_s
            size_mb = sum(entry.stat().st_size for entry in os.scandir(bag)) / 1e6
        peaks.append(peak_mb)
        row = f"| {frames} | {size_mb:.0f} MB | {seconds:.0f} | {frames / seconds:.1f} |"
        print(f"{row} {peak_mb:.0f} MB |", flush=True)
    growth = peaks[1] / peaks[0]
    print(f"\nlonger / shorter: {growth:.3f} (at most {MOST_GROWTH:.2f})")
    return 0 if growth <= MOST_GROWTH else 1


def peak_memory_mb(command: str) -> float:
    """Run `irvis_fusion COMMAND` to its end; return its peak memory."""
    name, *arguments = shlex.split(command)
    module = [sys.executable, "-m", f"irvis_fusion_ros.commands.{name}", *arguments]
    silent = subprocess.DEVNULL
    child = subprocess.Popen(module, stdout=silent, stderr=silent, cwd=ROOT)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"expected `irvis_fusion {command}` to succeed, found status {status}")
    return usage.ru_maxrss / 1024  # kilobytes on Linux


if __name__ == "__main__":
    sys.exit(main())
