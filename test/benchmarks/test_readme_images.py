"""The README's real pair: one JPEG with visible, thermal and fused side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.readme_images import make_sheet
from irvis_fusion_core.image_sheet import CAPTION_PX


def test_the_sheet_shows_both_sources_and_the_fused_image(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    vis = np.full((48, 64, 3), 40, np.uint8)
    ir = np.full((48, 64), 40, np.uint8)
    ir[16:32, 24:40] = 230
    cv2.imwrite(str(tmp_path / "vis.png"), vis)
    cv2.imwrite(str(tmp_path / "ir.png"), ir)
    make_sheet(tmp_path / "ir.png", tmp_path / "vis.png", "nano", tmp_path / "sheet.jpg", 64)
    sheet = cv2.imread(str(tmp_path / "sheet.jpg"), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape == (48 + CAPTION_PX, 3 * 64)
    middle = sheet[CAPTION_PX + 24, 32::64].astype(int)
    assert middle[0] < 60 and middle[1] > 210 and middle[2] > middle[0] + 60
