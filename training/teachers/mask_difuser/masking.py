"""Two half-blind views of one photograph, from which Mask-DiFuser learns to fuse.

Each of 8x8 cells is masked in one view and shown in the other, by chance. Nine masked cells in ten
are painted grey, the tenth shows a degraded copy. One shown cell in ten is degraded too, so that
the network has to restore and not only to choose.
"""

from __future__ import annotations

import cv2
import numpy as np

from training.data.augmentation import add_noise, tone_curve

CELLS = 8
SHOWN, PAINTED, DEGRADED = 0, 1, 2
DEGRADED_SHARE = 0.1


def dual_masks(random: np.random.Generator) -> np.ndarray:
    """Return uint8 [2, 8, 8] of SHOWN, PAINTED, DEGRADED; no cell is painted in both views."""
    halves = np.array_split(random.permutation(CELLS * CELLS), 2)
    views = np.full((2, CELLS * CELLS), SHOWN, np.uint8)
    for view, (masked, shown) in zip(views, (halves, halves[::-1])):
        view[masked] = PAINTED
        view[_some(random, masked)] = DEGRADED
        view[_some(random, shown)] = DEGRADED
    return views.reshape(2, CELLS, CELLS)


def _some(random: np.random.Generator, cells: np.ndarray) -> np.ndarray:
    return random.choice(cells, round(len(cells) * DEGRADED_SHARE), replace=False)


def half_blind_views(
    image: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return two views of a uint8 image [height, width, channels], of its shape."""
    size, views = (image.shape[1], image.shape[0]), []
    grey = random.integers(256)
    degraded = degrade(image, random)
    for mask in dual_masks(random):
        cells = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)[:, :, None]
        view = np.where(cells == PAINTED, np.uint8(grey), image)
        views.append(np.where(cells == DEGRADED, degraded, view))
    return views[0], views[1]


def degrade(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Apply one of: blur, noise, snow, a disturbed spectrum, or another exposure."""
    how = (_blur, _noise, _snow, _disturb_spectrum, _expose)[random.integers(5)]
    return how(image, random).reshape(image.shape)


def _blur(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), random.uniform(0.8, 1.6))


def _noise(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return add_noise(image, random.normal(0.0, random.uniform(5.0, 35.0), image.shape))


def _snow(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Add blurred white flakes of 2x2 pixels, one on every 60 pixels."""
    height, width = image.shape[:2]
    count = height * width // 60
    flakes = np.zeros((height, width), np.float32)
    rows, columns = random.integers(height - 1, size=count), random.integers(width - 1, size=count)
    for down, right in np.ndindex(2, 2):
        flakes[rows + down, columns + right] = 255.0
    flakes = cv2.GaussianBlur(flakes, (5, 5), 0)[:, :, None]
    return (0.7 * image + 0.3 * flakes).round().clip(0, 255).astype(np.uint8)


def _disturb_spectrum(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Exchange the phases of five pairs of low frequencies: waves over the image."""
    spectrum = np.fft.rfft2(image.astype(np.float64), axes=(0, 1))
    reach = max(2, min(spectrum.shape[:2]) // 4)
    for _ in range(5):
        a, b = random.integers(1, reach, (2, 2))
        phases = [np.exp(1j * np.angle(spectrum[tuple(place)])) for place in (a, b)]
        for place, phase in zip((a, b), phases[::-1]):
            spectrum[tuple(place)] = np.abs(spectrum[tuple(place)]) * phase
    restored = np.fft.irfft2(spectrum, s=image.shape[:2], axes=(0, 1))
    return restored.round().clip(0, 255).astype(np.uint8)


def _expose(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Apply a gamma between a third and three."""
    return tone_curve(3.0 ** random.uniform(-1.0, 1.0))[image]
