"""Teacher images of many folders: their pairs over processes, or over a Dask cluster.

Each folder is divided into shares as torchrun's RANK and WORLD_SIZE divide it. Every share looks
itself at which of its pairs are there.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
from collections.abc import Sequence

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.fleet.folder import FleetFolder
from irvis_fusion_core.fleet.job import Job
from irvis_fusion_core.fleet.pool import threads_of_job
from irvis_fusion_core.fleet.report import FleetReport


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of many folders."""
    add = parser.add_argument_group("many folders, or many processes").add_argument
    text = "processes at a time, each with its part of the cores and one of the GPUs; with "
    text += "--scheduler the least number of shares (default: 1)"
    add("--jobs", type=int, default=0, metavar="N", help=text)
    text = "Dask cluster that takes the shares: address of its scheduler, or the scheduler file"
    add("--scheduler", metavar="ADDRESS", help=text)
    text = "folder of index.html, summary.json and runs.csv (default: --output of several folders)"
    add("--report", metavar="DIR", help=text)


def run_folders(module: str, options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run `module.run` on every share of every folder; return the exit status of all.

    Raises:
        FusionError: The options; a folder that cannot be read is a row instead.
    """
    if options.devices.isdigit():
        raise ConfigurationError("expected --jobs or --devices N, found both; leave one out")
    count = max(1, options.jobs)
    several = len(options.data_root) > 1
    below = FleetFolder(options.output) if several and options.output else None
    report = below
    if options.report and (below is None or options.report != options.output):
        report = FleetFolder(options.report)
    naming = below or report
    roots = list(dict.fromkeys(options.data_root))
    names = naming.name(roots) if naming else {root: root for root in roots}
    shares = math.ceil(count / len(names))
    jobs: list[Job] = []
    for name, root in names.items():
        one = {**vars(options), "data_root": root, "jobs": 0, "scheduler": None}
        one["threads"] = options.threads or threads_of_job(count, options.scheduler)
        if below is not None:
            one["output"] = str(below.path / name)
        for rank in range(shares):
            title = name if shares == 1 else f"{name} ({rank + 1} of {shares})"
            # dask-cuda gives each worker its own GPU; here the processes share them out.
            local = 0 if options.scheduler else len(jobs) % count
            place = {"RANK": rank, "WORLD_SIZE": shares, "LOCAL_RANK": local}
            environment = {key: str(value) for key, value in place.items()}
            jobs.append(Job(title, module, one, os.getcwd(), one["threads"], environment))
    command = f"python -m {module} " + " ".join(map(shlex.quote, arguments))
    sources = {job.name: str(job.options["data_root"]) for job in jobs}
    rows = FleetReport(command, sources, report.path if report else None)
    return rows.run(jobs, count, options.scheduler)
