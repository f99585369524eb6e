"""How steady, how rich and how fast is each way of bringing raw thermal frames to 8 bit?

    python benchmarks/thermal.py [--data DIR]

DIR holds consecutive raw frames (TIFF or PNG, 16 bit). Columns, over the whole sequence; the first
two are of the pixels whose raw value did not change at all from one frame to the next, so that
changes there come from the mapping alone:

* pumping: their mean change of grey, grey levels a frame;
* luma step: by how much they become brighter or darker together, grey levels a frame;
* entropy: mean over frames, bits;
* ms: median processor time of one frame on one thread, after the first.

The bars: both kinds of flicker at most a third of per-frame min-max's, at no less entropy, within
1 ms at 640x512.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from benchmarks.shared.options import DATA, make_parser
from irvis_fusion_core import metrics
from irvis_fusion_core.command_line import print_table
from irvis_fusion_core.thermal import ThermalRescale

Frames = Sequence[np.ndarray]
COLUMNS = ("pumping", "luma step", "entropy", "ms")


def candidates() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    min_max = cv2.NORM_MINMAX, cv2.CV_8U  # as driver gain control and most fusion code do
    return {
        "per-frame min-max": lambda raw: cv2.normalize(raw, None, 0, 255, *min_max),
        "per-frame percentile": ThermalRescale("percentile", smoothing_s=0.0),
        "percentile (default)": ThermalRescale("percentile"),
        "fieldwise": ThermalRescale("fieldwise"),
        "window 0..6000": ThermalRescale("window", window_low=0, window_high=6000),
        "percentile + repairs": ThermalRescale("percentile", dead_pixels=True, columns=True),
        "percentile + CLAHE 2": ThermalRescale("percentile", clahe_clip=2.0),
    }


def flicker(raw_frames: Frames, grey_frames: Frames) -> tuple[float, float]:
    """Return pumping and luma step: of pixels whose raw value stayed the same."""
    steps = []
    for i in range(1, len(raw_frames)):
        still = raw_frames[i] == raw_frames[i - 1]
        change = grey_frames[i][still].astype(np.float64) - grey_frames[i - 1][still]
        steps.append((np.abs(change).mean(), abs(change.mean())))
    pumping, luma_step = np.mean(steps, axis=0)
    return float(pumping), float(luma_step)


def measure(raw_frames: Frames, rescale: Callable[[np.ndarray], np.ndarray]) -> list[float]:
    greys, times = [], []
    for raw in raw_frames:
        # Processor time of this thread, so that a busy machine does not count.
        begin = time.thread_time()
        greys.append(rescale(raw))
        times.append(time.thread_time() - begin)
    entropy = float(np.mean([metrics.en(grey) for grey in greys]))
    return [*flicker(raw_frames, greys), entropy, 1e3 * float(np.median(times[1:]))]


def missed(row: Sequence[float], reference: Sequence[float]) -> str:
    """Return the bars that a row misses against per-frame min-max."""
    flickers = [value <= other / 3 for value, other in zip(row[:2], reference)]
    met = dict(zip(COLUMNS, [*flickers, row[2] >= reference[2], row[3] <= 1.0]))
    return ", ".join(name for name in met if not met[name]) or "all met"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__, "data", data=DATA / "thermal_raw16")
    folder = parser.parse_args(arguments).data
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".tif", ".tiff", ".png"))
    frames = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]
    if len(frames) < 2 or any(frame is None or frame.ndim != 2 for frame in frames):
        parser.error(f"{folder}: expected at least two single-channel TIFF or PNG frames")
    cv2.setNumThreads(1)
    height, width = frames[0].shape
    print(f"{len(frames)} frames of {width}x{height} {frames[0].dtype}")
    rows = {name: measure(frames, rescale) for name, rescale in candidates().items()}
    reference, *_ = rows.values()
    table = [["", *COLUMNS, "bars"]]
    for name, row in rows.items():
        figures = [*(f"{value:.3f}" for value in row[:3]), f"{row[3]:.2f}"]
        table.append([name, *figures, "" if row is reference else missed(row, reference)])
    print_table(table)


if __name__ == "__main__":
    main()
