"""RealtimeFusion: with a backend whose answer is known, and with the engines that are here."""

import numpy as np
import pytest

from irvis_fusion_core import fusion as fusion_module
from irvis_fusion_core.backends import Backend, BackendOptions, probe_backends
from irvis_fusion_core.backends.model_file import read_model_file
from irvis_fusion_core.errors import (
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    FrameError,
    ModelError,
)
from irvis_fusion_core.fusion import RealtimeFusion, automatic_variant

RANDOM = np.random.default_rng(0)
IR = RANDOM.integers(0, 256, (30, 44, 1), np.uint8)
VIS = RANDOM.integers(0, 256, (30, 44, 3), np.uint8)


class FirstChannelBackend(Backend):
    """Replaces the first channel by IR: shows which order a frame came in."""

    name = "first_channel"

    @classmethod
    def _find(cls, device):
        return np.__version__, "numpy runs anywhere"

    def _compile(self, height, width):
        return None

    def _run(self, compiled, ir, vis):
        return np.dstack([ir[:, :, 0], vis[:, :, 1], vis[:, :, 2]])

    def _describe(self):
        return {"engine": "numpy", "device": "cpu"}


@pytest.fixture
def opened(monkeypatch):
    """Replace the engines; records what was asked for."""
    calls = []

    def open_backend(name, model_path, options):
        calls.append((name, model_path, options))
        return FirstChannelBackend(read_model_file(model_path), options)

    monkeypatch.setattr(fusion_module, "open_backend", open_backend)
    return calls


def test_frames_reach_the_engine_in_its_order_and_come_back_in_the_callers(zoo, opened):
    with RealtimeFusion(thermal=None) as fusion:
        rgb = fusion.fuse_frame(IR, VIS)
        bgr = fusion.fuse_frame(IR, VIS, order="bgr")
    np.testing.assert_array_equal(rgb, np.dstack([IR[:, :, 0], VIS[:, :, 1], VIS[:, :, 2]]))
    # The engine's first channel is red; in a BGR frame red is the last one.
    np.testing.assert_array_equal(bgr, np.dstack([VIS[:, :, 0], VIS[:, :, 1], IR[:, :, 0]]))


def test_thermal_frames_are_rescaled_as_in_the_node(zoo, opened):
    """Numpy's percentiles as reference, for 8 bits and for counts."""
    raw = np.random.default_rng(0).integers(60, 140, (40, 60), dtype=np.uint8)
    vis = np.zeros((40, 60, 3), np.uint8)
    low, high = np.percentile(raw, [0.5, 99.5])
    expected = np.clip((raw - low) / (high - low) * 255.0, 0.0, 255.0)
    with RealtimeFusion() as fusion:
        for ir in (raw, raw[..., None], np.dstack([raw] * 3), raw.astype(np.uint16) * 50 + 20000):
            found = fusion.fuse_frame(ir, vis)[..., 0].astype(float)
            np.testing.assert_allclose(found, expected, atol=1.5)


def test_limits_are_steady_with_stamps_alone(zoo, opened):
    cold, hot = (np.full((40, 60), level, np.uint8) for level in (50, 50))
    cold[:20], hot[:20] = 100, 200
    vis = np.zeros((40, 60, 3), np.uint8)
    with RealtimeFusion() as fusion:
        alone = [fusion.fuse_frame(ir, vis)[0, 0, 0] for ir in (hot, cold)]
        steady = [fusion.fuse_frame(p, vis, stamp_s=t)[0, 0, 0] for t, p in enumerate((hot, cold))]
    assert alone == [255, 255]
    assert steady[0] == 255 and steady[1] < 255


def test_any_strides_and_channel_layouts_give_the_same_image(zoo, opened):
    with RealtimeFusion() as fusion:
        expected = fusion.fuse_frame(IR, VIS)
        for ir in (IR[:, :, 0], np.dstack([IR] * 3), np.asfortranarray(IR), IR[::-1][::-1]):
            for vis in (VIS, np.asfortranarray(VIS), VIS[:, ::-1][:, ::-1]):
                np.testing.assert_array_equal(fusion.fuse_frame(ir, vis), expected)


