"""Objects that detectors find in the whole images of a training set.

Crops are too small to tell distant persons, so objects are found once, before the first step, in
each image and in two parts of it, by each detector in the images of both cameras.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from irvis_fusion_core.detectors.detection import Box, Detection, merge, overlap, regroup
from irvis_fusion_core.detectors.detector_file import DetectorFile
from training.data.boxes import PERSON, VEHICLE
from training.data.images import Images, PairPaths
from training.errors import DataError
from training.storage import make_folder, write_bytes

FILE = "found_objects.json"
_GROUPS = {"person": "person", "car": "vehicle", "truck": "vehicle", "bus": "vehicle"}
_CLASSES = {"person": PERSON, "vehicle": VEHICLE}
_VERSION = 1  # of what is found in an image
PART, LEAST_WIDTH = 0.6, 400  # of the width, of images at least so wide
INNER_BORDER = 3.0  # pixels: a box that ends there is cut
LEAST_SCORE, FAINTEST = 0.2, 0.05  # of an object, and of its like in the other camera's image
SAME_PLACE, SAME_OBJECT = 0.35, 0.6  # intersection over union: in both cameras, in two parts


def find_objects(detector: DetectorFile, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
    """Return what a detector finds in the images of both cameras, float32 n x 8.

    Columns: those of `training.data.boxes.read_boxes`; 1 where it is found in the thermal image, 0
    in the visible one; its score, and that in the same place of the other camera's image.

    Args:
        detector: Its `min_score` is `FAINTEST`.
        ir: uint8 HxW.
        vis: RGB, uint8 HxWx3.
    """
    thermal = _found(detector, np.repeat(ir[:, :, None], 3, 2))
    visible = _found(detector, vis)
    height, width = ir.shape
    rows = []
    for mine, others, is_thermal in ((thermal, visible, 1), (visible, thermal, 0)):
        for box, score, label in mine:
            if score < LEAST_SCORE:
                continue
            same = [o.score for o in others if o.label == label]
            places = [overlap(box, o.box) for o in others if o.label == label]
            other = max((s for s, p in zip(same, places) if p > SAME_PLACE), default=0.0)
            x, y = (box.left + box.width / 2) / width, (box.top + box.height / 2) / height
            size = box.width / width, box.height / height
            rows.append((_CLASSES[label], x, y, *size, is_thermal, score, other))
    return np.array(rows, np.float32).reshape(-1, 8)


def _found(detector: DetectorFile, image: np.ndarray) -> list[Detection]:
    """Return persons and vehicles of an RGB image and of its left and right part."""
    width = image.shape[1]
    part = int(PART * width)
    spans = [(0, width), *([(0, part), (width - part, width)] if width >= LEAST_WIDTH else [])]
    found = []
    for left, right in spans:
        for box, score, label in detector.find(np.ascontiguousarray(image[:, left:right])):
            start, end = box.left + left, box.left + left + box.width
            cut_left = left > 0 and start < left + INNER_BORDER
            cut_right = right < width and end > right - INNER_BORDER
            if not cut_left and not cut_right:
                found.append(Detection(Box(start, *box[1:]), score, label))
    return merge(regroup(found, _GROUPS, SAME_OBJECT), SAME_OBJECT)


def load_or_find(
    detectors: Sequence[str],
    pairs: Sequence[PairPaths],
    read: Callable[[PairPaths], Images],
    file: Path,
    threads: int = 0,
) -> list[np.ndarray]:
    """Return the objects of each pair, of all detectors together, as `find_objects` does.

    `file` keeps them by the contents of detector and images. What it lacks is found and added.

    Raises:
        DataError: `file` is not such a file.
        ModelError: as `DetectorFile`.
        StorageError: it cannot be written.
    """
    known = _read(file)
    keys = [_digest(pair.ir, pair.vis) for pair in pairs]
    for path in detectors:
        mine = known.setdefault(_digest(Path(path)), {})
        missing = {k: pair for k, pair in zip(keys, pairs) if k not in mine}
        if not missing:
            continue
        detector = DetectorFile(str(path), FAINTEST, threads=threads)
        title = f"objects, {detector.name}"
        make_folder(file.parent)  # an error now, not after minutes
        try:
            for key, pair in tqdm(missing.items(), desc=title, unit="image", file=sys.stderr):
                images = read(pair)
                objects = find_objects(detector, images.ir, images.vis)
                mine[key] = objects.astype(float).round(4).tolist()
        finally:  # also what was found before Ctrl-C
            write_bytes(file, json.dumps({"version": _VERSION, "objects": known}).encode())
    tables = [known[_digest(Path(path))] for path in detectors]
    return [
        np.array(sum((table[key] for table in tables), []), np.float32).reshape(-1, 8)
        for key in keys
    ]


def _read(file: Path) -> dict[str, dict[str, list[list[float]]]]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        known = content["objects"] if content["version"] == _VERSION else {}
        for table in known.values():
            for rows in table.values():
                if not np.isfinite(np.array(rows, np.float32).reshape(len(rows), 8)).all():
                    raise ValueError("numbers that are not finite")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"expected objects that a training found in {file}, found: {error!r}; delete the file"
        ) from error
    return known


def _digest(*files: Path) -> str:
    found = hashlib.blake2b(digest_size=12)
    for file in files:
        try:
            found.update(file.read_bytes())
        except OSError as error:
            raise DataError(f"expected a file at {file}, found: {error}") from error
    return found.hexdigest()
