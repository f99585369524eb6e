"""Pairs come by stem, of one size, and crops stay within their promises."""

import cv2
import numpy as np
import pytest

from irvis_fusion_core.errors import FrameError
from training.pairs import PairCrops, list_pairs, read_pair


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for side, suffix in (("IR", "png"), ("VIS", "bmp")):
        (tmp_path / side).mkdir()
        for stem in ("a", "b"):
            picture = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / side / f"{stem}.{suffix}"), picture)
    return tmp_path


def test_stems_pair_whatever_the_suffix(folder):
    assert [(a.name, b.name) for a, b in list_pairs(folder)] == [
        ("a.png", "a.bmp"),
        ("b.png", "b.bmp"),
    ]


def test_lonely_and_missing_files_are_named(folder, tmp_path_factory):
    (folder / "IR" / "c.png").write_bytes(b"")
    with pytest.raises(FrameError, match="first .'c'"):
        list_pairs(folder)
    with pytest.raises(FrameError, match="found none"):
        list_pairs(tmp_path_factory.mktemp("empty"))


def test_truncated_and_unequal_files_are_named(folder):
    ir, vis = list_pairs(folder)[0]
    cv2.imwrite(str(vis), np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(FrameError, match="one size"):
        read_pair(ir, vis)
    ir.write_bytes(ir.read_bytes()[:20])
    with pytest.raises(FrameError, match="cannot be read"):
        read_pair(ir, vis)


@pytest.mark.parametrize("crop", [64, 80, 96])
def test_crops_have_their_size_and_range_and_repeat_by_seed(folder, crop):
    first, again = (PairCrops([(folder, 1.0)], crop, seed=4).batch(6) for _ in range(2))
    for side in first:
        assert side.shape == (6, 1, crop, crop) and side.dtype == np.float32
        assert side.min() >= 0.0 and side.max() <= 1.0
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
