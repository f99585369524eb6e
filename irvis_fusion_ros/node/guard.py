"""Catches, counts and logs exceptions of callbacks, so that none ends the node.

rclpy's executor hands an exception of a callback on to whoever spins, and so a node dies of one
message that nobody thought of. Every callback of the node goes through a `Guard`.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from irvis_fusion_ros.pipeline.events import Note


def fault_text(error: BaseException) -> str:
    """Return what was raised, and where: `message (file.py:12)`."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{error}{where}"


@dataclass(frozen=True)
class Guard:
    """Wraps callbacks. `note(kind, text)` is told what they raise, and logs each kind once."""

    note: Note

    def __call__(
        self,
        name: str,
        callback: Callable[..., Any],
        otherwise: Callable[[Exception], Any] | None = None,
    ) -> Callable[..., Any]:
        """Return `callback`, guarded; where it raises, the answer is `otherwise(error)` or None.

        `name` is what /diagnostics and the log call it.
        """

        def guarded(*arguments: Any) -> Any:
            try:
                return callback(*arguments)
            except Exception as error:  # noqa: BLE001 - counted, named and logged once a kind
                self.caught(name, error)
                return None if otherwise is None else otherwise(error)

        return guarded

    def caught(self, name: str, error: Exception) -> None:
        """Count `error`, which was raised in `name`."""
        self.note(f"fault in {name}: {type(error).__name__}", fault_text(error))
