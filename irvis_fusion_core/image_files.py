"""Images and pairs of images on disk."""

from __future__ import annotations

import os
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


class FilePair(NamedTuple):
    """Two files that show one scene, and the name that they share."""

    stem: str
    ir: str
    vis: str


def match_by_stem(ir_folder: str, vis_folder: str) -> list[FilePair]:
    """Pair the images of two folders by file name without extension, sorted.

    Raises:
        FrameError: a folder is missing or holds no images, a name occurs twice in one of
            them, or an image has no partner.
    """
    ir, vis = _by_stem(ir_folder), _by_stem(vis_folder)
    lonely = sorted(set(ir) ^ set(vis))
    if lonely:
        raise FrameError(
            "expected a partner of the same name for every image in %s and %s, found %d without "
            "one: %s; rename or remove them"
            % (ir_folder, vis_folder, len(lonely), ", ".join(lonely[:5]))
        )
    return [FilePair(stem, ir[stem], vis[stem]) for stem in sorted(ir)]


def pairs_in(folder: str) -> list[FilePair]:
    """The pairs of a folder that holds `IR/` and `VIS/`; errors as `match_by_stem`."""
    return match_by_stem(os.path.join(folder, "IR"), os.path.join(folder, "VIS"))


def read_visible(path: str) -> np.ndarray:
    """An image as uint8 BGR [height, width, 3], as OpenCV has it.

    Raises:
        FrameError: it is missing, truncated, or no image.
    """
    return _read(path, cv2.IMREAD_COLOR)


def read_thermal(path: str) -> np.ndarray:
    """A thermal image as it was stored: [height, width] of uint8, uint16 or float32.

    Colour files are read as luminance, since most thermal images saved as colour are grey.

    Raises:
        FrameError: it is missing, truncated, or no image.
    """
    image = _read(path, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_GRAYSCALE)
    return image if image.ndim == 2 else image[:, :, 0]


def read_thermal_8_bit(path: str) -> np.ndarray:
    """A thermal image as uint8 [height, width]; raw ones are rescaled, each by itself.

    Raises:
        FrameError: it is missing, truncated, or no image.
    """
    ir = read_thermal(path)
    if ir.dtype == np.uint8:
        return ir
    from irvis_fusion_core.thermal import ThermalRescale

    return ThermalRescale(smoothing_s=0.0)(ir)


def write_image(path: str, image: np.ndarray) -> None:
    """Write a BGR or grey image, making the folder where needed.

    Raises:
        FrameError: the extension is none that OpenCV writes, or the place cannot be written to.
    """
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    try:
        written = cv2.imwrite(path, image)
    except cv2.error as error:
        raise FrameError(
            "expected to write {}, found: {}; choose .png, .jpg or .bmp".format(
                path, str(error).strip()
            )
        ) from error
    if not written:
        raise FrameError(
            f"expected to write {path}, found that it is not writable or disk is full"
        )


def _read(path: str, flags: int) -> np.ndarray:
    if not os.path.isfile(path):
        raise FrameError(f"expected an image at {path}, found no such file")
    image = cv2.imread(path, flags)
    if image is None:
        raise FrameError(
            "expected an image in %s, found %d bytes that OpenCV cannot read; is it truncated, "
            "or another format than its name says?" % (path, os.path.getsize(path))
        )
    return image


def _by_stem(folder: str) -> dict[str, str]:
    if not os.path.isdir(folder):
        raise FrameError(f"expected a folder of images at {folder}, found no such folder")
    found: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if stem in found:
            raise FrameError(
                "expected one image called {} in {}, found {} and {}; remove one".format(
                    stem, folder, os.path.basename(found[stem]), name
                )
            )
        found[stem] = os.path.join(folder, name)
    if not found:
        raise FrameError(
            "expected images ({}) in {}, found none".format(", ".join(IMAGE_SUFFIXES), folder)
        )
    return found
