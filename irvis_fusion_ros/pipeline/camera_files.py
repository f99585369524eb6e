"""Calibration files that parameters name, read on threads of their own.

A file on a network drive that hangs then costs a thread, not the images.
"""

from __future__ import annotations

from concurrent.futures import Future, TimeoutError
from threading import Thread
from typing import Tuple, Union

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.registration.camera_model import CameraModel, read_camera_file

READS_MAX = 4
"""Files that may be read at the same time; those of hanging drives stay among them."""

_Wanted = Tuple[str, str, bool]
_Outcome = Union[CameraModel, str]  # the camera, or why there is none


class CalibrationMissing(CalibrationError):
    """A calibration or transform has not arrived yet; it may still."""


class CameraFiles:
    """Reads each file once and keeps the outcome. All methods belong to one thread."""

    def __init__(self) -> None:
        """Read nothing yet."""
        self._reads: dict[_Wanted, Future[_Outcome]] = {}
        self._overdue: set[_Wanted] = set()

    def renewed(self) -> CameraFiles:
        """Return one that reads every file again, except those that are still being read."""
        new = CameraFiles()
        new._reads = {wanted: read for wanted, read in self._reads.items() if not read.done()}
        return new

    def read(self, path: str, name: str, rectified: bool, wait_s: float) -> CameraModel:
        """Return what `read_camera_file` returns.

        Raises:
            CalibrationMissing: The file is still being read after `wait_s`; see `arrived`.
            CalibrationError: As `read_camera_file`, or too many files are still being read.
        """
        wanted = (path, name, rectified)
        if wanted not in self._reads:
            if sum(not read.done() for read in self._reads.values()) >= READS_MAX:
                raise CalibrationError(
                    f"expected to read {path}, found {READS_MAX} calibration files still being"
                    " read; does their drive answer?"
                )
            self._reads[wanted] = Future()
            # A daemon: a drive that hangs must not keep the process from ending.
            Thread(target=_read, args=(self._reads[wanted], *wanted), daemon=True).start()
        try:
            outcome = self._reads[wanted].result(wait_s)
        except TimeoutError:
            self._overdue.add(wanted)
            raise CalibrationMissing(
                f"the {name} camera's calibration {path} is still being read"
            ) from None
        if isinstance(outcome, str):
            raise CalibrationError(outcome)
        return outcome

    def arrived(self) -> bool:
        """Return whether a file that was still being read has been read since the last call."""
        arrived = {wanted for wanted in self._overdue if self._reads[wanted].done()}
        self._overdue -= arrived
        return bool(arrived)


def _read(outcome: Future[_Outcome], path: str, name: str, rectified: bool) -> None:
    try:
        outcome.set_result(read_camera_file(path, name, rectified))
    except Exception as error:  # noqa: BLE001 - told to whoever asks for the camera
        known = isinstance(error, CalibrationError)
        outcome.set_result(str(error) if known else f"{path}: {type(error).__name__}: {error}")
