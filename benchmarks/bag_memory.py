"""Does memory grow with the length of a bag? Peak memory of `fuse_bag` at two lengths.

    python benchmarks/bag_memory.py                      # 1 000 and 10 000 pairs of 640x480
    python benchmarks/bag_memory.py --pairs DIR --storage mcap --frames 500 5000
    python benchmarks/bag_memory.py --command "evaluate_bag {bag} --output {output}"

Each run is a process of its own, and its peak is the kernel's figure (ru_maxrss). The bags hold
JPEG and PNG, so that 10 000 pairs take a few GB of disk and not 20; they are removed afterwards.
Exit status 1 where the longer bag needs more than 10 % more.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time

FUSE = "fuse_bag {bag} --output {output} --copy none --transport compressed --quiet"
MOST_GROWTH = 1.10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", help="folder with IR/ and VIS/ (default: a drawn street)")
    parser.add_argument("--frames", type=int, nargs=2, default=[1000, 10000], metavar="N")
    parser.add_argument("--storage", choices=("sqlite3", "mcap"), default="sqlite3")
    parser.add_argument("--command", default=FUSE, help=f"default: {FUSE}")
    parser.add_argument("--folder", help="where the bags grow (default: the temporary folder)")
    options = parser.parse_args()
    peaks = []
    print("| frames | bag | seconds | frames a second | peak memory |")
    print("|---|---|---|---|---|")
    for frames in options.frames:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            bag, output = os.path.join(folder, "bag"), os.path.join(folder, "output")
            make_bag(bag, frames, options)
            started_s = time.monotonic()
            peak_mb = peak_memory_mb(options.command.format(bag=bag, output=output))
            seconds = time.monotonic() - started_s
            size_mb = sum(entry.stat().st_size for entry in os.scandir(bag)) / 1e6
        peaks.append(peak_mb)
        print(
            f"| {frames} | {size_mb:.0f} MB | {seconds:.0f} | {frames / seconds:.1f} |"
            f" {peak_mb:.0f} MB |",
            flush=True,
        )
    growth = peaks[1] / peaks[0]
    print(f"\nlonger / shorter: {growth:.3f} (at most {MOST_GROWTH:.2f})")
    return 0 if growth <= MOST_GROWTH else 1


def make_bag(bag: str, frames: int, options: argparse.Namespace) -> None:
    """Pairs of 640x480, visible as JPEG and thermal as PNG; 20 drawn ones, again and again."""
    pairs = options.pairs or drawn_pairs(bag + "_pairs")
    form = ["--vis-codec", "jpeg", "--ir-codec", "png"]
    size = ["--vis-size", "640x480", "--ir-size", "640x480"]
    arguments = ["--pairs", pairs, "--output", bag, "--frames", str(frames), "--quiet"]
    command = [
        sys.executable,
        "-m",
        "irvis_fusion_ros.commands.make_bag",
        *arguments,
        *form,
        *size,
    ]
    subprocess.run([*command, "--storage", options.storage], check=True)


def drawn_pairs(folder: str) -> str:
    import cv2

    from irvis_fusion_core.demo.night_street import NightStreet
    from irvis_fusion_core.image_files import write_image

    street = NightStreet()
    for number in range(20):
        frame = street.frame(number / 2)
        write_image(os.path.join(folder, "IR", f"{number:02d}.png"), frame.ir)
        vis = cv2.cvtColor(frame.vis, cv2.COLOR_RGB2BGR)
        write_image(os.path.join(folder, "VIS", f"{number:02d}.png"), vis)
    return folder


def peak_memory_mb(command: str) -> float:
    """Run `irvis_fusion COMMAND` to its end; the most memory that it held at a time."""
    name, *arguments = shlex.split(command)
    module = [sys.executable, "-m", "irvis_fusion_ros." + name]
    child = subprocess.Popen([*module, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"expected `irvis_fusion {command}` to end well, found status {status}")
    return usage.ru_maxrss / 1024  # kilobytes on Linux


if __name__ == "__main__":
    sys.exit(main())
