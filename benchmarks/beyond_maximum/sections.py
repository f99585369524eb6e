"""Glare, hot backgrounds, dark scenes and flicker: what each fusion makes of them.

A section takes the pairs of one part of the data and the fusions, and gives a table; what it
finds most telling goes to `crops`. An image counts where its mask is large enough; every number
is computed for each image and then averaged over images.
"""

import zlib
from typing import Dict, Iterable, Iterator, List, Sequence, Tuple

import numpy as np

from benchmarks.beyond_maximum import measures
from benchmarks.beyond_maximum.glare import dazzle
from benchmarks.beyond_maximum.masks import (
    flat_dark_mask,
    glare_mask,
    hot_background_mask,
    lamp_areas,
    saturated_areas,
    warm_objects,
)
from benchmarks.beyond_maximum.pairs import Fusions, Pair
from benchmarks.beyond_maximum.report import Crops, Scores, Table, counted
from benchmarks.flicker_limiter import VIDEO_HZ
from irvis_fusion_core import metrics
from irvis_fusion_core.flicker_limiter import FlickerLimiter

# Least size of a mask in pixels, so that an image's number is more than chance.
LEAST_GLARE, LEAST_HOT, LEAST_FLAT = 100, 200, 2000
ADDED_NOISE = 4.0  # grey levels, of an uncooled camera with its gain turned up
NOISE_IN_IMAGES = 6.0  # crops of dark scenes show contrast so many times stronger

GLARE_COLUMNS = (
    ("IR edges kept", ".3f"),
    ("Q to IR", ".3f"),
    ("correlation", ".3f"),
    ("warm contrast", ".1f"),
)
HOT_COLUMNS = (
    ("visible edges kept", ".3f"),
    ("Q to visible", ".3f"),
    ("correlation", ".3f"),
    ("texture contrast", ".3f"),
)
DARK_COLUMNS = (
    ("noise", ".2f"),
    ("of the noisier source's", ".2f"),
    ("of the maximum's", ".2f"),
    ("added noise let through", ".2f"),
    ("where IR is brighter", ".2f"),
)
FLICKER_COLUMNS = (("flicker", ".3f"), ("change", ".2f"), ("luma step", ".3f"))


def lamp_glare(pairs: Iterable[Pair]) -> Iterator[Tuple[Pair, np.ndarray]]:
    """Each pair and the small areas blown out in its visible image: lamps, reflections."""
    for pair in pairs:
        yield pair, lamp_areas(pair.luma)


def sky_glare(pairs: Iterable[Pair]) -> Iterator[Tuple[Pair, np.ndarray]]:
    """Each pair and what else is blown out in its visible image: sky, and walls in the sun."""
    for pair in pairs:
        yield pair, saturated_areas(pair.luma) & ~lamp_areas(pair.luma)


def rendered_glare(pairs: Iterable[Pair]) -> Iterator[Tuple[Pair, np.ndarray]]:
    """Each pair with a lamp in front of its warmest object, and what only the lamp blew out."""
    for pair in pairs:
        dazzled = dazzle(pair.name, pair.ir, pair.vis)
        if dazzled is None:
            yield pair, np.zeros(pair.ir.shape, bool)  # nothing warm: read, but not used
        else:
            vis, area = dazzled
            yield pair._replace(vis=vis, luma=metrics.luminance(vis)), area


def glare(
    seen: Iterable[Tuple[Pair, np.ndarray]], fusions: Fusions, crops: Crops, title: str
) -> Table:
    """IR edges and warm objects inside the areas given with each pair."""
    scores, used, read, pixels, objects = Scores(), [], 0, 0, 0
    for pair, area in seen:
        read += 1
        mask = glare_mask(pair.ir, pair.luma) & area
        if mask.sum() < LEAST_GLARE:
            continue
        things = warm_objects(pair.ir)
        images = _fuse(pair, fusions)
        for name, image in images.items():
            plane = metrics.luminance(image)
            kept = [
                measure(plane, pair.ir, mask)
                for measure in (measures.edges_kept, measures.edge_quality, measures.correlation)
            ]
            scores.add(name, [*kept, measures.contrast(plane, things, area)[0]])
        used.append(pair.name)
        pixels += int(mask.sum())
        objects += measures.contrast(pair.ir, things, area)[1]
        crops.add(mask.sum(), pair.name, _shown(pair, images), mask)
    note = (
        f"{len(used)} of {read} images have IR edges in glare ({counted(used)}), {pixels} "
        f"pixels; {objects} warm objects with their surroundings in glare (contrast in grey "
        "levels)."
    )
    return Table(title, GLARE_COLUMNS, scores.means(), note)


def hot_background(pairs: Iterable[Pair], fusions: Fusions, crops: Crops, title: str) -> Table:
    """Visible texture and lettering where IR is brighter and smooth."""
    scores, used, read, pixels = Scores(), [], 0, 0
    for pair in pairs:
        read += 1
        mask = hot_background_mask(pair.ir, pair.luma)
        if mask.sum() < LEAST_HOT:
            continue
        images = _fuse(pair, fusions)
        for name, image in images.items():
            plane = metrics.luminance(image)
            scores.add(
                name,
                [
                    measure(plane, pair.luma, mask)
                    for measure in (
                        measures.edges_kept,
                        measures.edge_quality,
                        measures.correlation,
                        measures.texture_ratio,
                    )
                ],
            )
        used.append(pair.name)
        pixels += int(mask.sum())
        crops.add(mask.sum(), pair.name, _shown(pair, images), mask)
    note = (
        f"{len(used)} of {read} day images have visible texture before smooth, brighter IR "
        f"({counted(used)}), {pixels} pixels."
    )
    return Table(title, HOT_COLUMNS, scores.means(), note)


