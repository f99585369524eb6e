"""YOLO-style outputs in their three layouts, and whole models that are built here."""

import numpy as np
import pytest

from irvis_fusion_core.detectors import PeopleDetector, open_detector
from irvis_fusion_core.detectors.yolo import YoloDetector, fit, read_output
from irvis_fusion_core.errors import ModelError

CLASSES = 3
# centre x, centre y, width, height, class, score: in input pixels.
OBJECTS = [(20.0, 30.0, 10.0, 20.0, 1, 0.9), (50.0, 40.0, 8.0, 8.0, 2, 0.6)]
CORNERS = [(15.0, 20.0, 25.0, 40.0), (46.0, 36.0, 54.0, 44.0)]


def anchors_last(count=40):
    """YOLOv8: [1, 4 + classes, anchors]."""
    table = np.zeros((4 + CLASSES, count), np.float32)
    for column, (*box, kind, score) in enumerate(OBJECTS):
        table[:4, column] = box
        table[4 + kind, column] = score
    table[:, 5] = table[:, 0]  # a second, weaker find of the same object
    table[4 + 1, 5] = 0.8
    return table[None]


def objectness(count=40):
    """YOLOv5: [1, anchors, 5 + classes]."""
    table = np.zeros((count, 5 + CLASSES), np.float32)
    for row, (*box, kind, score) in enumerate(OBJECTS):
        table[row, :4] = box
        table[row, 4] = score / 0.95
        table[row, 5 + kind] = 0.95
    return table[None]


def suppressed(count=40):
    """YOLOv10: [1, boxes, 6]."""
    table = np.zeros((count, 6), np.float32)
    for row, (corners, (*_, kind, score)) in enumerate(zip(CORNERS, OBJECTS)):
        table[row] = (*corners, score, kind)
    return table[None]


@pytest.mark.parametrize("known", [CLASSES, 0], ids=["names known", "names unknown"])
@pytest.mark.parametrize("output", [anchors_last(), objectness(), suppressed()])
def test_every_layout_gives_the_same_boxes(output, known):
    boxes, scores, classes = read_output(output, known, 0.3)
    assert boxes == pytest.approx(np.array(CORNERS))
    assert scores == pytest.approx([0.9, 0.6])
    assert classes.tolist() == [1, 2]


def test_one_class_with_and_without_suppression_inside():
    table = np.zeros((30, 6), np.float32)
    table[0] = (20, 30, 10, 20, 0.96, 0.9)
    boxes, scores, _ = read_output(table[None], 1, 0.3)
    assert (boxes.tolist(), scores.tolist()) == ([list(CORNERS[0])], pytest.approx([0.864]))
    table[0] = (*CORNERS[0], 0.9, 0)
    boxes, scores, _ = read_output(table[None], 1, 0.3)
    assert (boxes.tolist(), scores.tolist()) == ([list(CORNERS[0])], pytest.approx([0.9]))


def test_weak_finds_are_left_out():
    assert len(read_output(anchors_last(), CLASSES, 0.7)[0]) == 1
    assert len(read_output(anchors_last(), CLASSES, 0.95)[0]) == 0


@pytest.mark.parametrize("shape", [(1, 10), (2, 84, 100), (1, 4, 4), (1, 3, 20, 20)])
def test_other_outputs_are_refused(shape):
    with pytest.raises(ModelError, match="YOLO-style"):
        read_output(np.zeros(shape, np.float32), 0, 0.5)


def test_an_image_is_fitted_whole_with_bars():
    fitted, place = fit(np.full((50, 100, 3), 200, np.uint8), 64, 64)
    assert fitted.shape == (64, 64, 3)
    assert (place.scale, place.left, place.top) == (0.64, 0, 16)
    assert (fitted[16:48] == 200).all() and (fitted[:16] == 114).all()


def write_model(path, output, names="{0: 'car', 1: 'Pedestrian', 2: 'dog'}", channels=3):
    """A model that gives `output`, moved by nothing of its input."""
    onnx = pytest.importorskip("onnx", reason="builds a model with onnx")
    pytest.importorskip("onnxruntime", reason="runs it with onnxruntime")
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    constant = onnx.numpy_helper.from_array(output, "found")
    zero = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["top"], keepdims=0),
        helper.make_node("Mul", ["top", "zero"], ["nothing"]),
        helper.make_node("Add", ["found", "nothing"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", tensor, [1, channels, 64, 64])],
        [helper.make_tensor_value_info("output", tensor, list(output.shape))],
        [constant, zero],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    if names:
        onnx.helper.set_model_props(model, {"names": names})
    onnx.save(model, str(path))
    return str(path)


def test_a_model_s_finds_are_in_pixels_of_the_image(tmp_path):
    detector = open_detector(write_model(tmp_path / "yolo.onnx", anchors_last()), 0.3)
    assert isinstance(detector, YoloDetector)
    assert detector.labels == ("car", "person", "dog")
    found = detector.find(np.zeros((50, 100, 3), np.uint8))  # scale 0.64, 16 rows above
    assert [d.label for d in found] == ["person", "dog"]
    left, top, right, bottom = CORNERS[0]
    expected = (left / 0.64, (top - 16) / 0.64, (right - left) / 0.64, (bottom - top) / 0.64)
    assert found[0].box == pytest.approx(expected)
    assert found[0].score == pytest.approx(0.9)


def test_a_model_without_names_counts_its_classes(tmp_path):
    detector = YoloDetector(write_model(tmp_path / "yolo.onnx", anchors_last(), None), 0.3)
    assert [d.label for d in detector.find(np.zeros((64, 64, 3), np.uint8))] == [
        "class 1",
        "class 2",
    ]


def test_models_that_are_no_detectors_are_refused(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        open_detector(str(tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    pytest.importorskip("onnxruntime")
    with pytest.raises(ModelError, match="bad.onnx"):
        open_detector(str(tmp_path / "bad.onnx"))
    with pytest.raises(ModelError, match="one input"):
        open_detector(write_model(tmp_path / "grey.onnx", anchors_last(), channels=1))


def test_hog_survives_images_smaller_than_its_window():
    # OpenCV itself ends with a segmentation fault on some of these.
    detector = open_detector()
    assert isinstance(detector, PeopleDetector)
    for shape in [(64, 64, 3), (127, 200, 3), (200, 63, 3), (128, 64, 3)]:
        assert isinstance(detector.find(np.zeros(shape, np.uint8)), list)
