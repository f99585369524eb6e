"""What registration costs a frame, and how far a homography is off at other depths.

    python benchmarks/registration.py [--focal-px 768] [--baseline-m 0.1] [--set-depth-m 10]

Times are medians of processor time on one thread; "maps" is what the first frame of a size pays.
The bar: a warp within 1.5 ms at 640x480.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import cv2
import numpy as np

from benchmarks.shared.options import make_parser
from irvis_fusion_core import registration
from irvis_fusion_core.benchmark import time_interleaved
from irvis_fusion_core.registration.camera_geometry import expected_error_px


def warp_times() -> Iterator[tuple[str, float]]:
    """Yield (what, milliseconds) for the sizes that robots use."""
    for ir_size, vis_size in [((512, 640), (480, 640)), ((512, 640), (1000, 1500))]:
        scale = 0.9 * vis_size[1] / ir_size[1]
        homography = [[scale, 0.02, 12], [-0.02, scale, 8], [1e-6, 2e-6, 1]]
        flat = registration.HomographyRegistration(homography)
        # Both cameras see 53 degrees across.
        matrices = [
            [[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1]]
            for height, width in (ir_size, vis_size)
        ]
        lenses = registration.CalibratedRegistration(
            ir_matrix=matrices[0],
            vis_matrix=matrices[1],
            rotation=np.eye(3),
            translation_m=[0.1, 0.0, 0.0],
            depth_m=10.0,
            calibrated_ir_size=ir_size,
            calibrated_vis_size=vis_size,
            ir_distortion=[-0.25, 0.08, 0.0, 0.0, 0.0],
            vis_distortion=[-0.1, 0.02, 0.0, 0.0, 0.0],
        )
        rng = np.random.default_rng(0)
        ir, vis = (rng.integers(0, 256, size).astype(np.uint8) for size in (ir_size, vis_size))
        calls: dict[str, tuple[Callable[[], object], int]] = {
            "warp": (partial(flat.warp, ir, vis_size), 100),
            "warp and fill": (partial(warp_and_fill, flat, ir, vis), 100),
            "maps, homography": (partial(flat.prepare, ir_size, vis_size), 5),
            "maps, lenses": (partial(lenses.prepare, ir_size, vis_size), 5),
        }
        for name, (call, rounds) in calls.items():
            # Processor time of this thread, so that a busy machine does not count.
            timing = time_interleaved({name: call}, rounds, warm_up=1, clock=time.thread_time)
            sizes = f"{ir_size[1]}x{ir_size[0]} -> {vis_size[1]}x{vis_size[0]}"
            yield f"{sizes} {name}", timing[name].median_ms


def warp_and_fill(
    flat: registration.HomographyRegistration, ir: np.ndarray, vis: np.ndarray
) -> np.ndarray:
    """Return the warped IR frame, filled where the camera did not see."""
    warped, coverage = flat.warp(ir, vis.shape)
    return warped if coverage is None else registration.fill_uncovered(warped, vis, coverage)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--focal-px", type=float, default=768.0)
    parser.add_argument("--baseline-m", type=float, default=0.1)
    parser.add_argument("--set-depth-m", type=float, default=10.0)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    for name, milliseconds in warp_times():
        print(f"{name:38}{milliseconds:7.2f} ms")
    focal, baseline_m, depth_m = options.focal_px, options.baseline_m, options.set_depth_m
    depths_m = [1, 2, 3, 5, 10, 20, 50, 1000]
    matrix = np.array([[focal, 0, 319.5], [0, focal, 239.5], [0, 0, 1]])
    pose = np.eye(3), [baseline_m, 0, 0]
    errors = expected_error_px(matrix, matrix, *pose, depth_m, depths_m, (480, 640))
    print(f"\nregistered for {depth_m:g} m, focal length {focal:g} px, baseline {baseline_m:g} m:")
    for at_m, error in errors.items():
        print(f"  at {at_m:6g} m the error is {error:6.1f} px")


if __name__ == "__main__":
    main()
