"""Where each image of a sheet stands, pixel by pixel."""

import numpy as np

from irvis_fusion_core.image_sheet import CAPTION_PX, GAP_PX, caption_row, stack_rows


def test_images_stand_side_by_side_below_their_captions():
    grey = np.full((30, 40), 90, np.uint8)
    colour = np.full((30, 40, 3), (10, 20, 30), np.uint8)
    row = caption_row({"IR": grey, "visible": colour})
    assert row.shape == (CAPTION_PX + 30, 80, 3)
    np.testing.assert_array_equal(row[CAPTION_PX:, :40], 90)
    np.testing.assert_array_equal(row[CAPTION_PX:, 40:], colour)
    captions = row[:CAPTION_PX]
    assert (captions[:, :40] < 128).any() and (captions[:, 40:] < 128).any()


def test_images_of_other_sizes_take_the_first_ones_shape():
    row = caption_row({"a": np.zeros((20, 40), np.uint8), "b": np.zeros((99, 77), np.uint8)}, 80)
    assert row.shape == (CAPTION_PX + 40, 160, 3)


def test_rows_of_any_width_are_stacked_with_white_between():
    wide, narrow = np.zeros((10, 30, 3), np.uint8), np.zeros((5, 20, 3), np.uint8)
    sheet = stack_rows([wide, narrow])
    assert sheet.shape == (10 + GAP_PX + 5, 30, 3)
    assert (sheet[10 : 10 + GAP_PX] == 255).all() and (sheet[14:, 20:] == 255).all()
    assert not sheet[14:, :20].any()
