"""Raw values to grey, by limits of the frame or of its fields."""

from __future__ import annotations

import cv2
import numpy as np

# Changes of a grey value below this keep the maps of gain and offset: they would be rounded away,
# and resizing the maps costs as much as applying them.
_UNSEEN_GREY = 0.25


class Stretch:
    """Maps (frame - low) / (high - low) to 0..255, rounded and saturated; keeps its maps."""

    def __init__(self) -> None:
        self._limits: tuple[np.ndarray, np.ndarray] | None = None
        self._gain = self._offset = np.empty((0, 0), np.float32)

    def __call__(self, frame: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return uint8 HxW of a float32 frame, which limits by field overwrite.

        Limits are float32, of shape () or (fields down, across).
        """
        if low.ndim == 0:
            gain = 255.0 / float(high - low)
            offset = -float(low) * gain
            return cv2.addWeighted(frame, gain, frame, 0.0, offset, dtype=cv2.CV_8U)
        if self._gain.shape != frame.shape or self._would_be_seen(low, high):
            self._renew(frame.shape, low, high)
        cv2.multiply(frame, self._gain, dst=frame)
        return cv2.add(frame, self._offset, dtype=cv2.CV_8U)

    def _would_be_seen(self, low: np.ndarray, high: np.ndarray) -> bool:
        if self._limits is None or self._limits[0].shape != low.shape:
            return True
        moved = float(np.abs(np.subtract((low, high), self._limits)).max())
        return 255.0 * moved > _UNSEEN_GREY * float((high - low).min())

    def _renew(self, shape: tuple[int, ...], low: np.ndarray, high: np.ndarray) -> None:
        gain = 255.0 / (high - low)
        if self._gain.shape != shape:
            self._gain, self._offset = np.empty(shape, np.float32), np.empty(shape, np.float32)
        size = (shape[1], shape[0])
        cv2.resize(gain, size, dst=self._gain, interpolation=cv2.INTER_LINEAR)
        cv2.resize(-low * gain, size, dst=self._offset, interpolation=cv2.INTER_LINEAR)
        self._limits = (low.copy(), high.copy())
