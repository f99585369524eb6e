"""Contact sheets show every pair once, in order, at the width that was asked for."""

import cv2
import numpy as np
import pytest

from benchmarks import contact_sheets
from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.image_sheet import CAPTION_PX, GAP_PX


@pytest.mark.parametrize("each", [2, 5, 9])
def test_sheets_hold_all_rows_in_order(tmp_path, each):
    rows = [np.full((20, 30, 3), 40 * n, np.uint8) for n in range(5)]
    written = contact_sheets.write_sheets(tmp_path / "new", "set", rows, each)
    assert [path.name for path in written] == [
        f"set_{n + 1}.png" for n in range(-(-len(rows) // each))
    ]
    middles = []
    for path in written:
        middles += cv2.imread(str(path))[10 :: 20 + GAP_PX, 15, 0].tolist()
    assert middles == [0, 40, 80, 120, 160]


def test_a_set_becomes_a_sheet_of_ir_visible_and_maximum(tmp_path, capsys):
    ir = np.full((60, 80), 255, np.uint8)
    ir[:2] = 0  # the whole range, which rescaling leaves as it is
    write_image(str(tmp_path / "set" / "IR" / "1.png"), ir)
    write_image(str(tmp_path / "set" / "VIS" / "1.png"), np.full((60, 80, 3), 90, np.uint8))
    out = tmp_path / "out"
    arguments = ["--data", str(tmp_path), "--sets", "set", "--width", "40", "--output", str(out)]
    contact_sheets.main([*arguments, "--model", "nano"])
    assert f"written {out / 'set_1.png'}" in capsys.readouterr().out
    sheet = cv2.imread(str(out / "set_1.png"))
    assert sheet.shape == (CAPTION_PX + 30, 4 * 40, 3)
    for place, level in ((0, 255), (1, 90), (2, 255)):
        shown = sheet[CAPTION_PX + 4 :, place * 40 : (place + 1) * 40].astype(int)
        assert np.abs(shown - level).max() <= 1
