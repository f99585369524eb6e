"""One camera's calibration, as in `sensor_msgs/CameraInfo` and ROS's calibration files.

Rays are points (x, y) of the plane one unit before the camera; pixel (0, 0) is the centre of the
top left pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from irvis_fusion_core.bounded_file import CALIBRATION_BYTES, parse_yaml, read_text
from irvis_fusion_core.errors import CalibrationError, FileContentError
from irvis_fusion_core.registration.camera_geometry import (
    Numbers,
    Size,
    as_matrix,
    size_change,
    stretch,
)
from irvis_fusion_core.registration.lens import Lens

PINHOLE_LENSES = ("", "plumb_bob", "rational_polynomial", "thin_prism", "pinhole", "radtan")
FISHEYE_LENSES = ("equidistant", "fisheye", "kannala_brandt", "equi")

# Rays beyond this multiple of the image's widest ray do not count as seen: the lens was not
# calibrated there.
_WIDEST_RAY = 1.1
# Distances of the principal point from the middle of the image, as shares of width and height.
_FAR_FROM_MIDDLE = 0.2
_NEAR_MIDDLE = 0.1
# Focal lengths as shares of the image's longer side: drivers publish K = 1 uncalibrated, and some
# files have millimetres. An equidistant lens that sees 220 degrees has 0.15.
_LEAST_FOCAL, _LARGEST_FOCAL = 0.06, 300.0
# Of the two focal lengths; binning of one side makes 2 or 4.
_LARGEST_FOCAL_RATIO = 5.0
# Images that a principal point lies beside the image, at most.
_FARTHEST_CENTRE = 1.0


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

    @property
    def lens(self) -> Lens:
        return Lens(self.distortion, self.fisheye)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Return the rays Nx2 of pixels Nx2, without distortion; NaN where no ray arrives."""
        points = (np.asarray(pixels, np.float64) - self.matrix[:2, 2]) @ np.linalg.inv(
            self.matrix[:2, :2]
        ).T
        return self.lens.straight(points)

    def pixels(self, rays: np.ndarray) -> np.ndarray:
        """Return the pixels Nx2 of rays Nx2, with distortion."""
        bent = self.lens.bent(np.ascontiguousarray(rays, np.float64))
        return bent @ self.matrix[:2, :2].T + self.matrix[:2, 2]

    def widest_ray(self) -> float:
        """Return the length up to which the lens model holds.

        That is a tenth beyond the rays of the image's border, or where the polynomial turns.
        """
        height, width = self.size
        along = np.linspace(0.0, 1.0, 17)
        shares = [place for t in along for place in ((t, 0.0), (t, 1.0), (0.0, t), (1.0, t))]
        border = np.array(shares) * (width - 1, height - 1)
        lengths = np.linalg.norm(self.rays(border), axis=1)
        turn = self.lens.widest()
        return turn if np.isnan(lengths).any() else min(turn, _WIDEST_RAY * float(lengths.max()))


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
    size = checked_size(f"calibrated_{name}_size", size)
    least, most = sorted((k[0, 0], k[1, 1]))
    longer = max(size)
    if least <= _LEAST_FOCAL * longer or most > min(
        _LARGEST_FOCAL * longer, _LARGEST_FOCAL_RATIO * least
    ):
        raise CalibrationError(
            f"the {name} camera is not calibrated (its focal lengths are {k[0, 0]:g} and "
            f"{k[1, 1]:g} pixels at {size[1]}x{size[0]}): calibrate it, for example with "
            "camera_calibration, and let its driver publish the result"
        )
    if not np.allclose([k[1, 0], *k[2]], [0.0, 0.0, 0.0, 1.0]):
        raise CalibrationError(
            f"expected {name}_matrix as [fx, 0, cx, 0, fy, cy, 0, 0, 1], row by row, found "
            f"{k.ravel().tolist()}"
        )
    lens = lens.strip().lower()
    if lens not in PINHOLE_LENSES + FISHEYE_LENSES:
        known = ", ".join((*PINHOLE_LENSES[1:], *FISHEYE_LENSES))
        raise CalibrationError(
            f"the {name} lens model must be one of {known}, found {lens!r}; publish rectified "
            "images instead and say so (registration.ir_rectified, vis_rectified)"
        )
    fisheye = lens in FISHEYE_LENSES
    coefficients = np.asarray(distortion, np.float64).reshape(-1)
    counts = (0, 4) if fisheye else (0, 4, 5, 8, 12, 14)
    if fisheye and not coefficients[4:].any():
        coefficients = coefficients[:4]  # some drivers fill up with zeros
    if coefficients.size not in counts or not np.isfinite(coefficients).all():
        raise CalibrationError(
            f"{name}_distortion must be {', '.join(map(str, counts))} finite coefficients in "
            f"OpenCV's order, found {np.ravel(distortion).tolist()}"
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
        text = read_text(path, CALIBRATION_BYTES)
        if text.startswith("%YAML:"):  # OpenCV's FileStorage is nearly YAML
            text = text.partition("\n")[2].replace("!!opencv-matrix", "")
        tree = parse_yaml(text)
    except FileContentError as error:
        raise CalibrationError(
            f"expected the {name} camera's calibration (YAML) at {path}, found: {error}"
        ) from error
    try:
        size = (int(tree["image_height"]), int(tree["image_width"]))
        matrix = tree["camera_matrix"]["data"]
        distortion = tree.get("distortion_coefficients", {}).get("data", [])
        # Files of fisheye lenses by older camera_calibration have `camera_model: fisheye` only.
        kind = str(tree.get("camera_model", "")).strip().lower()
        lens = kind if kind in FISHEYE_LENSES else str(tree.get("distortion_model", "plumb_bob"))
        if rectified:
            matrix = rectified_matrix(tree["projection_matrix"]["data"], name)
            distortion, lens = [], ""
        distortion = np.asarray(distortion, np.float64).tolist()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CalibrationError(
            f"expected image_width, image_height, camera_matrix and distortion_coefficients in "
            f"{path}, as ROS's camera_calibration writes them, found: {error!r}"
        ) from error
    camera = make_camera(name, matrix, distortion, size, lens)
    _refuse_other_size(f"{name} calibration {path}", camera.matrix, camera.size)
    return camera


def rectified_matrix(projection: Sequence[float], name: str) -> np.ndarray:
    """Return the 3x3 of the rectified camera `name` from the 12 numbers of its matrix P."""
    p = np.asarray(projection, np.float64).reshape(-1)
    if p.size != 12:
        raise CalibrationError(f"a projection matrix has 12 numbers, found {p.size}")
    if not p.any():
        raise CalibrationError(
            f"the {name} camera has no projection matrix P (all zeros), which rectified images "
            "need: publish that of image_proc or of the calibration file, or set "
            f"registration.{name}_rectified to false and use the images as the camera gives them"
        )
    return p.reshape(3, 4)[:, :3]


def camera_from_info(info: Any, name: str, rectified: bool = False) -> CameraModel:
    """Return the camera of a sensor_msgs/CameraInfo, or of any object with its fields.

    K and P belong to the whole sensor image of `width` x `height`: a region of interest moves the
    centre, then binning makes the image smaller. Drivers that bin or crop often publish the K of
    the smaller image with the size of the whole one. That is recognised by the principal point.

    Raises:
        CalibrationError: as `make_camera`; the principal point shows that K and the size do not
            belong together.
    """
    matrix = (
        rectified_matrix(info.p, name) if rectified else as_matrix(f"{name} k", np.asarray(info.k))
    )
    if not info.height or not info.width:
        raise CalibrationError(
            f"the {name} camera_info has no image size (calibrated_{name}_size is "
            f"{info.width}x{info.height}): let its driver publish width and height of the "
            "calibrated image"
        )
    size = checked_size(f"calibrated_{name}_size", (info.height, info.width))
    adapted, image = _of_image(info, name, matrix, size)
    far = image != size and _off_middle(adapted, image) > _FAR_FROM_MIDDLE
    if far and _off_middle(matrix, image) < _NEAR_MIDDLE:
        adapted = matrix  # K is already that of the image
    lens, distortion = ("", []) if rectified else (info.distortion_model, list(info.d))
    camera = make_camera(name, adapted, distortion, image, lens, info.header.frame_id)
    if image == size:
        _refuse_other_size(f"{name} camera_info", matrix, size)
    return camera


def _of_image(info: Any, name: str, matrix: np.ndarray, size: Size) -> tuple[np.ndarray, Size]:
    """Return matrix and size of the published image: region of interest first, then binning."""
    roi = info.roi
    if roi.width and roi.height and (roi.height, roi.width) != size:
        if roi.y_offset + roi.height > size[0] or roi.x_offset + roi.width > size[1]:
            raise CalibrationError(
                f"expected the region of interest of the {name} camera_info within its image of "
                f"{size[1]}x{size[0]}, found {roi.width}x{roi.height} at ({roi.x_offset}, "
                f"{roi.y_offset}); let the driver publish the size of the whole sensor image"
            )
        matrix = matrix - np.array([[0, 0, roi.x_offset], [0, 0, roi.y_offset], [0, 0, 0]])
        size = (int(roi.height), int(roi.width))
    # Messages of ROS 1 and older recordings may lack the fields; 0 means 1.
    down, across = (max(1, int(getattr(info, f"binning_{axis}", 0))) for axis in "yx")
    binned = (max(1, size[0] // down), max(1, size[1] // across))
    return stretch(size, binned) @ matrix, binned


def _off_middle(matrix: np.ndarray, size: Size) -> float:
    """Return the distance of the principal point from the middle, as a share of the side."""
    return float(np.abs(matrix[:2, 2] / size[::-1] - 0.5).max())


def _refuse_other_size(what: str, matrix: np.ndarray, size: Size) -> None:
    """Raise where the principal point shows another size's K.

    It is at the same far share of both sides, or far outside of the image.
    """
    across, down = matrix[:2, 2] / size[::-1]
    share = (across + down) / 2.0
    alike = abs(across - down) <= 0.15 * share
    outside = max(-min(across, down), max(across, down) - 1.0) > _FARTHEST_CENTRE
    if outside or (alike and not 0.33 < share < 0.75):
        wide, high = (round(2.0 * centre) for centre in matrix[:2, 2])
        raise CalibrationError(
            f"the {what} has its principal point at {across:.0%} of the width and {down:.0%} of "
            f"the height of {size[1]}x{size[0]}: its matrix seems to belong to an image of about "
            f"{wide}x{high}. Give matrix, width and height of one image (and binning_x, binning_y "
            "of a smaller one)"
        )


def checked_size(name: str, size: Sequence[int]) -> Size:
    """Return (height, width) as integers; CalibrationError below 2x2."""
    values = [int(value) for value in size]
    if len(values) != 2 or min(values) < 2:
        raise CalibrationError(f"{name} must be (height, width) in pixels, found {size!r}")
    return values[0], values[1]
