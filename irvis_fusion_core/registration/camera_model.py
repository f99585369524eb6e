"""One camera's calibration, as in `sensor_msgs/CameraInfo` and ROS's calibration files.

Rays are points (x, y) of the plane one unit before the camera; pixel (0, 0) is the centre of the
top left pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.bounded_file import CALIBRATION_BYTES, parse_yaml, read_text
from irvis_fusion_core.errors import CalibrationError, FileContentError
from irvis_fusion_core.registration.camera_geometry import Numbers, Size, as_matrix, size_change

PINHOLE_LENSES = ("", "plumb_bob", "rational_polynomial", "thin_prism", "pinhole")
FISHEYE_LENSES = ("equidistant", "fisheye", "kannala_brandt")

# Lens models are polynomials that fold back far outside the image: rays beyond this multiple of
# the image's widest ray do not count as seen.
_WIDEST_RAY = 1.1


class CameraModel(NamedTuple):
    """3x3 matrix, distortion in OpenCV's order, image size, and the camera's frame.

    `fisheye` lenses are equidistant with four coefficients (OpenCV's `cv2.fisheye`), others take
    0, 4, 5, 8, 12 or 14 (`plumb_bob`, `rational_polynomial`, with thin prism, with tilt).
    """

    matrix: np.ndarray
    distortion: np.ndarray
    size: Size
    fisheye: bool = False
    frame_id: str = ""

    def for_size(self, camera: str, size: Size) -> CameraModel:
        """Return the camera at another size; CalibrationError for another aspect."""
        scaling = size_change(camera, self.size, size)
        return self._replace(matrix=scaling @ self.matrix, size=(int(size[0]), int(size[1])))

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Return the rays Nx2 of pixels Nx2, without distortion."""
        points = np.ascontiguousarray(pixels, np.float64)[:, None, :]
        undistort: Any = cv2.fisheye.undistortPoints if self.fisheye else cv2.undistortPoints
        return np.asarray(undistort(points, self.matrix, self.distortion))[:, 0]

    def pixels(self, rays: np.ndarray) -> np.ndarray:
        """Return the pixels Nx2 of rays Nx2, with distortion."""
        rays = np.ascontiguousarray(rays, np.float64)
        if self.fisheye:
            return cv2.fisheye.distortPoints(rays[:, None, :], self.matrix, self.distortion)[:, 0]
        points = np.column_stack([rays, np.ones(len(rays))])
        none = np.zeros(3)
        return cv2.projectPoints(points, none, none, self.matrix, self.distortion)[0][:, 0]

    def widest_ray(self) -> float:
        """Return the length up to which the lens model holds: a tenth beyond the border's rays."""
        height, width = self.size
        along = np.linspace(0.0, 1.0, 17)
        shares = [place for t in along for place in ((t, 0.0), (t, 1.0), (0.0, t), (1.0, t))]
        border = np.array(shares) * (width - 1, height - 1)
        return _WIDEST_RAY * float(np.linalg.norm(self.rays(border), axis=1).max())


def make_camera(
    name: str,
    matrix: Numbers,
    distortion: Sequence[float],
    size: Sequence[int],
    lens: str = "",
    frame_id: str = "",
) -> CameraModel:
    """Check and build a camera; `lens` is CameraInfo's distortion_model, `name` is for errors.

    Raises:
        CalibrationError: an uncalibrated camera, an unknown lens, or impossible numbers.
    """
    k = as_matrix(f"{name}_matrix", matrix)
    if min(k[0, 0], k[1, 1]) <= 0.0:
        raise CalibrationError(
            f"the {name} camera is not calibrated (its focal length is {k[0, 0]:g}): calibrate "
            "it, for example with camera_calibration, and let its driver publish the result"
        )
    size = checked_size(f"calibrated_{name}_size", size)
    if lens not in PINHOLE_LENSES + FISHEYE_LENSES:
        known = ", ".join((*PINHOLE_LENSES[1:], *FISHEYE_LENSES))
        raise CalibrationError(
            f"the {name} lens model must be one of {known}, found {lens!r}; publish rectified "
            "images instead and say so (registration.ir_rectified, vis_rectified)"
        )
    fisheye = lens in FISHEYE_LENSES
    coefficients = np.asarray(distortion, np.float64).reshape(-1)
    counts = (0, 4) if fisheye else (0, 4, 5, 8, 12, 14)
    if coefficients.size not in counts or not np.isfinite(coefficients).all():
        raise CalibrationError(
            f"{name}_distortion must be {', '.join(map(str, counts))} finite coefficients in "
            f"OpenCV's order, found {list(distortion)!r}"
        )
    coefficients = coefficients if coefficients.size else np.zeros(4)
    return CameraModel(k, coefficients, size, fisheye, frame_id)


def read_camera_file(path: str, name: str, rectified: bool = False) -> CameraModel:
    """Read a YAML file of ROS's camera_calibration (`ost.yaml`, camera_info_manager).

    `rectified` images come through image_proc; the projection matrix applies to them.

    Raises:
        CalibrationError: the file is missing or no calibration, or PyYAML is not installed.
    """
    try:
        tree = parse_yaml(read_text(path, CALIBRATION_BYTES))
    except FileContentError as error:
        raise CalibrationError(
            f"expected the {name} camera's calibration (YAML) at {path}, found: {error}"
        ) from error
    try:
        size = (int(tree["image_height"]), int(tree["image_width"]))
        matrix = tree["camera_matrix"]["data"]
        distortion = tree.get("distortion_coefficients", {}).get("data", [])
        lens = str(tree.get("distortion_model", "plumb_bob"))
        if rectified:
            matrix = rectified_matrix(tree["projection_matrix"]["data"])
            distortion, lens = [], ""
        distortion = np.asarray(distortion, np.float64).tolist()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CalibrationError(
            f"expected image_width, image_height, camera_matrix and distortion_coefficients in "
            f"{path}, as ROS's camera_calibration writes them, found: {error!r}"
        ) from error
    return make_camera(name, matrix, distortion, size, lens)


def rectified_matrix(projection: Sequence[float]) -> np.ndarray:
    """Return the 3x3 of a rectified camera from the 12 numbers of its projection matrix P."""
    p = np.asarray(projection, np.float64).reshape(-1)
    if p.size != 12:
        raise CalibrationError(f"a projection matrix has 12 numbers, found {p.size}")
    return p.reshape(3, 4)[:, :3]


def camera_from_info(info: Any, name: str, rectified: bool = False) -> CameraModel:
    """Return the camera of a sensor_msgs/CameraInfo, or of any object with its fields.

    A region of interest moves the centre; binning gives a smaller image of the same aspect.
    Raises as `make_camera`.
    """
    matrix = rectified_matrix(info.p) if rectified else as_matrix(f"{name} k", list(info.k))
    size = (int(info.height), int(info.width))
    roi = info.roi
    if roi.width and roi.height and (roi.height, roi.width) != size:
        matrix = matrix - np.array([[0, 0, roi.x_offset], [0, 0, roi.y_offset], [0, 0, 0]])
        size = (int(roi.height), int(roi.width))
    lens, distortion = ("", []) if rectified else (info.distortion_model, list(info.d))
    return make_camera(name, matrix, distortion, size, lens, info.header.frame_id)


def checked_size(name: str, size: Sequence[int]) -> Size:
    """Return (height, width) as integers; CalibrationError below 2x2."""
    values = [int(value) for value in size]
    if len(values) != 2 or min(values) < 2:
        raise CalibrationError(f"{name} must be (height, width) in pixels, found {size!r}")
    return values[0], values[1]
