"""The better teacher of a pair, by the sum of metrics."""

import cv2
import numpy as np
import pytest

from irvis_fusion_core import metrics
from training.evaluation.scores import WEIGHTS, best_of, merit


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    ir, vis = (
        cv2.resize(rng.integers(0, 256, (8, 8), dtype=np.uint8), (64, 64)) for _ in range(2)
    )
    return ir, vis


def test_merit_is_the_weighted_sum(pair):
    ir, vis = pair
    fused = np.maximum(ir, vis)
    expected = (
        2 * metrics.ssim(fused, ir, vis)
        + metrics.vif(fused, ir, vis)
        + 3 * metrics.qabf(fused, ir, vis)
    )
    assert merit(metrics.score_pair(fused, ir, vis, WEIGHTS)) == pytest.approx(expected)


def test_the_best_is_chosen_and_the_first_of_equals(pair):
    ir, vis = pair
    noise = np.random.default_rng(1).integers(0, 256, ir.shape, dtype=np.uint8)
    good = np.maximum(ir, vis)
    best, merits = best_of({"noise": noise, "good": good, "same": good.copy()}, ir, vis)
    assert best == "good" and set(merits) == {"noise", "good", "same"}
    assert merits["good"] == merits["same"] > merits["noise"]
