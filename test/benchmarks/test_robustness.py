"""The measure of doubled edges counts what it should, and displacements are those named."""

import cv2
import numpy as np
import pytest

from benchmarks.robustness.__main__ import CASES, displaced, measure
from benchmarks.robustness.doubled_edges import extra_edges, shared_edges
from benchmarks.shared.fusions import trivial_fusions
from benchmarks.shared.pairs import read_pairs
from irvis_fusion_core.image_files import write_image


def squares(dx=0, dy=0, dark=40, bright=200):
    image = np.full((96, 128), dark, np.uint8)
    for x, y in ((30, 30), (80, 40)):
        cv2.rectangle(image, (x + dx, y + dy), (x + dx + 20, y + dy + 30), bright, -1)
    return image


def test_an_edge_that_shows_twice_counts_one():
    ir, vis = squares(), squares()
    places = shared_edges(ir, vis)
    assert places[0].size > 100
    assert extra_edges(vis, vis, places) == 0.0
    doubled = np.maximum(vis, squares(dx=6, dy=6))
    # The copy of a side of length L runs beside L - 6 of it: 76 of the 100 px of a 20x30 square.
    mixed = (0.5 * vis + 0.5 * squares(dx=6, dy=6)).astype(np.uint8)
    assert abs(extra_edges(mixed, vis, places) - 0.76) < 0.06
    assert extra_edges(doubled, vis, places) < 0.5 * extra_edges(mixed, vis, places)


def test_only_edges_that_both_images_have_are_looked_at():
    assert shared_edges(squares(), np.full((96, 128), 9, np.uint8))[0].size == 0
    far = np.full((96, 128), 40, np.uint8)
    far[60:90, 100:] = 220
    assert np.isnan(extra_edges(far, far, shared_edges(far[::-1, ::-1].copy(), far)))


def test_shifts_have_their_length_and_turns_their_angle():
    ir = np.zeros((101, 101), np.uint8)
    cv2.circle(ir, (50, 20), 4, 255, -1)

    def centre(image):
        m = cv2.moments(image)
        return np.array([m["m10"], m["m01"]]) / m["m00"]

    for number in range(4):
        moved = centre(displaced(ir, "shift", 8, number)) - centre(ir)
        assert abs(np.linalg.norm(moved) - 8) < 0.2
        arm, start = (centre(p) - 50 for p in (displaced(ir, "turn", 2.0, number), ir))
        angle = np.arctan2(arm[1] * start[0] - arm[0] * start[1], arm @ start)
        assert abs(abs(np.rad2deg(angle)) - 2) < 0.1
    assert displaced(ir, "shift", 0, 3) is ir


def test_a_fusion_that_ignores_infrared_is_not_moved_by_it(tmp_path):
    write_image(str(tmp_path / "set" / "IR" / "a.png"), squares())
    write_image(str(tmp_path / "set" / "VIS" / "a.png"), np.dstack([squares(bright=150)] * 3))
    fusions = trivial_fusions(["visible", "maximum"])
    result, count = measure(read_pairs(tmp_path, "set"), fusions)
    assert count == 1
    assert len({result["visible", case]["Qabf"] for case in CASES}) == 1
    assert result["visible", ("shift", 8)]["extra edges"] == 0.0
    kept, lost = (result["maximum", ("shift", value)] for value in (0, 8))
    assert lost["SSIM"] < kept["SSIM"] and lost["extra edges"] > kept["extra edges"]


def test_with_a_registration_that_knows_the_shift_nothing_is_lost(tmp_path):
    """Rows behind it are those of the undisplaced pair; the others are as without it."""
    write_image(str(tmp_path / "set" / "IR" / "a.png"), squares())
    write_image(str(tmp_path / "set" / "VIS" / "a.png"), np.dstack([squares(bright=150)] * 3))
    fusions = trivial_fusions(["maximum"])
    pair = next(read_pairs(tmp_path, "set"))

    shifts = iter([value if kind == "shift" else 0.0 for kind, value in CASES])

    def knows(ir, vis):  # the first pair is shifted to the right
        return np.stack([np.full(ir.shape, next(shifts)), np.zeros(ir.shape)]).astype(np.float32)

    alone, _ = measure([pair], fusions)
    found, _ = measure([pair], fusions, knows)
    assert {key: row for key, row in found.items() if key in alone} == alone
    for value in (0, 2, 4, 8):
        assert found["learned registration, maximum", ("shift", value)] == pytest.approx(
            alone["maximum", ("shift", 0)], abs=1e-6
        )
