"""The yardstick is what it claims to be, and the ratios are against it."""

import numpy as np
import pytest

from irvis_fusion_core.benchmark import example_pair, summarize


def test_the_yardstick_has_the_published_size_and_cost():
    torch = pytest.importorskip("torch")
    from benchmarks.latency.yardstick import PlainStudent
    from irvis_fusion_core.network.analysis import count_macs

    model = PlainStudent()
    parameters = sum(p.numel() for p in model.parameters())
    inputs = [torch.zeros(1, 3, 128, 128)] * 2
    macs = count_macs(model, inputs) * (512 / 128) ** 2  # convolutions: proportional to the area
    # Published: 4.34 M and 23.7 GMAC at 512x512. Never above: that would flatter us.
    assert 0.95 * 4.34e6 <= parameters <= 4.34e6
    assert 0.95 * 23.7e9 <= macs <= 23.7e9


def test_the_yardstick_takes_and_gives_pixels_of_any_size():
    pytest.importorskip("torch")
    from benchmarks.latency.yardstick import PixelYardstick

    ir, vis = example_pair(50, 70)
    fused = PixelYardstick(threads=1).fuse(ir, vis)
    assert fused.dtype == np.uint8 and fused.shape == (50, 70, 3)


def test_ratios_are_medians_against_the_yardstick():
    from benchmarks.latency.__main__ import YARDSTICK, table

    timings = {
        YARDSTICK: summarize([0.9, 1.0, 5.0]),
        ("engine", "nano", "fp32"): summarize([0.02]),
    }
    rows = table(timings)
    assert rows[1][-1] == "1.0x"
    assert rows[2] == ["engine", "nano", "fp32", "20.00", "20.00", "50.0x"]


def test_the_mini_network_has_the_published_size_and_keeps_the_chroma(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from benchmarks.latency.mini_network import write_mini_network
    from irvis_fusion_core.backends import BackendOptions, open_backend

    path = tmp_path / "mini.onnx"
    network = write_mini_network(path).network
    assert sum(p.numel() for p in network.parameters()) == 113
    ir, vis = example_pair(50, 70)
    y = (vis @ np.array([0.299, 0.587, 0.114])).astype(np.float32)
    planes = torch.from_numpy(np.stack([ir[..., 0].astype(np.float32), y]))[None] / 255.0
    with torch.no_grad():
        luminance = network(planes)[0, 0].numpy() * 255.0
    expected = np.clip(vis + (luminance - y)[..., None], 0.0, 255.0)
    with open_backend("onnxruntime", str(path), BackendOptions(threads=1)) as engine:
        fused = engine.fuse(ir, vis)
    assert len(np.unique(fused)) > 50
    assert np.abs(fused - expected).max() <= 0.51


def test_a_clock_is_used_for_the_yardstick_and_the_models_alike():
    from types import SimpleNamespace

    from benchmarks.latency.__main__ import YARDSTICK, measure

    now = [0.0]

    def takes(seconds):
        def call(*_):
            now[0] += seconds

        return call

    backend = SimpleNamespace(options=SimpleNamespace(vis_order="rgb"))
    fusion = SimpleNamespace(backend=backend, fuse_frame=takes(0.1), warm_up=takes(0.0))
    case = ("engine", "nano", "fp32")
    timings = measure({case: fusion}, takes(2.0), (48, 64), 3, lambda: now[0])
    assert timings[YARDSTICK].median_ms == pytest.approx(2000.0)
    assert timings[case].median_ms == pytest.approx(100.0)


def test_the_profile_counts_the_operators_of_the_graph_and_compares_with_the_first():
    pytest.importorskip("openvino")
    from benchmarks.latency.operators import profile, table
    from irvis_fusion_core import model_zoo
    from irvis_fusion_core.backends.numpy import read_graph

    path = str(model_zoo.path("nano", "fp32"))
    (found,) = profile([path], 1)
    convolutions = sum(node.operator == "Conv" for node in read_graph(path)[0])
    assert len(found["Convolution"]) + len(found["GroupConvolution"]) == convolutions
    rows = table([{"A": {"a": 3.0, "b": 1.0}}, {"A": {"a": 1.0}, "B": {"c": 1.0}}])
    assert rows[1:] == [
        ["A", "2: 1.000", "1: 0.250"],
        ["B", "0: 0.000", "1: 0.250"],
        ["sum", "2: 1.000", "2: 0.500"],
    ]
