"""The node by its own entry point with a real engine and a real model file over DDS.

The model is max(ir, vis) as an ONNX graph of our format, so that every pixel is known beforehand.
"""

import glob
import importlib.util
import os

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")
pytest.importorskip("onnx", reason="needs onnx to write a model: pip install '.[dev]'")
pytest.importorskip("onnxruntime", reason="needs an engine: pip install '.[onnx]'")

from graph import (
    HERE,
    play_until_fused,
    stamp_key,
    wait_until_all_are_out,
)

ENTRY = ["-m", "irvis_fusion_ros.node.fusion_node"]
BUILDER = [os.path.join(HERE, "node_with_built_engine.py")]


def write_max_model(path):
    """Write fused = max(ir, vis) with the inputs, outputs and metadata of our models."""
    import onnx
    from onnx import TensorProto, helper

    def cast(source, target, kind):
        return helper.make_node("Cast", [source], [target], to=kind)

    def value(name, channels):
        shape = [1, "height", "width", channels]
        return helper.make_tensor_value_info(name, TensorProto.UINT8, shape)

    graph = helper.make_graph(
        [
            cast("ir", "ir_f", TensorProto.FLOAT),
            cast("vis", "vis_f", TensorProto.FLOAT),
            helper.make_node("Max", ["ir_f", "vis_f"], ["fused_f"]),
            cast("fused_f", "fused", TensorProto.UINT8),
        ],
        "max",
        [value("ir", 1), value("vis", 3)],
        [value("fused", 3)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    properties = {
        "irvis_fusion.format": "1",
        "irvis_fusion.variant": "nano",
        "irvis_fusion.precision": "fp32",
        "irvis_fusion.vis_order": "rgb",
    }
    helper.set_model_props(model, properties)
    onnx.save(model, str(path))


def test_real_engine_fuses_every_visible_frame_once_its_model_is_there(graph, tmp_path):
    path = tmp_path / "max.onnx"
    parameters = {"model": str(path), "backend": "onnxruntime", "threads": 1}
    graph.start_node(parameters, script=ENTRY)
    graph.play_until(lambda: len(graph.fused) >= 5, "the visible image")
    graph.play_until(lambda: graph.level("engine") == 2, "the diagnosis")
    assert graph.statuses["engine"].message.startswith("failed: ModelError: ")
    assert not any(graph.is_fused(message) for message in graph.fused)
    write_max_model(path)
    graph.play_until(lambda: graph.is_fused(graph.fused[-1]), "fusion")
    wait_until_all_are_out(graph)
    graph.fused.clear()
    graph.sent_vis.clear()
    play_until_fused(graph, 20)
    assert graph.fusion.stop() == 0


def test_truncated_model_file_is_named_and_the_image_flows(graph, tmp_path):
    path = tmp_path / "max.onnx"
    write_max_model(path)
    path.write_bytes(path.read_bytes()[:40])
    graph.start_node({"model": str(path), "backend": "onnxruntime"}, script=ENTRY)
    graph.play_until(lambda: len(graph.fused) >= 5, "the visible image")
    graph.play_until(lambda: graph.level("engine") == 2, "the diagnosis")
    message = graph.statuses["engine"].message
    assert message.startswith("failed: ModelError: ") and str(path) in message


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="needs a builder of engine files: pip install tensorrt-rtx-cu13",
)
def test_engine_file_deleted_before_the_start_is_built_anew_behind_the_image(graph, tmp_path):
    """The engine file and its cache are real; see node_with_built_engine.py."""
    path, cache = tmp_path / "max.onnx", tmp_path / "engines"
    write_max_model(path)
    parameters = {"model": str(path), "engine_cache_dir": str(cache)}

    def run_until_fusing():
        process = graph.start_node(parameters, script=BUILDER)
        first = len(graph.fused)
        graph.play_until(
            lambda: len(graph.fused) > first and graph.is_fused(graph.fused[-1]), "fusion"
        )
        passed = [m for m in graph.fused[first:] if not graph.is_fused(m)]
        engines = glob.glob(str(cache / "*.engine"))
        assert len(engines) == 1
        # Every frame from the first that came out to the last: what waited came out, too.
        wait_until_all_are_out(graph)
        begun = stamp_key(graph.fused[first])
        sent = [key for key in graph.sent_vis if key >= begun]
        assert [stamp_key(message) for message in graph.fused[first:]] == sent
        assert process.stop() == 0
        return engines[0], len(passed), process.log()

    engine, _, log = run_until_fusing()
    assert "engine built: there is no engine of max in " in log
    assert "engine found: " in run_until_fusing()[2]
    os.remove(engine)
    again, passed, log = run_until_fusing()
    assert again == engine and passed > 0
    assert "building the tensorrt_rtx engine of max for 160x120, because" in log


def test_thermal_of_another_size_and_depth_lands_where_the_homography_says(graph, tmp_path):
    import numpy as np
    from graph import image_message, pixels_of

    path = tmp_path / "max.onnx"
    write_max_model(path)
    graph.start_node(
        {
            "model": str(path),
            "backend": "onnxruntime",
            "thermal.method": "window",
            "thermal.window_unit": "celsius",
            "thermal.raw_unit": "centikelvin",
            "thermal.window_low": 0,
            "thermal.window_high": 50,
            "registration.mode": "homography",
            # Twice as large and 20 pixels to the right, 10 down.
            "registration.homography": "[2.0, 0.0, 20.0, 0.0, 2.0, 10.0, 0.0, 0.0, 1.0]",
            "registration.soft_edge_px": 0.0,
        },
        script=ENTRY,
    )
    rng = np.random.default_rng(0)

    def send():
        stamp = graph.now()
        warm = rng.integers(27315, 27325, (48, 64)).astype(np.uint16)  # about 0 degrees
        warm[10:20, 10:20] = 27315 + 5000  # 50 degrees
        graph.ir.publish(image_message(warm, stamp, "ir", "16UC1"))
        graph.send_vis(stamp=stamp)
        graph.spin(0.03)
        return bool(graph.fused) and pixels_of(graph.fused[-1])[:, :, 0].max() > 200

    graph.wait_for(send, what="a warm square")
    image = pixels_of(graph.fused[-1])
    rows, columns = np.nonzero(image.min(axis=2) > 200)
    # IR rows and columns 10 to 20 land at 30 to 50 and 40 to 60, to a pixel of interpolation.
    assert abs(rows.min() - 30) <= 1 and abs(rows.max() - 49) <= 2
    assert abs(columns.min() - 40) <= 1 and abs(columns.max() - 59) <= 2
    # Beyond the thermal image (148 x 106 of 160 x 120) the visible one is untouched.
    vis = graph.sent_vis[stamp_key(graph.fused[-1])]
    assert np.array_equal(image[108:], vis[108:])
    assert np.array_equal(image[:, 150:], vis[:, 150:])
