"""Contact sheets show every pair once, labelled, at the size that was asked for."""

import cv2
import numpy as np
import pytest

from benchmarks import contact_sheets
from training.evaluation.eval_report import CAPTION_PX


def test_a_row_has_every_image_at_the_width_asked_for():
    ir = np.full((60, 80), 200, np.uint8)
    vis = np.zeros((60, 80, 3), np.uint8)
    vis[..., 0] = 90
    strip = contact_sheets.row("1.png", {"IR": ir, "visible": vis}, 40)
    assert strip.shape == (CAPTION_PX + 30, 2 * 40, 3)
    assert (strip[CAPTION_PX:, :40] == 200).all()
    assert (strip[CAPTION_PX:, 40:] == (90, 0, 0)).all()
    assert (strip[:CAPTION_PX] < 100).any()  # something is written there


@pytest.mark.parametrize("each", [2, 5, 9])
def test_sheets_hold_all_rows_in_order(tmp_path, each):
    rows = [np.full((20, 30, 3), 40 * n, np.uint8) for n in range(5)]
    written = contact_sheets.write_sheets(tmp_path / "new", "set", rows, each)
    assert [path.name for path in written] == [
        f"set_{n + 1}.png" for n in range(-(-len(rows) // each))
    ]
    found = np.vstack([cv2.imread(str(path)) for path in written])
    assert found.shape == (5 * (20 + contact_sheets.GAP_PX), 30, 3)
    middles = found[10 :: 20 + contact_sheets.GAP_PX, 15, 0]
    assert middles.tolist() == [0, 40, 80, 120, 160]
