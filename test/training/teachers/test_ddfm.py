"""One EM step on problems whose answer is known, and DDFM around it."""

import math

import cv2
import numpy as np
import pytest
from real_data import data_root

torch = pytest.importorskip("torch")
from hypothesis import given
from hypothesis import strategies as st

from irvis_fusion_core import metrics
from irvis_fusion_core.errors import ConfigurationError, FrameError
from training.teachers import ddfm, prior_files
from training.teachers.ddfm import PAPER, REGIONAL, Rectifier, smooth


def flat(*values):
    """One constant 12 x 10 image each, float64."""
    return [torch.full((1, 1, 12, 10), float(v), dtype=torch.float64) for v in values]


@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
def test_one_step_on_constants_is_the_formula(ir, vis, start):
    """By hand, scalars only: on a constant the smoothed k is the constant itself."""
    i, v, f = flat(ir, vis, start)
    y, x = ir - vis, start - vis
    m = math.sqrt(2) / max(abs(y - x), ddfm.TINY)
    n = min(math.sqrt(2) / max(abs(x), ddfm.TINY), 2 * m)
    expected = vis + (2 * m * y + 0.01 * (y - (y - x))) / (2 * m + 2 * n + 0.01)
    rectify = Rectifier(i, v)
    assert torch.allclose(rectify(f), torch.full_like(f, expected), atol=1e-9)
    assert float(rectify.gamma) == pytest.approx(1 / m + 0.5)
    assert float(rectify.rho) == pytest.approx(1 / n + 0.5)


def iterate(rectify, f, times=60):
    for _ in range(times):
        f = rectify(f)
    return f


@pytest.mark.parametrize("precisions", [PAPER, REGIONAL], ids=["paper", "regional"])
def test_two_ends(precisions):
    """From near the infrared it ends there; from near the visible at the bound's weight."""
    i, v, near_i, near_v = flat(0.8, -0.4, 0.75, -0.39)
    at_i = iterate(Rectifier(i, v, precisions, coupling=0.0), near_i)
    assert torch.allclose(at_i, i, atol=0.01)
    at_v = iterate(Rectifier(i, v, precisions, coupling=0.0), near_v)
    weight = 1.0 / (1.0 + precisions.bound)
    assert torch.allclose(at_v, v + weight * (i - v), atol=0.01)


def test_regional_scales_decide_region_by_region():
    """Left half starts at the infrared, right half at the visible: both may stay."""
    i, v = flat(0.6, -0.6)
    wide = [torch.cat([p, p, p, p], 3) for p in (i, v)]
    f = torch.cat([wide[0][..., :20], wide[1][..., 20:]], 3)
    fused = iterate(Rectifier(*wide, ddfm.Precisions(None, 5, True, 8.0)), f, 30)
    assert fused[..., :16].mean() > 0.5 and fused[..., 24:].mean() < -0.4
    whole = iterate(Rectifier(*wide, PAPER), f, 30)
    assert whole[..., :16].mean() - whole[..., 24:].mean() < fused[..., :16].mean() + 0.4


@given(st.integers(0, 2**32 - 1))
def test_equal_sources_are_kept(seed):
    """Where both say the same there is nothing to decide: y = 0 and the answer is v."""
    generator = torch.Generator().manual_seed(seed)
    v = torch.rand(1, 1, 16, 16, generator=generator) * 1.6 - 0.8
    noise = 0.3 * torch.randn(1, 1, 16, 16, generator=generator)
    assert torch.allclose(Rectifier(v, v)(v + noise), v, atol=3e-3)


@given(st.integers(0, 2**32 - 1))
def test_results_lie_between_the_sources_when_uncoupled(seed):
    generator = torch.Generator().manual_seed(seed)
    i, v, f = torch.rand(3, 1, 1, 16, 16, generator=generator) * 2 - 1
    for precisions in (PAPER, REGIONAL):
        fused = Rectifier(i, v, precisions, coupling=0.0)(f)
        assert (fused <= torch.maximum(i, v) + 1e-5).all()
        assert (fused >= torch.minimum(i, v) - 1e-5).all()


