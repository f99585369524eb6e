"""Annotated objects in the frames of a recording: COCO JSON, or a folder of YOLO text files.

The name of a file or COCO image tells its frame, in this order: a name in `frame_names`, the list
of the visible frames; the visible stamp in nanoseconds (`1700000000033000000.txt`) or as seconds
and nanoseconds (`1700000000_033000000`, `1700000000.033000000`); the frame's number from 0, also
as a suffix (`frame_000012`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from irvis_fusion_core.bounded_file import ANNOTATION_BYTES, parse_json, read_text
from irvis_fusion_core.detectors.detection import Box, Truth
from irvis_fusion_core.detectors.labels import normal_label
from irvis_fusion_core.errors import FileContentError, FusionError
from irvis_fusion_core.image_files import IMAGE_SUFFIXES

_STAMP_NS = re.compile(r"\d{16,19}$")
_STAMP_PARTS = re.compile(r"(\d{9,11})[._](\d{9})$")
_NUMBER = re.compile(r"(\d{1,9})$")
_YOLO_NAMES = ("classes.txt", "obj.names")


class _Object(NamedTuple):
    box: list[float]  # as in the file
    label: str
    ignored: bool = False


class _Entry(NamedTuple):
    """Boxes of one image in shares of its size, 0..1, and their classes."""

    boxes: np.ndarray  # float [n, 4]: left, top, width, height
    labels: list[str]
    ignored: list[bool]


class Annotations:
    """Boxes by frame.

    Attributes:
        labels: the classes that occur, sorted.
        frames: number of annotated frames, with those without objects.
    """

    def __init__(
        self, entries: dict[str, _Entry], frame_names: Sequence[str] | None = None
    ) -> None:
        self.labels = sorted({label for entry in entries.values() for label in entry.labels})
        self.frames = len(entries)
        index_of = {_stem(name): i for i, name in enumerate(frame_names or [])}
        self._entries = {_frame_of(name, index_of): entry for name, entry in entries.items()}

    def has(self, index: int, stamp_ns: int) -> bool:
        """Return whether this frame is annotated."""
        return ("stamp", stamp_ns) in self._entries or ("index", index) in self._entries

    def of_frame(self, index: int, stamp_ns: int, height: int, width: int) -> list[Truth] | None:
        """Return the objects in a frame, in its pixels; None where it is not annotated."""
        entry = self._entries.get(("stamp", stamp_ns), self._entries.get(("index", index)))
        if entry is None:
            return None
        scaled = entry.boxes * (width, height, width, height)
        rows = zip(scaled.tolist(), entry.labels, entry.ignored)
        return [Truth(Box(*box), label, ignored) for box, label, ignored in rows]


def read_annotations(
    path: str, class_names: Sequence[str] = (), frame_names: Sequence[str] | None = None
) -> Annotations:
    """Read a COCO JSON file, or a folder of YOLO text files.

    Args:
        class_names: of the numbers in YOLO files, for folders without a classes.txt.
        frame_names: names of the visible frames in order, with or without extension.

    Raises:
        FusionError: missing, malformed, or of unknown frames.
    """
    if os.path.isdir(path):
        entries = _read_yolo(path, class_names)
    elif os.path.isfile(path):
        entries = _read_coco(path)
    else:
        raise FusionError(
            f"expected a COCO .json or a folder of YOLO .txt files, found nothing at {path}"
        )
    if not entries:
        raise FusionError(f"expected annotated images in {path}, found none")
    return Annotations(entries, frame_names)


def _stem(name: str) -> str:
    stem, suffix = os.path.splitext(os.path.basename(name))
    # `1700000000.033000000` has no extension, only a dot.
    known = suffix.lower() in (*IMAGE_SUFFIXES, ".txt")
    return stem if known else os.path.basename(name)


def _frame_of(name: str, index_of: dict[str, int]) -> tuple[str, int]:
    if name in index_of:
        return "index", index_of[name]
    if index_of:
        raise FusionError(
            f"expected annotations of the named frames ({', '.join(list(index_of)[:3])}, ...), "
            f"found one of {name!r}; correct the list of frame names"
        )
    if _STAMP_NS.match(name):
        return "stamp", int(name)
    parts = _STAMP_PARTS.match(name)
    if parts:
        return "stamp", int(parts.group(1)) * 10**9 + int(parts.group(2))
    number = _NUMBER.search(name)
    if number:
        return "index", int(number.group(1))
    raise FusionError(
        f"expected annotations named by stamp (1700000000033000000) or frame number (000012), "
        f"found {name!r}; give --frame-names, a list of the visible frames' names in order"
    )


def _read_coco(path: str) -> dict[str, _Entry]:
    try:
        tree = parse_json(read_text(path, ANNOTATION_BYTES))
        categories = {c["id"]: normal_label(str(c["name"])) for c in tree["categories"]}
        images = {i["id"]: i for i in tree["images"]}
        found: dict[Any, list[_Object]] = {key: [] for key in images}
        for annotation in tree["annotations"]:
            box = [float(value) for value in annotation["bbox"]]
            # A crowd is not one object.
            ignored = bool(annotation.get("iscrowd") or annotation.get("ignore"))
            label = categories[annotation["category_id"]]
            found[annotation["image_id"]].append(_Object(box, label, ignored))
        sizes = {k: (float(i["width"]), float(i["height"])) for k, i in images.items()}
        names = {k: _stem(str(i["file_name"])) for k, i in images.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise FusionError(
            f"expected COCO annotations (images, annotations, categories) in {path}, found "
            f"{type(error).__name__}: {error}"
        ) from error
    return {names[key]: _entry(objects, sizes[key], path) for key, objects in found.items()}


def _read_yolo(folder: str, class_names: Sequence[str]) -> dict[str, _Entry]:
    names = _yolo_class_names(folder) or [normal_label(name) for name in class_names]
    entries = {}
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".txt") or file in _YOLO_NAMES or file.startswith("."):
            continue
        path = os.path.join(folder, file)
        objects = []
        for number, words in _lines(path):
            try:
                kind = int(words[0])
                x, y, width, height = (float(word) for word in words[1:5])
            except (ValueError, IndexError) as error:
                raise FusionError(
                    "expected `class x y width height` (centre and size, 0..1) in line "
                    f"{number} of {path}, found {' '.join(words)!r}"
                ) from error
            if kind < 0:
                raise FusionError(f"expected a class number in line {number} of {path}")
            label = names[kind] if kind < len(names) else f"class {kind}"
            objects.append(_Object([x - width / 2, y - height / 2, width, height], label))
        entries[_stem(file)] = _entry(objects, (1.0, 1.0), path)
    return entries


def _entry(objects: Sequence[_Object], size: tuple[float, float], path: str) -> _Entry:
    boxes = [each.box for each in objects]
    well_formed = all(len(box) == 4 for box in boxes)
    table = np.array(boxes if well_formed else [], np.float64).reshape(-1, 4)
    finite = well_formed and bool(np.isfinite(table).all()) and min(size) > 0
    if not finite or (table[:, 2:] < 0).any():
        raise FusionError(
            f"expected boxes of four finite numbers and no negative size in {path}, found "
            f"{boxes[:3]} in an image of {size[0]:g}x{size[1]:g}"
        )
    table = table / (size[0], size[1], size[0], size[1])
    if len(table) and (table.max() > 1.5 or table.min() < -0.5):
        raise FusionError(
            f"expected boxes within the image in {path}, found {boxes[0]}; YOLO boxes are in "
            "shares of the image, 0..1, COCO's in pixels of the size that `images` gives"
        )
    return _Entry(table, [o.label for o in objects], [o.ignored for o in objects])


def _yolo_class_names(folder: str) -> list[str]:
    for place in (folder, os.path.dirname(os.path.abspath(folder))):
        for name in _YOLO_NAMES:
            path = os.path.join(place, name)
            if os.path.isfile(path):
                return [normal_label(" ".join(words)) for _, words in _lines(path)]
    return []


def _lines(path: str) -> Iterable[tuple[int, list[str]]]:
    try:
        text = read_text(path, ANNOTATION_BYTES)
    except FileContentError as error:
        raise FusionError(f"expected to read {path}, found: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.split():
            yield number, line.split()