def test_the_result_belongs_to_the_caller(zoo, opened):
    with RealtimeFusion() as fusion:
        first = fusion.fuse_frame(IR, VIS)
        kept = first.copy()
        fusion.fuse_frame(255 - IR, 255 - VIS)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_result_is_written_where_the_caller_wants_it(zoo, opened, order):
    with RealtimeFusion() as fusion:
        expected = fusion.fuse_frame(IR, VIS, order)
        out = np.zeros_like(VIS)
        assert fusion.fuse_frame(IR, VIS, order, out=out) is out
        fusion.fuse_frame(255 - IR, 255 - VIS, order)
        np.testing.assert_array_equal(out, expected)
        frozen = np.zeros_like(VIS)
        frozen.setflags(write=False)
        for unsuitable in (out[:-1], out[..., ::-1], out.astype(np.int16), frozen):
            with pytest.raises(FrameError, match="expected out"):
                fusion.fuse_frame(IR, VIS, order, out=unsuitable)


@pytest.mark.parametrize(
    "precision, file, asked",
    [
        (None, "nano_fp32.onnx", None),
        ("fp32", "nano_fp32.onnx", "fp32"),
        ("fp16", "nano_fp16.onnx", None),
        ("half", "nano_fp16.onnx", None),
        ("bf16", "nano_fp32.onnx", "bf16"),
    ],
)
def test_precision_chooses_the_file_and_what_is_asked_of_the_engine(
    zoo, opened, precision, file, asked
):
    RealtimeFusion("nano", "openvino", precision=precision, threads=1)
    ((name, path, options),) = opened
    assert (name, path) == ("openvino", str(zoo / file))
    if precision != "half":
        assert (options.precision, options.threads) == (asked, 1)


@pytest.mark.parametrize("precision, asked", [(None, None), ("fp32", "fp32"), ("bf16", "bf16")])
def test_a_model_without_an_fp32_file_is_run_from_its_fp16_file(
    student_models, opened, monkeypatch, tmp_path, precision, asked
):
    (tmp_path / "nano_fp16.onnx").write_bytes((student_models / "nano_fp16.onnx").read_bytes())
    fusion_module.model_zoo.write_checksums(str(tmp_path))
    monkeypatch.setattr(fusion_module.model_zoo, "MODELS_DIR", str(tmp_path))
    RealtimeFusion("nano", "openvino", precision=precision)
    ((_, path, options),) = opened
    assert path == str(tmp_path / "nano_fp16.onnx") and options.precision == asked


def test_auto_takes_the_smallest_without_a_gpu_and_a_larger_one_with(
    zoo, opened, monkeypatch, tmp_path
):
    monkeypatch.setattr(fusion_module, "find_gpu", lambda index: (None, "no driver"))
    RealtimeFusion()
    assert opened[-1][1].endswith("nano_fp32.onnx")
    assert automatic_variant(on_gpu=False) == "nano"
    board = tmp_path / "model"
    monkeypatch.setattr(fusion_module, "_BOARD", str(board))
    assert automatic_variant(on_gpu=True) == "base"
    board.write_text("NVIDIA Jetson Orin Nano Developer Kit\0")
    assert automatic_variant(on_gpu=True) == "small"
    board.write_text("NVIDIA Jetson AGX Orin Developer Kit\0")
    assert automatic_variant(on_gpu=True) == "base"


def test_a_gpu_whose_engine_fails_leaves_the_small_model_to_the_cpu(zoo, monkeypatch):
    asked = []

    def open_backend(name, model_path, options):
        asked.append((model_path, options.device))
        if options.device == "cuda":
            raise EngineError("out of memory")
        return FirstChannelBackend(read_model_file(model_path), options)

    monkeypatch.setattr(fusion_module, "open_backend", open_backend)
    monkeypatch.setattr(fusion_module, "_runs_on_gpu", lambda backend, device: True)
    monkeypatch.setattr(fusion_module, "automatic_variant", lambda on_gpu: "nano")
    with RealtimeFusion() as fusion:
        assert "out of memory" in fusion.describe()["passed_over"][0]
    assert asked == [
        (str(zoo / "nano_fp16.onnx"), "cuda"),
        (str(zoo / "nano_fp32.onnx"), "cpu"),
    ]


