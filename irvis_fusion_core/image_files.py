"""Images and pairs of images on disk.

for files in pairs_in("recording"):     # recording/IR/*.png and recording/VIS/*.png
ir, vis = read_thermal(files.ir), read_visible(files.vis)
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from typing import NamedTuple, Union

import cv2
import numpy as np

from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.file_formats import image_bytes
from irvis_fusion_core.frames import normalize_pair

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
# Images that people put into such folders, and that are not read.
_OTHER_SUFFIXES = (".gif", ".jp2", ".jfif", ".jpe", ".heic", ".avif", ".jxl", ".exr", ".hdr",
                   ".dng", ".npy", ".raw")  # fmt: skip
# Visible images whose lightest value is below this are black to a person.
_BLACK = 16
_WHITE_IS_0, _SIGNED = 0, 2
_PHOTOMETRIC, _SAMPLE_FORMAT = 262, 339  # tags of TIFF
AnyPath = Union[str, "os.PathLike[str]"]
_logger = logging.getLogger(__name__)
_warn_once = functools.lru_cache(maxsize=256)(_logger.warning)


class FilePair(NamedTuple):
    """Two files of one scene, and their common name without extension."""

    stem: str
    ir: str
    vis: str


def match_by_stem(ir_folder: AnyPath, vis_folder: AnyPath) -> list[FilePair]:
    """Pair the images of two folders by file name without extension, sorted.

    Raises:
        FrameError: a folder is missing or empty, a name occurs twice, or has no partner.
    """
    ir, vis = images_by_stem(ir_folder), images_by_stem(vis_folder)
    for folder, found in ((ir_folder, ir), (vis_folder, vis)):
        if not found:
            raise FrameError(f"expected {', '.join(IMAGE_SUFFIXES)} in {folder}, found none")
    lonely = sorted(set(ir) ^ set(vis))
    if lonely:
        raise FrameError(
            "expected a partner of the same name for every image in %s and %s, found %d without "
            "one: %s; rename or remove them"
            % (ir_folder, vis_folder, len(lonely), ", ".join(lonely[:5]))
        )
    return [FilePair(stem, ir[stem], vis[stem]) for stem in sorted(ir)]


def pairs_in(folder: AnyPath) -> list[FilePair]:
    """Return `match_by_stem` of the folders `IR/` and `VIS/` in a folder."""
    return match_by_stem(os.path.join(folder, "IR"), os.path.join(folder, "VIS"))


def read_visible(path: AnyPath) -> np.ndarray:
    """Read an image as uint8 BGR [height, width, 3].

    Raises:
        FrameError: the file is missing, truncated, no image, of a format that is not read here, or
            larger than `image_bytes.Bounds`.
    """
    data, name = _bytes_of(path), os.fspath(path)
    if image_bytes.tiff_value(data, _SAMPLE_FORMAT, 1) == _SIGNED:
        raise FrameError(
            f"expected a visible image of unsigned numbers in {name}, found signed ones; convert "
            "it to PNG of 8 or 16 bits"
        )
    image = image_bytes.decode(data, cv2.IMREAD_COLOR, name)
    _warn_of_more_images(data, name)
    _warn_of_unused_bits(data, image, name)
    return image


def read_thermal(path: AnyPath, palette: str = "auto") -> np.ndarray:
    """Read a thermal image as stored: [height, width] of uint8, uint16 or float32.

    Radiometric JPEGs give their raster (`thermal_raster`). False colours are turned back into grey
    as in messages (`palettes.grey_of` with `palette`), other colours give their luminance. 16-bit
    images whose bytes are swapped, as tools write PNGs of FLIR files, are swapped back. In TIFFs
    where 0 is white, white becomes hot. Raises as `read_visible`.
    """
    from irvis_fusion_core.thermal.radiometric_jpeg import thermal_raster
    from irvis_fusion_core.thermal.raw_frames import has_swapped_bytes

    data = _bytes_of(path)
    image_bytes.check(data, os.fspath(path))
    raster = thermal_raster(data, os.fspath(path))
    if raster is not None:
        return raster
    image = image_bytes.decode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR, os.fspath(path))
    _warn_of_more_images(data, os.fspath(path))
    if image.ndim == 3 and image.dtype == np.uint8:
        grey = _without_colours(image[:, :, :3], palette, os.fspath(path))
        if grey is not None:
            return grey
    if image.ndim == 3:
        flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_GRAYSCALE
        image = image_bytes.decode(data, flags, os.fspath(path))
        image = image if image.ndim == 2 else image[:, :, 0]
    if has_swapped_bytes(image):
        suffix = os.path.splitext(path)[1].lstrip(".").upper()
        _warn_once(
            f"16-bit {suffix} files with swapped bytes, as written from FLIR files: swapped back"
        )
        return image.byteswap()
    # OpenCV turns such images of 8 bits around, and none of 16.
    white_is_0 = image_bytes.tiff_value(data, _PHOTOMETRIC, 1) == _WHITE_IS_0
    if white_is_0 and image.dtype == np.uint16:
        image = ~image
    # TIFF files may hold signed or long numbers.
    return image if image.dtype in (np.uint8, np.uint16) else image.astype(np.float32, copy=False)


def _warn_of_more_images(data: bytes, path: str) -> None:
    if image_bytes.has_more_images(data):
        folder, name = os.path.split(path)
        _warn_once(
            f"{folder or '.'}: files of several images, such as {name!r}: the first alone is "
            "used; write one file for each"
        )


def _warn_of_unused_bits(data: bytes, image: np.ndarray, path: str) -> None:
    """Warn where 10 or 12 bits were stored in 16, of which the upper 8 are used."""
    if image.max() < _BLACK:
        stored = image_bytes.decode(data, cv2.IMREAD_ANYDEPTH, path)
        if stored.dtype == np.uint16 and stored.any():
            folder, name = os.path.split(path)
            _warn_once(
                f"{folder or '.'}: visible images of 16 bits such as {name!r} are black: their "
                f"values end at {stored.max()}; spread 10 or 12 bits over all 16"
            )


def _without_colours(bgr: np.ndarray, palette: str, path: str) -> np.ndarray | None:
    """Return an image in false colours as grey; None for one whose luminance is to be taken."""
    from irvis_fusion_core.thermal.palettes import grey_of

    found = grey_of(bgr, palette)
    if found.palette == "grey":
        return None
    folder = os.path.dirname(path) or "."
    if found.palette == "unknown":
        _warn_once(
            f"{folder}: thermal images in colours of no known palette: their luminance is taken, "
            "which is no temperature; let the camera write grey images"
        )
        return None
    _warn_once(f"{folder}: thermal images in false colours ({found.palette}): turned into grey")
    return found.grey


def read_thermal_8_bit(path: AnyPath) -> np.ndarray:
    """Read a thermal image as uint8 [height, width], as `read_thermal` and `thermal_to_8_bit`."""
    return thermal_to_8_bit(read_thermal(path))


def stored_8_bit(ir: np.ndarray) -> np.ndarray:
    """Return a thermal image of 8 bits as it is stored, others as `thermal_to_8_bit`."""
    return ir if ir.dtype == np.uint8 else thermal_to_8_bit(ir)


def thermal_to_8_bit(ir: np.ndarray) -> np.ndarray:
    """Return a thermal image as uint8 [height, width], rescaled on its own as in the node."""
    from irvis_fusion_core.thermal import ThermalRescale

    return ThermalRescale(smoothing_s=0.0)(ir)


def read_pairs(files: list[FilePair], order: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images of the pairs, 8-bit and in the model's channel order."""
    for each in files:
        vis = read_visible(each.vis)
        ordered = vis[:, :, ::-1] if order == "rgb" else vis
        yield normalize_pair(read_thermal_8_bit(each.ir), ordered, order)


