"""The learned registration's opinion on a homography of real pairs."""

import cv2
import numpy as np
import pytest
from real_data import real_pairs

from irvis_fusion_core import metrics
from irvis_fusion_core.calibration.second_opinion import second_opinion
from irvis_fusion_core.model_zoo import registration_path
from irvis_fusion_core.registration.learned.field_network import FieldNetwork

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def pairs():
    found = list(real_pairs("roadscene/val"))
    sizes = [ir.shape for _, ir, _ in found]
    size = max(sizes, key=sizes.count)
    return [
        (cv2.resize(ir, size[::-1]), cv2.resize(metrics.luminance(vis), size[::-1]))
        for _, ir, vis in found[:6]
    ]


def test_it_agrees_with_the_true_homography_and_not_with_a_wrong_one(pairs):
    network = FieldNetwork(registration_path(), threads=1)
    true = second_opinion(pairs, np.eye(3), network)
    wrong = np.array([[1.0, 0.0, 9.0], [0.0, 1.0, -5.0], [0.0, 0.0, 1.0]])
    other = second_opinion(pairs, wrong, network)
    assert true.median_px < 2.0 < other.median_px
    assert 0.0 < other.confident <= 1.0
    # What it would use instead is nearer to the truth than what it was given.
    centre = np.array([pairs[0][0].shape[1] / 2, pairs[0][0].shape[0] / 2, 1.0])

    def away(homography):
        point = homography @ centre
        return float(np.hypot(*(point[:2] / point[2] - centre[:2])))

    assert away(other.homography) < 0.5 * away(wrong)


def test_flat_images_have_no_opinion(pairs):
    flat = [(np.full_like(ir, 80), vis) for ir, vis in pairs]
    found = second_opinion(flat, np.eye(3), FieldNetwork(registration_path(), threads=1))
    assert found.homography is None or found.confident < 0.2
