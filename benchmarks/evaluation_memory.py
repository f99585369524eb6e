"""Does `evaluate_bag` need more memory for a longer bag? Peak memory at two lengths.

    python benchmarks/evaluation_memory.py [--frames 1000 10000] [--folder DIR] [--size 640x480]

Bags of the drawn street are made with `make_bag` in a folder (1.2 MB a pair at 640x480), and each
is evaluated by a process of its own, whose greatest resident set is printed. Equal within ten per
cent is what is asked for.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from irvis_fusion_core.command_line import print_table

ROOT = Path(__file__).resolve().parents[1]
WITHIN = 0.10

CHILD = """
import resource, sys
sys.path.insert(0, {root!r})
from irvis_fusion_ros.commands.evaluate_bag import main
status = main({arguments!r})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
sys.exit(status)
"""


def evaluate(bag, report, options):
    """Return (peak memory in MiB, seconds) of one run in a process of its own."""
    arguments = [str(bag), "--output", str(report), "--quiet", *options]
    started_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(root=str(ROOT), arguments=arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1]), time.monotonic() - started_s


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--folder", help="for the bags (default: a temporary one)")
    parser.add_argument("options", nargs="*", help="further options of evaluate_bag, after --")
    options = parser.parse_args()
    # Spare files of another user's machine: the bags go when this ends.
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    rows, peaks = [["frames", "bag, MB", "peak memory, MiB", "s"]], []
    try:
        for frames in options.frames:
            bag = folder / f"street_{frames}"
            command = [
                sys.executable,
                "-m",
                "irvis_fusion_ros.commands.make_bag",
                "--output",
                str(bag),
            ]
            command += ["--frames", str(frames), "--quiet", "--vis-size", options.size]
            subprocess.run([*command, "--ir-size", options.size], check=True, cwd=ROOT)
            size_mb = sum(f.stat().st_size for f in bag.rglob("*") if f.is_file()) / 1e6
            peak, seconds = evaluate(bag, folder / "report", options.options)
            peaks.append(peak)
            rows.append([str(frames), f"{size_mb:.0f}", f"{peak:.0f}", f"{seconds:.0f}"])
            shutil.rmtree(bag)
    finally:
        shutil.rmtree(folder)
    print_table(rows)
    share = max(peaks) / min(peaks) - 1
    print(
        f"\nThe greatest is {100 * share:.1f} % above the least (asked for: {100 * WITHIN:.0f} %)"
    )
    return 0 if share <= WITHIN else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
