"""The torch backend against the student's own float path, rounded."""

import os
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch runs this backend")

from irvis_fusion_core.backends import BackendOptions, open_backend
from irvis_fusion_core.backends.torch import fold_batch_norms
from irvis_fusion_core.errors import ConfigurationError, ModelError
from irvis_fusion_core.fusion import RealtimeFusion
from irvis_fusion_core.network.checkpoint import load_checkpoint, save_checkpoint
from irvis_fusion_core.network.student import create_student_model

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")


@pytest.fixture
def weights(tmp_path):
    """A nano student whose weights and batch statistics are far from their start."""
    torch.manual_seed(3)
    student = create_student_model("nano")
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    torch.nn.init.normal_(student.controls.weight, std=0.1)
    path = str(tmp_path / "nano.safetensors")
    save_checkpoint(student, path)
    return path


def reference(path, ir, vis):
    """`Student.forward` on float images, in double precision."""
    planes = [torch.from_numpy(x).double().permute(2, 0, 1)[None] / 255 for x in (ir, vis)]
    student = load_checkpoint(path).double().eval()
    with torch.no_grad():
        fused = student(planes[0].expand(-1, 3, -1, -1), planes[1])
    return np.rint(fused[0].permute(1, 2, 0).numpy() * 255).astype(int)


@pytest.mark.parametrize("size", [(48, 64), (50, 70)], ids=["multiple of 16", "padded"])
def test_agrees_with_the_float_student(weights, pair, size):
    ir, vis = pair(*size)
    with open_backend("torch", weights, BackendOptions(threads=1, device="cpu")) as backend:
        fused = backend.fuse(ir, vis)
        assert backend.describe()["precision"] == "fp32"
    expected = reference(weights, ir, vis)
    assert np.abs(fused - expected).max() <= 1
    assert np.mean(fused != expected) < 0.001
    assert np.abs(fused - vis.astype(int)).max() > 20, "the network does something"


def test_bgr_frames(weights, pair):
    ir, vis = pair()
    options = BackendOptions(threads=1, device="cpu", vis_order="bgr")
    with open_backend("torch", weights, options) as backend:
        fused = backend.fuse(ir, np.ascontiguousarray(vis[..., ::-1]))
    assert np.abs(fused[..., ::-1] - reference(weights, ir, vis)).max() <= 1


def test_finds_the_weights_beside_the_onnx_file(weights, write_model):
    path = write_model(metadata={"variant": "nano"}, file_name="mine_fp16.onnx")
    options = BackendOptions(threads=1, device="cpu")
    with open_backend("torch", path, options) as backend:
        assert backend.describe()["weights"] == weights
    own = os.path.join(os.path.dirname(path), "mine.safetensors")
    shutil.copy(weights, own)
    with open_backend("torch", path, options) as backend:
        assert backend.describe()["weights"] == own, "the file of the same name comes first"


def test_no_weights_beside_the_onnx_file(write_model):
    with pytest.raises(ModelError, match=r"box\.safetensors.*found none"):
        open_backend("torch", write_model(), BackendOptions(device="cpu"))


def test_missing_and_truncated_weights(weights, tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        open_backend("torch", str(tmp_path / "small.safetensors"))
    with open(weights, "r+b") as stream:
        stream.truncate(1000)
    with pytest.raises(ModelError):
        open_backend("torch", weights)


def test_a_training_checkpoint_is_run_by_torch(weights, tmp_path, pair):
    """As the README of the described system does: RealtimeFusion("checkpoints/best_model.pth")."""
    path = str(tmp_path / "best_model.pth")
    state = load_checkpoint(weights).state_dict()
    torch.save({"average": state, "global_step": 3}, path)
    ir, vis = pair(48, 64)
    with RealtimeFusion(path, device="cpu", threads=1, thermal=None) as fusion:
        fused = fusion.fuse_frame(ir, vis)
        description = fusion.describe()
    assert description["variant"] == "nano" and description["model"] == path
    assert np.abs(fused - reference(weights, ir, vis)).max() <= 1
    with pytest.raises(ConfigurationError, match="found weights.*export first"):
        RealtimeFusion(path, "onnxruntime")
    with pytest.raises(ModelError, match="no such file"):
        RealtimeFusion(str(tmp_path / "none.pth"))


def test_half_precision_is_for_cuda(weights):
    with pytest.raises(ConfigurationError, match="expected precision fp32 for torch on cpu"):
        open_backend("torch", weights, BackendOptions(device="cpu", precision="fp16"))


def test_keeps_the_sizes_used_last(weights, pair):
    options = BackendOptions(threads=1, device="cpu", max_sizes=1)
    with open_backend("torch", weights, options) as backend:
        backend.fuse(*pair(32, 48))
        backend.fuse(*pair(32, 64))
        assert backend.describe()["compiled_sizes"] == ["64x32"]


def test_folding_changes_nothing_but_the_modules(weights):
    plain = load_checkpoint(weights).double().eval()
    folded = load_checkpoint(weights).double().eval()
    fold_batch_norms(folded)
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    ir, vis = torch.rand(1, 3, 32, 48).double(), torch.rand(1, 3, 32, 48).double()
    with torch.no_grad():
        torch.testing.assert_close(folded(ir, vis), plain(ir, vis), rtol=0, atol=1e-9)


@pytest.mark.gpu
@CUDA
@pytest.mark.parametrize("cuda_graph", [True, False])
@pytest.mark.parametrize("precision, bound", [("fp32", 1), ("fp16", 3)])
def test_cuda_agrees_with_the_float_student(weights, pair, precision, bound, cuda_graph):
    options = BackendOptions(device="cuda", precision=precision, cuda_graph=cuda_graph)
    with open_backend("torch", weights, options) as backend:
        for seed in (1, 2):
            ir, vis = pair(50, 70, seed)
            assert np.abs(backend.fuse(ir, vis) - reference(weights, ir, vis)).max() <= bound
