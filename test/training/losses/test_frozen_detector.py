"""Detectors that gradients pass through, against the layouts and engines of the core."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if importlib.util.find_spec("onnx2torch") is None:  # it cannot be imported without torchvision
    pytest.skip("onnx2torch is missing", allow_module_level=True)
onnxruntime = pytest.importorskip("onnxruntime")

from real_data import data_root
from tiny_detectors import write_nanodet, write_yolox

from irvis_fusion_core.detectors.labels import COCO
from irvis_fusion_core.detectors.layouts import Facts, choose_layout
from irvis_fusion_core.errors import ModelError
from training.losses.frozen_detector import CLASSES, FrozenDetector

REAL = ("yolox_nano.onnx", "nanodet_m.onnx")


@pytest.fixture(params=["yolox", "nanodet", *REAL])
def path(request, tmp_path):
    if request.param in REAL:
        path = Path(data_root()).parent / "detectors" / request.param
        if not path.is_file():
            pytest.skip(f"{path.name} is not here")
        return path
    write = write_yolox if request.param == "yolox" else write_nanodet
    return write(tmp_path / "tiny.onnx")


def test_boxes_and_scores_are_those_of_the_core(path):
    """ONNX Runtime and NumPy, with the core's preparation."""
    detector = FrozenDetector(path)
    facts = Facts(detector.size, detector.size, len(COCO))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    grey = np.full((1, 3, detector.size, detector.size), 114.0, np.float32)
    layout = choose_layout(session.run(None, {name: grey}), facts)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (detector.size, detector.size, 3)).astype(np.uint8)
    tensor = layout.preparation.tensor(image)
    expected = layout.decode(session.run(None, {name: tensor}), facts)
    found = detector(torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None])
    columns = [COCO.index(label) for label in CLASSES]
    assert found.scores.numpy() == pytest.approx(expected.scores[:, columns], abs=1e-4)
    places, strides = found.places.numpy(), detector.strides.numpy()
    centres = detector.centres.numpy()
    if "YOLOX" in layout.description:
        half = np.exp(places[:, 2:]) * strides / 2
        middle = centres + (places[:, :2] - 0.5) * strides
        boxes = np.hstack([middle - half, middle + half])
    else:
        left_top, right_bottom = np.hsplit(places * strides, 2)
        boxes = np.hstack([centres - 0.5 - left_top, centres - 0.5 + right_bottom])
    assert boxes == pytest.approx(expected.boxes, rel=1e-3, abs=0.05)
    assert detector.bars == layout.preparation.bars


def test_gradients_reach_the_image_and_not_the_network(path):
    detector = FrozenDetector(path)
    image = torch.rand(1, 3, detector.size, detector.size) * 255.0
    image.requires_grad_(True)
    detector(image).scores.sum().backward()
    assert image.grad.abs().sum() > 0 and torch.isfinite(image.grad).all()
    assert not any(p.requires_grad for p in detector.parameters())
    assert "torchvision" not in sys.modules or sys.modules["torchvision"].__spec__ is not None


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    for path, words in (
        (tmp_path / "none.onnx", "expected an ONNX detector"),
        (tmp_path / "text.onnx", "expected an ONNX detector"),
        (write_yolox(tmp_path / "odd.onnx", side=40), "divides"),
        (write_yolox(tmp_path / "open.onnx", fixed=False), "fixed size"),
    ):
        with pytest.raises(ModelError, match=words):
            FrozenDetector(path)
