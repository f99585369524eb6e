"""Scores of one moment: every configuration's image and every trivial one, side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from irvis_fusion_core import metrics
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.evaluation.references import REFERENCES

EDGE_COLUMNS = ("edges_ir", "edges_vis", "ghost")
SCORE_COLUMNS = (*metrics.METRIC_NAMES, *EDGE_COLUMNS)
"""What is measured of a single image."""


class Moment(NamedTuple):
    """A fused image with its sources, uint8 HxW each: what a row of scores is about."""

    fused: np.ndarray
    ir: np.ndarray
    vis: np.ndarray


Scores = Dict[str, float]


class Scorer:
    """Scores several fused images at a time, on threads of its own.

    numpy and OpenCV let go of the interpreter's lock. A score depends on its three images alone,
    so it is the same however many threads there are.
    """

    def __init__(self, names: Optional[Sequence[str]] = None, threads: int = 1) -> None:
        """Take the columns to measure, all by default.

        Raises:
            ConfigurationError: there is no such metric.
        """
        unknown = [name for name in names or () if name not in SCORE_COLUMNS]
        if unknown:
            raise ConfigurationError(
                f"expected metrics out of {', '.join(SCORE_COLUMNS)}, found {', '.join(unknown)}"
            )
        self.names = tuple(n for n in SCORE_COLUMNS if names is None or n in names)
        self._pool = ThreadPoolExecutor(max(threads, 1))

    def score(self, moments: Dict[str, Moment]) -> Dict[str, Scores]:
        """Name -> column -> value; columns that an image is too small for are left out."""
        waiting = {name: self._pool.submit(self._one, moment) for name, moment in moments.items()}
        return {name: future.result() for name, future in waiting.items()}

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _one(self, moment: Moment) -> Scores:
        fitting = metrics.names_for_size(*moment.fused.shape[:2])
        row = metrics.score_pair(*moment, names=[n for n in self.names if n in fitting])
        if any(name in self.names for name in EDGE_COLUMNS):
            edges = metrics.alignment(*moment)
            found = (edges["ir"], edges["vis"], edges["ghost"])
            row.update((n, v) for n, v in zip(EDGE_COLUMNS, found) if n in self.names)
        return row


def reference_moments(ir: np.ndarray, vis: np.ndarray) -> Dict[str, Moment]:
    """The trivial fusions of one pair, uint8 HxW."""
    return {name: Moment(fuse(ir, vis), ir, vis) for name, fuse in REFERENCES.items()}


class FlickerTrack:
    """Flicker of several rows, each between frames that follow one another directly."""

    def __init__(self) -> None:
        """Start with no row."""
        self._meters: Dict[str, Tuple[int, Tuple[int, ...], metrics.FlickerMeter]] = {}

    def add(self, name: str, index: int, moment: Moment) -> Optional[float]:
        """Excess of this frame over the one before; None after a gap or a change of size."""
        last, shape, meter = self._meters.get(name, (-2, (), metrics.FlickerMeter()))
        if index != last + 1 or shape != moment.fused.shape:
            meter.reset()
        self._meters[name] = (index, moment.fused.shape, meter)
        return meter.add(*moment)


class Sampling:
    """Which frames get the costly metrics: evenly spaced ones, the same in every run.

    A frame is due `stride` after the last one that was due; where it was not fused, the next one
    that was takes its place.
    """

    def __init__(self, frames: int, most: int) -> None:
        """Spread `most` measurements over `frames`; 0 measures every frame."""
        self.stride = max(-(-frames // most), 1) if most > 0 else 1
        self._due = 0

    def take(self, index: int) -> bool:
        """Whether this frame, which was fused, is to be measured."""
        if index < self._due:
            return False
        self._due = (index // self.stride + 1) * self.stride
        return True
