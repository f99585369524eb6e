"""Decodes the compressed images of one topic on a thread of their own, in order.

`submit` and `hand_over` belong to the executor's thread: a message goes in by the first, and comes
back with its pixels by the second, which `wake` asks the executor to call. Every message comes
back once or is dropped once, with a cause. An image whose decoding does not end is given up, and
another thread goes on behind it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from irvis_fusion_ros.messages.image_encodings import ImageMessageError
from irvis_fusion_ros.messages.protocols import CompressedImageMessage
from irvis_fusion_ros.node.guard import fault_text

THREAD_NAME = "decode_images"
LONGEST_S = 2.0
"""An image within the bounds is decoded in less; see `image_bytes.check`."""
WAITING_BYTES_MAX = 1 << 27
"""Of the messages that wait to be decoded."""
DECODED_MAX = 2
"""Decoded images that wait for the executor."""

ADVICE = "use JPEG or smaller images, or the raw transport"

OVERRUN = "decode_overrun"
TOO_LONG = "decode_too_long"
FAULT = "decode_fault"

Pixels = TypeVar("Pixels")


class _Job(NamedTuple):
    message: CompressedImageMessage
    arrived_ns: int


@dataclass(eq=False)
class DecodeThread(Generic[Pixels]):
    """Decodes what `submit` takes, and delivers it.

    Attributes:
        decode: Returns the pixels of a message; raises ImageMessageError. On this thread.
        deliver: Takes a message, its pixels and its time of arrival (steady clock, ns).
        dropped: Takes the cause and a text, for each message that is not delivered. Any thread.
        wake: Has `hand_over` called on the executor's thread soon. Any thread.
        depth: Messages that may wait to be decoded; the oldest give way.
    """

    decode: Callable[[Any], Pixels]
    deliver: Callable[[Any, Pixels, int], None]
    dropped: Callable[[str, str], None]
    wake: Callable[[], None]
    depth: int
    longest_s: float = LONGEST_S
    clock_s: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._decoded: deque[tuple[_Job, Pixels]] = deque()
        self._at_work_since_s: float | None = None
        self._thread: threading.Thread | None = None
        self._given_up: threading.Thread | None = None

    def submit(self, message: CompressedImageMessage) -> None:
        """Take a message; older ones that wait are dropped where there is no room."""
        with self._condition:
            self._give_up_late()
            self._waiting.append(_Job(message, time.monotonic_ns()))
            while len(self._waiting) > self.depth or (
                sum(len(job.message.data) for job in self._waiting) > WAITING_BYTES_MAX
            ):
                self._waiting.popleft()
                self.dropped(OVERRUN, f"images come faster than they are decoded; {ADVICE}")
            if self._thread is None:
                self._start()
            self._condition.notify_all()

    def watch(self) -> None:
        """Give up an image whose decoding does not end, also where no further message comes."""
        with self._condition:
            self._give_up_late()
            if self._thread is None and self._waiting:
                self._start()

    def hand_over(self) -> None:
        """Deliver what is decoded."""
        while True:
            with self._condition:
                if not self._decoded:
                    return
                (message, arrived_ns), pixels = self._decoded.popleft()
                self._condition.notify_all()
            self.deliver(message, pixels, arrived_ns)

    def clear(self, cause: str) -> None:
        """Drop everything, also what is being decoded; `submit` starts again."""
        with self._condition:
            count = len(self._waiting) + len(self._decoded) + (self._at_work_since_s is not None)
            self._waiting.clear()
            self._decoded.clear()
            self._leave()
        for _ in range(count):
            self.dropped(cause, "")

    def _start(self) -> None:
        # A daemon: an image whose decoding hangs must not keep the process from ending.
        thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        thread.start()  # where that raises, the next message tries again
        self._thread = thread

    def _leave(self) -> None:
        """Part with the thread, which ends when it is done; its image is dropped already."""
        self._thread, self._at_work_since_s = None, None
        self._condition.notify_all()

    def _give_up_late(self) -> None:
        """Give up an image that takes too long; one at a time, so that threads do not pile up."""
        since_s, thread = self._at_work_since_s, self._thread
        if since_s is None or self.clock_s() - since_s <= self.longest_s:
            return
        if self._given_up is not None and self._given_up.is_alive():
            return
        self._given_up = thread
        self._leave()
        self.dropped(TOO_LONG, f"an image was not decoded within {self.longest_s:g} s; {ADVICE}")

    def _run(self) -> None:
        own = threading.current_thread()
        while True:
            with self._condition:
                while self._thread is own and not (
                    self._waiting and len(self._decoded) < DECODED_MAX
                ):
                    self._condition.wait()
                if self._thread is not own:
                    return
                job = self._waiting.popleft()
                self._at_work_since_s = self.clock_s()
            refused = ("", "")
            try:
                pixels = self.decode(job.message)
            except ImageMessageError as error:
                refused = error.kind, str(error)
            except Exception as error:  # noqa: BLE001 - a dead thread would swallow all images
                refused = FAULT, f"{type(error).__name__}: {fault_text(error)}"
            with self._condition:
                if self._thread is not own:
                    return
                self._at_work_since_s = None
                if refused[0]:
                    self.dropped(*refused)
                else:
                    self._decoded.append((job, pixels))
                    self.wake()  # within the lock: after `clear` there may be nothing to wake
