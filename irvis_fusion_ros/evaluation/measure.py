"""Scores of one moment: of every configuration's image and of every trivial fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from irvis_fusion_core import metrics
from irvis_fusion_core.calibration.edge_distance import edge_distance
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.metrics.trivial_fusions import TRIVIAL_FUSIONS

EDGE_COLUMNS = ("edges_ir", "edges_vis", "ghost")
REGISTRATION_COLUMNS = ("moved_px", "moved_p95_px", "edge_px", "base_edge_px")
"""Of registration.mode learned: displacement (median, 95 %), and the median distance of thermal
edges from visible ones after it and before, in visible pixels."""
SCORE_COLUMNS = (*metrics.METRIC_NAMES, *EDGE_COLUMNS)
"""The scores of a single image."""
REFERENCES = {"visible alone": "visible", "IR alone": "IR", "mean": "mean", "maximum": "maximum"}
"""Name in the report -> name in `TRIVIAL_FUSIONS`."""


class Moment(NamedTuple):
    """A fused image with its sources, uint8 HxW each."""

    fused: np.ndarray
    ir: np.ndarray
    vis: np.ndarray


class Scorer:
    """Scores several fused images at a time, on its own threads.

    NumPy and OpenCV release the interpreter's lock. A score depends on its three images alone, so
    the number of threads does not change it.
    """

    def __init__(self, names: Sequence[str] | None = None, threads: int = 1) -> None:
        """Take the columns to measure, by default all.

        Raises:
            ConfigurationError: There is no such metric.
        """
        unknown = [name for name in names or () if name not in SCORE_COLUMNS]
        if unknown:
            raise ConfigurationError(
                f"expected metrics out of {', '.join(SCORE_COLUMNS)}, found {', '.join(unknown)}"
            )
        self.names = tuple(n for n in SCORE_COLUMNS if names is None or n in names)
        self._pool = ThreadPoolExecutor(max(threads, 1))

    def score(self, moments: Mapping[str, Moment]) -> dict[str, dict[str, float]]:
        """Return name -> column -> value, without the columns that an image is too small for."""
        return dict(zip(moments, self._pool.map(self._one, moments.values())))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _one(self, moment: Moment) -> dict[str, float]:
        fitting = metrics.names_for_size(*moment.fused.shape[:2])
        row = metrics.score_pair(*moment, names=[n for n in self.names if n in fitting])
        if any(name in self.names for name in EDGE_COLUMNS):
            edges = metrics.alignment(*moment)
            found = zip(EDGE_COLUMNS, (edges["ir"], edges["vis"], edges["ghost"]))
            row.update((name, value) for name, value in found if name in self.names)
        return row


def registration_scores(
    field: np.ndarray, ir: np.ndarray, base_ir: np.ndarray, vis: np.ndarray
) -> dict[str, float]:
    """Return `REGISTRATION_COLUMNS`; an edge distance is infinite where no edge has a partner.

    Args:
        field: float32 2 x rows x columns, displacements in pixels.
        ir: uint8 HxW, the thermal image displaced by it; `base_ir` before.
        vis: uint8 HxW.
    """
    moved = np.percentile(np.hypot(field[0], field[1]), (50, 95))
    distances = [edge_distance(image, vis, np.eye(3)).median_px for image in (ir, base_ir)]
    return dict(zip(REGISTRATION_COLUMNS, (*map(float, moved), *distances)))


def reference_moments(ir: np.ndarray, vis: np.ndarray) -> dict[str, Moment]:
    """Return the trivial fusions of one pair of uint8 HxW planes."""
    return {n: Moment(TRIVIAL_FUSIONS[key](ir, vis), ir, vis) for n, key in REFERENCES.items()}


class FlickerTrack:
    """Flicker of several rows, each between frames that follow each other directly."""

    def __init__(self) -> None:
        self._meters: dict[str, tuple[int, tuple[int, ...], metrics.FlickerMeter]] = {}

    def add(self, name: str, index: int, moment: Moment) -> float | None:
        """Return the flicker since the frame before; None after a gap or a change of size."""
        last, shape, meter = self._meters.get(name, (-2, (), metrics.FlickerMeter()))
        if index != last + 1 or shape != moment.fused.shape:
            meter.reset()
        self._meters[name] = (index, moment.fused.shape, meter)
        return meter.add(*moment)


class Sampling:
    """Chooses the frames for the costly metrics: evenly spaced, the same in every run.

    A frame is due `stride` after the last one that was due. If it was not fused, the next fused
    frame takes its place.
    """

    def __init__(self, frames: int, most: int) -> None:
        """Spread `most` measurements over `frames`; 0 measures every frame."""
        self.stride = max(-(-frames // most), 1) if most > 0 else 1
        self._due = 0

    def take(self, index: int) -> bool:
        """Return whether to measure this fused frame."""
        if index < self._due:
            return False
        self._due = (index // self.stride + 1) * self.stride
        return True
