"""The real pairs that `beyond_maximum` looks at: which folders, and which are day or night."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.shared.options import VALIDATION_SETS
from benchmarks.shared.pairs import Pair, read_pairs

# No model was trained on `val`; the shipped ones were on `train`, wholly or in part.
PARTS: dict[str, tuple[str, ...]] = {
    "val": VALIDATION_SETS,
    "train": ("msrs/train", "roadscene/train", "llvip/train"),
}
# RoadScene does not say when an image was taken, and its night ones are lit up to a mean of 150.
ROADSCENE_DAY_LUMA = 155.0


def spread(data: Path, sets: tuple[str, ...], kind: str, limit: int | None) -> Iterator[Pair]:
    """Yield pairs of a kind ("any", "day" or "night") from several folders.

    Args:
        data: Folder of the sets.
        sets: Folders in it.
        kind: Of pairs.
        limit: At most this many of each folder, evenly over its names; None for all. Day pairs of
            RoadScene are recognised by their brightness only afterwards, so fewer are left.
    """
    for name in sets:
        for pair in read_pairs(data, name, limit, True, partial(_may_be, name, kind)):
            if kind != "day" or name.startswith("msrs") or pair.luma.mean() >= ROADSCENE_DAY_LUMA:
                yield pair


def _may_be(name: str, kind: str, stem: str) -> bool:
    """Return whether a pair can be of this kind, by the folder's and its own name alone."""
    if kind == "any":
        return True
    if name.startswith("msrs"):
        return stem.endswith("D" if kind == "day" else "N")
    return name.startswith("roadscene" if kind == "day" else "llvip")
