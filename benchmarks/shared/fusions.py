"""The fusions that the tables compare: the trivial ones and models as a robot runs them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from benchmarks.shared.pairs import Pair
from irvis_fusion_core.fusion import RealtimeFusion
from irvis_fusion_core.image_files import read_visible
from irvis_fusion_core.metrics.trivial_fusions import TRIVIAL_FUSIONS

Fusion = Callable[[Pair], np.ndarray]
"""From a pair to uint8 luminance HxW or RGB HxWx3."""
Key = TypeVar("Key")


def trivial_fusions(names: Iterable[str] = tuple(TRIVIAL_FUSIONS)) -> dict[str, Fusion]:
    """Return trivial fusions by name; they give luminance."""

    def of(name: str) -> Fusion:
        return lambda pair: TRIVIAL_FUSIONS[name](pair.ir, pair.luma)

    return {name: of(name) for name in names}


@contextmanager
def open_fusions(
    options: argparse.Namespace, trivial: Iterable[str] = ()
) -> Iterator[dict[str, Fusion]]:
    """Open trivial fusions, then models by the shared options; models give RGB.

    A model is MODEL[=NAME]: a shipped name, an .onnx file or a checkpoint. NAME is its row in the
    table, by default the file's name, or the folder's for a checkpoint.
    """
    fusions = trivial_fusions(trivial)
    with ExitStack() as stack:
        for text in options.model:
            model, _, name = text.partition("=")
            path = Path(model)
            if path.suffix in (".pth", ".pt", ".ckpt", ".safetensors"):
                fusions[name or path.parent.name] = _checkpoint(stack, path, options.threads)
            else:
                fusion = RealtimeFusion(
                    model, options.backend, thermal=None, threads=options.threads
                )
                fusions[name or path.stem] = _exported(stack.enter_context(fusion))
        yield fusions


class ImageFolder:
    """A fusion whose images exist: ``DIR/<stem>.png``, as `training.make_teacher_images` writes.

    Args:
        text: ``DIR[=NAME]``; NAME is the row in the table, by default the folder's name.
    """

    def __init__(self, text: str) -> None:
        folder, _, name = text.partition("=")
        self.folder, self.name = Path(folder), name or Path(folder).name
        if not any(self.folder.glob("*.png")):
            raise SystemExit(f"expected images (.png) in {folder}, found none")

    def __contains__(self, pair: Pair) -> bool:
        return self._path(pair).is_file()

    def __call__(self, pair: Pair) -> np.ndarray:
        image = read_visible(str(self._path(pair)))[..., ::-1]
        if image.shape != pair.vis.shape:
            raise SystemExit(
                f"expected {pair.vis.shape} as the pair has, found {image.shape} in "
                f"{self._path(pair)}"
            )
        return image

    def _path(self, pair: Pair) -> Path:
        return self.folder / f"{pair.name.rpartition('/')[2]}.png"


def open_images(options: argparse.Namespace) -> dict[str, Fusion]:
    """Return the rows of --images."""
    folders = map(ImageFolder, options.images)
    return {folder.name: folder for folder in folders}


def has_images(pair: Pair, images: Mapping[str, Fusion]) -> bool:
    """Return whether every row of `open_images` has this pair."""
    return all(pair in folder for folder in images.values() if isinstance(folder, ImageFolder))


def _exported(fusion: RealtimeFusion) -> Fusion:
    return lambda pair: fusion.fuse_frame(pair.ir, pair.vis, order="rgb")


def _checkpoint(stack: ExitStack, path: Path, threads: int) -> Fusion:
    from training.evaluation.fusers import open_fuser

    fuser = open_fuser(str(path), device="cpu", threads=threads)
    stack.callback(fuser.close)
    return lambda pair: fuser.fuse([pair.ir], [pair.vis])[0]


def mean_rows(rows: Mapping[Key, Sequence[Sequence[float]]]) -> dict[Key, list[float]]:
    """Return key -> mean of each column over those rows that have it; NaN where none has."""
    means = {}
    for key, values in rows.items():
        figures = np.array(values, float)
        masked = np.ma.array(figures, mask=np.isnan(figures))
        means[key] = masked.mean(axis=0).filled(np.nan).tolist()
    return means


def score_fusions(
    pairs: Iterable[Pair],
    fusions: Mapping[str, Fusion],
    score: Callable[[np.ndarray, Pair], Sequence[float]],
) -> tuple[dict[str, list[float]], int]:
    """Return fusion -> means over the pairs of what `score` gives; and the number of pairs."""
    rows: dict[str, list[Sequence[float]]] = {name: [] for name in fusions}
    for pair in pairs:
        for name, fuse in fusions.items():
            rows[name].append(score(fuse(pair), pair))
    return mean_rows(rows), len(next(iter(rows.values())))


def in_colour(name: str, image: np.ndarray, vis: np.ndarray) -> np.ndarray:
    """Return RGB of a fused image: luminance gets the visible chroma (BT.601), IR stays grey."""
    if image.ndim == 3:
        return image
    if name == "IR":
        return np.dstack([image] * 3)
    coded = cv2.cvtColor(vis, cv2.COLOR_RGB2YCrCb)
    coded[..., 0] = image
    return cv2.cvtColor(coded, cv2.COLOR_YCrCb2RGB)


def rows_of(fusions: Mapping[str, Fusion]) -> dict[str, Fusion]:
    """Return all rows as fusions that give RGB: both cameras first."""
    cameras: dict[str, Fusion] = {
        "visible": lambda pair: pair.vis,
        "thermal": lambda pair: np.dstack([pair.ir] * 3),
    }

    def coloured(name: str) -> Fusion:
        return lambda pair: in_colour(name, fusions[name](pair), pair.vis)

    return {**cameras, **{name: coloured(name) for name in fusions}}
