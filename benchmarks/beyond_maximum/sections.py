"""Glare, hot backgrounds, dark scenes and flicker: how each fusion shows them.

A section takes the pairs of one part of the data and the fusions, and gives a table; what it
finds most telling goes to `crops`. An image counts where its mask is large enough; every number
is computed for each image and then averaged over images.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.beyond_maximum import masks, measures
from benchmarks.beyond_maximum.report import Crops, Table, counted
from benchmarks.flicker_limiter import fuse_video
from benchmarks.shared.fusions import Fusion, mean_rows
from benchmarks.shared.pairs import Pair
from irvis_fusion_core import metrics

# Least size of a mask in pixels, so that an image's number is more than chance.
LEAST_GLARE, LEAST_HOT, LEAST_FLAT = 100, 200, 2000
ADDED_NOISE = 4.0  # grey levels, of an uncooled camera with its gain turned up

# A headlamp before something warm. Light adds up in the camera before its gamma curve: the image
# is taken back to linear light, the lamp's disc, halo and veil are added, and what exceeds white
# is clipped, as a sensor does.
GAMMA = 2.2
# In units of white: the disc dazzles, its halo still saturates, the veil only brightens. The
# radii are in units of the lamp's own. (Scatter in the eye and in lenses falls off about so.)
DISC, HALO, VEIL = 4.0, 1.5, 0.15
HALO_RADIUS, VEIL_RADIUS = 1.5, 4.0
TINT = np.array((1.0, 0.97, 0.9), np.float32)
RADIUS = (0.05, 0.09)  # of the image's height
OFFSET = 0.5  # how far from the warm object the lamp may stand, in its own radii

KEPT = (measures.edges_kept, measures.edge_quality, measures.correlation)


def render(vis: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    """Return the uint8 RGB image with a lamp in it whose disc has this centre and radius."""
    rows, columns = np.indices(vis.shape[:2], np.float32)
    distance = np.hypot(columns - x, rows - y) / radius
    light = (
        DISC * np.exp(-(distance**4))
        + HALO * np.exp(-((distance / HALO_RADIUS) ** 2))
        + VEIL / (1.0 + (distance / VEIL_RADIUS) ** 2)
    )
    linear = (vis.astype(np.float32) / 255.0) ** GAMMA + light[..., None] * TINT
    return np.rint(255.0 * np.clip(linear, 0.0, 1.0) ** (1.0 / GAMMA)).astype(np.uint8)


def dazzle(name: str, ir: np.ndarray, vis: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the visible image with a lamp before its warmest object, and the area it blew out.

    The name of the pair is the seed: each run renders the same lamp.

    Returns:
        uint8 RGB HxWx3 and bool HxW; None where the IR image has nothing warm.
    """
    objects = masks.warm_objects(ir)
    if not objects:
        return None
    chance = np.random.default_rng(zlib.crc32(name.encode()))
    radius = chance.uniform(*RADIUS) * ir.shape[0]
    rows, columns = np.nonzero(objects[0].inside)
    offset = chance.uniform(-OFFSET, OFFSET, 2) * radius
    dazzled = render(vis, columns.mean() + offset[0], rows.mean() + offset[1], radius)
    greys = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (vis, dazzled))
    before, after = map(masks.saturated_areas, greys)
    return dazzled, after & ~before


def rendered_lamp(pair: Pair) -> tuple[Pair, np.ndarray]:
    """Return the pair with a lamp before its warmest object, and what only the lamp blew out."""
    dazzled = dazzle(pair.name, pair.ir, pair.vis)
    if dazzled is None:
        return pair, np.zeros(pair.ir.shape, bool)  # nothing warm: read, but not used
    vis, area = dazzled
    return pair._replace(vis=vis, luma=metrics.luminance(vis)), area


