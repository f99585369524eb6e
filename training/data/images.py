"""Read the images of a scene: whole, of one size, 8 bits.

A variance is in units where white is 1, so 0..0.25. As an image, the largest value of its type
stands for 0.25 (65535 in a 16-bit PNG); float TIFF and ``.npy`` hold it as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError, FusionError
from irvis_fusion_core.image_files import read_file, read_thermal_8_bit
from irvis_fusion_core.metrics import image_faults, luminance
from training.data.boxes import read_boxes
from training.errors import DataError, SizeError

LARGEST_VARIANCE = 0.25  # of values 0..1: half of them black, half white
DAYLIGHT = 70.0  # mean luminance from which a bright area at the upper border is sky


class PairPaths(NamedTuple):
    """The files of one scene."""

    stem: str
    ir: Path
    vis: Path
    teachers: tuple[Path, ...] = ()
    variance: Path | None = None
    boxes: Path | None = None


class Images(NamedTuple):
    """One scene in memory, all of one size."""

    ir: np.ndarray  # uint8 HxW
    vis: np.ndarray  # uint8 HxWx3 RGB
    teachers: np.ndarray  # uint8 luminance kxHxW, k may be 0
    variance: np.ndarray | None = None  # float32 HxW, of the teacher's luminance (white is 1)
    boxes: np.ndarray | None = None  # float32 nx5, `training.data.boxes`
    sky: np.ndarray | None = None  # uint8 HxW, `sky_mask`
    objects: np.ndarray | None = None  # float32 nx8, `training.data.found_objects`

    def sky_share(self) -> np.ndarray:
        """Return how much of each pixel is sky, float32 HxW, 0..1."""
        if self.sky is None:
            return np.zeros(self.ir.shape, np.float32)
        return self.sky * np.float32(1.0 / 255.0)

    @property
    def nbytes(self) -> int:
        """Return the memory that the images take, bytes."""
        return sum(array.nbytes for array in self if array is not None)


class ImageStore:
    """Calls `read` (`read_images` by default), and keeps what it gives, up to `limit` bytes.

    Forked workers share what is kept. `read` gives something with `nbytes`.
    """

    def __init__(self, limit: int, read: Callable[[Any], Any] | None = None) -> None:
        self.limit, self.used, self._read = limit, 0, read or read_images
        self._kept: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def __call__(self, files: Any) -> Any:
        """Return the images of some files; errors of `read`."""
        if files in self._kept:
            return self._kept[files]
        images = self._read(files)
        with self._lock:
            if self.used + images.nbytes <= self.limit and files not in self._kept:
                self._kept[files] = images
                self.used += images.nbytes
        return images

    def __reduce__(self) -> tuple[Any, ...]:
        """Give spawned workers an empty store: locks do not travel."""
        return ImageStore, (self.limit, self._read)


def read_pair(ir: Path, vis: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 IR HxW and uint8 RGB HxWx3 of one size.

    Args:
        ir: Goes through the node's `ThermalRescale`, each image alone.
        vis: Colour or grey.

    Raises:
        SizeError: The sizes differ.
        DataError: A file is missing, truncated, or no image.
    """
    thermal, visible = _read_thermal(Path(ir)), decode(Path(vis), cv2.IMREAD_COLOR)
    if thermal.shape != visible.shape[:2]:
        raise SizeError(
            f"expected one size, found {_size(thermal)} in {ir} and {_size(visible)} in {vis}; "
            "register the pair first (irvis_fusion_core.registration)"
        )
    return thermal, cv2.cvtColor(visible, cv2.COLOR_BGR2RGB)


def read_images(paths: PairPaths) -> Images:
    """Return all images of a scene; errors as `read_pair`."""
    ir, vis = read_pair(paths.ir, paths.vis)
    teachers = [read_luminance(path) for path in paths.teachers]
    variance = None if paths.variance is None else read_variance(paths.variance)
    for path, image in zip((*paths.teachers, paths.variance), (*teachers, variance)):
        if image is not None and image.shape != ir.shape:
            raise SizeError(
                f"expected the teacher's image in the size of its pair, {_size(ir)}, found "
                f"{_size(image)} in {path}; make it again, or resize it"
            )
    stacked = np.stack(teachers) if teachers else np.zeros((0, *ir.shape), np.uint8)
    boxes = None if paths.boxes is None else read_boxes(paths.boxes)
    return Images(ir, vis, stacked, variance, boxes, sky_mask(vis))


def sky_mask(vis: np.ndarray) -> np.ndarray | None:
    """Return where RGB by day shows sky, 255 with soft borders, uint8 HxW; None without any."""
    y = luminance(vis)
    found = image_faults.sky(y) & (y.mean() > DAYLIGHT)
    if not found.any():
        return None
    whole = cv2.dilate(found.astype(np.uint8), np.ones((9, 9), np.uint8)) * np.uint8(255)
    return cv2.GaussianBlur(whole, (0, 0), 3.0)


def read_luminance(path: Path) -> np.ndarray:
    """Return uint8 BT.601 luminance HxW of an image (16 bits are divided by 257)."""
    image = decode(Path(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image.dtype == np.uint16:
        image = (image / 257.0).round().astype(np.uint8)
    elif image.dtype != np.uint8:
        raise DataError(f"expected 8 or 16 bits in {path}, found {image.dtype}; convert it")
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def read_variance(path: Path) -> np.ndarray:
    """Return float32 HxW, white is 1; errors as `read_pair`."""
    path = Path(path)
    if path.suffix == ".npy":
        try:
            # Mapped, so that a header cannot declare more than its file holds.
            variance = np.load(path, mmap_mode="r", allow_pickle=False).astype(np.float32)
        except Exception as error:  # noqa: BLE001 - of NumPy and tokenize, at any bytes
            raise DataError(f"expected a variance in {path}: {error}; make it again") from error
    else:
        variance = decode(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
        if np.issubdtype(variance.dtype, np.integer):
            variance = variance * (LARGEST_VARIANCE / np.iinfo(variance.dtype).max)
    variance = np.squeeze(variance).astype(np.float32)
    if variance.ndim != 2 or not np.isfinite(variance).all() or (variance < 0.0).any():
        raise DataError(
            f"expected H x W finite numbers of 0 or more in {path}, found shape "
            f"{variance.shape}; make it again"
        )
    return variance


def decode(path: Path, flags: int) -> np.ndarray:
    """Return an image as OpenCV decodes it.

    Raises:
        DataError: Missing, no image, or truncated.
    """
    try:
        return read_file(path, flags)
    except FrameError as error:
        raise DataError(str(error)) from error


def _read_thermal(path: Path) -> np.ndarray:
    try:
        return read_thermal_8_bit(path)
    except FusionError as error:
        raise DataError(f"{path} cannot be read as thermal image: {error}") from error


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
