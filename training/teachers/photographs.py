"""Photographs to train a prior on: random crops, and two half-blind views of each."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.image_files import IMAGE_SUFFIXES
from training.data.augmentation import resize_square
from training.data.images import ImageStore, decode
from training.data.sampling import Draw, Group
from training.errors import DataError
from training.teachers.mask_difuser.masking import half_blind_views


def list_photographs(roots: Sequence[str | Path]) -> list[Path]:
    """List every image under the folders, sorted; of ``VIS/`` alone where there is one."""
    found: list[Path] = []
    for root in map(Path, roots):
        folder = root / "VIS" if (root / "VIS").is_dir() else root
        shown = (p for p in folder.rglob("*") if not p.name.startswith("."))
        here = sorted(p for p in shown if p.suffix.lower() in IMAGE_SUFFIXES)
        if not here:
            raise DataError(f"expected photographs under {folder}, found none; name another one")
        found += here
    return found


class PhotographCrops(Dataset):
    """Crops by number: the seed and the number of a `Draw` alone decide its variant.

    An item is a dict of float tensors C x size x size in -1..1: ``image``, and with `views` also
    ``view_a`` and ``view_b`` (see `masking`).

    Args:
        channels: 1 (luminance) or 3 (RGB).
        size: Side of a crop, pixels. Images smaller than that are enlarged.
        limit_gb: Memory for decoded images, GiB; the rest is decoded every time.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        channels: int,
        size: int,
        views: bool,
        seed: int = 0,
        limit_gb: float = 2.0,
    ) -> None:
        if channels not in (1, 3) or size < 16:
            raise ConfigurationError(
                f"expected channels 1 or 3 and a size of at least 16, found {channels} and {size}"
            )
        self.paths, self.channels, self.size = list(paths), channels, size
        self.groups = [Group(range(len(self.paths)))]
        self.views, self.seed = views, seed
        read = functools.partial(_read_photograph, channels)
        self.store = ImageStore(int(limit_gb * 1024**3), read)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, draw: Draw | int) -> dict[str, torch.Tensor]:
        """Return the crop of a `Draw`; of an index, always the same crop."""
        index, number = draw if isinstance(draw, tuple) else (int(draw), int(draw))
        random = np.random.default_rng((self.seed, number))
        crop = self._crop(self.store(self.paths[index]), random)
        item = {"image": crop}
        if self.views:
            item["view_a"], item["view_b"] = half_blind_views(crop, random)
        planes = {k: v.transpose(2, 0, 1).astype(np.float32) for k, v in item.items()}
        return {name: torch.from_numpy(image / 127.5 - 1.0) for name, image in planes.items()}

    def _crop(self, image: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Draw a window of one to two crops, area-averaged to the crop, mirrored by chance."""
        height, width = image.shape[:2]
        side = int(min(height, width, self.size * random.uniform(1.0, 2.0)))
        top, left = random.integers(height - side + 1), random.integers(width - side + 1)
        window = image[top : top + side, left : left + side]
        crop = resize_square(window, self.size, random.random() < 0.5)
        return crop.reshape(self.size, self.size, self.channels)


def _read_photograph(channels: int, path: Path) -> np.ndarray:
    image = decode(path, cv2.IMREAD_COLOR)
    if channels == 1:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, None]
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