def test_bad_frames_and_orders_are_refused(zoo, opened):
    with RealtimeFusion() as fusion:
        with pytest.raises(FrameError, match="one size"):
            fusion.fuse_frame(IR[:-1], VIS)
        with pytest.raises(ConfigurationError, match="rgb or bgr"):
            fusion.fuse_frame(IR, VIS, order="hsv")
    with pytest.raises(EngineError, match="closed"):
        fusion.fuse_frame(IR, VIS)
    fusion.close()  # may be called again


def test_a_bad_model_is_named_before_any_engine_is_tried(zoo, tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        RealtimeFusion(str(tmp_path / "none.onnx"))
    with pytest.raises(ConfigurationError, match="nano, small, base"):
        RealtimeFusion("huge")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes((zoo / "nano_fp32.onnx").read_bytes()[:5000])
    with pytest.raises(ModelError, match="5000 bytes"):
        RealtimeFusion(str(cut))


@pytest.mark.parametrize(
    "options", [{"threads": -1}, {"precision": "fp8"}, {"backend": "caffe"}, {"device": ""}]
)
def test_bad_options_are_refused(zoo, options):
    with pytest.raises(ConfigurationError, match="expected"):
        RealtimeFusion("nano", **options)


def test_an_engine_that_cannot_run_here_says_why(zoo):
    absent = [found for found in probe_backends() if not found.available]
    if not absent:
        pytest.skip("every engine is installed and has its device")
    with pytest.raises(EngineUnavailableError) as caught:
        RealtimeFusion("nano", absent[0].name)
    assert absent[0].reason.split(";")[0] in str(caught.value)


@pytest.mark.parametrize("name", [found.name for found in probe_backends() if found.available])
def test_each_engine_that_is_here_gives_the_student_s_own_image(zoo, name):
    """Reference: the torch student in fp32, called directly on the same uint8 pixels."""
    torch = pytest.importorskip("torch")
    from irvis_fusion_core import load_checkpoint
    from irvis_fusion_core.network.pixel_student import PixelStudent

    student = PixelStudent(load_checkpoint(zoo / "nano.safetensors")).eval()
    with torch.no_grad():
        expected = student(torch.from_numpy(IR)[None], torch.from_numpy(VIS)[None])[0].numpy()
    with RealtimeFusion("nano", name, precision="fp32", threads=1, thermal=None) as fusion:
        fusion.warm_up(*VIS.shape[:2])
        fused = fusion.fuse_frame(IR, VIS)
        facts = fusion.describe()
    assert np.abs(fused.astype(int) - expected).max() <= 1
    assert facts["backend"] == name and facts["variant"] == "nano"


def test_options_are_those_of_the_backends():
    assert BackendOptions().vis_order == "rgb"
    with pytest.raises(TypeError, match="no_such_option"):
        RealtimeFusion("nano", no_such_option=1)


@pytest.mark.parametrize("name", [found.name for found in probe_backends() if found.available])
def test_bgr_frames_give_exactly_the_image_of_rgb_frames(zoo, name):
    with RealtimeFusion("nano", name, threads=1) as fusion:
        for vis in (VIS, VIS[:, :20], VIS):  # another size in between
            ir = IR[:, : vis.shape[1]]
            rgb = fusion.fuse_frame(ir, vis)
            given = np.ascontiguousarray(vis[..., ::-1])
            np.testing.assert_array_equal(fusion.fuse_frame(ir, given, "bgr")[..., ::-1], rgb)
            np.testing.assert_array_equal(given[..., ::-1], vis)