class Examined(NamedTuple):
    """A find of a section in a pair."""

    pair: Pair
    mask: np.ndarray
    weight: float  # how telling the pair's crops are
    extra: int  # a number for the note, summed up as `count`
    measure: Callable[[str, np.ndarray], list[float]]
    """From a fusion's name and its luminance to the section's columns."""


def glare(
    light: Callable[[Pair], tuple[Pair, np.ndarray]], dark: Pair, _: Mapping[str, Fusion]
) -> Examined | None:
    """Look for IR edges and warm objects in blown-out areas; `light` gives the pair with them."""
    pair, area = light(dark)
    mask = masks.glare_mask(pair.ir, pair.luma) & area
    if mask.sum() < LEAST_GLARE:
        return None
    warm = masks.warm_objects(pair.ir)

    def measure(_: str, plane: np.ndarray) -> list[float]:
        kept = [of(plane, pair.ir, mask) for of in KEPT]
        return [*kept, measures.contrast(plane, warm, area)[0]]

    hidden = measures.contrast(pair.ir, warm, area)[1]
    return Examined(pair, mask, float(mask.sum()), hidden, measure)


def hot_background(pair: Pair, _: Mapping[str, Fusion]) -> Examined | None:
    """Look for visible texture and lettering where IR is brighter and smooth."""
    mask = masks.hot_background_mask(pair.ir, pair.luma)
    if mask.sum() < LEAST_HOT:
        return None

    def measure(_: str, plane: np.ndarray) -> list[float]:
        return [of(plane, pair.luma, mask) for of in (*KEPT, measures.texture_ratio)]

    return Examined(pair, mask, float(mask.sum()), 0, measure)


def dark_noise(pair: Pair, fusions: Mapping[str, Fusion]) -> Examined | None:
    """Look for noise in flat, dark regions, and how much of noise added to IR comes out."""
    mask = masks.flat_dark_mask(pair.ir, pair.luma)
    if mask.sum() < LEAST_FLAT:
        return None
    louder = max(measures.noise_sigma(plane, mask) for plane in (pair.ir, pair.luma))
    of_maximum = measures.noise_sigma(np.maximum(pair.ir, pair.luma), mask)
    noisy = pair._replace(ir=with_noise(pair.ir, pair.name))
    noise = noisy.ir.astype(np.int16) - pair.ir
    brighter = mask & (pair.ir > pair.luma)

    def measure(name: str, plane: np.ndarray) -> list[float]:
        change = metrics.luminance(fusions[name](noisy)).astype(np.int16) - plane
        sigma = measures.noise_sigma(plane, mask)
        shares = [measures.ratio(sigma, whole) for whole in (louder, of_maximum)]
        gains = [measures.noise_gain(change, noise, where) for where in (mask, brighter)]
        return [sigma, *shares, *gains]

    return Examined(pair, mask, louder, int(brighter.sum()), measure)


