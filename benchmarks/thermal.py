"""How steady, how rich and how fast is each way of bringing raw thermal frames to 8 bit?

    python benchmarks/thermal.py [--data DIR]

DIR holds consecutive raw frames (TIFF or PNG, 16 bit). Columns, over the whole sequence; the first
two are of the pixels whose raw value did not change at all from one frame to the next, so that
what is seen there is the mapping's own doing, whatever the scene does:

* pumping: their mean change of grey, grey levels a frame;
* luma step: by how much they become brighter or darker together, grey levels a frame;
* entropy: mean over frames, bits;
* ms: median processor time of one frame on one thread, after the first.

The bars: both kinds of flicker at most a third of per-frame min-max's, at no less entropy, within
1 ms at 640x512.
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from irvis_fusion_core import metrics
from irvis_fusion_core.thermal import ThermalRescale


def min_max(raw):
    """What driver gain control and most fusion code do with each frame."""
    return cv2.normalize(raw, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)


def pumping(raw_frames, grey_frames):
    """Mean grey change a frame of pixels whose raw value stayed the same."""
    steps = []
    for i in range(1, len(raw_frames)):
        still = raw_frames[i] == raw_frames[i - 1]
        change = cv2.absdiff(grey_frames[i], grey_frames[i - 1])
        steps.append(float(change[still].mean()))
    return float(np.mean(steps))


def luma_step(raw_frames, grey_frames):
    """Mean common change a frame of pixels whose raw value stayed the same, either way."""
    steps = []
    for i in range(1, len(raw_frames)):
        still = raw_frames[i] == raw_frames[i - 1]
        change = grey_frames[i][still].astype(np.float64) - grey_frames[i - 1][still]
        steps.append(abs(float(change.mean())))
    return float(np.mean(steps))


def measure(raw_frames, rescale):
    greys, times = [], []
    for raw in raw_frames:
        # Processor time of this thread, so that a busy machine does not count.
        begin = time.thread_time()
        greys.append(rescale(raw))
        times.append(time.thread_time() - begin)
    return {
        "pumping": pumping(raw_frames, greys),
        "luma step": luma_step(raw_frames, greys),
        "entropy": float(np.mean([metrics.en(grey) for grey in greys])),
        "ms": 1e3 * float(np.median(times[1:])),
    }


def missed(row, reference):
    """The bars that a row misses against per-frame min-max."""
    if row is reference:
        return ""
    bars = {name: row[name] <= reference[name] / 3 for name in ("pumping", "luma step")}
    bars["entropy"] = row["entropy"] >= reference["entropy"]
    bars["ms"] = row["ms"] <= 1.0
    return ", ".join(name for name, met in bars.items() if not met) or "all met"


def candidates():
    return {
        "per-frame min-max": min_max,
        "per-frame percentile": ThermalRescale("percentile", smoothing_s=0.0),
        "percentile (default)": ThermalRescale("percentile"),
        "fieldwise": ThermalRescale("fieldwise"),
        "window 0..6000": ThermalRescale("window", window_low=0, window_high=6000),
        "percentile + repairs": ThermalRescale("percentile", dead_pixels=True, columns=True),
        "percentile + CLAHE 2": ThermalRescale("percentile", clahe_clip=2.0),
    }


def read_frames(folder):
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".tif", ".tiff", ".png"))
    frames = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]
    if len(frames) < 2 or any(frame is None or frame.ndim != 2 for frame in frames):
        raise SystemExit(f"{folder}: expected at least two single-channel TIFF or PNG frames")
    return frames


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "thermal_raw16"
    parser.add_argument("--data", type=Path, default=beside)
    frames = read_frames(parser.parse_args(arguments).data)
    cv2.setNumThreads(1)
    height, width = frames[0].shape
    print(f"{len(frames)} frames of {width}x{height} {frames[0].dtype}")
    print(f"{'':22}{'pumping':>9}{'luma step':>11}{'entropy':>9}{'ms':>7}  bars")
    reference = None
    for name, rescale in candidates().items():
        row = measure(frames, rescale)
        reference = reference or row
        print(
            f"{name:22}{row['pumping']:9.3f}{row['luma step']:11.3f}"
            f"{row['entropy']:9.3f}{row['ms']:7.2f}  {missed(row, reference)}"
        )


if __name__ == "__main__":
    main()
