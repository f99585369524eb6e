"""What does `limit_flicker` do to a video, and what does it cost?

    python -m benchmarks.flicker_limiter --data DIR [--sets video_tno_nato_camp video_m3svd]
        [--model nano small base] [--backend auto] [--threads 1]

A set is a folder of consecutive pairs. Every model has two rows: as it fuses, and limited; the
pixel-wise maximum comes along. Columns: flicker (grey levels a frame, change beyond both
sources'), and the means of VIF, Qabf and SSIM over all frames. `time` is that of limiting, as a
share of fusing the same frame just before: median over the frames but the first.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.reference_rows import make_parser, read_pairs
from irvis_fusion_core import metrics
from irvis_fusion_core.flicker_limiter import FlickerLimiter
from irvis_fusion_core.fusion import RealtimeFusion

METRICS = ("VIF", "Qabf", "SSIM")
VIDEO_HZ = 25.0
"""As which the frames of a set are taken; their own rate is not recorded."""


def scored(images, pairs):
    """Flicker, then the mean of each of METRICS; luminance images, (ir, vis luminance) pairs."""
    irs, lumas = zip(*pairs)
    scores = [
        list(metrics.score_pair(image, *pair, METRICS).values())
        for image, pair in zip(images, pairs)
    ]
    return [metrics.flicker(images, irs, lumas), *np.mean(scores, 0)]


def fuse_video(fusion, frames):
    """(as it fuses, limited, times of limiting as shares of fusing) of (ir, RGB) frames."""
    limiter, plain, limited, shares = FlickerLimiter(), [], [], []
    for number, (ir, vis) in enumerate(frames):
        begun = time.perf_counter()
        fused = fusion.fuse_frame(ir, vis)
        done = time.perf_counter()
        plain.append(metrics.luminance(fused))
        again = time.perf_counter()
        limiter.limit(fused, ir, vis, number / VIDEO_HZ)
        shares.append((time.perf_counter() - again) / (done - begun))
        limited.append(metrics.luminance(fused))
    return plain, limited, shares[1:]


def main(arguments=None):
    parser = make_parser(__doc__)
    parser.set_defaults(
        sets=["video_tno_nato_camp", "video_m3svd"], model=["nano", "small", "base"]
    )
    parser.add_argument("--threads", type=int, default=1, help="of the engine")
    options = parser.parse_args(arguments)
    for name in options.sets:
        frames = [pair[1:] for pair in read_pairs(options.data / name, options.limit)]
        if len(frames) < 2:
            parser.error(f"expected at least two frames in {name}, found {len(frames)}")
        pairs = [(ir, metrics.luminance(vis)) for ir, vis in frames]
        height, width = frames[0][0].shape
        print(f"\n**{name}, {len(frames)} frames of {width}x{height}**\n")
        print("| | flicker | " + " | ".join(METRICS) + " | time |")
        print("|---|" + "---|" * (len(METRICS) + 2))
        rows = {"maximum": (scored([np.maximum(*pair) for pair in pairs], pairs), None)}
        for model in options.model:
            with RealtimeFusion(model, options.backend, threads=options.threads) as fusion:
                fusion.warm_up(height, width)
                plain, limited, shares = fuse_video(fusion, frames)
            rows[Path(model).stem] = (scored(plain, pairs), None)
            rows[f"{Path(model).stem}, limit_flicker"] = (
                scored(limited, pairs),
                np.median(shares),
            )
        for row, (values, share) in rows.items():
            cells = " | ".join(format(value, ".3f") for value in values)
            print(f"| {row} | {cells} | {'' if share is None else f'{share:.0%}'} |", flush=True)


if __name__ == "__main__":
    main()
