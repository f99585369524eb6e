"""One run of a command for one source (a bag, a folder), in a process of its own.

A process of its own ends alone: a crash of an engine or a lack of memory is the row of one source.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.errors import FusionError
from irvis_fusion_core.fleet import record

INTERRUPTED = 130
POLL_S = 0.5
LAST_WAIT_S = 60.0
"""An interrupted process that has not ended by then is killed."""
LOG_BYTES = 65536

_START = "import sys; sys.path[:] = {!r}; from irvis_fusion_core.fleet.job import main; main()"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


class Job(NamedTuple):
    """What to run; everything can be sent to another machine.

    Attributes:
        name: Of the row in the report.
        module: Its `run(argparse.Namespace)` does the work and returns the facts of the row.
        options: The options of the command, as JSON.
        folder: The working folder; relative paths start there.
        threads: For NumPy and OpenCV.
        environment: Further variables.
        output: The file or folder that a finished run leaves.
        finished: What a finished run notes and a later one checks; None: every run is done.
    """

    name: str
    module: str
    options: dict[str, Any]
    folder: str
    threads: int = 1
    environment: dict[str, str] = {}
    output: str = ""
    finished: record.Run | None = None


class Result(NamedTuple):
    """How a job ended.

    Attributes:
        exit_status: 0, that of the error, or 130 after Ctrl-C.
        facts: What `run` returned.
        log: The end of what the process printed.
        kept: An earlier run had finished; nothing was done.
    """

    exit_status: int
    error: str = ""
    facts: dict[str, Any] = {}
    log: str = ""
    seconds: float = 0.0
    host: str = ""
    kept: bool = False


def run_job(job: Job, stopped: Callable[[], bool]) -> Result:
    """Run a job to its end, unless an earlier run has finished it.

    `stopped` is asked twice a second. When it is true the process is interrupted as with Ctrl-C.
    """
    if stopped():
        return Result(INTERRUPTED, "interrupted before it began")
    started, host = time.monotonic(), socket.gethostname()
    inputs = {} if job.finished is None else record.stamps(job.finished.inputs)
    if job.finished is not None:
        facts = record.facts_of_finished(job.finished, inputs, job.output)
        if facts is not None:
            return Result(0, facts=facts, seconds=time.monotonic() - started, host=host, kept=True)
    try:
        result = _run_process(job, stopped)
        if job.finished is not None and result.exit_status == 0:
            record.write(job.finished, inputs, job.output, result.facts)
    except (OSError, FusionError) as error:  # no such folder on this machine, a full disk, ...
        result = Result(1, f"on {host}: {error}")
    return result._replace(seconds=time.monotonic() - started, host=host)


def _run_process(job: Job, stopped: Callable[[], bool]) -> Result:
    with tempfile.TemporaryDirectory(prefix="irvis_fusion_") as scratch:
        answer, log = Path(scratch, "answer.json"), Path(scratch, "log")
        work = {"module": job.module, "options": job.options, "answer": str(answer)}
        paths = [path for path in sys.path if path] + [job.folder]
        threads = {name: os.environ.get(name, str(job.threads)) for name in _THREADS}
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-c", _START.format(paths)],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                cwd=job.folder,
                env={**os.environ, **threads, **job.environment},
                start_new_session=True,  # Ctrl-C of the terminal reaches it through us, once
            )
            status = _wait(process, json.dumps(work), stopped)
        text = log.read_bytes()[-LOG_BYTES:].decode("utf-8", "replace")
        if answer.is_file():
            return Result(log=text, **json.loads(answer.read_text(encoding="utf-8")))
        return Result(1, _death(status, text), log=text)


def _wait(process: subprocess.Popen[bytes], work: str, stopped: Callable[[], bool]) -> int:
    """Hand over the work; return the status of the process.

    The process takes the end of its stdin for Ctrl-C: so it ends when this process is killed, too.
    """
    assert process.stdin is not None
    with process:
        with contextlib.suppress(BrokenPipeError):  # it died at once
            process.stdin.write(work.encode() + b"\n")
            process.stdin.flush()
        latest = None
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(POLL_S)
            if latest is None and stopped():
                latest = time.monotonic() + LAST_WAIT_S
                process.stdin.close()
            elif latest is not None and time.monotonic() > latest:
                process.kill()


def _death(status: int, log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    how = f"with status {status}"
    if status < 0:
        how = f"by signal {signal.Signals(-status).name}"
        if -status == signal.SIGKILL:
            how += " (memory may have run out: try fewer --jobs)"
    return f"the process ended {how}" + (f"; its last line: {lines[-1][:500]}" if lines else "")


def main() -> None:
    """Do the work and write the answer: exit status, error and facts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background
    with open(0, "rb", buffering=0, closefd=False) as stream:
        work = json.loads(stream.readline())
    threading.Thread(target=_interrupt_at_end, daemon=True).start()
    try:
        answer = _run(work)
    except KeyboardInterrupt:
        answer = {"exit_status": 130, "error": "interrupted"}
    write_file(work["answer"], json.dumps(answer))
    sys.exit(answer["exit_status"])


def _run(work: dict[str, Any]) -> dict[str, Any]:
    try:
        module = importlib.import_module(work["module"])
        facts = module.run(argparse.Namespace(**work["options"]))
    except FusionError as error:
        return {"exit_status": error.exit_status, "error": str(error)}
    except Exception as error:  # of a library: the row of this source, not the end of the others
        traceback.print_exc()
        return {"exit_status": 1, "error": f"{type(error).__name__}: {error}"}
    return {"exit_status": 0, "facts": facts}


def _interrupt_at_end() -> None:
    os.read(0, 1)  # of a buffered stream, the end of the interpreter would wait for it
    os.kill(os.getpid(), signal.SIGINT)
