"""Contact sheets show every pair once, labelled, at the size that was asked for."""

import cv2
import numpy as np

from benchmarks import contact_sheets


def test_a_row_has_every_picture_at_the_width_asked_for():
    ir = np.full((60, 80), 200, np.uint8)
    vis = np.zeros((60, 80, 3), np.uint8)
    vis[..., 0] = 90
    strip = contact_sheets.row("a pair", {"IR": ir, "visible": vis}, 40)
    title, gap = contact_sheets.TITLE_PX, contact_sheets.GAP_PX
    assert strip.shape == (title + 30, 2 * 40 + gap, 3)
    # Below the labels the pictures are what they were.
    np.testing.assert_array_equal(strip[title + 25, 20], (200, 200, 200))
    np.testing.assert_array_equal(strip[title + 25, 40 + gap + 20], (90, 0, 0))


def test_sheets_hold_all_rows_in_order_whatever_their_widths(tmp_path):
    rows = [np.full((20, 30 + 10 * n, 3), 40 * n, np.uint8) for n in range(5)]
    written = contact_sheets.write_sheets(tmp_path, "set", rows, each=2)
    assert [path.name for path in written] == ["set_1.jpg", "set_2.jpg", "set_3.jpg"]
    pitch = 20 + contact_sheets.GAP_PX
    for number, path in enumerate(written):
        picture = cv2.imread(str(path))
        shown = rows[2 * number : 2 * number + 2]
        assert picture.shape == (pitch * len(shown), max(r.shape[1] for r in shown), 3)
        for place, each in enumerate(shown):
            assert abs(int(picture[pitch * place + 10, 10, 0]) - int(each[0, 0, 0])) < 6
