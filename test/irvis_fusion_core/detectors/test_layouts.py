"""Detector files of every family, built here, against decoding in plain loops."""

import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_detectors import write_yolox

from irvis_fusion_core.detectors import DetectorFile, PeopleDetector, YoloDetector, open_detector
from irvis_fusion_core.detectors.labels import COCO
from irvis_fusion_core.detectors.preparation import Preparation
from irvis_fusion_core.errors import ModelError

onnx = pytest.importorskip("onnx", reason="builds models with onnx")
pytest.importorskip("onnxruntime", reason="runs them with onnxruntime")

SIDE = 64  # of every model built here
IMAGE = np.zeros((50, 100, 3), np.uint8)  # scale 0.64; centred, 16 rows above
NAMES = "{0: 'car', 1: 'Pedestrian', 2: 'dog'}"
# left, top, right, bottom in input pixels, class, score
OBJECTS = [((12.0, 18.0, 28.0, 30.0), 1, 0.9), ((40.0, 19.0, 60.0, 29.0), 2, 0.6)]
SHARED = [p / "shared" / "detectors" for p in Path(__file__).resolve().parents]
SHARED = next((p for p in SHARED if p.is_dir()), None)


def write_model(path, outputs, names=NAMES, shape=(1, 3, SIDE, SIDE), sizes=False, **metadata):
    """A model that gives `outputs` whatever its input is."""
    helper, kinds = onnx.helper, onnx.TensorProto
    zero = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["top"], keepdims=0),
        helper.make_node("Mul", ["top", "zero"], ["nothing"]),
    ]
    constants, infos = [zero], []
    inputs = [helper.make_tensor_value_info("images", kinds.FLOAT, list(shape))]
    if sizes:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", kinds.INT64, [1, 2]))
    for number, output in enumerate(outputs):
        output = np.asarray(output, np.float32)
        constants.append(onnx.numpy_helper.from_array(output, f"found{number}"))
        add = helper.make_node("Add", [f"found{number}", "nothing"], [f"output{number}"])
        nodes.append(add)
        info = helper.make_tensor_value_info(f"output{number}", kinds.FLOAT, list(output.shape))
        infos.append(info)
    graph = helper.make_graph(nodes, "detector", inputs, infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    metadata = {key: str(value) for key, value in metadata.items()}
    onnx.helper.set_model_props(model, {**({"names": names} if names else {}), **metadata})
    onnx.save(model, str(path))
    return str(path)


def centre_form(box):
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def yolo8(classes=3, more=0, count=168):
    """[1, 4 + classes + more, anchors], a second and weaker find of the first object."""
    table = np.zeros((4 + classes + more, count))
    for column, (box, kind, score) in enumerate([*OBJECTS, (OBJECTS[0][0], 1, 0.8)]):
        table[:4, column] = centre_form(box)
        table[4 + kind, column] = score
    table[4 + classes :] = 37.0  # key points, in pixels
    return table[None]


def yolo5(classes=3, more=0, count=252):
    table = np.zeros((count, 5 + classes + more))
    for row, (box, kind, score) in enumerate(OBJECTS):
        table[row, :4] = centre_form(box)
        table[row, 4], table[row, 5 + kind] = score / 0.95, 0.95
    table[:, 5 + classes :] = 9.0
    return table[None]


def yolox(classes=3, decoded=False):
    """Raw offsets and logarithms of cells, by loops over the three grids."""
    rows, free = [], list(OBJECTS)
    for stride in (8, 16, 32):
        for y in range(SIDE // stride):
            for x in range(SIDE // stride):
                row = np.zeros(5 + classes)
                row[4] = 0.01
                box = free[0] if free and stride == 16 and x + y else None
                if box:
                    (cx, cy, w, h), kind, score = centre_form(box[0]), box[1], box[2]
                    row[:5] = (
                        *(cx / stride - x, cy / stride - y),
                        *(math.log(w / stride), math.log(h / stride)),
                        score / 0.95,
                    )
                    row[5 + kind] = 0.95
                    free.pop(0)
                if decoded:
                    row[:2] = (row[0] + x) * stride, (row[1] + y) * stride
                    row[2:4] = math.exp(row[2]) * stride, math.exp(row[3]) * stride
                rows.append(row)
    return np.array(rows)[None]


def nanodet(classes=3, strides=(8, 16, 32), shift=0.5):
    """Tables of scores and of distributions for each stride, by loops over the cells."""
    scores, distances, free = [], [], list(OBJECTS)
    for stride in strides:
        cells = [(x, y) for y in range(SIDE // stride) for x in range(SIDE // stride)]
        score, bins = np.zeros((len(cells), classes)), np.zeros((len(cells), 32))
        for number, (x, y) in enumerate(cells):
            centre = np.array([x, y]) * stride + shift * (stride - 1)
            for box, kind, value in list(free) if stride == 8 else []:
                sides = np.array([*(centre - box[:2]), *(np.array(box[2:]) - centre)]) / stride
                if (sides <= 0).any():
                    continue
                score[number, kind] = value
                for side, distance in enumerate(sides):  # between two bins
                    low = int(distance)
                    share = distance - low
                    weights = np.full(8, 1e-9)
                    weights[low], weights[low + 1] = 1 - share + 1e-9, share + 1e-9
                    bins[number, side * 8 : side * 8 + 8] = np.log(weights)
                free.remove((box, kind, value))
        scores.append(score)
        distances.append(bins)
    return scores, distances


def normalised():
    boxes, scores = np.zeros((1, 30, 4)), np.full((1, 30, 3), 0.001)
    for row, (box, kind, score) in enumerate(OBJECTS):
        boxes[0, row] = np.array(centre_form(box)) / SIDE
        scores[0, row, kind] = score
    boxes[0, 2:] = 0.5
    return boxes, scores


def final(more=()):
    table = np.zeros((40, 6 + len(more)))
    for row, (box, kind, score) in enumerate(OBJECTS):
        table[row] = (*box, score, kind, *more)
    return table[None]


def results():
    boxes, scores = np.zeros((1, 30, 4)), np.zeros((1, 30))
    labels = np.zeros((1, 30))
    for row, (box, kind, score) in enumerate(OBJECTS):
        boxes[0, row], scores[0, row], labels[0, row] = box, score, kind
    return [labels, boxes, scores]


def logits():
    boxes, scores = normalised()
    return [np.log(scores / (1 - scores)), boxes]


def turned(angle=math.pi / 2):
    table = yolo8(more=1)
    table[0, 2:4, :3] = table[0, 3:1:-1, :3]  # a quarter turn swaps width and height
    table[0, 7] = angle
    return table


def first_box(place):
    left, top, right, bottom = OBJECTS[0][0]
    if place == "stretched":
        scale_x, scale_y, moved = SIDE / 100, SIDE / 50, 0
    else:
        scale_x = scale_y = 0.64
        moved = 16 if place == "centred" else 0
    return (
        left / scale_x,
        (top - moved) / scale_y,
        (right - left) / scale_x,
        (bottom - top) / scale_y,
    )


NANO, PLUS = nanodet(), nanodet(strides=(8, 16, 32, 64), shift=0.0)
MASKS = np.zeros((1, 32, 16, 16))
FAMILIES = {
    "v8": ([yolo8()], "centred", {}),
    "v8 turned": ([yolo8().transpose(0, 2, 1)], "centred", {}),
    "v8-seg": ([yolo8(more=32), MASKS], "centred", {"task": "segment"}),
    "v8-pose": ([yolo8(more=51)], "centred", {"task": "pose"}),
    "v8-obb": ([turned()], "centred", {"task": "obb"}),
    "v5": ([yolo5()], "centred", {}),
    "v5 with raw heads": ([yolo5(), np.zeros((1, 3, 8, 8, 8))], "centred", {}),
    "v5-seg": ([yolo5(more=32), MASKS], "centred", {}),
    "v10": ([final()], "centred", {}),
    "v26-seg": ([final([0.3] * 32), MASKS], "centred", {"task": "segment"}),
    "yolox": ([yolox()], "top left", {}),
    "yolox decoded": ([yolox(decoded=True)], "top left", {}),
    "nanodet": ([t[None] for t in NANO[0] + NANO[1]], "centred", {}),
    "nanodet alternating": ([t for p in zip(*NANO) for t in p], "centred", {}),
    "nanodet-plus": ([np.hstack([np.vstack(PLUS[0]), np.vstack(PLUS[1])])[None]], "centred", {}),
    "rt-detr": ([np.concatenate(normalised(), 2)], "stretched", {}),
    "rt-detr logits": (logits(), "stretched", {}),
    "rt-detr results": (results(), "stretched", {"sizes": True}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_the_same_boxes(tmp_path, family):
    outputs, place, options = FAMILIES[family]
    detector = open_detector(write_model(tmp_path / "model.onnx", outputs, **options), 0.3)
    assert detector.labels == ("car", "person", "dog") and detector.named
    found = detector.find(IMAGE)
    assert [d.label for d in found] == ["person", "dog"]
    assert [d.score for d in found] == pytest.approx([0.9, 0.6], abs=1e-4)
    assert found[0].box == pytest.approx(first_box(place), abs=0.01)


REFUSED = {
    "EfficientDet, one table": ([np.zeros((1, 100, 7))], {"names": None}),
    "EfficientDet, two tables": ([np.zeros((1, 3000, 90)), np.zeros((1, 3000, 4))], {}),
    "SSD": ([np.zeros((1, 1, 100, 7))], {}),
    "raw YOLO heads": ([np.zeros((1, 255, 8, 8)), np.zeros((1, 255, 4, 4))], {}),
    "DETR": ([np.zeros((1, 100, 92)), np.full((1, 100, 4), 0.5)], {"names": None}),
    "a class too many": ([yolo8(classes=4)], {}),
    "pose without its task": ([yolo8(more=51)], {}),
    "pose without metadata": ([yolo8(more=51)], {"names": None}),
    "scores above 1": ([yolo8() * [[[1]] * 4 + [[8]] * 3]], {}),
    "logits": ([yolo8() - [[[0]] * 4 + [[5]] * 3]], {}),
    "normalised YOLO": ([yolo8() / [[[SIDE]] * 4 + [[1]] * 3]], {}),
    "no boxes": ([np.zeros((1, 10))], {}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_be_misread_is_refused_with_a_sentence(tmp_path, what):
    outputs, options = REFUSED[what]
    path = write_model(tmp_path / "model.onnx", outputs, **options)
    with pytest.raises(ModelError, match=r"expected .*found .*export"):
        open_detector(path)


def test_models_that_are_no_detectors_are_refused(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        open_detector(str(tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="bad.onnx"):
        open_detector(str(tmp_path / "bad.onnx"))
    for number, shape in enumerate([(1, 1, SIDE, SIDE), (1, SIDE, SIDE, 3), (1, 3)]):
        path = write_model(tmp_path / f"{number}.onnx", [yolo8()], shape=shape)
        with pytest.raises(ModelError, match="one input"):
            open_detector(path)


def test_files_without_names(tmp_path):
    """80 classes are COCO's; others take the given names, or stay numbers and say so."""
    coco = DetectorFile(write_model(tmp_path / "coco.onnx", [yolo8(classes=80)], None), 0.3)
    assert coco.named and coco.labels == COCO
    assert [d.label for d in coco.find(IMAGE)] == ["bicycle", "car"]
    path = write_model(tmp_path / "own.onnx", [yolo8()], None)
    own = YoloDetector(path, 0.3)
    assert not own.named
    assert [d.label for d in own.find(IMAGE)] == ["class 1", "class 2"]
    named = DetectorFile(path, 0.3, ["car", "Walker", "dog"])
    assert named.named and [d.label for d in named.find(IMAGE)] == ["person", "dog"]


def test_weak_finds_are_left_out(tmp_path):
    path = write_model(tmp_path / "model.onnx", [yolo8()])
    assert len(open_detector(path, 0.7).find(IMAGE)) == 1
    assert open_detector(path, 0.95).find(IMAGE) == []


@pytest.mark.parametrize("with_names", [True, False])
def test_openvino_files_are_read(tmp_path, with_names):
    sys.modules.setdefault("openvino_telemetry", None)  # it would ask the network
    openvino = pytest.importorskip("openvino", reason="runs an .xml with OpenVINO")
    model = openvino.convert_model(write_model(tmp_path / "model.onnx", [yolo8()]))
    openvino.save_model(model, str(tmp_path / "model.xml"), compress_to_fp16=False)
    if with_names:
        (tmp_path / "metadata.yaml").write_text(
            "task: detect\nnames:\n  0: car\n  1: person\n  2: dog\n"
        )
    found = open_detector(str(tmp_path / "model.xml"), 0.3).find(IMAGE)
    assert [d.label for d in found] == (
        ["person", "dog"] if with_names else ["class 1", "class 2"]
    )
    assert found[0].box == pytest.approx(first_box("centred"), abs=0.01)
    (tmp_path / "bad.xml").write_text("no model")
    with pytest.raises(ModelError, match=".bin"):
        open_detector(str(tmp_path / "bad.xml"))


def test_each_family_prepares_its_input():
    image = np.empty((50, 100, 3), np.uint8)
    image[:] = (10, 20, 30)
    plain = Preparation()
    fitted, _ = plain.fit(image, SIDE, SIDE)
    assert (fitted[16:48] == (10, 20, 30)).all() and (fitted[:16] == 114).all()
    assert plain.tensor(fitted)[0, :, 20, 0] == pytest.approx(np.array([10, 20, 30]) / 255)
    corner, place = Preparation(bgr=True, std=(1, 1, 1), placing="top left").fit(image, SIDE, SIDE)
    assert (corner[:32] == (10, 20, 30)).all() and (corner[32:] == 114).all()
    assert (place.left, place.top) == (0, 0)
    turned = Preparation(bgr=True, mean=(1, 2, 3), std=(2, 2, 2)).tensor(corner)
    assert turned[0, :, 0, 0] == pytest.approx([(30 - 1) / 2, (20 - 2) / 2, (10 - 3) / 2])
    whole, place = Preparation(placing="stretched").fit(image, SIDE, SIDE)
    assert (whole == (10, 20, 30)).all()
    assert place.to_image(np.array([[0, 0, SIDE, SIDE]]))[0] == pytest.approx([0, 0, 100, 50])


def by_loops(session, image, kind):
    """People and cars in a square image of the network's own size, decoded cell by cell."""
    tensor = image[..., ::-1].astype(np.float32)
    if kind == "nanodet_m":
        tensor = (tensor - (103.53, 116.28, 123.675)) / (57.375, 57.12, 58.395)
    tensor = tensor.transpose(2, 0, 1)[None].astype(np.float32)
    outputs = session.run(None, {session.get_inputs()[0].name: tensor})
    best, anchor = {}, 0
    for number, stride in enumerate((8, 16, 32)):
        for y in range(416 // stride):
            for x in range(416 // stride):
                if kind == "yolox_nano":
                    row = outputs[0][0][anchor]
                    scores = row[5:] * row[4]
                    cx, cy = (row[0] + x) * stride, (row[1] + y) * stride
                    w, h = math.exp(row[2]) * stride, math.exp(row[3]) * stride
                    box = (cx - w / 2, cy - h / 2, w, h)
                    anchor += 1
                else:
                    cell = y * (416 // stride) + x
                    scores, bins = outputs[number][0][cell], outputs[number + 3][0][cell]
                    sides = []
                    for side in bins.reshape(4, 8).astype(float):
                        weights = [math.exp(v) for v in side]
                        mean = sum(i * v for i, v in enumerate(weights)) / sum(weights)
                        sides.append(mean * stride)
                    cx, cy = (x * stride + (stride - 1) / 2, y * stride + (stride - 1) / 2)
                    box = (cx - sides[0], cy - sides[1], sides[0] + sides[2], sides[1] + sides[3])
                label = int(scores.argmax())
                if scores[label] > best.get(label, (0.3,))[0]:
                    best[label] = (float(scores[label]), box)
    return best


@pytest.mark.parametrize("kind", ["yolox_nano", "nanodet_m"])
def test_real_files_agree_with_loops(kind):
    """The surest find of each class, which no suppression removes."""
    import onnxruntime

    path = SHARED and SHARED / f"{kind}.onnx"
    if not path or not path.is_file():
        pytest.skip(f"needs {kind}.onnx in a folder shared/detectors above the repository")
    street = next(iter(sorted((SHARED.parent / "data/roadscene/val/VIS").glob("*04602*"))), None)
    if street is None:
        pytest.skip("needs the image FLIR_04602 in shared/data/roadscene/val")
    image = cv2.resize(cv2.imread(str(street))[..., ::-1], (416, 416))
    expected = by_loops(
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]), image, kind
    )
    found = {}
    for each in open_detector(str(path), 0.3).find(image):
        found.setdefault(COCO.index(each.label), each)
    assert found.keys() == expected.keys() and COCO.index("car") in found
    for label, (score, box) in expected.items():
        assert found[label].score == pytest.approx(score, abs=1e-4)
        clipped = np.clip((*box[:2], box[0] + box[2], box[1] + box[3]), 0, 416)
        clipped[2:] -= clipped[:2]
        assert found[label].box == pytest.approx(tuple(clipped), abs=0.05)


def test_hog_survives_images_smaller_than_its_window():
    # OpenCV itself ends with a segmentation fault on some of these.
    detector = open_detector()
    assert isinstance(detector, PeopleDetector)
    for shape in [(64, 64, 3), (127, 200, 3), (200, 63, 3), (128, 64, 3)]:
        assert isinstance(detector.find(np.zeros(shape, np.uint8)), list)


@pytest.mark.parametrize("where", ["next to it", "above it", "through a link"])
def test_tensors_of_a_detector_lie_in_it_or_next_to_it(where, tmp_path):
    onnx = pytest.importorskip("onnx")
    (tmp_path / "models").mkdir()
    path = str(write_yolox(tmp_path / "models" / "yolox.onnx"))
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    expected = DetectorFile(path, 0.0).find(image)
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=64)
    weights = tmp_path / "models" / "w.bin"
    if where == "next to it":
        assert DetectorFile(path, 0.0).find(image) == expected
        return
    weights.rename(tmp_path / "w.bin")
    if where == "through a link":
        weights.symlink_to(tmp_path / "w.bin")
    else:
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                entry.value = "../w.bin" if entry.key == "location" else entry.value
        onnx.save(model, path)
    with pytest.raises(ModelError, match="in a file next to it.*w.bin"):
        DetectorFile(path, 0.0)
