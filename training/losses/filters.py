"""Sliding windows over one-channel images, with a gradient that costs as much as the filter.

A one-channel convolution of PyTorch takes several times longer on a CPU, and its gradient ten
times longer again.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


def separable_filter(x: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """Filter N x 1 x H x W by a 1-D window along both axes, where it lies inside."""
    return _Separable.apply(x, tuple(window.tolist()))


def smooth(x: torch.Tensor, size: int) -> torch.Tensor:
    """Return the mean of `size` x `size` pixels (odd) around each of N x 1 x H x W.

    At the border it is the mean of the pixels that exist.
    """
    half = size // 2
    total = _Separable.apply(F.pad(x, [half] * 4), (1.0,) * size)
    rows, columns = (_neighbours(length, half, x) for length in x.shape[2:])
    return total / (rows[:, None] * columns)


def gaussian_window(size: int, sigma: float) -> torch.Tensor:
    """Return a normalised 1-D Gaussian of `size` taps."""
    x = torch.arange(size, dtype=torch.float32) - (size - 1) / 2.0
    weights = torch.exp(-(x**2) / (2.0 * sigma**2))
    return weights / weights.sum()


def _neighbours(length: int, half: int, like: torch.Tensor) -> torch.Tensor:
    place = torch.arange(length, device=like.device, dtype=like.dtype)
    return place.clamp_max(half) + (length - 1 - place).clamp_max(half) + 1.0


class _Separable(torch.autograd.Function):
    """Weighted sums of shifted images; the gradient is the same of the padded one."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, taps: tuple[float, ...]) -> torch.Tensor:
        ctx.taps = taps
        return _slide(_slide(x, taps, 2), taps, 3)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        taps, wide = ctx.taps[::-1], len(ctx.taps) - 1
        rows = _slide(F.pad(gradient, (wide, wide)), taps, 3)
        return _slide(F.pad(rows, (0, 0, wide, wide)), taps, 2), None


def _slide(x: torch.Tensor, taps: tuple[float, ...], axis: int) -> torch.Tensor:
    if len(set(taps)) == 1:
        return _sums(x, len(taps), axis) * taps[0]
    length = x.shape[axis] - len(taps) + 1
    total = x.narrow(axis, 0, length) * taps[0]
    for start, weight in enumerate(taps[1:], 1):
        total.add_(x.narrow(axis, start, length), alpha=weight)
    return total


def _sums(x: torch.Tensor, count: int, axis: int) -> torch.Tensor:
    """Return the sums of `count` neighbours, from those of half as many."""
    if count == 1:
        return x
    half, length = _sums(x, count // 2, axis), x.shape[axis] - count + 1
    total = half.narrow(axis, 0, length) + half.narrow(axis, count // 2, length)
    return total.add_(x.narrow(axis, count - 1, length)) if count % 2 else total
