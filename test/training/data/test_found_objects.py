"""What is found in whole images, and what the file of it is good for."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tqdm")
from hypothesis import given, settings
from hypothesis import strategies as st
from pair_folders import write_pair_folder
from tiny_detectors import write_nanodet, write_yolox

from irvis_fusion_core.detectors.detection import Box, Detection
from training.data import found_objects
from training.data.found_objects import find_objects, load_or_find
from training.data.images import read_images
from training.data.listing import list_images
from training.errors import DataError


class Squares:
    """Finds bright rectangles: wide ones are cars, others persons, as sure as they are bright."""

    def __init__(self, least_share=0.0):
        self.least_share = least_share  # of the image's width

    def find(self, image):
        found = []
        count, _, places, _ = cv2.connectedComponentsWithStats((image[:, :, 0] > 20).astype("u1"))
        for x, y, width, height, _ in places[1:count].tolist():
            if width >= self.least_share * image.shape[1]:
                score = float(image[y + height // 2, x + width // 2, 0]) / 255.0
                label = "truck" if width > height else "person"
                found.append(Detection(Box(x, y, width, height), score, label))
        return found


def scene(width=300, height=100, ir=(), vis=()):
    images = np.zeros((height, width), np.uint8), np.zeros((height, width, 3), np.uint8)
    for image, boxes in zip(images, (ir, vis)):
        for left, top, w, h, level in boxes:
            image[top : top + h, left : left + w] = level
    return images


def test_an_object_has_the_scores_of_both_cameras():
    person, truck = (30, 20, 10, 40), (150, 50, 60, 30)
    images = scene(ir=[(*person, 204)], vis=[(*person, 102), (*truck, 153)])
    rows = find_objects(Squares(), *images)
    place = [35 / 300, 40 / 100, 10 / 300, 40 / 100]
    wanted = [
        [0, *place, 1, 0.8, 0.4],
        [2, 180 / 300, 65 / 100, 60 / 300, 30 / 100, 0, 0.6, 0.0],
        [0, *place, 0, 0.4, 0.8],
    ]
    assert rows.tolist() == [pytest.approx(row) for row in wanted]
    # Faint ones are no objects, though they count as the other camera's.
    rows = find_objects(Squares(), *scene(ir=[(*person, 204)], vis=[(*person, 38)]))
    assert len(rows) == 1 and rows[0, 7] == pytest.approx(38 / 255)
    assert find_objects(Squares(), *scene()).shape == (0, 8)


@pytest.mark.parametrize("left", [20, 150, 230, 236, 300, 345, 470])
def test_parts_of_wide_images_show_small_objects_and_each_counts_once(left):
    width, box = 500, (left, 20, 20, 40, 200)
    images = scene(width, ir=[box])
    assert len(find_objects(Squares(), *images)) == 1
    assert len(find_objects(Squares(20 / 400), *images)) == 1  # too small for the whole image
    assert len(find_objects(Squares(20 / 250), *images)) == 0
    assert len(find_objects(Squares(20 / 350), *scene(380, ir=[(20, *box[1:])]))) == 0


def test_a_person_at_the_border_of_a_part_is_not_cut():
    rows = find_objects(Squares(), *scene(500, ir=[(290, 20, 20, 40, 200)]))
    assert rows[0, 1:5].tolist() == pytest.approx([0.6, 0.4, 0.04, 0.4])


def stop_at(last):
    def read(pair):
        if pair == last:
            raise KeyboardInterrupt
        return read_images(pair)

    return read


@pytest.fixture
def folder(tmp_path):
    return write_pair_folder(tmp_path / "data", 3)


def test_a_file_keeps_what_was_found(folder, tmp_path, monkeypatch):
    detectors = [str(write_yolox(tmp_path / "a.onnx")), str(write_nanodet(tmp_path / "b.onnx"))]
    pairs, file, seen = list_images(folder).pairs, tmp_path / "runs" / "objects.json", []

    def find(detector, ir, vis):
        seen.append((detector.name, ir.copy()))
        return find_objects(detector, ir, vis)

    monkeypatch.setattr(found_objects, "find_objects", find)
    first = load_or_find(detectors[:1], pairs, read_images, file)
    assert [name for name, _ in seen] == 3 * ["a.onnx"] and sum(map(len, first)) > 0
    both = load_or_find(detectors, pairs, read_images, file)
    assert [name for name, _ in seen[3:]] == 3 * ["b.onnx"]
    assert all(np.array_equal(b[: len(a)], a) for a, b in zip(first, both))
    # Another order of the pairs, no detector again; then one image changes.
    again = load_or_find(detectors, pairs[::-1], read_images, file)
    assert len(seen) == 6 and all(map(np.array_equal, again, both[::-1]))
    cv2.imwrite(str(pairs[1].ir), cv2.imread(str(pairs[1].ir), 0) // 2)
    with pytest.raises(KeyboardInterrupt):
        load_or_find(detectors[:1], pairs, stop_at(pairs[2]), tmp_path / "stopped.json")
    del seen[6:]
    load_or_find(detectors[:1], pairs, read_images, tmp_path / "stopped.json")
    assert len(seen) == 7
    del seen[6:]
    load_or_find(detectors[:1], pairs, read_images, file)
    assert len(seen) == 7 and np.array_equal(seen[-1][1], read_images(pairs[1]).ir)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)


@given(PLAIN, PLAIN, st.integers(1, 2))
@settings(max_examples=30, deadline=None)
def test_other_files_are_refused(tmp_path_factory, whole, objects, version):
    file = tmp_path_factory.mktemp("read") / "objects.json"
    for content in (whole, {"version": version, "objects": {"a": objects}}):
        file.write_text(json.dumps(content))
        try:
            assert load_or_find([], [], read_images, file) == []
        except DataError as error:
            assert "delete the file" in str(error) and str(file) in str(error)
    file.write_text('{"version": 1, "objects": {"a": {"b": [[0, 1, 2]]}}}')
    with pytest.raises(DataError, match="delete the file"):
        load_or_find([], [], read_images, file)
