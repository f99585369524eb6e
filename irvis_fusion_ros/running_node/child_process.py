"""A Python process of ours that is checked while it runs and ended by a signal."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from irvis_fusion_core.errors import EngineError

END_TIMEOUT_S = 10.0


class ChildProcess:
    """Runs `python ARGUMENTS`; a context manager that ends it as Ctrl-C does.

    Error messages call it `name`. stdout and stderr go to the file `log_path`, or with None to
    this process's. `with_stdin` opens a pipe for `send_line`, `with_stdout` captures stdout for
    `output`. It is killed `end_timeout_s` after a signal.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        log_path: str | os.PathLike | None = None,
        with_stdin: bool = False,
        with_stdout: bool = False,
        end_timeout_s: float = END_TIMEOUT_S,
    ) -> None:
        self.name, self._log_path, self._end_timeout_s = name, log_path, end_timeout_s
        with contextlib.ExitStack() as stack:
            log = None if log_path is None else stack.enter_context(open(log_path, "wb"))
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                env=environment,
                stdin=subprocess.PIPE if with_stdin else None,
                stdout=subprocess.PIPE if with_stdout else log,
                stderr=None if log is None else subprocess.STDOUT,
                text=True,
            )

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The exit status; None while it runs, negative for the signal that ended it."""
        return self._process.poll()

    def log(self) -> str:
        """Return what is in the file at `log_path` by now."""
        if self._log_path is None:
            return ""
        with open(self._log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def check_running(self) -> None:
        """Raise EngineError if the process has ended."""
        if self.exit_status is not None:
            raise self._ended_with_error()

    def check_succeeded(self) -> None:
        """Raise EngineError if the process has ended with an error."""
        if self.exit_status not in (None, 0):
            raise self._ended_with_error()

    def send_line(self, line: str = "") -> None:
        """Write a line to its stdin; a process that has ended is left to the checks."""
        if self._process.stdin is None:
            raise ValueError("expected a process made with_stdin, found one without")
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def output(self, timeout_s: float) -> str:
        """Wait until the process ends; return its stdout.

        Raises:
            EngineError: It has not ended within `timeout_s`, or with an error.
        """
        try:
            text, _ = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise EngineError(
                f"expected the {self.name} to end within {timeout_s:.0f} s, found it running"
            ) from error
        self.check_succeeded()
        return text or ""

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit status; kill the process where it does not end."""
        if self.exit_status is None:
            self._process.send_signal(number)
        try:
            self._process.wait(self._end_timeout_s)
        except subprocess.TimeoutExpired:
            print(
                f"the {self.name} did not end within {self._end_timeout_s:.0f} s of signal "
                f"{int(number)} and is killed",
                file=sys.stderr,
            )
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        return self._process.returncode

    def _ended_with_error(self) -> EngineError:
        return EngineError(
            f"expected the {self.name} to run to the end, found that it ended with status "
            f"{self.exit_status}; its own message is above"
        )

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
