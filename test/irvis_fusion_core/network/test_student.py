"""The student: its sizes, its mix, its colour, any height and width."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from irvis_fusion_core.errors import ConfigurationError, FrameError
from irvis_fusion_core.network.analysis import analyze_model, count_macs
from irvis_fusion_core.network.pixel_student import PixelStudent
from irvis_fusion_core.network.student import HEADS, SIZES, Detail, create_student_model, luminance


def settled(variant="nano", seed=0, **options):
    """A student whose heads are not at their start, so that every path counts."""
    torch.manual_seed(seed)
    model = create_student_model(variant, **options).eval()
    for head in model.heads:
        torch.nn.init.normal_(head.weight, std=0.05)
    return model


@pytest.mark.parametrize(
    "variant, parameters, gmac, size",
    [
        ("nano", (0, 0.2e6), 0.5, (480, 640)),
        ("small", (0, 0.5e6), 1.6, (480, 640)),
        ("base", (3e6, 5e6), 9.0, (512, 512)),
    ],
)
def test_sizes_keep_their_budget(variant, parameters, gmac, size):
    model = create_student_model(variant)
    count = sum(p.numel() for p in model.parameters())
    assert parameters[0] <= count <= parameters[1]
    inputs = [torch.zeros(1, 3, *size) for _ in range(2)]
    assert count_macs(model, inputs) <= gmac * 1e9


def test_macs_of_a_convolution_match_the_closed_form():
    conv = torch.nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2)
    assert count_macs(conv, [torch.zeros(1, 6, 20, 30)]) == 10 * 15 * 8 * 3 * 9


def test_analyze_model_reports_what_it_counted(capsys):
    model = create_student_model("nano")
    result = analyze_model(model, (1, 3, 64, 64), repeats=1)
    assert result["parameters"] == sum(p.numel() for p in model.parameters())
    assert result["flops"] == 2 * count_macs(model, [torch.zeros(1, 3, 64, 64)] * 2)
    assert result["latency_ms"] > 0 and result["memory_mb"] > result["parameters"] * 4 / 2**20
    assert "Total parameters: 0.1" in capsys.readouterr().out


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 31), (45, 80), (64, 48)])
def test_any_height_and_width(size):
    model = settled()
    ir, vis = torch.rand(2, 3, *size), torch.rand(2, 3, *size)
    with torch.no_grad():
        fused, features = model(ir, vis, return_features=True)
    assert fused.shape == vis.shape
    assert fused.min() >= 0.0 and fused.max() <= 1.0
    padded = [-(-n // 16) * 16 for n in size]
    assert [f.shape[2:] for f in features] == [
        torch.Size([n // s for n in padded]) for s in (4, 8, 16)
    ]


def test_padding_does_not_depend_on_what_lies_outside():
    """An image padded by hand with its last row and column gives the same inside."""
    model = settled()
    ir, vis = torch.rand(1, 3, 30, 43), torch.rand(1, 3, 30, 43)
    with torch.no_grad():
        plain = model(ir, vis)
        by_hand = model(
            *(torch.nn.functional.pad(p, (0, 5, 0, 2), mode="replicate") for p in (ir, vis))
        )
    assert torch.equal(plain, by_hand[:, :, :30, :43])


def test_chroma_of_the_visible_is_kept():
    """OpenCV's own YCrCb as reference, where nothing was clipped: Cr and Cb stay."""
    model = settled()
    rng = np.random.default_rng(1)
    small = rng.uniform(0.35, 0.65, (6, 8, 3)).astype(np.float32)
    vis = cv2.resize(small, (96, 64), interpolation=cv2.INTER_CUBIC)
    ir = cv2.resize(rng.uniform(0.3, 0.7, (6, 8)).astype(np.float32), (96, 64))
    to_tensor = lambda p: torch.from_numpy(p.copy()).permute(2, 0, 1)[None]  # noqa: E731
    with torch.no_grad():
        fused = model(to_tensor(np.dstack([ir] * 3)), to_tensor(vis))[0].permute(1, 2, 0).numpy()
    inside = ((fused > 0.0) & (fused < 1.0)).all(2)
    assert inside.mean() > 0.9
    before, after = (cv2.cvtColor(p, cv2.COLOR_RGB2YCrCb) for p in (vis, fused))
    assert np.abs(after[..., 0] - before[..., 0])[inside].max() > 0.02  # something was fused
    assert np.abs(after[..., 1:] - before[..., 1:])[inside].max() < 1e-3


