"""A drawn scene as two cameras see it: the same outlines, unrelated brightness."""

import cv2
import numpy as np

VIS_SIZE = (240, 320)
IR_SIZE = (128, 160)


def truth(turn_deg=1.0):
    """IR pixels to visible pixels: 2.1 times as large, turned, shifted, a little perspective."""
    c, s = 2.1 * np.cos(np.deg2rad(turn_deg)), 2.1 * np.sin(np.deg2rad(turn_deg))
    return np.array([[c, -s, -12.0], [s, c, -16.0], [2e-5, -3e-5, 1.0]])


def scene(seed, homography=None, shapes=60):
    """(IR uint8, visible uint8 BGR); shapes have a temperature and a colour, both random."""
    rng = np.random.default_rng(seed)
    height, width = VIS_SIZE
    margin = 80
    warm = np.full((height + 2 * margin, width + 2 * margin), 100, np.uint8)
    colour = np.full((*warm.shape, 3), 120, np.uint8)
    for _ in range(shapes):
        centre = rng.uniform((0, 0), warm.shape[::-1])
        corners = centre + rng.uniform(-38, 38, (int(rng.integers(3, 6)), 2))
        polygon = cv2.convexHull(corners.astype(np.int32))
        cv2.fillConvexPoly(warm, polygon, int(rng.integers(30, 220)), cv2.LINE_AA)
        cv2.fillConvexPoly(colour, polygon, rng.integers(20, 235, 3).tolist(), cv2.LINE_AA)
    vis = colour[margin:-margin, margin:-margin].astype(np.float32)
    homography = truth() if homography is None else homography
    shifted = np.array([[1, 0, margin], [0, 1, margin], [0, 0, 1.0]]) @ homography
    soft = cv2.GaussianBlur(warm, (0, 0), 0.9)
    ir = cv2.warpPerspective(
        soft, shifted, IR_SIZE[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    ).astype(np.float32)
    noisy = [p + rng.normal(0, 3, p.shape) for p in (ir, vis)]
    return tuple(np.clip(p, 0, 255).astype(np.uint8) for p in noisy)


def corner_error(found, expected):
    """Largest distance of the corners of the IR image, visible pixels."""
    height, width = IR_SIZE
    corners = np.array(
        [[0, 0, 1], [width - 1, 0, 1], [width - 1, height - 1, 1], [0, height - 1, 1]]
    )
    a, b = (corners @ h.T for h in (found, expected))
    return float(np.linalg.norm(a[:, :2] / a[:, 2:] - b[:, :2] / b[:, 2:], axis=1).max())
