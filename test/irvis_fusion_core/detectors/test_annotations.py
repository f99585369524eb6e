"""COCO and YOLO annotations: the same boxes in both forms, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.detectors.annotations import read_annotations
from irvis_fusion_core.errors import FusionError

STAMP_NS = 1_700_000_000_033_000_000


def coco(tmp_path, name="000002.png", boxes=((64, 48, 128, 96),), size=(640, 480), **changes):
    tree = {
        "categories": [{"id": 7, "name": "Pedestrian"}],
        "images": [{"id": 1, "file_name": name, "width": size[0], "height": size[1]}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 7, "bbox": list(box)}
            for i, box in enumerate(boxes)
        ],
    }
    tree.update(changes)
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(tree))
    return str(path)


def yolo(tmp_path, text="0 0.2 0.2 0.2 0.2\n", name="000002.txt", classes="person\n"):
    folder = tmp_path / "labels"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    if classes:
        (folder / "classes.txt").write_text(classes)
    return str(folder)


@pytest.mark.parametrize("write", [coco, yolo])
def test_both_forms_give_the_same_boxes_scaled_to_the_frame(tmp_path, write):
    annotations = read_annotations(write(tmp_path))
    assert annotations.labels == ["person"]
    (truth,) = annotations.of_frame(2, 123, 240, 320)
    assert truth.box == pytest.approx((32, 24, 64, 48))
    assert truth.label == "person"
    assert annotations.of_frame(3, 123, 240, 320) is None
    assert annotations.has(2, 5) and not annotations.has(3, 5)


@pytest.mark.parametrize(
    "name",
    [f"{STAMP_NS}", "1700000000.033000000", "1700000000_033000000", f"frames/{STAMP_NS}"],
)
@pytest.mark.parametrize("suffix", ["", ".png"])
def test_names_that_are_stamps(tmp_path, name, suffix):
    annotations = read_annotations(coco(tmp_path, name + suffix))
    assert len(annotations.of_frame(9, STAMP_NS, 480, 640)) == 1
    assert annotations.of_frame(9, STAMP_NS + 1, 480, 640) is None


def test_names_that_end_in_the_number_of_the_frame(tmp_path):
    assert read_annotations(yolo(tmp_path, name="frame_000012.txt")).has(12, 1)


def test_names_of_a_list_of_frames(tmp_path):
    path = coco(tmp_path, "00123D.png")
    with pytest.raises(FusionError, match="--frame-names"):
        read_annotations(path)
    assert read_annotations(path, (), ["00122D.png", "00123D.png"]).has(1, 0)
    with pytest.raises(FusionError, match="00123D"):
        read_annotations(path, (), ["a", "b"])


def test_a_frame_without_objects_is_annotated(tmp_path):
    assert read_annotations(yolo(tmp_path, text="")).of_frame(2, 0, 10, 10) == []
    assert read_annotations(coco(tmp_path, boxes=())).of_frame(2, 0, 10, 10) == []


def test_crowds_are_ignored_boxes(tmp_path):
    box = {"image_id": 1, "category_id": 7, "bbox": [0, 0, 5, 5], "iscrowd": 1}
    (crowd,) = read_annotations(coco(tmp_path, annotations=[box])).of_frame(2, 0, 480, 640)
    assert crowd.ignored and tuple(crowd.box) == (0, 0, 5, 5)


def test_class_names_of_yolo_files(tmp_path):
    path = yolo(tmp_path, text="1 0.5 0.5 0.1 0.1\n", classes="")
    assert read_annotations(path).labels == ["class 1"]
    assert read_annotations(path, ["car", "People"]).labels == ["person"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("0 0.5 0.5 0.1\n", "line 1"),
        ("x 0.5 0.5 0.1 0.1", "class x y width height"),
        ("0 320 240 64 48\n", "0..1"),
        ("0 nan 0.5 0.1 0.1\n", "finite"),
        ("0 0.5 0.5 -0.1 0.1\n", "finite"),
        ("-1 0.5 0.5 0.1 0.1\n", "class number"),
    ],
)
def test_malformed_yolo_files_are_named(tmp_path, text, said):
    with pytest.raises(FusionError, match=said) as caught:
        read_annotations(yolo(tmp_path, text))
    assert "000002.txt" in str(caught.value)


def test_malformed_coco_files_are_named(tmp_path):
    for path in (
        coco(tmp_path, categories=[]),
        coco(tmp_path, images=3),
        coco(tmp_path, size=(0, 0)),
        coco(tmp_path, boxes=[(0, 0, 5)]),
    ):
        with pytest.raises(FusionError, match="coco.json"):
            read_annotations(path)
    for text in ("[" * 100_000, '{"images": ' * 900 + "1" + "}" * 900, '{"images": [1e999]}'):
        (tmp_path / "coco.json").write_text(text)
        with pytest.raises(FusionError, match=r"coco\.json"):
            read_annotations(str(tmp_path / "coco.json"))
    with pytest.raises(FusionError, match="nothing at"):
        read_annotations(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FusionError, match="found none"):
        read_annotations(str(tmp_path / "empty"))


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=80))
def test_any_text_is_read_or_refused_by_name(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("labels")
    (folder / "000001.txt").write_text(text, encoding="utf-8")
    try:
        annotations = read_annotations(str(folder))
    except FusionError:
        return
    for truth in annotations.of_frame(1, 0, 100, 100):
        assert np.isfinite(truth.box).all()
