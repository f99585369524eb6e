"""The rows that show what contrast alone counts as flicker."""

import numpy as np
import pytest

from benchmarks.image_faults import SHARPENED_PX, SHARPENING, sharpened, warped_flicker
from benchmarks.shared.pairs import Pair


def _pair(level: float) -> Pair:
    rows, columns = np.indices((64, 96), np.float32)
    wave = 128 + level * np.sin(2 * np.pi * columns / 8) * np.sin(2 * np.pi * rows / 8)
    vis = np.repeat(np.rint(wave).astype(np.uint8)[..., None], 3, axis=2)
    return Pair("0", np.full((64, 96), 90, np.uint8), vis, vis[..., 0].copy())


def test_a_wave_gains_the_contrast_that_its_blur_loses():
    image = sharpened(lambda pair: pair.vis)(_pair(40))
    kept = np.exp(-2 * (2 * np.pi / 8) ** 2 / 2 * SHARPENED_PX**2)  # of both directions
    expected = 1 + SHARPENING * (1 - kept)
    inner = np.s_[16:-16, 16:-16, 0]
    gain = (image[inner].astype(float) - 128).std() / (
        _pair(40).vis[inner].astype(float) - 128
    ).std()
    assert gain == pytest.approx(expected, rel=0.01)


def test_the_same_frame_twice_does_not_flicker_and_contrast_that_changes_does_when_sharpened():
    visible = lambda pair: pair.vis  # noqa: E731
    dim, bright = _pair(0), _pair(0)
    bright.vis[24:40, 40:56] += 30
    bright.luma[:] = bright.vis[..., 0]
    assert warped_flicker([bright, bright], sharpened(visible)) == 0.0
    assert warped_flicker([dim, bright], visible) == 0.0
    assert warped_flicker([dim, bright], sharpened(visible)) > 0.0
