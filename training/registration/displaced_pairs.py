"""Crops of pairs at half size, the thermal image displaced by a field that is known.

Both images are interpolated once and alike, so that a sharper image says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from irvis_fusion_core.metrics import luminance
from irvis_fusion_core.network.displacement import CELL, MULTIPLE
from training.data.boxes import read_boxes
from training.data.dataset import Root
from training.data.displacement_fields import Displacement, Random, random_displacement
from training.data.images import ImageStore, PairPaths, read_pair
from training.data.listing import list_images
from training.data.sampling import Draw, Group
from training.data.scene_parts import held_out
from training.errors import DataError

REFERENCE_SIDE = 640
"""Longer side of the image, pixels, at which the network sees it at half its size."""
_ONE_SPECTRUM = 0.1
"""Share of draws in which one camera gives both images: matching is learned from these first."""
_UNRELATED = 0.04  # share of draws in which the thermal image shows another scene, or nothing


class GreyPair(NamedTuple):
    """A pair in memory: uint8 H x W each, and boxes (n x 4: centre, width, height, pixels)."""

    ir: np.ndarray
    vis: np.ndarray
    boxes: np.ndarray

    @property
    def nbytes(self) -> int:
        """Return the memory that the images take, bytes."""
        return self.ir.nbytes + self.vis.nbytes


def read_grey(paths: PairPaths) -> GreyPair:
    """Return a pair, its longer side at most `REFERENCE_SIDE`; errors as `read_pair`."""
    ir, vis = read_pair(paths.ir, paths.vis)
    planes = [ir, luminance(vis)]
    scale = REFERENCE_SIDE / max(ir.shape)
    if scale < 1.0:
        planes = [
            cv2.resize(x, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for x in planes
        ]
    # As the mean of 2 x 2 pixels, which a camera's image becomes, but for any place.
    planes = [cv2.GaussianBlur(x, (0, 0), 0.6) for x in planes]
    boxes = np.zeros((0, 5), np.float32) if paths.boxes is None else read_boxes(paths.boxes)
    height, width = planes[0].shape
    return GreyPair(planes[0], planes[1], boxes[:, 1:] * np.array([width, height] * 2, np.float32))


class DisplacedPairs(Dataset):
    """Displaced crops by number: the seed and the number of a `Draw` alone decide them.

    An item is a dict of tensors; h and w are those of the crop in cells:

    =============  ================  ======================================================
    ``ir``         float 1xHxW       displaced, grey levels
    ``ir_plain``   float 1xHxW       the same before
    ``vis``        float 1xHxW       luminance, grey levels
    ``field``      float 2xhxw       displacement of ``ir`` against ``ir_plain``, pixels
    ``hidden``     bool 1xhxw        cells that ``ir`` does not show
    ``registered`` bool              whether ``ir_plain`` lies on ``vis``
    ``related``    bool              False: ``ir`` shows another scene, or nothing
    =============  ================  ======================================================

    Args:
        roots: Folders of registered pairs, and their shares.
        unregistered: Folders of pairs of one scene that do not lie on each other.
        size: Side of the crops in pixels of the network's input.
        reach: Largest displacement, the same pixels.
        boxes: Folders of annotations, ``<stem>.txt`` each; the first that has a scene's counts.
        excluded: Stems to leave out.
        part: "train" leaves the scenes out that are `held_out`, "validation" takes them alone.

    Raises:
        DataError: No usable pair in a folder, or faulty files.
    """

    def __init__(
        self,
        roots: Sequence[Root],
        unregistered: Sequence[Root] = (),
        size: int = 128,
        reach: float = 15.0,
        seed: int = 0,
        boxes: Sequence[Path] = (),
        excluded: frozenset[str] = frozenset(),
        part: str = "train",
        cache_gb: float = 2.0,
    ) -> None:
        if size % (2 * MULTIPLE):
            raise DataError(f"expected a size that {2 * MULTIPLE} divides, found {size}")
        self.size, self.reach, self.seed, self.part = size, reach, seed, part
        self.read = ImageStore(int(cache_gb * 1024**3), read_grey)
        self.pairs: list[PairPaths] = []
        self.groups: list[Group] = []
        self.registered: list[bool] = []
        for root, registered in [*((r, True) for r in roots), *((r, False) for r in unregistered)]:
            first = len(self.pairs)
            for pair in list_images(root.folder, check=False).pairs:
                files = (folder / f"{pair.stem}.txt" for folder in boxes)
                found = next((path for path in files if path.is_file()), None)
                kept = held_out(pair.stem, found is not None) == (part == "validation")
                if kept and pair.stem not in excluded:
                    self.pairs.append(pair._replace(boxes=found))
            if len(self.pairs) > first:
                self.groups.append(Group(range(first, len(self.pairs)), root.share))
                self.registered += [registered] * (len(self.pairs) - first)
            elif part == "train":
                raise DataError(f"expected pairs for training in {root.folder}, found none left")
        if not self.pairs:
            raise DataError(
                f"expected pairs for {part}, found none: no folder has held-out scenes"
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: Draw | int) -> dict[str, torch.Tensor]:
        """Return the crop of a `Draw`; of an index, always the same crop."""
        index, number = draw if isinstance(draw, tuple) else (int(draw), int(draw))
        random = np.random.default_rng((self.seed, number))
        pair = self.read(self.pairs[index])
        window = _window(random, pair.ir.shape, self.size)
        boxes = _boxes_within(pair.boxes, window, self.size)
        moved = random_displacement(random, self.size, CELL, self.reach, boxes)
        y, x = np.mgrid[: self.size, : self.size].astype(np.float32)
        plain = _cut(pair.ir, window, np.stack([x, y]))
        vis = _cut(pair.vis, window, np.stack([x, y]))
        ir, related = _cut(pair.ir, window, moved.source), True
        chance = random.random()
        if self.part == "train" and chance < _ONE_SPECTRUM / 2:
            vis = plain
        elif self.part == "train" and chance < _ONE_SPECTRUM:
            ir, plain = _cut(pair.vis, window, moved.source), vis
        if random.random() < _UNRELATED:
            ir, related = self._unrelated(random, index, window), False
            moved = Displacement(moved.source, 0 * moved.field, np.ones_like(moved.hidden))
        change = _Look(random, invert=0.12, blur=1.6)
        items = {"ir": change(ir), "ir_plain": change(plain)}
        items["vis"] = _Look(random, invert=0.0, blur=1.2)(vis)
        tensors = {name: torch.from_numpy(image)[None] for name, image in items.items()}
        tensors["field"] = torch.from_numpy(moved.field)
        tensors["hidden"] = torch.from_numpy(moved.hidden)[None]
        tensors["registered"] = torch.tensor(self.registered[index])
        tensors["related"] = torch.tensor(related)
        return tensors

    def _unrelated(self, random: Random, index: int, window: np.ndarray) -> np.ndarray:
        """Return the thermal image of another pair, or a flat one."""
        other = int(random.integers(len(self.pairs)))
        if other == index or random.random() < 0.3:
            return np.full((self.size, self.size), random.uniform(0.0, 255.0), np.float32)
        ir = self.read(self.pairs[other]).ir
        y, x = np.mgrid[: self.size, : self.size].astype(np.float32)
        return _cut(ir, _window(random, ir.shape, self.size), np.stack([x, y]))


def _window(random: Random, shape: tuple[int, ...], size: int) -> np.ndarray:
    """Return a random 2 x 3 matrix from pixels of the crop to those of the image."""
    height, width = shape[:2]
    # Twice as coarse as the image, as at run time; and less or more.
    scale = min(2.0 * random.uniform(0.7, 1.3), 1.2 * min(height, width) / size)
    angle = random.normal(0.0, 0.06)
    mirror = -1.0 if random.random() < 0.5 else 1.0
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.diag([mirror, 1.0])
    half = scale * size / 2
    centre = np.array(
        [
            random.uniform(min(half, side / 2), max(side - half, side / 2))
            for side in (width, height)
        ]
    )
    shift = centre - turn @ np.full(2, (size - 1) / 2)
    return np.column_stack([turn, shift]).astype(np.float32)


def _boxes_within(boxes: np.ndarray, window: np.ndarray, size: int) -> np.ndarray:
    """Return boxes in pixels of the crop, those that it shows and that are no speck."""
    back = np.linalg.inv(window[:, :2])
    centres = (boxes[:, :2] - window[:, 2]) @ back.T
    scale = float(np.sqrt(abs(np.linalg.det(back))))
    found = np.concatenate([centres, boxes[:, 2:] * scale], 1)
    seen = ((centres > 0) & (centres < size)).all(1) & (found[:, 3] >= 6.0)
    return found[seen & (found[:, 2] < size / 2)]


def _cut(image: np.ndarray, window: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return float32 of an image at places of the crop (2 x H x W: x, y)."""
    x = window[0, 0] * places[0] + window[0, 1] * places[1] + window[0, 2]
    y = window[1, 0] * places[0] + window[1, 1] * places[1] + window[1, 2]
    cut = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return cut.astype(np.float32)


class _Look:
    """Another exposure, sharpness and noise, the same for several images of a camera.

    `invert` is the probability that cold is white, `blur` the largest deviation, pixels.
    """

    def __init__(self, random: Random, invert: float, blur: float) -> None:
        self.random = random
        self.inverts = random.random() < invert
        self.gamma = 2.0 ** random.normal(0.0, 0.35)
        self.gain = 2.0 ** random.normal(0.0, 0.3)
        self.level = random.normal(5.0, 12.0)
        self.blur = blur * random.random() if random.random() < 0.4 else 0.0
        self.noise = 10.0 * random.random() ** 2

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return float32 whole grey levels, 0..255."""
        image = 255.0 - image if self.inverts else image
        if self.blur > 0.2:
            image = cv2.GaussianBlur(image, (0, 0), self.blur)
        image = 255.0 * (image / 255.0) ** self.gamma * self.gain + self.level
        image = image + self.random.normal(0.0, 1.0, image.shape) * self.noise
        return np.rint(image.clip(0.0, 255.0)).astype(np.float32)