def dark_noise(pairs: Iterable[Pair], fusions: Fusions, crops: Crops, title: str) -> Table:
    """Noise in flat, dark regions, and how much of noise added to IR comes out."""
    scores, used, read, pixels, ir_brighter = Scores(), [], 0, 0, 0
    for pair in pairs:
        read += 1
        mask = flat_dark_mask(pair.ir, pair.luma)
        if mask.sum() < LEAST_FLAT:
            continue
        louder = max(measures.noise_sigma(plane, mask) for plane in (pair.ir, pair.luma))
        of_maximum = measures.noise_sigma(np.maximum(pair.ir, pair.luma), mask)
        noisy = pair._replace(ir=with_noise(pair.ir, pair.name))
        noise = noisy.ir.astype(np.int16) - pair.ir
        brighter = mask & (pair.ir > pair.luma)
        images = _fuse(pair, fusions)
        for name, image in images.items():
            plane = metrics.luminance(image)
            change = metrics.luminance(fusions[name](noisy)).astype(np.int16) - plane
            sigma = measures.noise_sigma(plane, mask)
            scores.add(
                name,
                [
                    sigma,
                    measures.ratio(sigma, louder),
                    measures.ratio(sigma, of_maximum),
                    measures.noise_gain(change, noise, mask),
                    measures.noise_gain(change, noise, brighter),
                ],
            )
        used.append(pair.name)
        pixels += int(mask.sum())
        ir_brighter += int(brighter.sum())
        crops.add(louder, pair.name, _shown(pair, images), mask, NOISE_IN_IMAGES)
    share = measures.ratio(ir_brighter, pixels)
    note = (
        f"{len(used)} of {read} night images have flat, dark regions ({counted(used)}), "
        f"{pixels} pixels, in {share:.0%} of which IR is brighter; noise in grey levels; added to "
        f"IR: sigma {ADDED_NOISE:g}."
    )
    return Table(title, DARK_COLUMNS, scores.means(), note)


def with_noise(ir: np.ndarray, name: str) -> np.ndarray:
    """IR with white noise of ADDED_NOISE, the same for each run by the pair's name; uint8."""
    chance = np.random.default_rng(zlib.crc32(name.encode()))
    noisy = ir + chance.normal(0.0, ADDED_NOISE, ir.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def flicker(
    frames: Sequence[Pair],
    fusions: Fusions,
    crops: Crops,
    title: str,
    limit: Sequence[str] = (),
) -> Table:
    """Change from frame to frame beyond both sources', all change, and steps of brightness.

    Args:
        limit: fusions of colour images that have a second row, by `FlickerLimiter`.
    """
    ir, vis = [pair.ir for pair in frames], [pair.luma for pair in frames]
    still = [np.zeros_like(ir[0])] * len(frames)
    rows: Dict[str, List[float]] = {}
    planes: Dict[str, List[np.ndarray]] = {}
    for name, fuse in fusions.items():
        images = [fuse(pair) for pair in frames]
        planes[name] = [metrics.luminance(image) for image in images]
        if name in limit:
            planes[f"{name}, limit_flicker"] = [
                metrics.luminance(image) for image in _limited(frames, images)
            ]
    for name, fused in planes.items():
        levels = [float(plane.mean(dtype=np.float64)) for plane in fused]
        rows[name] = [
            metrics.flicker(fused, ir, vis),
            metrics.flicker(fused, still, still),  # against sources that never change: all of it
            float(np.abs(np.diff(levels)).mean()),
        ]
        crops.add_row(-len(rows), "the middle row over time", [(name, _time_slice(fused))])
    note = (
        f"{len(frames)} consecutive frames; grey levels a frame: change beyond that of both "
        "sources, all change (blocks of 8x8), and change of the mean."
    )
    return Table(title, FLICKER_COLUMNS, rows, note)


def _limited(frames: Sequence[Pair], images: Sequence[np.ndarray]) -> List[np.ndarray]:
    limiter = FlickerLimiter()
    return [
        limiter.limit(image.copy(), pair.ir, pair.vis, number / VIDEO_HZ)
        for number, (pair, image) in enumerate(zip(frames, images))
    ]


def _time_slice(planes: Sequence[np.ndarray]) -> np.ndarray:
    middle = planes[0].shape[0] // 2
    return np.repeat(np.stack([plane[middle] for plane in planes]), 3, axis=0)


def _fuse(pair: Pair, fusions: Fusions) -> Dict[str, np.ndarray]:
    return {name: fuse(pair) for name, fuse in fusions.items()}


def _shown(pair: Pair, images: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """What crops show, in this order: both sources, the maximum, the models."""
    first = {"IR": pair.ir, "visible": pair.vis, "maximum": images["maximum"]}
    return {**first, **{k: v for k, v in images.items() if k not in (*first, "mean")}}
