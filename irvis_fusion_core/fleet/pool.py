"""Runs jobs side by side: in processes of this machine, or on the workers of a Dask cluster."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

from irvis_fusion_core import __version__
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.fleet.job import Job, Result, run_job
from irvis_fusion_core.optional_packages import pip_advice

CONNECT_S = 20


def threads_of_job(jobs: int, scheduler: str | None) -> int:
    """Return the threads of each job: its part of the cores, or one on a cluster's worker."""
    return 1 if scheduler else max(1, (os.cpu_count() or 1) // max(1, jobs))


def run_jobs(
    jobs: Sequence[Job],
    count: int,
    scheduler: str | None,
    done: Callable[[Job, Result], None],
) -> None:
    """Run every job and report it to `done` as it ends, in any order.

    After Ctrl-C the running jobs are interrupted and reported, and the error is raised again.

    Args:
        count: Jobs at a time on this machine.
        scheduler: Address or scheduler file of a Dask cluster, which takes the place of `count`.

    Raises:
        ConfigurationError: Dask is not installed, or there is no scheduler.
        KeyboardInterrupt: After Ctrl-C.
    """
    if scheduler:
        _run_on_cluster(jobs, scheduler, done)
        return
    stop = threading.Event()
    with ThreadPoolExecutor(count) as executor:  # each thread waits for the process of its job
        futures = {executor.submit(run_job, job, stop.is_set): job for job in jobs}
        _report(futures, as_completed, stop.set, done)


def _report(
    futures: Mapping[Any, Job],
    completed: Callable[[Any], Iterable[Any]],
    stop: Callable[[], object],
    done: Callable[[Job, Result], None],
) -> None:
    """Report every future once; after Ctrl-C those that are still running, too."""
    left = dict(futures)
    try:
        for future in completed(list(left)):
            done(left.pop(future), _result_of(future))
    except KeyboardInterrupt:
        stop()  # jobs that have not begun end at once
        for future in completed(list(left)):
            done(left.pop(future), _result_of(future))
        raise


def _result_of(future: Future[Result]) -> Result:
    try:
        return future.result()
    except Exception as error:  # a lost worker, a worker without this package
        return Result(1, f"{type(error).__name__}: {error}")


def _run_on_cluster(
    jobs: Sequence[Job], scheduler: str, done: Callable[[Job, Result], None]
) -> None:
    distributed = _import_distributed()
    where = {"scheduler_file" if os.path.isfile(scheduler) else "address": scheduler}
    try:
        client = distributed.Client(**where, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"expected a Dask scheduler at {scheduler}, found: {error}; start one with "
            "`dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`"
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            print(f"no worker at {scheduler} yet; waiting for one", file=sys.stderr)
        stop = distributed.Event("irvis_fusion-" + uuid.uuid4().hex, client=client)
        # pure: each job has a key of its own, so none is taken from a cache of results
        futures = {
            client.submit(_run_on_worker, job, stop.name, __version__, pure=False): job
            for job in jobs
        }
        _report(futures, distributed.as_completed, stop.set, done)


def _run_on_worker(job: Job, stop: str, version: str) -> Result:
    """Run a job on a worker, which interrupts it when the event `stop` is set."""
    if version != __version__:
        return Result(
            1, f"expected irvis_fusion {version} on the worker, found {__version__}; update it"
        )
    event = _import_distributed().Event(stop)
    return run_job(job, event.is_set)


def _import_distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise ConfigurationError(
            f"expected the package distributed for --scheduler, found: {error}; install it: "
            + pip_advice("distributed")
        ) from error
