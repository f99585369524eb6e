"""A command over several bags: each bag by itself below `--output`, with one report of all."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.fleet import record
from irvis_fusion_core.fleet.folder import FleetFolder
from irvis_fusion_core.fleet.job import Job
from irvis_fusion_core.fleet.pool import threads_of_job
from irvis_fusion_core.fleet.report import FleetReport
from irvis_fusion_ros.parameters.settings import Settings

_WITHOUT_EFFECT = ("bag", "output", "jobs", "scheduler", "quiet", "overwrite", "resume", "command")


def add_fleet_options(parser: argparse.ArgumentParser, jobs: str = "") -> None:
    """Add the options of many bags; `jobs` is what `--jobs` means for one bag."""
    add = parser.add_argument_group("several bags").add_argument
    text = f"bags at a time, each with its part of the cores (default: 1){jobs}"
    add("--jobs", type=int, default=0, metavar="N", help=text)
    text = "Dask cluster that takes the bags: address of its scheduler, or the scheduler file;"
    text += " its workers see the same folders (extra [fleet])"
    add("--scheduler", metavar="ADDRESS", help=text)


def is_fleet(options: argparse.Namespace) -> bool:
    """Return whether these options are of several bags, or of a cluster.

    Raises:
        ConfigurationError: `--jobs` is negative.
    """
    if options.jobs < 0:
        raise ConfigurationError(f"expected --jobs of 0 or more, found {options.jobs}")
    return len(options.bag) > 1 or options.scheduler is not None


def run_bags(
    module: str,
    options: argparse.Namespace,
    command: str,
    settings: Sequence[Settings],
    link: str = "",
) -> int:
    """Run the `run` of a command's module on each bag; return the exit status of all.

    Args:
        module: Its `run` takes the options of one bag, and returns the facts of its row.
        options: As the command parsed them.
        command: As it was typed.
        settings: The node's parameters that follow from the options.
        link: The page of one bag, below its folder.

    Raises:
        FusionError: The options; a bag that cannot be done is a row instead.
    """
    folder = FleetFolder(options.output)
    sources = folder.name(options.bag)
    count = max(1, options.jobs)
    threads = threads_of_job(count, options.scheduler)
    chosen = {n: value for n, value in vars(options).items() if n not in _WITHOUT_EFFECT}
    parameters = [each.to_mapping() for each in settings]
    identity = {"module": module, "options": chosen, "parameters": parameters}
    inputs = record.inputs_of(identity)
    own: dict[str, Any] = {**vars(options), "command": command, "jobs": threads, "scheduler": None}
    shared = threads < (os.cpu_count() or 1)
    if shared and all(each.engine.threads == 0 for each in settings):
        own["param"] = [*options.param, f"threads:={min(threads, 256)}"]
    jobs = []
    for name, bag in sources.items():
        output = os.path.abspath(folder.path / name)
        bag = os.path.abspath(bag)
        finished = record.Run(os.path.abspath(folder.record(name)), identity, (bag, *inputs))
        one = {**own, "bag": bag, "output": output}
        jobs.append(Job(name, module, one, os.getcwd(), threads, output=output, finished=finished))
    report = FleetReport(command, sources, folder.path, link, options.quiet)
    return report.run(jobs, count, options.scheduler)
