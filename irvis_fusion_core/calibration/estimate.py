"""Estimates the homography from infrared to visible pixels from images of any scene.

    estimate = estimate_homography([(ir, vis), ...])

Coarse: correlation of edge directions over scale, turn and shift. Fine: blocks matched by oriented
gradients, RANSAC and a robust fit over all frames. An estimate that could be chance raises
CalibrationError.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from irvis_fusion_core.calibration.coarse_search import search
from irvis_fusion_core.calibration.fine_alignment import FineAlignment, Pair, quick_inliers, refine
from irvis_fusion_core.calibration.oriented_gradients import grey
from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.registration.camera_geometry import checked_homography, scale_of

# Scales to try, relative to an IR image of the visible area: from 2.5 times the focal length of
# the visible lens to less than half.
SCALES = (0.4, 2.2)
_SCALE_STEP = 1.045
_TURNS_DEG = (-3.0, 3.0)
# More frames do not improve the search, and each costs a second.
_COARSE_FRAMES = 8
# Gates. Of 24 mismatched pairs of road scenes none had more than 8 % agreeing blocks; of 24
# matching pairs none had less than 23 %.
LEAST_INLIERS = 60
LEAST_INLIER_SHARE = 0.15
LEAST_COVERAGE = 0.25
# Least contrast of an image: standard deviation in 8-bit grey levels.
_LEAST_CONTRAST = 1.5


@dataclass(frozen=True)
class Estimate(FineAlignment):
    """An accepted homography (H[2, 2] = 1), and its evidence. Sizes are (height, width)."""

    ir_size: tuple[int, int]
    vis_size: tuple[int, int]
    frames: int
    left_out: int  # frames without contrast


def estimate_homography(
    pairs: Sequence[Pair],
    scales: tuple[float, float] = SCALES,
    progress: Callable[[str], None] = lambda line: None,
) -> Estimate:
    """Estimate from (IR uint8 HxW, visible uint8 HxW or HxWx3) pairs of one fixed rig.

    All IR images have one size, and all visible ones; 1 to about 40 pairs.

    The cameras may be mounted turned by a quarter or half to each other.

    Raises:
        CalibrationError: no pairs, sizes that differ, images without contrast, or no alignment
            that stands out against chance.
    """
    greys, left_out = _usable(pairs, progress)
    ir_size, vis_size = (image.shape for image in greys[0])
    try:
        fine = _aligned(greys, scales, progress)
    except CalibrationError as error:
        turns = _quarter_turns(greys, scales, progress)
        if not turns:
            raise
        progress(f"the IR image is turned by {90 * turns} degrees ({error})")
        fine = _aligned(_turned(greys, turns), scales, progress)
        homography = fine.homography @ _turn(ir_size, turns)
        fine = replace(fine, homography=checked_homography(homography, ir_size))
    evidence = (*vars(fine).values(), ir_size, vis_size, len(greys), left_out)
    return Estimate(*evidence)


def _aligned(
    greys: list[Pair], scales: tuple[float, float], progress: Callable[[str], None]
) -> FineAlignment:
    """Return the accepted alignment; CalibrationError without one."""
    progress(f"searching scale, turn and shift in {min(len(greys), _COARSE_FRAMES)} frames")
    starts = _starts(greys, scales)
    progress(f"matching blocks in {len(greys)} frames")
    few = greys[:: max(1, len(greys) // 4)]
    # The start that most blocks agree with.
    best = max(starts, key=lambda h: quick_inliers(few, h)) if len(starts) > 1 else starts[0]
    return _checked(refine(greys, best), greys[0][0].shape)


def _quarter_turns(
    greys: list[Pair], scales: tuple[float, float], progress: Callable[[str], None]
) -> int:
    """Return by how many quarters (counter-clockwise) the IR images have to be turned; 0: none.

    Raises:
        CalibrationError: They have to be mirrored.
    """
    progress("searching for a camera that is mounted upside down or on its side")
    few = greys[len(greys) // 2 :][:1]
    for turns in (2, 1, 3):
        with contextlib.suppress(CalibrationError):
            _aligned(_turned(few, turns), scales, lambda line: None)
            return turns
    mirrored = [(np.ascontiguousarray(ir[:, ::-1]), vis) for ir, vis in few]
    try:
        _aligned(mirrored, scales, lambda line: None)
    except CalibrationError:
        return 0
    raise CalibrationError(
        "found that one of the two images is mirrored: the flipped IR image has an alignment; "
        "flip it in its driver"
    )


def _turned(greys: list[Pair], turns: int) -> list[Pair]:
    return [(np.ascontiguousarray(np.rot90(ir, turns)), vis) for ir, vis in greys]


def _turn(size: tuple[int, int], turns: int) -> np.ndarray:
    """Return the 3x3 from pixels of an image to those of `np.rot90(image, turns)`."""
    matrix = np.eye(3)
    for number in range(turns):
        width = size[1 - number % 2]
        matrix = np.array([[0.0, 1, 0], [-1, 0, width - 1.0], [0, 0, 1]]) @ matrix
    return matrix


def _usable(pairs: Sequence[Pair], progress: Callable[[str], None]) -> tuple[list[Pair], int]:
    """Return pairs with contrast as float32 grey, each once, and the number of those without."""
    if not pairs:
        raise CalibrationError("expected pairs of images to calibrate with, found none")
    sizes = {(ir.shape[:2], vis.shape[:2]) for ir, vis in pairs}
    if len(sizes) > 1:
        found = ", ".join(f"{i[1]}x{i[0]} with {v[1]}x{v[0]}" for i, v in sorted(sizes)[:4])
        raise CalibrationError(
            f"expected images of one rig, all IR of one size and all visible of one, found "
            f"{found}; calibrate each of them alone"
        )
    (ir_size, vis_size) = next(iter(sizes))
    if min(*ir_size, *vis_size) < 48:
        raise CalibrationError(
            f"expected images of 48x48 or more, found IR {ir_size[1]}x{ir_size[0]} and visible "
            f"{vis_size[1]}x{vis_size[0]}"
        )
    # Repeated pairs would pass for more evidence.
    once = {tuple(zlib.crc32(np.ascontiguousarray(p).data) for p in pair): pair for pair in pairs}
    if len(once) < len(pairs):
        progress(f"{len(pairs) - len(once)} pairs are the same as others, and left out")
    greys = [(grey(ir), grey(vis)) for ir, vis in once.values()]
    usable = [pair for pair in greys if min(p.std() for p in pair) >= _LEAST_CONTRAST]
    if not usable:
        which = "IR" if all(ir.std() < _LEAST_CONTRAST for ir, _ in greys) else "visible"
        raise CalibrationError(
            f"expected images with something to see, found {len(pairs)} pairs without contrast "
            f"in the {which} image; is a shutter or a lens cap closed?"
        )
    return usable, len(greys) - len(usable)


def _starts(greys: list[Pair], scales: tuple[float, float]) -> list[np.ndarray]:
    """Return similarities to begin with, best first."""
    frames = np.unique(np.linspace(0, len(greys) - 1, _COARSE_FRAMES, dtype=int))
    chosen = [greys[i] for i in frames]
    ir, vis = chosen[0]
    even = float(np.sqrt(vis.size / ir.size))
    steps = max(2, int(np.log(scales[1] / scales[0]) / np.log(_SCALE_STEP)) + 1)
    straight = search(chosen, list(even * np.geomspace(scales[0], scales[1], steps)))
    found = list(straight)
    for one in straight[:2]:
        # Turns are searched only near the best scales.
        scale = scale_of(one.matrix)
        found += search(chosen, [scale / 1.02, scale * 1.02], _TURNS_DEG, most=2)
    if not found:
        raise CalibrationError(_NOTHING_FOUND)
    found.sort(key=lambda item: -item.score)
    return [item.matrix for item in found[:5]]


def _checked(fine: FineAlignment | None, ir_size: tuple[int, int]) -> FineAlignment:
    if fine is None:
        raise CalibrationError(_NOTHING_FOUND)
    share = fine.inliers / max(1, fine.blocks)
    few = fine.inliers < LEAST_INLIERS or share < LEAST_INLIER_SHARE
    if few or fine.coverage < LEAST_COVERAGE:
        raise CalibrationError(
            f"no alignment stands out against chance: {fine.inliers} of {fine.blocks} blocks "
            f"agree ({share:.0%}) around {fine.coverage:.0%} of the common image, needed are "
            f"{LEAST_INLIERS}, {LEAST_INLIER_SHARE:.0%} and {LEAST_COVERAGE:.0%}; " + _ADVICE
        )
    return replace(fine, homography=checked_homography(fine.homography, ir_size))


_ADVICE = (
    "use more frames, of scenes with edges that both cameras see (buildings, trees, people, cars, "
    "at the distance that matters), taken at the same time, and not blurred"
)
_NOTHING_FOUND = f"found no place of the IR image in the visible one; {_ADVICE}"
