"""Infrared and visible pictures of the same scene, cropped and augmented for training.

A folder holds ``IR/`` and ``VIS/`` with the same file stems. Pictures are kept in memory as
uint8 (a few hundred street scenes are some hundred megabytes).
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError


def list_pairs(folder: Path) -> List[Tuple[Path, Path]]:
    """(ir, vis) paths of every stem that both subfolders hold, sorted.

    :raises FrameError: there are none, or a stem has no partner (it names the first few).
    """
    by_stem: List[Dict[str, Path]] = [
        {p.stem: p for p in (Path(folder) / side).glob("*.*")} for side in ("IR", "VIS")
    ]
    lonely = sorted(set(by_stem[0]) ^ set(by_stem[1]))
    if lonely:
        raise FrameError(
            f"expected the same stems under IR/ and VIS/ of {folder}, found "
            f"{len(lonely)} without a partner, first {lonely[:3]}; rename or remove"
        )
    if not by_stem[0]:
        raise FrameError(f"expected pictures under {folder}/IR and {folder}/VIS, found none")
    return [(by_stem[0][stem], by_stem[1][stem]) for stem in sorted(by_stem[0])]


def read_pair(ir_path: Path, vis_path: Path) -> Tuple[np.ndarray, np.ndarray]:
    """uint8 IR H x W and uint8 RGB H x W x 3, of one size.

    :raises FrameError: a file cannot be read, or the sizes differ.
    """
    ir = cv2.imread(str(ir_path), cv2.IMREAD_GRAYSCALE)
    vis = cv2.imread(str(vis_path), cv2.IMREAD_COLOR)
    for path, picture in ((ir_path, ir), (vis_path, vis)):
        if picture is None:
            raise FrameError(f"expected a picture, {path} cannot be read: truncated or no image?")
    if ir.shape != vis.shape[:2]:
        raise FrameError(
            f"expected one size, found {ir.shape} in {ir_path} and "
            f"{vis.shape[:2]} in {vis_path}; register the pair first"
        )
    return ir, cv2.cvtColor(vis, cv2.COLOR_BGR2RGB)


class PairCrops:
    """Random augmented crops of luminance pairs from several folders.

    :param folders: (folder, share) rows; shares say how often each is drawn.
    :param crop: side of the square crop, pixels.
    """

    def __init__(self, folders: Sequence[Tuple[Path, float]], crop: int, seed: int = 0) -> None:
        self.crop, self.random = crop, np.random.default_rng(seed)
        self.shares = np.array([share for _, share in folders], dtype=np.float64)
        self.shares /= self.shares.sum()
        self.groups = []
        for folder, _ in folders:
            pairs = [read_pair(*paths) for paths in list_pairs(Path(folder))]
            self.groups.append([(ir, cv2.cvtColor(vis, cv2.COLOR_RGB2GRAY)) for ir, vis in pairs])

    def batch(self, count: int) -> Tuple[np.ndarray, np.ndarray]:
        """IR and luminance, each float32 count x 1 x crop x crop, 0..1."""
        pairs = [self._one() for _ in range(count)]
        ir, y = (np.stack(side)[:, None].astype(np.float32) / 255.0 for side in zip(*pairs))
        return ir, y

    def _one(self) -> Tuple[np.ndarray, np.ndarray]:
        group = self.groups[self.random.choice(len(self.groups), p=self.shares)]
        ir, y = group[self.random.integers(len(group))]
        # Scenes come from afar and near: scale before the crop, area-averaged.
        scale = max(self.random.uniform(0.6, 1.2), (self.crop + 1) / min(y.shape))
        size = (int(y.shape[1] * scale), int(y.shape[0] * scale))
        if self.random.random() < 0.5 or min(y.shape) <= self.crop:
            ir, y = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (ir, y))
        top = self.random.integers(y.shape[0] - self.crop + 1)
        left = self.random.integers(y.shape[1] - self.crop + 1)
        window = np.s_[top : top + self.crop, left : left + self.crop]
        ir, y = ir[window], y[window]
        if self.random.random() < 0.5:
            ir, y = ir[:, ::-1], y[:, ::-1]
        return self._sensor(ir, 0.15, 2.0), self._sensor(y, 0.3, 1.0)

    def _sensor(self, picture: np.ndarray, gamma_spread: float, noise: float) -> np.ndarray:
        """Another exposure (gamma), and on one picture in four a little sensor noise."""
        if self.random.random() < 0.5:
            gamma = np.exp(self.random.normal(0.0, gamma_spread))
            table = 255.0 * (np.arange(256) / 255.0) ** gamma
            picture = table.round().astype(np.uint8)[picture]
        if self.random.random() < 0.25:
            noisy = picture + self.random.normal(0.0, noise, picture.shape)
            picture = noisy.round().clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(picture)
