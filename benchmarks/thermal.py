"""How steady, how rich and how fast is each way of bringing raw thermal frames to 8 bit?

    python benchmarks/thermal.py [--data DIR]

DIR holds consecutive raw frames (TIFF or PNG, 16 bit). Columns, over the whole sequence:

* pumping: mean change of grey from frame to frame of pixels whose raw value did not change at
  all: what the mapping adds by itself, grey levels a frame;
* luma step: mean change of the picture's mean grey, beyond that which a fixed mapping of the
  same span would show;
* entropy: mean over frames, bits;
* ms: median time of one frame on one thread, after the first.
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
    """Mean change of mean grey a frame that the scene's own mean does not explain."""
    raw_means = np.array([frame.mean(dtype=np.float64) for frame in raw_frames])
    grey_means = np.array([frame.mean(dtype=np.float64) for frame in grey_frames])
    first, grey = raw_frames[0].astype(np.float64), grey_frames[0].astype(np.float64)
    gain = np.cov(first.ravel(), grey.ravel())[0, 1] / first.var()
    return float(np.mean(np.abs(np.diff(grey_means) - gain * np.diff(raw_means))))


def measure(raw_frames, rescale):
    greys, times = [], []
    for raw in raw_frames:
        begin = time.perf_counter()
        greys.append(rescale(raw))
        times.append(time.perf_counter() - begin)
    return {
        "pumping": pumping(raw_frames, greys),
        "luma step": luma_step(raw_frames, greys),
        "entropy": float(np.mean([metrics.en(grey) for grey in greys])),
        "ms": 1e3 * float(np.median(times[1:])),
    }


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
    print(f"{'':22}{'pumping':>9}{'luma step':>11}{'entropy':>9}{'ms':>7}")
    for name, rescale in candidates().items():
        row = measure(frames, rescale)
        print(
            f"{name:22}{row['pumping']:9.3f}{row['luma step']:11.3f}"
            f"{row['entropy']:9.3f}{row['ms']:7.2f}"
        )


if __name__ == "__main__":
    main()
