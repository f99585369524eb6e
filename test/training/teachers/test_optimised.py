"""The optimised teacher improves its objective, keeps to its prior, and sees the whole image."""

import importlib.util
import types

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F

pytest.importorskip("onnx", reason="the detector terms read ONNX files")
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_detectors import write_yolox

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import luminance
from training.losses import source_terms as losses
from training.losses.frozen_detector import FrozenDetector
from training.options import FROM_SOURCES, default_weights
from training.teachers import ddfm, diffusion, images, prior_files
from training.teachers.optimised import SIDE, Optimised, denoise, draw_crops


class Knowing:
    """A prior that knows the image: it finds the noise that is exactly right for it."""

    multiple = 8
    config = types.SimpleNamespace(in_channels=1, t_below=150)

    def __init__(self, image):
        self.image = image  # -1..1

    def __call__(self, x_t, timesteps):
        level = float(diffusion.linear_schedule().alphas_bar[int(timesteps[0])])
        return (x_t - level**0.5 * images.pad(self.image, self.multiple)) / (1.0 - level) ** 0.5


@pytest.fixture(scope="module")
def pair():
    """Two scenes of blobs, the thermal one darker, with a warm figure."""
    random = torch.Generator().manual_seed(0)
    ir, vis = (
        F.interpolate(torch.rand(1, n, 12, 12, generator=random), (56, 56), mode="bicubic")
        for n in (1, 3)
    )
    ir = 0.6 * ir
    ir[..., 20:44, 10:20] = 0.8
    return ir.clamp(0, 1), vis.clamp(0, 1)


def objective(fused, ir, vis):
    """Return the terms of the sources on the whole rounded image, by the functions themselves."""
    f, a, y = (x.mul(255).round() for x in (fused, ir, luminance(vis)))
    found = losses.source_losses(f, a, y)
    return sum(FROM_SOURCES["src_" + name] * float(term) for name, term in found.items())


def test_the_image_is_better_than_its_start_and_repeats_by_its_seed(pair):
    weights = default_weights(False)
    assert not any(name.startswith("det") or name == "src_flicker" for name in weights)
    teacher = Optimised(weights, steps=20)
    assert "the sources alone" in teacher.report()
    fused = teacher.fuse(*pair, [3])
    assert fused.shape == pair[0].shape and fused.min() >= 0.0 and fused.max() <= 1.0
    start = torch.maximum(pair[0], luminance(pair[1]))
    assert objective(fused, *pair) < 0.97 * objective(start, *pair)
    first, last = teacher.objective[0]
    assert last < first and f"{first:.3f} at the start" in teacher.report()
    assert torch.equal(fused, teacher.fuse(*pair, [3]))


# It cannot be imported without torchvision.
@pytest.mark.skipif(importlib.util.find_spec("onnx2torch") is None, reason="onnx2torch is missing")
def test_a_detector_joins_and_a_small_image_is_fused(pair, tmp_path):
    detector = FrozenDetector(write_yolox(tmp_path / "yolox.onnx"))
    teacher = Optimised(default_weights(True), [detector], steps=2)
    small = [x[..., :30, :26] for x in pair]
    fused = teacher.fuse(*small, [0])
    assert fused.shape == small[0].shape and bool(torch.isfinite(fused).all())
    assert "of what the detector finds" in teacher.report()
    alone = Optimised(default_weights(False), steps=2)
    alone.fuse(*small, [0])
    assert teacher.objective[0][0] > alone.objective[0][0]


def test_the_prior_holds_the_image_to_what_it_knows(pair):
    """Held with all force to a grey of 153, a part of the way; not at all without a weight."""
    grey = Knowing(torch.full((1, 1, 56, 56), 0.2))
    start = (torch.maximum(pair[0], luminance(pair[1])) - 0.6).abs().mean()
    held, free = (
        (Optimised(default_weights(False), steps=15, prior=grey, hold=hold).fuse(*pair, [0]) - 0.6)
        for hold in (1e6, 0.0)
    )
    assert held.abs().mean() < 0.9 * start < free.abs().mean()


def test_a_denoiser_that_knows_the_image_gives_it_back():
    image = torch.linspace(-0.9, 0.9, 30 * 21).view(1, 1, 30, 21)
    level = torch.tensor(float(diffusion.linear_schedule().alphas_bar[50]))
    x_t = diffusion.add_noise(image, torch.randn(image.shape), level)
    assert torch.allclose(denoise(Knowing(image), x_t, 50), image, atol=1e-5)


def test_a_prior_of_little_noise_is_refused_where_there_is_more():
    network = prior_files.create_network("ddfm", "small", {"t_below": 20})
    with pytest.raises(ConfigurationError, match="timestep 30, found one below 20"):
        Optimised(default_weights(False), prior=network)
    with pytest.raises(ConfigurationError, match="below 20; try --mode regional"):
        ddfm.DDFM(network, 5, mode="paper")
    ddfm.DDFM(prior_files.create_network("ddfm", "small", {"t_below": 150}), 5, mode="regional")


@given(st.integers(0, 2**32), st.floats(0.05, 0.95))
@settings(max_examples=20, deadline=None)
def test_its_saturation_is_the_one_that_the_objective_wants(seed, brightness):
    random = torch.Generator().manual_seed(seed)
    vis = brightness * torch.rand(1, 3, 6, 6, generator=random)
    fused = torch.rand(1, 1, 6, 6, generator=random)
    grey_vis, grey_fused = 255.0 * vis, 255.0 * fused
    y = luminance(grey_vis)
    tint = losses.wanted_saturation(grey_fused, y) * (grey_vis - y)
    assert float(losses.colour(tint, grey_fused, grey_vis)) < 1e-6
    rgb = Optimised.colour(fused, vis)
    inside = ((rgb > 0.0) & (rgb < 1.0)).all(1, keepdim=True)
    assert torch.allclose(luminance(rgb)[inside], fused[inside], atol=1e-5)


@given(st.integers(48, 900), st.integers(48, 900))
@settings(max_examples=30, deadline=None)
def test_crops_are_squares_that_see_all_of_an_image(height, width):
    seen, chance = torch.zeros(height, width, dtype=torch.bool), torch.Generator().manual_seed(1)
    for _ in range(20):
        for rows, columns in draw_crops(height, width, chance):
            side = rows.stop - rows.start
            assert side == columns.stop - columns.start == min(SIDE, height, width)
            assert rows.start >= 0 and rows.stop <= height
            assert columns.start >= 0 and columns.stop <= width
            seen[rows, columns] = True
    assert bool(seen.all())
