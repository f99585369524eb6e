"""Let the node suffer faults at random for minutes; measure memory, threads, files and losses.

    python -m benchmarks.soak --minutes 60 [--seed 1] [--json out/soak.json] [--plot docs/soak.png]
    python -m benchmarks.soak --overload [--seconds 20]

The faults are those of `test/faults`, as far as one running node can suffer them one after
another. Those that change the size of images are left out unless `--sizes` is given: with fixed
sizes the memory of a node may not grow. The node runs with the engine of the tests, the maximum of
both images. After each fault every frame has to be accounted for; before it, a second without
faults gives latencies. A fault that breaks something is written down, and the soak goes on.

`--overload` measures what happens beyond what the machine can do: large images at 60 Hz, 200 Hz,
and participants that come and go. The queues are the node's defaults.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.shared.options import machine_facts, make_parser
from benchmarks.soak.overload import overload, run_guests
from benchmarks.soak.samples import Sample, draw, percentiles, report, resources

TEST = Path(__file__).resolve().parents[2] / "test"


def main() -> int:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=60.0)
    add("--seconds", type=float, default=20.0, help="of each overload")
    add("--seed", type=int, default=1)
    add("--sizes", action="store_true", help="with faults that change the size of images")
    add("--overload", action="store_true")
    add("--guests", type=int, help=argparse.SUPPRESS)
    add("--json", type=Path, help="write every sample here")
    add("--plot", type=Path, help="draw the soak here")
    options = parser.parse_args()
    if options.guests is not None:
        run_guests(options.guests)
        return 0
    sys.path[:0] = [str(TEST), str(TEST / "irvis_fusion_ros")]
    machine_facts(options)
    with tempfile.TemporaryDirectory() as folder:
        if options.overload:
            print(overload(options, Path(folder)))
            return 0
        samples = soak(options, Path(folder))
    print(report(samples))
    if options.plot:
        draw(samples, options.plot)
    return int(any(sample.failure for sample in samples))


HEALTHY_FRAMES = 15


def suffer(group: Any, fault: Any, scene: Any, start_s: float) -> Sample:
    """Let the node of `scene` suffer a fault; return what it has come to."""
    from faults.campaign import run
    from faults.scene import RATE_HZ

    failure, published = "", 0
    ends: Counter[str] = Counter()
    healthy = (float("nan"), float("nan"))
    try:
        scene.settle()
        scene.play(HEALTHY_FRAMES)
        healthy = percentiles(scene.ledger.latencies_s, RATE_HZ)
        scene.account()
        outcome = run(group, fault, scene)
        ends, published = outcome.ends, outcome.published
    except Exception as error:  # noqa: BLE001 - written down; the soak goes on
        failure = f"{type(error).__name__}: {str(error)[:1500]}"
    minute = (time.monotonic() - start_s) / 60
    name = f"{group.name}: {fault.name}"
    if scene.fusion.exit_status is not None:
        return Sample(minute, name, 0.0, 0, 0, *healthy, published, dict(ends), failure)
    used = resources(scene.fusion.pid)
    return Sample(minute, name, *used, *healthy, published, dict(ends), failure)


def soak(options: argparse.Namespace, folder: Path) -> list[Sample]:
    """Run faults at random until the time is over."""
    from faults.table import GROUPS, ROWS

    base = next(group for group in GROUPS if group.name == "engine")
    chosen = [
        (group, fault)
        for group, fault in ROWS
        if (group is base or not (group.environment or group.script))
        and not (group.parameters or group.compressed or group.ends)
        and (options.sizes or not fault.sizes)
    ]
    rng, samples, start_s = random.Random(options.seed), [], time.monotonic()
    scene = base.start(folder)
    try:
        while time.monotonic() - start_s < 60 * options.minutes:
            sample = suffer(*rng.choice(chosen), scene, start_s)
            samples.append(sample)
            if sample.failure:
                print(f"minute {sample.minute:.1f}: {sample.fault}: {sample.failure}", flush=True)
                scene.fusion.stop()  # the next fault finds a sound node
                scene.start_again()
            if options.json:
                options.json.write_text(json.dumps([each._asdict() for each in samples]))
        status = scene.fusion.stop()
        print(f"the node ended with status {status} after {len(samples)} faults")
    finally:
        scene.close()
    return samples


if __name__ == "__main__":
    sys.exit(main())
