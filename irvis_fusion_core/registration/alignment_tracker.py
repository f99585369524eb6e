"""Chooses the correction of a calibration, from one compared pair to the next.

Evidence is gated by its confidence, bounded and smoothed. Without it the correction goes back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irvis_fusion_core.errors import ConfigurationError, expect_one_of
from irvis_fusion_core.registration.alignment_evidence import MOTIONS, AlignmentEvidence, Estimate
from irvis_fusion_core.registration.camera_geometry import Size, corners, project, stretch

CALIBRATED = "calibrated"
FOLLOWING = "following"
HOLDING = "holding"
RETURNING = "returning"

# Images are compared at this width or height at most; finer edges differ between the spectra.
_LARGEST_SIDE_PX = 400
# Evidence, in pairs with edges, below which nothing is estimated.
_LEAST_WEIGHT = 0.5
# Successive estimates that must agree, and within how many compared pixels.
_AGREEING = 3
_AGREEMENT_PX = 2.0
# A correction below this at every corner counts as none, visible pixels.
_NONE_PX = 0.25
# Lead over the next best place below which the evidence is ambiguous (a fence, a crowd).
_LEAST_LEAD = 1.4


@dataclass(frozen=True)
class TrackerOptions:
    """How far and how fast corrections follow the images.

    Args:
        smoothing_s: time constant, of the evidence and of the correction that follows it.
        max_shift_px: largest displacement of a corner, visible pixels; estimates beyond it are
            not used (calibrate again).
        min_confidence: least height of the correlation peak over its surroundings, in standard
            deviations. Different scenes reach 3.5.
        hold_s: time for which the last confident correction is kept without further evidence.
        motion: the motion to correct where enough parts of the image agree: "shift",
            "similarity" (also turn and scale), "affine" (less steady).

    Raises:
        ConfigurationError: an option has an impossible value.
    """

    smoothing_s: float = 10.0
    max_shift_px: float = 30.0
    min_confidence: float = 4.0
    hold_s: float = 60.0
    motion: str = "similarity"

    def __post_init__(self) -> None:
        expect_one_of("motion", self.motion, MOTIONS)
        if not (self.smoothing_s > 0.0 and self.hold_s >= 0.0 and self.max_shift_px > 0.0):
            raise ConfigurationError(
                "online alignment needs positive smoothing_s and max_shift_px and hold_s >= 0, "
                f"found {self.smoothing_s}, {self.max_shift_px} and {self.hold_s}"
            )


class AlignmentTracker:
    """Chooses the correction, 3x3 in visible pixels, given pairs of one size by one thread."""

    def __init__(self, vis_size: Size, options: TrackerOptions) -> None:
        self._vis_size = vis_size
        self._options = options
        # Never enlarged: that would not make edges more precise.
        self.scale = max(1.0, max(vis_size) / float(_LARGEST_SIDE_PX))
        height, width = (max(int(round(side / self.scale)), 2) for side in vis_size)
        self.size = (height, width)
        reach = options.max_shift_px / self.scale
        self._evidence = AlignmentEvidence(self.size, reach, options.smoothing_s)
        self._recent: list[np.ndarray] = []
        self._good_s: float | None = None
        self._last_s: float | None = None
        self.correction = np.eye(3)
        self.state = CALIBRATED
        self.reason = "no pair has been compared yet"
        self.estimate: Estimate | None = None
        self.pairs = 0

    def add(
        self, ir: np.ndarray, vis: np.ndarray, known: np.ndarray | None, now_s: float
    ) -> np.ndarray:
        """Compare a pair of `self.size`, IR as calibrated; return the correction.

        `now_s` is monotonic time; pairs should be of different moments.
        """
        elapsed_s = 0.0 if self._last_s is None else max(now_s - self._last_s, 0.0)
        self._last_s = now_s
        self._evidence.fade(elapsed_s)
        self._evidence.add(ir, vis, known)
        self.pairs += 1
        self.estimate = self._evidence.estimate(self._options.motion)
        measured = self._in_visible_pixels(self.estimate.matrix)
        self.reason = self._why_not(self.estimate, measured)
        if not self.reason:
            self._good_s = now_s
            self._go_towards(measured, elapsed_s)
            self.state = FOLLOWING
        elif self._good_s is not None and now_s - self._good_s <= self._options.hold_s:
            self.state = HOLDING
        elif self.reach_px(self.correction) > _NONE_PX:
            self._go_towards(np.eye(3), elapsed_s)
            self.state = RETURNING
        else:
            self.correction = np.eye(3)
            self.state = CALIBRATED
        return self.correction

    def reach_px(self, matrix: np.ndarray) -> float:
        """Return the largest displacement of a corner, visible pixels."""
        still = corners(self._vis_size)
        return float(np.linalg.norm(project(matrix, still) - still, axis=1).max())

    def describe(self) -> dict[str, str]:
        """Return state, correction and confidence, for /diagnostics."""
        middle = corners(self._vis_size).mean(axis=0)
        moved = self.correction[:2] @ np.append(middle, 1.0) - middle
        values = {
            "state": self.state,
            "correction_px": "{:.2f}, {:.2f}".format(*moved),
            "correction_at_corners_px": f"{self.reach_px(self.correction):.2f}",
            "pairs_compared": str(self.pairs),
        }
        if self.reason:
            values["why_not_followed"] = self.reason
        if self.estimate is not None:
            shift = (self.scale * value for value in self.estimate.shift_px)
            values["estimate_px"] = "{:.2f}, {:.2f}".format(*shift)
            values["confidence"] = f"{self.estimate.height:.2f}"
            values["lead_over_next_best"] = f"{self.estimate.lead:.2f}"
            values["tiles_agreeing"] = str(self.estimate.tiles)
        return values

    def _why_not(self, estimate: Estimate, measured: np.ndarray) -> str:
        """Return why the estimate is not used; empty when it is."""
        reason = self._why_unusable(estimate, self.reach_px(measured))
        if reason:
            self._recent = []
            return reason
        self._recent = [*self._recent[-(_AGREEING - 1) :], measured]
        limit = _AGREEMENT_PX * self.scale
        apart = [self.reach_px(measured @ np.linalg.inv(other)) for other in self._recent]
        if len(self._recent) < _AGREEING or max(apart) > limit:
            return f"waiting for {_AGREEING} estimates that agree within {limit:.1f} px"
        return ""

    def _why_unusable(self, estimate: Estimate, reach_px: float) -> str:
        least, most = self._options.min_confidence, self._options.max_shift_px
        if self._evidence.weight < _LEAST_WEIGHT:
            return "there are hardly any edges in one of the images"
        if estimate.height < least:
            found = f"{estimate.height:.2f} is below {least:.2f}"
            return f"confidence {found}: the images share too few edges"
        if estimate.lead < _LEAST_LEAD:
            return f"ambiguous: the next best place is as likely to {100 / estimate.lead:.0f} %"
        if reach_px > most:
            return f"off by {reach_px:.1f} px, more than {most:.1f} px: calibrate again"
        return ""

    def _go_towards(self, target: np.ndarray, elapsed_s: float) -> None:
        share = 1.0 - float(np.exp(-elapsed_s / self._options.smoothing_s))
        self.correction = self.correction + share * (target - self.correction)

    def _in_visible_pixels(self, matrix: np.ndarray) -> np.ndarray:
        up = stretch(self.size, self._vis_size)
        return up @ np.vstack([matrix, (0.0, 0.0, 1.0)]) @ np.linalg.inv(up)
