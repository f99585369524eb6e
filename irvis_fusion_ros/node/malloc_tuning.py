"""Keep the memory of images in the process instead of giving it back thirty times a second.

glibc returns a freed block of this size to the kernel, and the next image pages it in again,
zeroed: some hundred page faults for each buffer of each frame, of which the middleware, rclpy and
the engine take several. Measured at 640x480 and 30 Hz on a busy machine, a frame takes 3 ms less
from stamp to arrival without them.

By default threads have heaps of their own: images that wait for the worker grow one of them, and
what is freed there does not serve the next thread. With one heap for all the process stays smaller
and pages in less after a backlog. Threads seldom wait for it, since each keeps small blocks at
hand.
"""

from __future__ import annotations

import ctypes
import os

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
"""From malloc.h of glibc, where they are part of the ABI."""

KEPT_BYTES = 128 * 1024 * 1024
"""Free memory at the end of a heap that is kept."""
LARGEST_BYTES = 32 * 1024 * 1024
"""Blocks up to this size come from the heap: the most that glibc allows on 64 bits."""

USERS_OWN = (
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_ARENA_MAX",
    "GLIBC_TUNABLES",
)
"""Whoever sets one of these has decided about it."""


def keep_freed_memory() -> bool:
    """Have the allocator keep what is freed; False where it is not glibc, or decided otherwise."""
    if any(os.environ.get(name) for name in USERS_OWN):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # musl, macOS, Windows
        return False
    values = ((M_MMAP_THRESHOLD, LARGEST_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_ARENA_MAX, 1))
    return all(mallopt(name, value) for name, value in values)
