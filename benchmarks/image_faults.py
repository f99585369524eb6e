"""What do people see in the fused images: noise, blocks, ripples, lost colour, flicker?

    python benchmarks/image_faults.py --data DIR [--model nano small base]
        [--sets msrs/val roadscene/val m3fd] [--videos video_m3svd ...] [--limit 20]
        [--degraded 6] [--json result.json] [--images DIR=NAME ...]

Thermal images pass through the node's default rescale everywhere, and every figure refers to the
images that the network sees. Rows: visible, thermal, maximum, mean (with the visible chroma), each
model. The measures are in `irvis_fusion_core.metrics.image_faults`:

noise day, night     high-pass deviation on surfaces that are flat in both images, grey levels
sky ripple           deviation between 3 and 20 px in daylight skies, grey levels
blocks, beside edges step across the borders of 4-pixel blocks over the steps near them, of PNG
                     sources; and in smooth places beside lamps and hot edges
saturation           chroma over luma, over the visible's, where thermal is > 40 levels brighter
flicker              change beyond both sources' after warping by the visible's optical flow,
                     of models also with the flicker limiter, which the node uses by default;
                     sharpened rows cannot flicker: they show what more contrast alone counts
degraded             VIF and SSIM255 of the fusion of degraded sources against the clean ones

Rows of --images are in the first table alone.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.shared.fusions import (
    Fusion,
    has_images,
    mean_rows,
    open_fusions,
    open_images,
    rows_of,
)
from benchmarks.shared.labelled_pairs import NIGHT_RULE, is_night
from benchmarks.shared.options import SHIPPED, VALIDATION_SETS, make_parser
from benchmarks.shared.pairs import VIDEO_HZ, Pair, as_seen, read_pairs, video_as_seen
from irvis_fusion_core import metrics
from irvis_fusion_core.flicker_limiter import FlickerLimiter
from irvis_fusion_core.metrics import image_faults as faults
from training.evaluation import video
from training.tables import markdown_table

VIDEOS = ("video_tno_nato_camp", "video_m3svd", "video_m3svd_0114_1609", "video_m3svd_0115_1834")
SETS = (*VALIDATION_SETS, "m3fd")
NAN = float("nan")
TRIVIAL = ("maximum", "mean")
NOISE = 10.0
"""Deviation of the noise and of the stripes, grey levels of the rescaled image."""

SHARPENING, SHARPENED_PX = 0.8, 2.0
"""Of the rows that show what contrast alone counts as flicker: share, and deviation in pixels."""

STILL_COLUMNS = {
    "noise day": ".2f",
    "noise night": ".2f",
    "sky ripple": ".2f",
    "blocks": ".3f",
    "blocks beside edges": ".3f",
    "saturation": ".3f",
}


def still_faults(
    pairs: Iterable[tuple[Pair, bool, bool]], rows: Mapping[str, Fusion]
) -> dict[str, list[list[float]]]:
    """Return row -> the STILL_COLUMNS of each pair.

    Args:
        pairs: pair, whether at night, whether its files are free of JPEG's blocks.
        rows: by name, giving RGB.
    """
    found: dict[str, list[list[float]]] = {name: [] for name in rows}
    for pair, night, lossless in pairs:
        flat = faults.flat_surfaces(pair.ir, pair.luma)
        sky = faults.sky(pair.luma) & (not night)
        edges = faults.beside_edges(pair.ir, pair.luma)
        for name, fuse in rows.items():
            image = fuse(pair)
            plane = metrics.luminance(image)
            sigma = faults.noise(plane, flat)
            blocks = [faults.block_border_ratio(plane, each) for each in (None, edges)]
            found[name].append(
                [
                    NAN if night else sigma,
                    sigma if night else NAN,
                    faults.ripple(plane, sky),
                    *(blocks if lossless else (NAN, NAN)),
                    faults.saturation_kept(image, pair.ir, pair.vis),
                ]
            )
    return found


def sharpened(fuse: Fusion) -> Fusion:
    """Return a fusion with stronger fine contrast (unsharp mask): the same rule in each frame."""

    def apply(pair: Pair) -> np.ndarray:
        image = fuse(pair).astype(np.float32)
        image += SHARPENING * (image - cv2.GaussianBlur(image, (0, 0), SHARPENED_PX))
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)

    return apply


def warped_flicker(frames: Sequence[Pair], fuse: Fusion, limit: bool = False) -> float:
    """Return the mean flicker after moving each frame's predecessor to its place.

    Args:
        limit: with the flicker limiter, as the node fuses by default.
    """
    images = [fuse(frame) for frame in frames]
    if limit:
        limiter = FlickerLimiter()
        for number, (frame, image) in enumerate(zip(frames, images)):
            limiter.limit(image, frame.ir, frame.vis, number / VIDEO_HZ)
    fused = [metrics.luminance(image) for image in images]
    sources = ([frame.ir for frame in frames], [frame.luma for frame in frames])
    return video.warped_flicker(fused, *sources)


Degradation = Callable[[Pair, np.random.Generator], Pair]


def _added(plane: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(plane + noise), 0, 255).astype(np.uint8)


def _visible(pair: Pair, vis: np.ndarray) -> Pair:
    return pair._replace(vis=vis, luma=metrics.luminance(vis))


DEGRADATIONS: dict[str, Degradation] = {
    "thermal noise": lambda p, r: p._replace(ir=_added(p.ir, r.normal(0, NOISE, p.ir.shape))),
    "thermal stripes": lambda p, r: p._replace(
        ir=_added(p.ir, r.normal(0, NOISE, (1, p.ir.shape[1])))
    ),
    # A full well of 100 at white: a deviation of 18 at mid-grey.
    "thermal shot": lambda p, r: p._replace(ir=_added(r.poisson(p.ir / 2.55) * 2.55, np.zeros(1))),
    "visible noise": lambda p, r: _visible(p, _added(p.vis, r.normal(0, NOISE, p.vis.shape))),
    "visible blur": lambda p, r: _visible(p, cv2.GaussianBlur(p.vis, (0, 0), 2.0)),
}
"""Of sources as the network sees them."""


def degraded_scores(
    pairs: Iterable[Pair], rows: Mapping[str, Fusion]
) -> dict[str, dict[str, list[list[float]]]]:
    """Return row -> VIF and SSIM255 against the clean sources, for each pair and degradation."""
    of: dict[str, Callable[[Pair, np.random.Generator], Pair]]
    of = {"clean": lambda pair, _: pair, **DEGRADATIONS}
    found: dict[str, dict[str, list[list[float]]]] = {k: {d: [] for d in of} for k in rows}
    for pair in pairs:
        for what, degrade in of.items():
            bad = degrade(pair, np.random.default_rng(zlib.crc32(f"{pair.name} {what}".encode())))
            for name, fuse in rows.items():
                scores = metrics.score_pair(fuse(bad), pair.ir, pair.vis, ("VIF", "SSIM255"))
                found[name][what].append([scores["VIF"], scores["SSIM255"]])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    shared = "data sets model images backend threads limit"
    parser = make_parser(__doc__, shared, sets=SETS, model=SHIPPED, threads=1)
    parser.add_argument("--videos", nargs="*", default=VIDEOS)
    parser.add_argument("--degraded", type=int, default=6, help="pairs of each set; 0 for none")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    result: dict[str, object] = {}
    with open_fusions(options, TRIVIAL) as fusions:
        rows = rows_of(fusions)
        images = open_images(options)
        nights, pairs = 0, []
        for name in options.sets:
            lossless = any((options.data / name.partition("@")[0] / "VIS").glob("*.png"))
            for pair in read_pairs(options.data, name, options.limit, True):
                if not has_images(pair, images):
                    continue
                pairs.append((as_seen(pair), is_night(pair), lossless))
                nights += is_night(pair)
        found = still_faults(pairs, rows_of({**fusions, **images}))
        means = mean_rows(found)
        title = f"{len(pairs)} pairs of {', '.join(options.sets)} ({nights} at night)"
        print(f"\n**{title}**; {NIGHT_RULE}\n")
        print(markdown_table(list(STILL_COLUMNS), means, list(STILL_COLUMNS.values())))
        counts = np.isfinite(np.array(found["maximum"])).sum(axis=0)
        print(f"\nPairs that have them: {', '.join(map(str, counts))}.", flush=True)
        result["stills"] = {k: dict(zip(STILL_COLUMNS, v)) for k, v in means.items()}
        videos = {
            name: list(read_pairs(options.data, name, options.limit)) for name in options.videos
        }
        if videos:
            seen = {name: video_as_seen(frames) for name, frames in videos.items()}
            steady = {
                f"{name}, sharpened": sharpened(rows[name]) for name in ("visible", "maximum")
            }
            alone = ("visible", "thermal", *TRIVIAL, *steady)  # rows that nobody limits
            flicker = {
                row + ", limit_flicker" * limit: [
                    warped_flicker(frames, fuse, limit) for frames in seen.values()
                ]
                for row, fuse in {**steady, **rows}.items()
                for limit in ((False,) if row in alone else (False, True))
            }
            print("\n**flow-warped flicker, grey levels a frame beyond both sources'**\n")
            print(markdown_table(list(seen), flicker), flush=True)
            result["flicker"] = {k: dict(zip(seen, v)) for k, v in flicker.items()}
        if options.degraded:
            chosen = [
                as_seen(pair)
                for name in options.sets
                for pair in read_pairs(options.data, name, options.degraded, True)
            ]
            scores = degraded_scores(chosen, rows)
            print(f"\n**Against clean sources, {len(chosen)} pairs: VIF / SSIM255**\n")
            mean = {row: mean_rows(each) for row, each in scores.items()}
            cells = {
                row: [f"{vif:.3f} / {ssim:.3f}" for vif, ssim in each.values()]
                for row, each in mean.items()
            }
            print(markdown_table(["clean", *DEGRADATIONS], cells), flush=True)
            result["degraded"] = mean
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
