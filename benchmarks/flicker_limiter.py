"""What does `limit_flicker` do to a video, and what does it cost?

    python -m benchmarks.flicker_limiter --data DIR [--sets video_tno_nato_camp video_m3svd]
        [--model nano small base] [--backend auto] [--threads 1]

A set is a folder of consecutive pairs. Every model has two rows, as it fuses and limited; the
first row is the pixel-wise maximum. Columns: flicker (grey levels a frame, change beyond both
sources'), and the means of VIF, Qabf and SSIM over all frames. `time` is that of limiting, as a
share of fusing the same frame just before: median over the frames but the first.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.shared.fusions import Fusion, open_fusions
from benchmarks.shared.options import SHIPPED, VIDEO_SETS, make_parser
from benchmarks.shared.pairs import VIDEO_HZ, Pair, read_pairs
from irvis_fusion_core import metrics
from irvis_fusion_core.flicker_limiter import FlickerLimiter
from training.tables import markdown_table

METRICS = ("VIF", "Qabf", "SSIM")


def scored(images: Sequence[np.ndarray], frames: Sequence[Pair]) -> list[float]:
    """Return flicker, then the mean of each of METRICS, of luminance images."""
    planes = images, [frame.ir for frame in frames], [frame.luma for frame in frames]
    scores = [list(metrics.score_pair(*each, METRICS).values()) for each in zip(*planes)]
    return [metrics.flicker(*planes), *np.mean(scores, 0)]


def fuse_video(
    fuse: Fusion, frames: Sequence[Pair]
) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """Return luminance as it is fused, limited, and times of limiting as shares of fusing."""
    limiter = FlickerLimiter()
    plain, limited, shares = [], [], []
    for number, frame in enumerate(frames):
        begun = time.perf_counter()
        fused = fuse(frame)
        done = time.perf_counter()
        plain.append(metrics.luminance(fused))
        again = time.perf_counter()
        limiter.limit(fused, frame.ir, frame.vis, number / VIDEO_HZ)
        shares.append((time.perf_counter() - again) / (done - begun))
        limited.append(metrics.luminance(fused))
    return plain, limited, shares[1:]


def main(arguments: Sequence[str] | None = None) -> None:
    shared = "data sets model backend threads limit"
    parser = make_parser(__doc__, shared, sets=VIDEO_SETS, model=SHIPPED, threads=1)
    options = parser.parse_args(arguments)
    with open_fusions(options) as models:
        for name in options.sets:
            frames = list(read_pairs(options.data, name, options.limit))
            if len(frames) < 2:
                parser.error(f"expected at least two frames in {name}, found {len(frames)}")
            height, width = frames[0].ir.shape
            print(f"\n**{name}, {len(frames)} frames of {width}x{height}**\n")
            maximum = [np.maximum(frame.ir, frame.luma) for frame in frames]
            rows: dict[str, Sequence[object]] = {"maximum": [*scored(maximum, frames), ""]}
            for model, fuse in models.items():
                fuse(frames[0])  # warm up
                plain, limited, shares = fuse_video(fuse, frames)
                cost = f"{np.median(shares):.0%}"
                rows[model] = [*scored(plain, frames), ""]
                rows[f"{model}, limit_flicker"] = [*scored(limited, frames), cost]
            print(markdown_table(("flicker", *METRICS, "time"), rows), flush=True)


if __name__ == "__main__":
    main()
