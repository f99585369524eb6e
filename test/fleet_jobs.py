"""Runs of a made-up command, for the tests of fleets: each does what its option says."""

import os
import signal
import sys
import time
from pathlib import Path

from irvis_fusion_core.errors import FusionError


class IncompleteError(FusionError):
    exit_status = 2


def run(options):
    """`what` to do; `folder` for files that tell what was done."""
    folder = Path(options.folder)
    with open(folder / "begun", "a") as stream:
        stream.write(options.what + "\n")
    if options.what == "fail":
        raise FusionError("expected a good bag, found a bad one")
    if options.what == "incomplete":
        raise IncompleteError("expected 5 messages, found 4")
    if options.what == "bug":
        return {"counts": {"frames": 1 // 0}}
    if options.what == "crash":
        print("the engine is about to crash", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    if options.what == "wait":
        (folder / "waiting").touch()
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            (folder / "interrupted").touch()
            raise
    print("it went well")
    (folder / "result.txt").write_text(options.what)
    return {"counts": {"frames": 7}, "values": {"process": os.getpid()}}
