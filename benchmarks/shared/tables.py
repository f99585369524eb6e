"""Mean rows of the tables that the benchmarks print; `training.tables` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

Key = TypeVar("Key")


def mean_rows(rows: Mapping[Key, Sequence[Sequence[float]]]) -> dict[Key, list[float]]:
    """Return key -> mean of each column over those rows that have it; NaN where none has."""
    means = {}
    for key, values in rows.items():
        figures = np.array(values, float)
        masked = np.ma.array(figures, mask=np.isnan(figures))
        means[key] = masked.mean(axis=0).filled(np.nan).tolist()
    return means
