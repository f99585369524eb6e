"""Draw ensembles from a teacher: batches of one size, divergence, memory, reduced size."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from irvis_fusion_core.network.student import luminance
from training.errors import TeacherMemoryError
from training.teachers import images

DISAGREE, AGREE = 40, 10
"""Grey levels by which both sources differ, at least or at most."""


class Pair(NamedTuple):
    """One scene: uint8 infrared H x W, uint8 RGB H x W x 3."""

    stem: str
    ir: np.ndarray
    vis: np.ndarray


class Ensemble(NamedTuple):
    """A teacher's samples of a pair."""

    stem: str
    samples: dict[int, torch.Tensor]  # number -> float luminance 1 x H x W, 0..1
    diverged: list[int]  # numbers of the samples that were left out
    ir: torch.Tensor  # float 1 x H x W, 0..1
    vis: torch.Tensor  # float RGB 3 x H x W
    seconds: float


@dataclass
class EnsembleSampler:
    """Draws `samples` fusions of every pair."""

    teacher: Any  # `DDFM` or `MaskDiFuser`; anything with ``fuse(ir, vis, seeds)``
    samples: int
    batch_size: int  # samples drawn at once, of one pair or of pairs of one size
    device: torch.device
    seed: int = 0
    max_side: int = 0
    """Longer images are fused at this size; the change of luminance by fusion is enlarged, so
    that the visible texture stays. 0 fuses every image at its own size."""
    half: bool = False  # run the network in half precision
    hold: bool = False  # bring brightness into the sources' range (`hold_brightness`)

    @property
    def pairs_at_once(self) -> int:
        """Return how many pairs of one size fill a batch."""
        return max(1, self.batch_size // self.samples)

    def draw(
        self, pairs: Sequence[Pair], drawn: Callable[[int], object] = lambda count: None
    ) -> list[Ensemble]:
        """Return the ensembles of some pairs of one size.

        Args:
            drawn: Called after each batch with the number of its images.
        """
        started = time.monotonic()
        planes = [(p.ir[None], p.vis.transpose(2, 0, 1)) for p in pairs]
        ir, vis = (torch.from_numpy(np.stack(x)).float() / 255.0 for x in zip(*planes))
        jobs = [(i, k) for i in range(len(pairs)) for k in range(self.samples)]
        found = [Ensemble(p.stem, {}, [], i, v, 0.0) for p, i, v in zip(pairs, ir, vis)]
        for first in range(0, len(jobs), self.batch_size):
            batch = jobs[first : first + self.batch_size]
            rows = [i for i, _ in batch]
            seeds = [images.seed_of(pairs[i].stem, k, self.seed) for i, k in batch]
            fused = self._fuse(ir[rows], vis[rows], seeds)
            if self.hold:
                fused = images.hold_brightness(fused, ir[rows], vis[rows])
            bad = images.diverged(fused, ir[rows], vis[rows])
            for (i, k), one, is_bad in zip(batch, fused, bad):
                if is_bad:
                    found[i].diverged.append(k)
                else:
                    found[i].samples[k] = one.clamp(0.0, 1.0)
            drawn(len(batch))
        seconds = (time.monotonic() - started) / len(pairs)
        return [one._replace(seconds=seconds) for one in found]

    def _fuse(self, ir: torch.Tensor, vis: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        small_ir, small_vis = (_reduced(x, self.max_side) for x in (ir, vis))
        try:
            with self._precision():
                moved = (x.to(self.device) for x in (small_ir, small_vis))
                fused = self.teacher.fuse(*moved, seeds)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TeacherMemoryError(advice(len(ir), *small_ir.shape[2:])) from error
        fused = fused.float().cpu()
        if small_ir.shape == ir.shape:
            return fused
        change = fused - luminance(small_vis)
        return luminance(vis) + F.interpolate(change, ir.shape[2:], mode="bicubic")

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        if not self.half:
            return contextlib.nullcontext()
        dtype = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        return torch.autocast(self.device.type, dtype)


def same_size(pairs: Iterator[Pair], most: int) -> Iterator[list[Pair]]:
    """Yield groups of at most `most` neighbouring pairs of one size."""
    for _, group in itertools.groupby(pairs, key=lambda pair: pair.ir.shape):
        while batch := list(itertools.islice(group, most)):
            yield batch


def summarize(ensemble: Ensemble) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean luminance 1 x H x W and its variance H x W over the kept samples."""
    samples = torch.stack(list(ensemble.samples.values())).double()
    return samples.mean(0).float(), samples.var(0, correction=0)[0]


def spread(ensemble: Ensemble) -> tuple[float, float] | None:
    """Return the mean standard deviation of the samples, in grey levels.

    Where the sources `DISAGREE`, and where they `AGREE`: alike in both, it is grain, and the
    variance has nothing to weigh. None of one sample, or where there is no pixel of one kind.
    """
    apart = 255.0 * (ensemble.ir - luminance(ensemble.vis[None])[0]).abs()[0]
    kinds = apart > DISAGREE - 0.5, apart < AGREE + 0.5
    if len(ensemble.samples) < 2 or not all(kind.any() for kind in kinds):
        return None
    deviation = 255.0 * summarize(ensemble)[1].sqrt()
    disagree, agree = (float(deviation[kind].mean()) for kind in kinds)
    return disagree, agree


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch ran out of memory, on a GPU or on the CPU."""
    said = ("not enough memory", "can't allocate", "out of memory")
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(words in str(error).lower() for words in said)


def advice(batch: int, height: int, width: int) -> str:
    """Return what to try after running out of memory with this batch and size."""
    what = f"out of memory with --batch_size {batch} at {width}x{height}"
    if batch > 1:
        return f"{what}; try --batch_size {batch // 2}"
    side = max(32, int(max(height, width) * 0.7) // 32 * 32)
    return f"{what}; try --max_side {side}, or --use_amp"


def _reduced(x: torch.Tensor, max_side: int) -> torch.Tensor:
    height, width = x.shape[2:]
    if not max_side or max(height, width) <= max_side:
        return x
    scale = max_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    planes = x.flatten(0, 1).numpy()
    small = np.stack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in planes])
    return torch.from_numpy(small).view(*x.shape[:2], *small.shape[1:])
