"""Follows the slow drift between calibration and cameras, in the background.

    registration = OnlineRegistration(make_registration("homography", homography=h))
    ir, coverage = registration.warp(grey, vis.shape[:2])    # on the frame path
    registration.offer(grey, vis)                            # after it; returns immediately

Once in `period_s` a pair is compared with the calibration on a thread of its own;
`alignment_tracker` decides about the correction.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import Any

import cv2
import numpy as np

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.protocols import Registration
from irvis_fusion_core.registration import warp_maps
from irvis_fusion_core.registration.alignment_tracker import AlignmentTracker, TrackerOptions
from irvis_fusion_core.registration.camera_geometry import Size, stretch
from irvis_fusion_core.registration.warp_maps import MapRegistration, grey_image

# New maps cost 20 to 150 ms on the other thread: smaller changes at every corner are ignored.
_WORTH_PX = 0.25
# The background yields to the node and to others.
_NICENESS = 10


class OnlineRegistration:
    """Corrects a calibrated registration by what the images show.

    Call `warp` and `offer` from one thread, `describe` from any.

    Args:
        base: the calibrated registration, used unchanged until there is evidence.
        period_s: time between compared pairs, seconds.
        in_background: False compares within `offer`, for tools that process files.
        **options: the fields of `TrackerOptions`.

    Raises:
        ConfigurationError: an option has an impossible value.
    """

    mode = "online"

    def __init__(
        self, base: Registration, period_s: float = 1.0, in_background: bool = True, **options: Any
    ) -> None:
        if not isinstance(base, MapRegistration):
            raise ConfigurationError(
                "online alignment corrects a registration by maps (homography, calibration), "
                f"found {type(base).__name__}"
            )
        if not period_s > 0.0:
            raise ConfigurationError(f"online alignment needs period_s above 0, found {period_s}")
        self._base = base
        self._active = base
        self.correction = np.eye(3)
        """The 3x3 in use, visible pixels: from the calibrated place of IR to the corrected one."""
        self._period_s = period_s
        self._options = TrackerOptions(**options)
        self._in_background = in_background
        self._tracker: AlignmentTracker | None = None
        self._sizes: tuple | None = None
        self._small: tuple | None = None
        self._next_s = -float("inf")
        self._busy = threading.Event()
        self._failure = ""

    def warp(self, ir: np.ndarray, vis_size: Size) -> tuple[np.ndarray, np.ndarray | None]:
        """Warp as the base does, with the correction; raises as the base."""
        sizes = (ir.shape[:2], tuple(vis_size))
        # A correction in pixels of another size waits for the next comparison.
        return (self._active if sizes == self._sizes else self._base).warp(ir, vis_size)

    def offer(self, ir: np.ndarray, vis: np.ndarray, now_s: float | None = None) -> bool:
        """Offer a pair, of which one per period is taken; see `protocols.OnlineAligner`."""
        now_s = time.monotonic() if now_s is None else now_s
        if now_s < self._next_s or self._busy.is_set():
            return False
        self._next_s = now_s + self._period_s
        self._busy.set()
        if not self._in_background:
            self._compare(ir, vis, now_s)
            return True
        # A short-lived thread per period: nothing has to be stopped with this object.
        work, given = self._compare, (ir, vis, now_s)
        try:
            threading.Thread(target=work, args=given, name="online_alignment", daemon=True).start()
        except RuntimeError as error:  # the system has no more threads
            self._failure = f"no thread for the comparison: {error}"
            self._busy.clear()
            return False
        return True

    def wait(self, timeout_s: float = 10.0) -> bool:
        """Wait until no comparison runs; return False after the timeout."""
        end_s = time.monotonic() + timeout_s
        while self._busy.is_set() and time.monotonic() < end_s:
            time.sleep(0.002)
        return not self._busy.is_set()

    def describe(self) -> dict[str, Any]:
        """Return the base's description and the state of the alignment."""
        tracker = self._tracker
        nothing = {"state": "calibrated", "pairs_compared": "0"}
        alignment = nothing if tracker is None else tracker.describe()
        if self._failure:
            alignment["failure"] = self._failure
        return {**self._base.describe(), "base": self._base.mode, "mode": self.mode, **alignment}

    def _compare(self, ir: np.ndarray, vis: np.ndarray, now_s: float) -> None:
        if self._in_background and sys.platform == "linux":
            # Linux keeps niceness by thread, others by process. A sandbox may forbid it.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        try:
            self._follow(grey_image(ir), vis, now_s)
            self._failure = ""
        except Exception as error:  # noqa: BLE001 - reported by `describe`
            # The last correction stays in use.
            self._failure = f"{type(error).__name__}: {error}"
        finally:
            self._busy.clear()

    def _follow(self, ir: np.ndarray, vis: np.ndarray, now_s: float) -> None:
        sizes = (ir.shape[:2], vis.shape[:2])
        if self._tracker is None or self._small is None or self._sizes != sizes:
            self._tracker, self._small = self._begin(*sizes)
        tracker = self._tracker
        x, y, known, blur = self._small
        if blur > 0.5:
            ir = cv2.GaussianBlur(ir, (0, 0), blur)
        warped = cv2.remap(ir, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        seen = cv2.resize(vis, tracker.size[::-1], interpolation=cv2.INTER_AREA)
        if seen.ndim == 3:
            # The channel order does not matter for edges.
            seen = cv2.cvtColor(seen, cv2.COLOR_BGR2GRAY)
        correction = tracker.add(warped, seen, known, now_s)
        change = correction @ np.linalg.inv(self.correction)
        if tracker.reach_px(change) < _WORTH_PX and tracker.state != "calibrated":
            return
        if np.array_equal(correction, self.correction):
            return
        active = self._base
        if not np.array_equal(correction, np.eye(3)):
            active = self._base.corrected(correction, sizes[1])
            active.prepare(*sizes)
        # One assignment: the frame path sees the old maps or the new ones.
        self._active, self.correction = active, correction

    def _begin(self, ir_size: Size, vis_size: Size) -> tuple[AlignmentTracker, tuple]:
        """Start over for images of these sizes; return a tracker, and the maps to its images."""
        self._active, self.correction = self._base, np.eye(3)
        tracker = AlignmentTracker(vis_size, self._options)
        # The small image's grid, in pixels of the visible one.
        to_visible = stretch(tracker.size, vis_size)
        columns, rows, _ = warp_maps.through(to_visible, *warp_maps.pixel_grid(tracker.size))
        x, y, known = self._base.ir_points(ir_size, vis_size, columns, rows)
        steps = [np.abs(np.diff(x, axis=1))[known[:, 1:]], np.abs(np.diff(y, axis=0))[known[1:]]]
        step = float(np.median(np.concatenate(steps))) if known.any() else 1.0
        # Where a small pixel spans several IR pixels, IR is smoothed against aliasing.
        small = (
            np.where(known, x, -1.0).astype(np.float32),
            np.where(known, y, -1.0).astype(np.float32),
            known.astype(np.uint8),
            0.4 * step if step > 1.25 else 0.0,
        )
        self._sizes = (ir_size, vis_size)
        return tracker, small