def write_image(path: AnyPath, image: np.ndarray) -> None:
    """Write a BGR or grey image, and its folder where that is missing.

    Raises:
        FrameError: OpenCV does not write this extension, or the place is not writable.
    """
    path = os.fspath(path)
    try:
        done, coded = cv2.imencode(os.path.splitext(path)[1], image)
    except cv2.error as error:
        raise FrameError(
            f"expected to write {path}, found: {str(error).strip()}; choose .png, .jpg or .bmp"
        ) from error
    if not done:
        raise FrameError(f"expected to write {path}, found that OpenCV cannot encode it")
    try:
        write_file(path, coded.tobytes())
    except OSError as error:
        raise FrameError(f"expected to write {path}, found: {error.strerror}") from error


def read_file(path: AnyPath, flags: int) -> np.ndarray:
    """Return a file as `image_bytes.decode` gives it; any name will do.

    Raises:
        FrameError: the file is missing, truncated, or no image.
    """
    return image_bytes.decode(_bytes_of(path), flags, os.fspath(path))


def _bytes_of(path: AnyPath) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(image_bytes.MOST_FILE_BYTES + 1)  # more is refused by its size
    except FileNotFoundError as error:
        raise FrameError(f"expected an image at {path}, found no such file") from error
    except OSError as error:
        raise FrameError(f"expected an image at {path}, found: {error.strerror}") from error


def images_by_stem(folder: AnyPath) -> dict[str, str]:
    """Return file name without extension -> path of the images of a folder; no hidden files.

    Raises:
        FrameError: the folder is missing, or a name occurs twice.
    """
    if not os.path.isdir(folder):
        raise FrameError(f"expected a folder of images at {folder}, found no such folder")
    found: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() not in IMAGE_SUFFIXES:
            if suffix.lower() in _OTHER_SUFFIXES:
                _warn_once(f"{folder}: files such as {name!r} are left out; convert them to PNG")
            continue
        if name.startswith("."):  # macOS puts ._a.png next to a.png on other file systems
            _warn_once(f"{folder}: hidden files such as {name!r} are left out")
            continue
        if stem in found:
            raise FrameError(
                f"expected one image called {stem} in {folder}, found "
                f"{os.path.basename(found[stem])} and {name}; remove one"
            )
        found[stem] = os.path.join(folder, name)
    return found


write_picture = write_image
"""The name of one release ago."""
