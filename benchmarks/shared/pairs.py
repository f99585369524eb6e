"""The pairs of an image set, as every benchmark reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core import metrics
from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.image_files import (
    pairs_in,
    read_thermal,
    read_visible,
    stored_8_bit,
    thermal_to_8_bit,
)
from irvis_fusion_core.thermal import ThermalRescale

VIDEO_HZ = 25.0
"""Frame rate that is assumed for a video set; its own is not recorded."""


class Pair(NamedTuple):
    """A registered pair: uint8 IR HxW, visible RGB HxWx3 and its luminance HxW."""

    name: str
    ir: np.ndarray
    vis: np.ndarray
    luma: np.ndarray


def as_seen(pair: Pair) -> Pair:
    """Return the pair with the thermal image as the network sees it: the node's rescale."""
    return pair._replace(ir=ThermalRescale(smoothing_s=0.0)(pair.ir))


def video_as_seen(frames: Sequence[Pair]) -> list[Pair]:
    """Return consecutive frames with the node's rescale, which remembers its limits."""
    rescale = ThermalRescale()
    return [f._replace(ir=rescale(f.ir, n / VIDEO_HZ)) for n, f in enumerate(frames)]


def resized(pair: Pair, width: int, height: int) -> Pair:
    """Return the pair at another size."""
    ir, vis = (cv2.resize(image, (width, height)) for image in (pair.ir, pair.vis))
    return pair._replace(ir=ir, vis=vis, luma=metrics.luminance(vis))


def read_pairs(
    data: Path,
    name: str,
    limit: int | None = None,
    spread: bool = False,
    wanted: Callable[[str], bool] = lambda stem: True,
    as_stored: bool = False,
) -> Iterator[Pair]:
    """Yield the pairs of a set, sorted by file name.

    Args:
        name: Below `data`: FOLDER with IR/ and VIS/; FOLDER@ENDING takes only names that end so.
        limit: At most this many pairs; None for all.
        spread: Take them evenly from the whole set, not from its start.
        wanted: Whether to take a pair, by its name without suffix.
        as_stored: Leave thermal images of 8 bits as they are, as published tables do.

    A set that is missing, and a pair that is unreadable or of two sizes, end the script.
    """
    folder, _, ending = name.partition("@")
    try:
        found = pairs_in(str(data / folder))
        files = [each for each in found if each.stem.endswith(ending) and wanted(each.stem)]
        if ending and not files:
            raise SystemExit(f"expected images in {data / folder} that end in {ending!r}")
        if spread and limit is not None and len(files) > limit:
            files = [files[i] for i in np.linspace(0, len(files) - 1, limit).round().astype(int)]
        for each in files[:limit]:
            to_8_bit = stored_8_bit if as_stored else thermal_to_8_bit
            ir, vis = to_8_bit(read_thermal(each.ir)), read_visible(each.vis)
            if ir.shape != vis.shape[:2]:
                raise SystemExit(
                    f"expected one size, found {ir.shape} and {vis.shape[:2]} in {each.vis}"
                )
            vis = np.ascontiguousarray(vis[..., ::-1])
            yield Pair(f"{folder}/{each.stem}", ir, vis, metrics.luminance(vis))
    except FrameError as error:
        raise SystemExit(str(error)) from error
