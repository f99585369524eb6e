"""The folder of a bag that is being written, and the exchange of a bag for a new one.

A bag grows in `fused.part/fused`, beside a mark that says so. It gets its name when it is complete
and was read again. Whenever the process is killed, either the old or the new bag has the name.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import time
from collections.abc import Mapping
from typing import IO

from irvis_fusion_core.atomic_file import lock
from irvis_fusion_core.bounded_file import parse_json_object
from irvis_fusion_core.errors import FileContentError
from irvis_fusion_ros.bags.bag_error import BagError, ignore_incomplete
from irvis_fusion_ros.bags.bag_storage import BagReader
from irvis_fusion_ros.bags.storage.bag_files import METADATA, PACKED, SUFFIXES

MARK = "UNFINISHED.txt"
_RUN, _BEFORE, _OLD, _COMPLETE = ".run.json", ".before", ".old", ".complete"
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


class BagPlace:
    """Where one bag is written.

    Attributes:
        path: The complete bag.
        unfinished: The bag until then.
        before: The bag of an interrupted run that goes on, or None.
    """

    def __init__(self, path: str, overwrite: bool) -> None:
        """Check that the bag may be written; create nothing yet.

        Raises:
            BagError: The name is taken, by a bag without `overwrite` or by anything else.
        """
        self.path = os.path.normpath(os.fspath(path))
        self.part = self.path + ".part"
        # The name is in metadata.yaml, which is UTF-8; that of the folder may be any bytes.
        name = os.fsencode(os.path.basename(self.path)).decode("utf-8", "replace")
        self.unfinished = os.path.join(self.part, name.replace("\ufffd", "_"))
        self.before: str | None = None
        self._lock = contextlib.ExitStack()
        old = os.path.join(self.part, _OLD)
        if os.path.isdir(old) and not os.path.lexists(self.path):
            # A process was killed while it replaced the old bag.
            with _locked(os.path.join(self.part, MARK)):
                os.rename(old, self.path)
        if os.path.lexists(self.path) and not overwrite:
            found = "a file or folder; choose another name"
            if _is_replaceable(self.path):
                found = "a bag; choose another name, or replace it with --overwrite"
            raise BagError(f"expected {self.path} to be free, found {found}")
        if os.path.lexists(self.path) and not _is_replaceable(self.path):
            raise BagError(
                f"expected a bag at {self.path}, since --overwrite replaces nothing else, found "
                "something else (or a bag with other files in its folder); choose another name"
            )

    def open(self, run: Mapping[str, object] | None, resume: bool) -> None:
        """Make the folder; keep the bag of an interrupted run if `resume`, else remove it.

        `run` is what determines the messages of a run.

        Raises:
            BagError: Something else is there, or another process writes, or the interrupted run
                was another one.
            OSError: The folder cannot be made.
        """
        if os.path.lexists(self.part):
            self._take_over(run, resume)
        os.makedirs(self.part, exist_ok=True)
        if not os.path.exists(os.path.join(self.part, MARK)):
            text = "irvis_fusion began this bag. It is being written, or the program was killed."
            self.mark(text)
        if run is not None and self.before is None:  # else it is there, and the disk may be full
            with open(os.path.join(self.part, _RUN), "w", encoding="utf-8") as stream:
                json.dump(run, stream, default=str)
        self._lock.enter_context(_locked(os.path.join(self.part, MARK)))

    def mark(self, text: str) -> None:
        """Add a line to the mark; raise OSError where that fails."""
        when = time.strftime("%Y-%m-%d %H:%M:%S")
        mark = os.path.join(self.part, MARK)
        with open(mark, "a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(f"{when} {text}\n")

    def finish(self) -> None:
        """Give the bag its name; remove the old one and the folder afterwards.

        Raises:
            OSError: The disk does not keep it, or it cannot be renamed. Then the old bag has its
                name.
        """
        for name in [*os.listdir(self.unfinished), "."]:
            descriptor = os.open(os.path.join(self.unfinished, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        complete = os.path.join(self.part, _COMPLETE)
        with open(complete, "w"):
            pass
        try:
            self._take_name()
        except OSError:
            os.remove(complete)
            raise
        self.remove()

    def _take_name(self) -> None:
        if not os.path.lexists(self.path):
            os.rename(self.unfinished, self.path)
        elif not _exchange(self.unfinished, self.path):
            old = os.path.join(self.part, _OLD)
            os.rename(self.path, old)
            try:
                os.rename(self.unfinished, self.path)
            except OSError:
                os.rename(old, self.path)
                raise

    def beside(self, name: str) -> str:
        """Return the path of a file beside the unfinished bag, which goes when it is complete."""
        return os.path.join(self.part, "." + name)

    def leave(self) -> None:
        """Let other processes have the unfinished bag."""
        self._lock.close()

    def remove(self) -> None:
        """Remove the folder of the unfinished bag, with what tells what the rest is at the end."""
        names = os.listdir(self.part) if os.path.isdir(self.part) else ()
        for name in sorted(names, key=lambda name: (name == _COMPLETE, name)):
            path = os.path.join(self.part, name)
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            elif name != MARK:
                os.remove(path)
        self._lock.close()
        shutil.rmtree(self.part, ignore_errors=True)

    def _take_over(self, run: Mapping[str, object] | None, resume: bool) -> None:
        part = self.part
        if os.path.isdir(part) and not os.listdir(part):  # killed before its mark, or after
            return
        if os.path.islink(part) or not os.path.isfile(os.path.join(part, MARK)):
            raise BagError(
                f"expected {part}, where the bag grows, to be free or an unfinished bag, found "
                "something else; move it away"
            )
        _locked(os.path.join(part, MARK)).close()
        # A complete one was killed while it got its name: what lies here may be the old bag.
        if not resume or os.path.exists(os.path.join(part, _COMPLETE)):
            return self.remove()
        if run is None or not os.path.isfile(os.path.join(part, _RUN)):
            return self.remove()
        self._check_run(run)
        self._keep_longer()

    def _check_run(self, run: Mapping[str, object]) -> None:
        with open(os.path.join(self.part, _RUN), "rb") as stream:
            content = stream.read()
        try:
            there = parse_json_object(content)
        except FileContentError:
            there = {}
        now = json.loads(json.dumps(run, default=str))
        other = [name for name in now if there.get(name) != now[name]]
        if other:
            raise BagError(
                f"expected the interrupted run in {self.part} to have the same bag, parameters "
                f"and engine, found another {', '.join(other)}; start again without --resume"
            )

    def _keep_longer(self) -> None:
        """Keep the bag of the interrupted run as `before`; after a second interruption the longer.

        The shorter is removed only when the longer has its place.
        """
        before = os.path.join(self.part, _BEFORE)
        if os.path.isdir(before) and count_readable(before) >= count_readable(self.unfinished):
            shutil.rmtree(self.unfinished, ignore_errors=True)
        elif os.path.isdir(self.unfinished):
            aside = before + ".shorter"
            shutil.rmtree(aside, ignore_errors=True)
            if os.path.isdir(before):
                os.rename(before, aside)
            os.rename(self.unfinished, before)
            shutil.rmtree(aside, ignore_errors=True)
        if os.path.isdir(before) and count_readable(before):
            self.before = before
        else:
            shutil.rmtree(before, ignore_errors=True)


def count_readable(bag: str) -> int:
    """Return the number of messages that can be read of a bag that may be damaged."""
    count = 0
    try:
        with BagReader(bag) as reader:
            for _ in reader.messages(reader.topics, on_incomplete=ignore_incomplete):
                count += 1
    except BagError:
        pass
    return count


def _is_replaceable(path: str) -> bool:
    return not os.path.islink(path) and is_bag(path)


def is_bag(path: str) -> bool:
    """Return whether a folder holds a bag and no other files."""
    if not os.path.isdir(path):
        return False
    names = os.listdir(path)
    storage = [name for name in names if os.path.splitext(name)[1] in SUFFIXES]
    ours = (METADATA, ".db3-shm", ".db3-wal", ".db3-journal", *PACKED)
    rest = [name for name in names if name not in storage and not name.endswith(ours)]
    return bool(storage or METADATA in names) and not rest


def _locked(mark: str) -> IO[str]:
    """Lock the mark until the returned file is closed or this process ends."""
    try:
        return lock(mark)
    except BlockingIOError as error:
        raise BagError(
            f"expected no writer of {os.path.dirname(mark)}, found another process writing it; "
            "wait for it to end, or choose another name"
        ) from error


def _exchange(one: str, other: str) -> bool:
    """Exchange two names in one step; return False where the file system cannot."""
    if os.name != "posix":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return rename(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0
