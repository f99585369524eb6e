"""What `training.export` writes, in the node by its own entry point."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")
pytest.importorskip("onnxruntime", reason="needs an engine: pip install '.[onnx]'")

ROOT = Path(__file__).resolve().parents[3]
ENTRY = ["-m", "irvis_fusion_ros.node.fusion_node"]


@pytest.mark.slow
def test_an_exported_checkpoint_fuses_in_the_node(graph, tmp_path):
    # A process of its own: torch and Fast DDS do not always bear one another.
    pytest.importorskip("onnx", reason="exporting needs onnx: pip install '.[train]'")
    checkpoint = ROOT / "irvis_fusion_core" / "models" / "nano.safetensors"
    command = [sys.executable, "-m", "training.export", "--checkpoint", str(checkpoint)]
    command += ["--name", "yard", "--precisions", "fp16", "--output", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    model = tmp_path / "yard_fp16.onnx"
    graph.start_node({"model": str(model), "backend": "onnxruntime", "threads": 1}, script=ENTRY)
    graph.play_until(
        lambda: graph.fused and shows_the_warm_square(graph, graph.fused[-1]),
        "fusion",
        timeout_s=30.0,
    )
    graph.spin(0.5)
    graph.fused.clear()
    graph.play_until(
        lambda: sum(shows_the_warm_square(graph, m) for m in graph.fused) > 10, "fused frames"
    )
    graph.play_until(lambda: graph.level("engine") == 0, "the diagnosis")
    assert str(model) in str(graph.statuses["engine"].values)
    assert graph.fusion.stop() == 0


def shows_the_warm_square(graph, message):
    """Whether what is warm in `graph.ir_frame` stands out, which the visible frame has not."""
    from graph import pixels_of, stamp_key

    change = pixels_of(message).astype(int) - graph.sent_vis[stamp_key(message)]
    return change[45:75, 55:85].mean() > 50 > change[90:].mean()
