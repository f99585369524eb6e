"""The real pairs that `beyond_maximum` looks at: which folders, and which are day or night."""

from pathlib import Path
from typing import Callable, Dict, Iterator, NamedTuple, Optional, Tuple

import numpy as np

from irvis_fusion_core import metrics
from irvis_fusion_core.image_files import pairs_in, read_thermal, read_visible

# No model was trained on `val`; the shipped ones were on `train`, wholly or in part.
PARTS: Dict[str, Tuple[str, ...]] = {
    "val": ("msrs/val", "roadscene/val"),
    "train": ("msrs/train", "roadscene/train", "llvip/train"),
}
VIDEOS = ("video_tno_nato_camp", "video_m3svd")
# RoadScene does not say when an image was taken, and its night ones are lit up to a mean of 150.
ROADSCENE_DAY_LUMA = 155.0


class Pair(NamedTuple):
    """A registered pair: uint8 IR HxW, visible RGB HxWx3 and its luminance HxW."""

    name: str
    ir: np.ndarray
    vis: np.ndarray
    luma: np.ndarray


Fusions = Dict[str, Callable[[Pair], np.ndarray]]


def read_set(data: Path, name: str, stems: Optional[str] = None) -> Iterator[Pair]:
    """The pairs of one folder, by name; `stems` is what their names must end in."""
    for files in pairs_in(str(data / name)):
        if stems is None or files.stem.endswith(stems):
            yield _read(name, files)


def spread(data: Path, sets: Tuple[str, ...], kind: str, limit: Optional[int]) -> Iterator[Pair]:
    """Pairs of a kind ("any", "day" or "night") out of several folders.

    Args:
        limit: at most so many of each folder, evenly over its names; None for all. Day pairs of
            RoadScene are recognised by their brightness only afterwards, so fewer are left.
    """
    for name in sets:
        files = [each for each in pairs_in(str(data / name)) if _may_be(name, each.stem, kind)]
        if limit is not None and len(files) > limit:
            files = [files[i] for i in np.linspace(0, len(files) - 1, limit).round().astype(int)]
        for each in files:
            pair = _read(name, each)
            if kind != "day" or name.startswith("msrs") or pair.luma.mean() >= ROADSCENE_DAY_LUMA:
                yield pair


def _may_be(name: str, stem: str, kind: str) -> bool:
    """Whether a pair can be of this kind, by the folder's and its own name alone."""
    if kind == "any":
        return True
    if name.startswith("msrs"):
        return stem.endswith("D" if kind == "day" else "N")
    return name.startswith("roadscene" if kind == "day" else "llvip")


def _read(name: str, files) -> Pair:
    ir, vis = read_thermal(files.ir), read_visible(files.vis)
    if ir.dtype != np.uint8 or ir.shape != vis.shape[:2]:
        raise SystemExit(
            f"{name}: {files.stem} must be 8-bit and of one size, found {ir.dtype} {ir.shape} and "
            f"{vis.shape[:2]}"
        )
    vis = np.ascontiguousarray(vis[..., ::-1])
    return Pair(f"{name}/{files.stem}", ir, vis, metrics.luminance(vis))