def with_noise(ir: np.ndarray, name: str) -> np.ndarray:
    """Return IR (uint8) with white noise of ADDED_NOISE, seeded by the pair's name."""
    chance = np.random.default_rng(zlib.crc32(name.encode()))
    noisy = ir + chance.normal(0.0, ADDED_NOISE, ir.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


class Section(NamedTuple):
    """What a table looks for in each pair, and how it shows it."""

    examine: Callable[[Pair, Mapping[str, Fusion]], Examined | None]
    """Gives None where there is too little to measure."""
    columns: Mapping[str, str]  # heading -> format, of `Examined.measure`
    note: str  # the text below, with fields for numbers
    gain: float = 1.0  # of the contrast in crops

    def table(
        self, pairs: Iterable[Pair], fusions: Mapping[str, Fusion], crops: Crops, title: str
    ) -> Table:
        """Return the table of all pairs, a row for each fusion."""
        rows: dict[str, list[Sequence[float]]] = {}
        used, read, pixels, count = [], 0, 0, 0
        for pair in pairs:
            read += 1
            found = self.examine(pair, fusions)
            if found is None:
                continue
            seen = found.pair
            images = {name: fuse(seen) for name, fuse in fusions.items()}
            for name, image in images.items():
                rows.setdefault(name, []).append(found.measure(name, metrics.luminance(image)))
            used.append(seen.name)
            pixels += int(found.mask.sum())
            count += found.extra
            shown = {"IR": seen.ir, "visible": seen.vis, "maximum": images["maximum"]}
            shown.update({k: v for k, v in images.items() if k not in (*shown, "mean")})
            crops.add(found.weight, seen.name, shown, found.mask, self.gain)
        numbers = {"sets": counted(used), "pixels": pixels, "count": count}
        which, share = f"{len(used)} of {read}", measures.ratio(count, pixels)
        text = self.note.format(which=which, share=share, **numbers)
        return Table(title, self.columns, mean_rows(rows), text)


LAMPS, SKY, RENDERED = (
    Section(
        partial(glare, light),
        {"IR edges kept": ".3f", "Q to IR": ".3f", "correlation": ".3f", "warm contrast": ".1f"},
        "{which} images have IR edges in glare ({sets}), {pixels} pixels; {count} warm objects "
        "with their surroundings in glare (contrast in grey levels).",
    )
    for light in (
        lambda pair: (pair, masks.lamp_areas(pair.luma)),
        lambda pair: (pair, masks.saturated_areas(pair.luma) & ~masks.lamp_areas(pair.luma)),
        rendered_lamp,
    )
)
VISIBLE = ("visible edges kept", "Q to visible", "correlation", "texture contrast")
HOT_BACKGROUND = Section(
    hot_background,
    dict.fromkeys(VISIBLE, ".3f"),
    "{which} day images have visible texture before smooth, brighter IR ({sets}), {pixels} "
    "pixels.",
)
NOISE = ("noise", "of the noisier source's", "of the maximum's")
DARK_NOISE = Section(
    dark_noise,
    dict.fromkeys((*NOISE, "added noise let through", "where IR is brighter"), ".2f"),
    "{which} night images have flat, dark regions ({sets}), {pixels} pixels, in {share:.0%} of "
    f"which IR is brighter; noise in grey levels; added to IR: sigma {ADDED_NOISE:g}.",
    gain=6.0,  # so that crops show the noise
)


def flicker(
    frames: Sequence[Pair],
    fusions: Mapping[str, Fusion],
    crops: Crops,
    title: str,
    limit: Collection[str] = (),
) -> Table:
    """Measure change from frame to frame beyond both sources', all change, steps of brightness.

    `crops` gets the middle row over time. Fusions in `limit`, of colour images, have a second row
    by `FlickerLimiter`.
    """
    ir, vis = [pair.ir for pair in frames], [pair.luma for pair in frames]
    still = [np.zeros_like(ir[0])] * len(frames)
    rows: dict[str, list[float]] = {}
    planes: dict[str, list[np.ndarray]] = {}
    for name, fuse in fusions.items():
        if name in limit:
            planes[name], planes[f"{name}, limit_flicker"], _ = fuse_video(fuse, frames)
        else:
            planes[name] = [metrics.luminance(fuse(pair)) for pair in frames]
    for name, fused in planes.items():
        levels = [float(plane.mean(dtype=np.float64)) for plane in fused]
        rows[name] = [
            metrics.flicker(fused, ir, vis),
            metrics.flicker(fused, still, still),  # against sources that never change: all of it
            float(np.abs(np.diff(levels)).mean()),
        ]
        over_time = np.stack([plane[plane.shape[0] // 2] for plane in fused]).repeat(3, axis=0)
        crops.add_row(-len(rows), "the middle row over time", {name: over_time})
    note = (
        f"{len(frames)} consecutive frames; grey levels a frame: change beyond that of both "
        "sources, all change (blocks of 8x8), and change of the mean."
    )
    columns = {"flicker": ".3f", "change": ".2f", "luma step": ".3f"}
    return Table(title, columns, rows, note)
