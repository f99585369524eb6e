"""Images and pairs of images on disk.

for files in pairs_in("recording"):     # recording/IR/*.png and recording/VIS/*.png
ir, vis = read_thermal(files.ir), read_visible(files.vis)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple, Union

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.frames import normalize_pair

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
AnyPath = Union[str, "os.PathLike[str]"]


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
        FrameError: the file is missing, truncated, or no image.
    """
    return _read(path, cv2.IMREAD_COLOR)


def read_thermal(path: AnyPath) -> np.ndarray:
    """Read a thermal image as stored: [height, width] of uint8, uint16 or float32.

    Colour files give their luminance. Raises as `read_visible`.
    """
    image = _read(path, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_GRAYSCALE)
    return image if image.ndim == 2 else image[:, :, 0]


def read_thermal_8_bit(path: AnyPath) -> np.ndarray:
    """Read a thermal image as uint8 [height, width], as `read_thermal` and `thermal_to_8_bit`."""
    return thermal_to_8_bit(read_thermal(path))


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
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    try:
        written = cv2.imwrite(path, image)
    except cv2.error as error:
        raise FrameError(
            f"expected to write {path}, found: {str(error).strip()}; choose .png, .jpg or .bmp"
        ) from error
    if not written:
        raise FrameError(f"expected to write {path}, found it not writable or the disk full")


def _read(path: AnyPath, flags: int) -> np.ndarray:
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FrameError(f"expected an image at {path}, found no such file")
    image = cv2.imread(path, flags)
    if image is None:
        raise FrameError(
            "expected an image in %s, found %d bytes that OpenCV cannot read; is it truncated, "
            "or another format than its name says?" % (path, os.path.getsize(path))
        )
    return image


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
        if suffix.lower() not in IMAGE_SUFFIXES or name.startswith("."):
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
