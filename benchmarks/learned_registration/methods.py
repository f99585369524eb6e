"""Ways to find where the visible pixels lie in the thermal image of a pair."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from irvis_fusion_core.calibration.oriented_gradients import grey
from irvis_fusion_core.metrics.image_faults import warped_to
from irvis_fusion_core.registration.learned.learned_registration import LearnedRegistration
from irvis_fusion_core.registration.modes import NoRegistration
from irvis_fusion_core.registration.online_alignment import OnlineRegistration
from irvis_fusion_core.registration.warp_maps import StretchedRegistration, pixel_grid, through

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From uint8 HxW thermal and visible images to float32 2 x H x W: a visible pixel x lies at
x + field in the thermal image."""
ONLINE_PAIRS = 12
"""Times that online alignment sees the pair, a second apart."""


def nothing(ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
    """Return no displacement."""
    return np.zeros((2, *vis.shape), np.float32)


def online(ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
    """Return the similarity of mode `online` after it has seen the pair for some seconds."""
    registration = OnlineRegistration(StretchedRegistration(0.0), in_background=False)
    for number in range(ONLINE_PAIRS):
        registration.offer(ir, vis, float(number))
    return of_matrix(np.linalg.inv(registration.correction), vis.shape)


def ecc(ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
    """Return OpenCV's ECC (Evangelidis and Psarakis, PAMI 2008): a homography of edge images."""
    small = [cv2.resize(edge_image(x), None, fx=0.5, fy=0.5) for x in (vis, ir)]
    matrix = np.eye(3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5)
    try:
        _, matrix = cv2.findTransformECC(
            *small, matrix, cv2.MOTION_HOMOGRAPHY, stop, np.full(small[1].shape, 255, np.uint8), 5
        )
    except cv2.error:  # it did not converge
        return nothing(ir, vis)
    half = np.diag([0.5, 0.5, 1.0])
    half[:2, 2] = -0.25
    return of_matrix(np.linalg.inv(half) @ matrix @ half, vis.shape)


def dis(ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
    """Return OpenCV's DIS flow (Kroeger and others, ECCV 2016) of edge images."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return flow.calc(edge_image(vis), edge_image(ir), None).transpose(2, 0, 1)


class Learned:
    """The learned registration of single pairs, as the node runs it.

    Attributes:
        confidence: Of the last pair, float32 HxW, 0..1.
    """

    def __init__(self, model: str = "", threads: int = 0) -> None:
        self.registration = LearnedRegistration(
            NoRegistration(), model, smoothing_s=0.0, threads=threads, in_background=False
        )
        self.confidence = np.zeros((0, 0), np.float32)

    def __call__(self, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        """Return its field, see `Method`."""
        self.registration.refine(ir, None, vis, 0.0)
        size = vis.shape[::-1]
        assert self.registration.field is not None
        self.confidence = cv2.resize(self.registration.confidence, size)
        return np.stack([cv2.resize(plane, size) for plane in self.registration.field])


def warped(ir: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Return the thermal image on the visible pixels."""
    return warped_to(ir, np.moveaxis(field, 0, -1))


def of_matrix(matrix: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return the displacement of every pixel by a homography, float32 2 x H x W."""
    x, y = pixel_grid((size[0], size[1]))
    to_x, to_y, _ = through(np.asarray(matrix, np.float64), x, y)
    return np.stack([to_x - x, to_y - y]).astype(np.float32)


def edge_image(image: np.ndarray) -> np.ndarray:
    """Return the strength of edges, uint8 HxW: what both spectra have in common."""
    smooth = cv2.GaussianBlur(grey(image), (0, 0), 1.5).astype(np.float32)
    strength = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, -1, 0, 1))
    around = cv2.blur(strength, (31, 31)) + 8.0
    return np.clip(100.0 * strength / around, 0, 255).astype(np.uint8)
