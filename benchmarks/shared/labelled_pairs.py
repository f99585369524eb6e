"""Annotated pairs of the data folder: their part, day or night, and the thermal image as seen.

* roadscene with roadscene_boxes
* msrs with msrs_boxes
* m3fd: another camera, validation alone
* without boxes: msrs; llvip, llvip256 and kaist (training alone)

The folders val and what `training.data.scene_parts` holds out are for validation: the shipped
models were not trained on these images.

Thermal images without a visible one (flir_raw16) cannot be fused. Those with one (raw16_rgb) are
frames of roadscene and not counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.shared.pairs import Pair, as_seen, read_pairs, resized
from irvis_fusion_core.detectors.detection import Box, Truth
from training.data.boxes import read_boxes
from training.data.scene_parts import held_out

CLASS_NAMES = ("person", "bicycle or motorcycle", "car/truck/bus", "dog")
"""Of the numbers in the shared YOLO files."""
CLASSES = {"person": "person", "car/truck/bus": "car"}
"""Annotated class -> column of the tables."""
IGNORED_BELOW_PX = 12
"""Root of the area of a box that is too small to demand."""
NIGHT_BELOW = 150.0
"""Mean luminance of the upper third: RoadScene's street lamps light the road, not the sky."""
NIGHT_RULE = (
    "night: MSRS by name (N), others where the visible luminance of the upper third is below "
    f"{NIGHT_BELOW:g} on average"
)
BOXED = {
    "roadscene/train": "roadscene_boxes",
    "roadscene/val": "roadscene_boxes",
    "msrs/train": "msrs_boxes",
    "msrs/val": "msrs_boxes",
    "m3fd": "m3fd/boxes",
}
LLVIP_SIZE = (320, 256)
"""Width and height of the true aspect of llvip256's square images."""
UNBOXED = ("msrs/train", "msrs/val", "llvip/train", "llvip256", "kaist")


class LabelledPair(NamedTuple):
    """A pair as the network sees it; `truth` is None where there are no boxes."""

    pair: Pair
    truth: list[Truth] | None
    night: bool


def read_labelled(
    data: Path, part: str, boxed: bool = True, limit: int | None = None
) -> Iterator[LabelledPair]:
    """Yield the pairs of a part ("train", "val", "all").

    Args:
        data: The folder of the sets; sets that are missing there are left out.
        part: Which part.
        boxed: The pairs with boxes, or else the sets of `UNBOXED` without.
        limit: At most this many pairs of each folder, evenly spread.
    """
    for name in BOXED if boxed else UNBOXED:
        if not (data / name / "IR").is_dir():
            continue
        boxes = data / BOXED.get(name, "none")

        def wanted(stem: str, name: str = name, boxes: Path = boxes) -> bool:
            annotated = (boxes / f"{stem}.txt").is_file()
            return annotated == boxed and part in ("all", part_of(name, stem, annotated))

        for pair in read_pairs(data, name, limit, limit is not None, wanted):
            stem = pair.name.rpartition("/")[2]
            if name == "llvip256":
                pair = resized(pair, *LLVIP_SIZE)
            truth = _boxes(boxes / f"{stem}.txt", *pair.luma.shape) if boxed else None
            yield LabelledPair(as_seen(pair), truth, is_night(pair))


def is_night(pair: Pair) -> bool:
    """Return whether a pair shows night, by NIGHT_RULE."""
    if pair.name.startswith("msrs"):
        return pair.name.endswith("N")
    return float(pair.luma[: len(pair.luma) // 3].mean()) < NIGHT_BELOW


def part_of(name: str, stem: str, annotated: bool) -> str:
    """Return the part, "train" or "val", of an image of the set `name`."""
    validation = name == "m3fd" or name.endswith("/val") or held_out(stem, annotated)
    return "val" if validation else "train"


def _boxes(path: Path, height: int, width: int) -> list[Truth]:
    found = []
    for kind, *shares in read_boxes(path).astype(float):
        x, y, w, h = np.array(shares) * (width, height, width, height)
        label = CLASS_NAMES[int(kind)]
        small = w * h < IGNORED_BELOW_PX**2
        found.append(Truth(Box(x - w / 2, y - h / 2, w, h), label, bool(small)))
    return found
