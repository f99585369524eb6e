"""The student: its sizes, its mix, its colour, any height and width."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from irvis_fusion_core.errors import ConfigurationError, FrameError
from irvis_fusion_core.network.analysis import analyze_model, count_macs
from irvis_fusion_core.network.pixel_student import PixelStudent
from irvis_fusion_core.network.student import (
    CONTROLS,
    SIZES,
    Enlarge,
    create_student_model,
    luminance,
)


def settled(variant="nano", seed=0, **options):
    """A student whose heads are not at their start, so that every path counts."""
    torch.manual_seed(seed)
    model = create_student_model(variant, **options).eval()
    torch.nn.init.normal_(model.controls.weight, std=0.05)
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
    assert "Total parameters: 0.099M" in capsys.readouterr().out


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


def with_controls(**values):
    """A student that answers every image with these controls (before gates and clipping)."""
    model = create_student_model("nano").eval()
    torch.nn.init.zeros_(model.controls.weight)
    start = {"follow": -9.0, "recede": -9.0, "chroma": 9.0}
    for index, name in enumerate(CONTROLS):
        model.controls.bias.data[index] = values.get(name, start.get(name, 0.0))
    return model


def smooth_colours(seed, low, high, size=(64, 96)):
    """RGB or, of `low` alone, grey photographs without noise: float32 in 0..1."""
    small = np.random.default_rng(seed).uniform(low, high, (6, 8, 3)).astype(np.float32)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC).clip(0.0, 1.0)


def as_batch(image):
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None]


def fuse(model, ir, vis):
    with torch.no_grad():
        return model(as_batch(np.dstack([ir] * 3)), as_batch(vis))[0].permute(1, 2, 0).numpy()


def test_full_chroma_keeps_hue_and_saturation():
    """Scaled luminance: R, G and B keep their ratios, so OpenCV's HSV keeps H and S."""
    vis, ir = smooth_colours(1, 0.2, 0.5), smooth_colours(2, 0.3, 0.7)[..., 0]
    fused = fuse(with_controls(follow=9.0), ir, vis)
    inside = (fused < 1.0).all(2)
    assert inside.mean() > 0.9
    before, after = (cv2.cvtColor(p, cv2.COLOR_RGB2HSV) for p in (vis, fused))
    assert np.abs(after[..., 2] - before[..., 2])[inside].max() > 0.1  # something was fused
    np.testing.assert_allclose(after[..., 1][inside], before[..., 1][inside], atol=1e-4)
    np.testing.assert_allclose(
        fused[inside] * vis[inside][:, :1], vis[inside] * fused[inside][:, :1], atol=1e-4
    )


def test_no_chroma_is_grey():
    vis, ir = smooth_colours(1, 0.2, 0.5), smooth_colours(2, 0.3, 0.7)[..., 0]
    fused = fuse(with_controls(follow=9.0, chroma=-9.0), ir, vis)
    grey = np.maximum(ir, vis @ np.float32([0.299, 0.587, 0.114]))
    np.testing.assert_allclose(fused, np.dstack([grey] * 3), atol=1e-5)


def test_dark_colour_is_not_scaled_to_noise():
    """A few visible grey levels under a bright thermal image: at most 3 times their chroma."""
    vis, ir = smooth_colours(1, 0.0, 0.02), np.full((64, 96), 0.8, np.float32)
    fused = fuse(with_controls(follow=9.0), ir, vis)
    assert np.abs(fused - fused.mean(2, keepdims=True)).max() <= 3.0 * 0.02


def bands(image):
    """OpenCV's fine and medium band: 4 x 4 means, and 3 x 3 of those, enlarged linearly."""
    enlarge = lambda p: cv2.resize(p, image.shape[::-1], interpolation=cv2.INTER_LINEAR)  # noqa: E731
    means = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    # Beyond the border there is nothing to average.
    count = cv2.boxFilter(
        np.ones_like(means), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    around = cv2.boxFilter(means, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return image - enlarge(means), enlarge(means - around / count)


@pytest.mark.parametrize("band", [0, 1])
@pytest.mark.parametrize("side", ["ir", "vis"])
@pytest.mark.parametrize("value", [0.5, -1.0])
def test_a_gain_adds_or_removes_a_band_of_its_source(side, band, value):
    rng = np.random.default_rng(0)
    ir, y = (rng.uniform(0.3, 0.6, (64, 96)).astype(np.float32) for _ in range(2))
    expected = value * bands({"ir": ir, "vis": y}[side])[band]
    model = with_controls(**{("fine_", "medium_")[band] + side: value})
    with torch.no_grad():
        change = model.fuse_luminance(*(torch.from_numpy(p)[None, None] for p in (ir, y)))[0]
    np.testing.assert_allclose(change[0, 0].numpy(), expected, atol=1e-5)


def test_controls_are_interpolated_without_blocks():
    """OpenCV's linear resize as reference; a step across a block is like one inside."""
    coarse = cv2.resize(np.random.default_rng(0).random((5, 8)).astype(np.float32), (60, 40))
    enlarged = Enlarge()(torch.from_numpy(coarse)[None, None])
    found = torch.nn.functional.pixel_shuffle(enlarged, 4)[0, 0].numpy()
    np.testing.assert_allclose(
        found, cv2.resize(coarse, (240, 160), interpolation=cv2.INTER_LINEAR), atol=1e-6
    )
    steps = np.abs(np.diff(found, axis=1)).mean(0)
    across = np.arange(1, 240) % 4 == 0
    assert steps[across].mean() <= 1.03 * steps[~across].mean()


def test_fresh_weights_start_near_the_maximum():
    model = create_student_model("nano").eval()
    ir, vis = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        fused = model(ir, vis)
    maximum = torch.maximum(ir[:, :1], luminance(vis))
    far = (luminance(vis) - maximum).abs().mean()
    assert (luminance(fused) - maximum).abs().mean() < 0.6 * far


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