@pytest.mark.parametrize("size", [(5, 6), (6, 7)])
def test_smoothing_solves_the_linear_system(size):
    """Against a dense solve of (1 + w D'D) k = image with periodic differences."""
    height, width = size
    count = height * width
    system = np.eye(count)
    for row in range(height):
        for column in range(width):
            here = row * width + column
            for there in (row * width + (column + 1) % width, (row + 1) % height * width + column):
                difference = np.zeros(count)
                difference[here], difference[there] = -1.0, 1.0
                system += 0.7 * np.outer(difference, difference)
    image = np.random.default_rng(0).normal(size=size)
    expected = np.linalg.solve(system, image.ravel()).reshape(size)
    found = smooth(torch.from_numpy(image)[None, None], 0.7)
    assert np.allclose(found[0, 0], expected)


# --- the teacher -----------------------------------------------------------------------------


class NoPrior(torch.nn.Module):
    """A prior without opinion: it takes what it sees for the image, free of noise."""

    multiple = 8

    def __init__(self, channels=1):
        super().__init__()
        self.config = type("Config", (), {"in_channels": channels, "t_below": 1000})

    def forward(self, x, timesteps):
        return torch.zeros(len(x), 2 * x.shape[1], *x.shape[2:])


def tiny():
    torch.manual_seed(0)
    config = {"model_channels": 16, "channel_mult": (1, 2), "attention_at": (), "groups": 8}
    return prior_files.create_network("ddfm", "small", config)


@pytest.mark.parametrize("mode", sorted(ddfm.MODES))
def test_any_size_repeats_by_seed_and_varies_between_seeds(mode):
    teacher = ddfm.DDFM(tiny(), steps=3, mode=mode)
    torch.manual_seed(1)
    ir, vis = torch.rand(1, 1, 37, 50).expand(2, -1, -1, -1), torch.rand(1, 3, 37, 50)
    fused = teacher.fuse(ir, vis.expand(2, -1, -1, -1), [7, 8])
    assert fused.shape == (2, 1, 37, 50) and fused.min() >= 0.0 and fused.max() <= 1.0
    assert torch.allclose(fused[:1], teacher.fuse(ir[:1], vis, [7]), atol=1e-5)
    assert (fused[0] - fused[1]).abs().mean() > 1e-4
    with pytest.raises(FrameError, match="of one size"):
        teacher.fuse(ir, vis, [7, 8])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_prior_in_luminance_or_colour_gives_luminance_between_the_sources(channels):
    teacher = ddfm.DDFM(NoPrior(channels), steps=4, mode="regional")
    torch.manual_seed(2)
    ir, vis = torch.rand(1, 1, 32, 40), torch.rand(1, 1, 32, 40).expand(-1, 3, -1, -1)
    fused = teacher.fuse(ir, vis, [1])
    low, high = torch.minimum(ir, vis[:, :1]), torch.maximum(ir, vis[:, :1])
    assert (fused >= low - 0.02).all() and (fused <= high + 0.02).all()


def test_steps_and_modes_that_do_not_exist_are_refused():
    with pytest.raises(ConfigurationError, match="1 to 150"):
        ddfm.DDFM(tiny(), steps=151, mode="regional")
    with pytest.raises(ConfigurationError, match="mode to be one of"):
        ddfm.DDFM(tiny(), mode="other")


@pytest.mark.parametrize("data_set", ["msrs", "roadscene"])
def test_real_pairs_beat_the_mean_of_both(data_set):
    """Contrast, Qabf and VIF above the plain average, which the released program comes to.

    Without a prior, so that it is the EM step that is measured.
    """
    folder = data_root() / data_set / "val"
    teacher = ddfm.DDFM(NoPrior(), steps=6, mode="regional")
    names = ("SD", "Qabf", "VIF")
    rows = []
    for path in sorted((folder / "IR").iterdir())[::5][:3]:
        ir, vis = (cv2.imread(str(folder / side / path.name)) for side in ("IR", "VIS"))
        ir, vis = (
            cv2.resize(p, None, fx=0.4, fy=0.4, interpolation=3)[..., ::-1] for p in (ir, vis)
        )
        a = torch.from_numpy(ir[..., :1].copy()).permute(2, 0, 1)[None] / 255.0
        b = torch.from_numpy(vis.copy()).permute(2, 0, 1)[None] / 255.0
        fused = (teacher.fuse(a, b, [0])[0, 0] * 255).round().byte().numpy()
        ir, y = ir[..., 0].copy(), metrics.luminance(vis.copy())
        mean = np.rint((ir.astype(float) + y) / 2).astype(np.uint8)
        scores = [metrics.score_pair(p, ir, y, names) for p in (fused, mean)]
        rows.append([[row[name] for name in names] for row in scores])
    ours, average = np.mean(rows, 0)
    assert (ours > average).all(), dict(zip(names, zip(ours, average)))
