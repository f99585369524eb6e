"""Faults of test/faults, drawn at random, against one running node."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.soak.samples import Sample, percentiles, resources

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
