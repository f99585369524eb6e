"""Images side by side under their captions, in rows: the one writer of contact sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

CAPTION_PX = 28
GAP_PX = 4
_WHITE = 255


def caption_row(images: Mapping[str, np.ndarray], width: int | None = None) -> np.ndarray:
    """Return images side by side, each below its caption.

    Args:
        images: Caption -> uint8 HxW or HxWx3 RGB. All get the height of the first.
        width: Width of each image in pixels; None keeps the first one's.

    Returns:
        uint8 HxWx3 RGB.
    """
    columns = []
    shown: tuple[int, int] | None = None
    for caption, image in images.items():
        if shown is None:
            scale = 1.0 if width is None else width / image.shape[1]
            shown = (width or image.shape[1], max(1, round(image.shape[0] * scale)))
        colour = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image
        if (colour.shape[1], colour.shape[0]) != shown:
            shrinks = shown[0] < colour.shape[1]
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            colour = cv2.resize(colour, shown, interpolation=how)
        strip = np.full((CAPTION_PX, shown[0], 3), _WHITE, np.uint8)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(strip, caption, (6, 20), font, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(np.concatenate([strip, colour]))
    return np.concatenate(columns, axis=1)


def stack_rows(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return rows of images below each other, with a white gap; narrower rows are filled up."""
    widest = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, GAP_PX), (0, widest - row.shape[1]), (0, 0)), constant_values=_WHITE)
        for row in rows
    ]
    return np.concatenate(padded)[:-GAP_PX]
