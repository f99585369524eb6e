"""The process of one job: reads the work from stdin, and takes the end of stdin for Ctrl-C."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.errors import FusionError


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