def test_detail_is_what_an_image_has_beyond_its_local_mean():
    """OpenCV as reference: means of 4 x 4 blocks, of 3 x 3 of those, enlarged linearly."""
    image = np.random.default_rng(0).random((64, 96)).astype(np.float32)
    blocks = cv2.resize(image, (24, 16), interpolation=cv2.INTER_AREA)
    # Beyond the border there is nothing to average.
    around = cv2.boxFilter(blocks, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    around /= cv2.boxFilter(
        np.ones_like(blocks), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    expected = image - cv2.resize(around, (96, 64), interpolation=cv2.INTER_LINEAR)
    shuffled = torch.nn.functional.pixel_unshuffle(torch.from_numpy(image)[None, None], 4)
    found = torch.nn.functional.pixel_shuffle(Detail()(shuffled), 4)[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("side", ["ir", "vis"])
def test_a_gain_of_one_gives_back_the_detail_of_its_source(side):
    """Heads set by hand: the visible image, and all the detail of one source on top."""
    model = create_student_model("nano").eval()
    biases = {"follow": -9.0, "recede": -9.0, "keep_ir": 0.0, "keep_vis": 0.0, "residual": 0.0}
    biases["keep_" + side] = 5.0  # clamped to 1
    for name, head in zip(HEADS, model.heads):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias, biases[name])
    ir, y = 0.3 + 0.2 * torch.rand(1, 1, 32, 48), 0.4 + 0.2 * torch.rand(1, 1, 32, 48)
    source = {"ir": ir, "vis": y}[side]
    shuffled = torch.nn.functional.pixel_unshuffle(source, 4)
    expected = torch.nn.functional.pixel_shuffle(Detail()(shuffled), 4)
    with torch.no_grad():
        change, _ = model.luminance_change(ir, y)
    torch.testing.assert_close(change, expected)


def test_fresh_weights_start_near_the_maximum():
    model = create_student_model("nano").eval()
    ir, vis = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        fused = model(ir, vis)
    maximum = torch.maximum(ir[:, :1], luminance(vis))
    far = (luminance(vis) - maximum).abs().mean()
    assert (luminance(fused) - maximum).abs().mean() < 0.5 * far


def test_single_channel_student():
    model = settled(in_channels=1, out_channels=1)
    with torch.no_grad():
        assert model(torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize("arguments", [("tiny",), ("nano", 2), ("nano", 1, 3)])
def test_unknown_configuration_is_refused(arguments):
    with pytest.raises(ConfigurationError, match="expected"):
        create_student_model(*arguments)


def test_wrong_inputs_are_named():
    model = create_student_model("nano")
    with pytest.raises(FrameError, match="ir as N x 3"):
        model(torch.rand(1, 1, 32, 32), torch.rand(1, 3, 32, 32))
    with pytest.raises(FrameError, match="size"):
        model(torch.rand(1, 3, 16, 32), torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize("variant", SIZES)
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_pixels_agree_with_floats(variant, order):
    """uint8 in and out is the float student, rounded: within one grey level everywhere."""
    model = settled(variant)
    rng = np.random.default_rng(2)
    ir = rng.integers(0, 256, (1, 40, 50, 1), dtype=np.uint8)
    vis = rng.integers(0, 256, (1, 40, 50, 3), dtype=np.uint8)
    with torch.no_grad():
        pixels = PixelStudent(model, order)(torch.from_numpy(ir), torch.from_numpy(vis)).numpy()
        rgb = vis if order == "rgb" else vis[..., ::-1]
        as_float = [
            torch.from_numpy(p.astype(np.float32) / 255.0).permute(0, 3, 1, 2)
            for p in (np.repeat(ir, 3, 3), rgb)
        ]
        floats = (model(*as_float) * 255.0).round().permute(0, 2, 3, 1).numpy()
    if order == "bgr":
        floats = floats[..., ::-1]
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - floats).max() <= 1
    assert (pixels == floats).mean() > 0.99


def test_bgr_is_rgb_with_channels_swapped():
    model = settled()
    rng = np.random.default_rng(3)
    ir = torch.from_numpy(rng.integers(0, 256, (1, 32, 32, 1), dtype=np.uint8))
    vis = torch.from_numpy(rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8))
    with torch.no_grad():
        rgb = PixelStudent(model, "rgb")(ir, vis)
        bgr = PixelStudent(model, "bgr")(ir, vis.flip(3)).flip(3)
    assert (rgb.int() - bgr.int()).abs().max() <= 1
    with pytest.raises(ConfigurationError, match="vis_order"):
        PixelStudent(model, "grb")
