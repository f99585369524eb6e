"""Searches the place of the infrared image in the visible one, over scale, turn and shift.

For every scale and turn the edge fields are correlated in Fourier space for all shifts, over the
overlap only (Padfield, "Masked object registration in the Fourier domain", 2012), and summed over
the frames of a fixed rig.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.calibration.oriented_gradients import double_angle_field, resized
from irvis_fusion_core.registration.camera_geometry import stretch

# Diagonal of the visible images that are compared.
_DIAGONAL_PX = 360.0
# The overlap must be at least this share of the smaller image.
_LEAST_OVERLAP = 0.3
# Alignments count as different where points move by more than this share of the diagonal.
_APART = 0.06


class CoarseAlignment(NamedTuple):
    """A similarity between full-size images, and its score."""

    matrix: np.ndarray  # float64 3x3, IR pixels to visible pixels
    score: float  # correlation x sqrt(overlap in pixels)


class Placed(NamedTuple):
    """An IR image scaled and turned, where it is known, and the 3x3 map to it."""

    image: np.ndarray  # float32 HxW
    mask: np.ndarray  # bool HxW
    matrix: np.ndarray


class Spectra(NamedTuple):
    """Transforms of an edge field (complex), of its power and of its mask (real)."""

    field: np.ndarray
    power: np.ndarray
    mask: np.ndarray


def search(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    scales: Sequence[float],
    turns_deg: Sequence[float] = (0.0,),
    most: int = 5,
) -> list[CoarseAlignment]:
    """Return the best distinct alignments, best first, of (IR, visible) float32 grey images.

    `scales` are visible pixels per IR pixel.
    """
    ir_size, vis_size = pairs[0][0].shape[:2], pairs[0][1].shape[:2]
    shrink = _DIAGONAL_PX / float(np.hypot(*vis_size))
    vis_small = [resized(vis, shrink) for _, vis in pairs]
    fields = [double_angle_field(vis) for vis in vis_small]
    height, width = fields[0].shape
    back = np.linalg.inv(stretch(vis_size, (height, width)))
    spectra: dict[tuple[int, int], list[Spectra]] = {}
    found: list[CoarseAlignment] = []
    for scale in scales:
        for turn in turns_deg:
            placed = [_place(ir, scale * shrink, turn) for ir, _ in pairs]
            # Transforms of both sizes together keep shifts from wrapping around.
            size = (
                _transform_size(height + placed[0].image.shape[0]),
                _transform_size(width + placed[0].image.shape[1]),
            )
            if size not in spectra:
                spectra[size] = [transforms(f, np.ones(f.shape, bool), size) for f in fields]
            _, score = surfaces(placed, spectra[size], (height, width), size)
            for row, column in _peaks(score):
                shift_y = row if row < height else row - size[0]
                shift_x = column if column < width else column - size[1]
                move = np.array([[1, 0, shift_x], [0, 1, shift_y], [0, 0, 1.0]])
                matrix = back @ move @ placed[0].matrix
                found.append(CoarseAlignment(matrix, float(score[row, column])))
    return _distinct(found, ir_size, vis_size, most)


def surfaces(
    placed: list[Placed], spectra: list[Spectra], vis_size: tuple[int, int], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return correlation and score of all frames for every shift; `size` is that of `spectra`."""
    total = energy = np.zeros(size, np.float32)
    for (image, mask, _), vis in zip(placed, spectra):
        ir = transforms(double_angle_field(image, mask=mask), mask, size)
        total = total + _inverse(cv2.mulSpectrums(vis.field, ir.field, 0, conjB=True))[..., 0]
        own = np.maximum(_correlate(vis.power, ir.mask), 0.0)
        own *= np.maximum(_correlate(vis.mask, ir.power), 0.0)
        energy = energy + np.sqrt(own)
    overlap = np.maximum(_correlate(spectra[0].mask, ir.mask), 0.0)
    least = _LEAST_OVERLAP * min(vis_size[0] * vis_size[1], float(placed[0].mask.sum()))
    surface = np.where(overlap > least, total / np.maximum(energy, 1e-3), 0.0)
    return surface, surface * np.sqrt(overlap)


def _peaks(score: np.ndarray) -> list[tuple[int, int]]:
    """Return up to three places (row, column) of the highest scores that lie apart."""
    score = score.copy()
    near = np.arange(-6, 7)
    places = []
    for _ in range(3):
        row, column = np.unravel_index(int(np.argmax(score)), score.shape)
        if score[row, column] <= 0.0:
            break
        places.append((int(row), int(column)))
        rows, columns = (near + row) % score.shape[0], (near + column) % score.shape[1]
        score[np.ix_(rows, columns)] = 0.0
    return places


def _place(ir: np.ndarray, scale: float, turn_deg: float) -> Placed:
    """Scale an IR image and turn it about its centre."""
    small = resized(ir, scale)
    matrix = stretch(ir.shape[:2], small.shape[:2])
    if turn_deg == 0.0:
        return Placed(small, np.ones(small.shape, bool), matrix)
    height, width = small.shape
    turn = np.eye(3)
    turn[:2] = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn_deg, 1.0)
    turned = cv2.warpAffine(small, turn[:2], (width, height), borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(np.ones(small.shape, np.uint8), turn[:2], (width, height)) > 0
    return Placed(turned, mask, turn @ matrix)


def transforms(field: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> Spectra:
    rows, columns = field.shape
    planes = [np.zeros((*size, *depth), np.float32) for depth in ((2,), (), ())]
    planes[0][:rows, :columns] = np.dstack([field.real, field.imag])
    planes[1][:rows, :columns] = field.real**2 + field.imag**2
    planes[2][:rows, :columns] = mask
    return Spectra(*(cv2.dft(plane, nonzeroRows=rows) for plane in planes))


def _correlate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the correlation of two real images from their packed (CCS) transforms."""
    return _inverse(cv2.mulSpectrums(a, b, 0, conjB=True))


def _inverse(spectrum: np.ndarray) -> np.ndarray:
    return cv2.dft(spectrum, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE)


def _transform_size(length: int) -> int:
    # Few different sizes, so that visible images are transformed only a few times.
    return cv2.getOptimalDFTSize(-(-length // 96) * 96)


def _distinct(
    found: list[CoarseAlignment], ir_size: tuple[int, int], vis_size: tuple[int, int], most: int
) -> list[CoarseAlignment]:
    """Keep the best of alignments that are close together, at most `most`."""
    places = np.array([0.25, 0.5, 0.75])
    probes = np.stack([ir_size[1] * places, ir_size[0] * places, np.ones(3)])
    limit = _APART * float(np.hypot(*vis_size))
    kept: list[CoarseAlignment] = []
    for one in sorted(found, key=lambda item: -item.score):
        moved = [np.linalg.norm(((one.matrix - o.matrix) @ probes)[:2], axis=0) for o in kept]
        if all(distance.max() > limit for distance in moved):
            kept.append(one)
        if len(kept) == most:
            break
    return kept
