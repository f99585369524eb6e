"""Training terms against the metrics that they stand for."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")

from irvis_fusion_core import metrics
from irvis_fusion_core.metrics import fidelity
from irvis_fusion_core.network.student import luminance
from training.losses import source_terms as losses


def images(seed=0):
    rng = np.random.default_rng(seed)
    ir, vis = (
        cv2.resize(
            rng.uniform(10, 240, (12, 14)).astype(np.float32),
            (112, 96),
            interpolation=cv2.INTER_CUBIC,
        )
        .clip(0, 255)
        .round()
        .astype(np.uint8)
        for _ in range(2)
    )
    noise = rng.normal(0, 2, ir.shape)
    fused = (0.7 * np.maximum(ir, vis) + 0.3 * vis + noise).clip(0, 255).round().astype(np.uint8)
    return fused, ir, vis


def tensors(*planes):
    return [torch.from_numpy(p.astype(np.float32))[None, None] for p in planes]


def test_vif_ssim_and_scd_are_the_metrics():
    fused, ir, vis = images()
    f, a, b = tensors(fused, ir, vis)
    assert float(losses.vif(f, a) + losses.vif(f, b)) == pytest.approx(
        metrics.vif(fused, ir, vis), rel=1e-3
    )
    assert float(losses.ssim(f, a) + losses.ssim(f, b)) / 2 == pytest.approx(
        metrics.ssim255(fused, ir, vis), abs=2e-3
    )
    assert float(losses.scd(f, a, b)) == pytest.approx(metrics.scd(fused, ir, vis), abs=1e-4)


def faint_images(seed: int):
    """Dark and nearly flat, as at night: gradients of whole grey levels, many of them 0."""
    random = np.random.default_rng(seed)
    ir, vis = (
        cv2.GaussianBlur(random.uniform(0, 60, (90, 100)), (0, 0), 3.0).round() for _ in "ab"
    )
    return [p.astype(np.uint8) for p in (np.maximum(ir, vis), ir, vis)]


@pytest.mark.parametrize("planes", [images(), faint_images(0), faint_images(1)])
def test_qabf_is_the_metric_inside_the_image(planes):
    """The metric's own edges, borders cut off: with arctan's jump, and where gx is 0."""
    inside = [
        tuple(part[1:-1, 1:-1] for part in fidelity.edges(plane.astype(np.float64)))
        for plane in planes
    ]
    shares = [(fidelity.edge_kept(inside[s], inside[0]) * inside[s][0]).sum() for s in (1, 2)]
    expected = sum(shares) / (inside[1][0].sum() + inside[2][0].sum())
    assert float(losses.qabf(*tensors(*planes))) == pytest.approx(expected, abs=1e-3)


def test_an_edge_that_is_turned_across_the_jump_is_pulled_back():
    """A horizontal edge whose faint slope lost its sign counts as lost; the gradient mends it."""
    rows, columns = np.mgrid[0:40, 0:40]
    source = 5.0 * rows + 0.25 * columns
    turned = tensors(5.0 * rows - 0.25 * columns)[0].requires_grad_(True)
    (a,) = tensors(source)
    assert float(losses.qabf(a, a, a)) > 0.95
    assert float(losses.qabf(turned.detach(), a, a)) < 0.01
    (-losses.qabf(turned, a, a)).backward()
    # Descent raises the right half and lowers the left one.
    assert turned.grad[..., 20:].sum() < 0 < turned.grad[..., :20].sum()


def test_qabf_counts_only_below_the_maximums():
    _, ir, vis = images(1)
    a, b = tensors(ir, vis)
    maximum = torch.maximum(a, b)
    assert float(losses.edges_lost(maximum, a, b)) == 0.0
    mean = (a + b) / 2
    wanted = float(losses.qabf(maximum, a, b)) - losses.EDGES_BELOW_MAXIMUM
    expected = wanted - float(losses.qabf(mean, a, b))
    assert expected > 0.0
    assert float(losses.edges_lost(mean, a, b)) == pytest.approx(expected)


def flat(level):
    return torch.full((1, 1, 64, 64), float(level))


def test_the_base_is_the_exposed_visible_or_the_brighter_one():
    """Plain images, whose wanted base has a closed form."""
    for ir, vis, wanted in ((200, 120, 120), (200, 10, 200), (5, 10, 10), (60, 120, 120)):
        assert float(losses.base(flat(wanted), flat(ir), flat(vis))) == pytest.approx(
            0.0, abs=1e-6
        )
    # Half exposed: half of the way.
    assert float(losses.base(flat(132.5), flat(200), flat(65))) == pytest.approx(0.0, abs=1e-6)
    # Within both sources the distance counts once, outside beyond 6 levels twice more.
    assert float(losses.base(flat(150), flat(200), flat(120))) == pytest.approx(30 / 255)
    assert float(losses.base(flat(100), flat(200), flat(120))) == pytest.approx((20 + 28) / 255)
    objects = torch.ones(1, 1, 64, 64)
    assert float(losses.base(flat(0), flat(200), flat(120), objects)) == 0.0


def test_warm_things_keep_the_thermal_base_in_the_dark():
    ir = flat(60)
    ir[..., 20:44, 20:44] = 180.0
    dark = flat(20)
    bright = torch.maximum(ir, dark)
    lost = losses.base(dark, ir, dark)
    assert float(losses.base(bright, ir, dark)) < 0.1 * float(lost)
    # By day the warm body counts a quarter, so half of its contrast is too much.
    day = flat(120)
    assert float(losses.base((ir + day) / 2, ir, day)) > float(losses.base(day, ir, day))


def test_structure_leans_on_the_published_convention():
    fused, ir, vis = images(2)
    published, clean = metrics.ssim(fused, ir, vis) / 2, metrics.ssim255(fused, ir, vis)
    expected = 1.0 - (0.75 * published + 0.25 * clean)
    assert float(losses.structure(*tensors(fused, ir, vis))) == pytest.approx(expected, abs=3e-3)


def noisy(sigma, seed=0, level=40.0):
    """A flat image with white noise of so many grey levels."""
    random = torch.Generator().manual_seed(seed)
    return level + sigma * torch.randn(1, 1, 128, 128, generator=random)


def test_noise_is_what_exceeds_the_visible_image():
    ir, vis = noisy(0.5), noisy(1.0, seed=1)
    assert float(losses.noise(vis, ir, vis)) == 0.0
    louder = vis + noisy(4.0, seed=2, level=0.0)
    # The mean of |x| of noise minus its 5x5 mean, in closed form.
    share = np.sqrt(2 / np.pi) * np.sqrt(1 - 1 / 25)
    expected = share * (np.hypot(1.0, 4.0) - 1.05)
    assert float(losses.noise(louder, ir, vis)) == pytest.approx(expected, rel=0.05)


def test_noise_counts_in_flat_regions_alone_and_not_as_slope():
    ir, vis = noisy(0.0), noisy(0.0)
    ramp = torch.arange(128.0).expand(1, 1, 128, 128)
    inside = (..., slice(16, -16), slice(16, -16))
    assert float(losses.noise(0.5 * ramp, ir, vis)) < 0.1
    assert float(losses.noise(noisy(8.0), 3.0 * ramp, vis)[0]) == 0.0
    assert float(losses.noise(noisy(8.0), ir, noisy(9.0, seed=3))) == 0.0
    half = torch.where(ramp < 64, ir, 10.0 * ramp)
    found = losses.noise(torch.where(ramp < 64, ir, noisy(8.0)), half, vis)
    assert float(found) < 0.5  # the loud half is not flat
    assert float(losses.noise(noisy(8.0)[inside], ir[inside], vis[inside])) > 5.0


def test_colour_keeps_the_saturation_by_day_and_adds_none_at_night():
    """Of one colour, at half and twice its luminance; closed form."""
    vis = torch.tensor([150.0, 90.0, 60.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    y = luminance(vis)
    for scale in (0.5, 2.0):
        assert float(losses.colour(scale * (vis - y), scale * y, vis)) == pytest.approx(0.0)
        kept = float(losses.colour(vis - y, scale * y, vis))
        away = float((abs(1.0 - scale) * (vis - y)).abs().mean()) / 40.0
        assert kept == pytest.approx(away, rel=1e-4)
    dark = vis / 5.0
    y = luminance(dark)
    for scale, wanted in ((0.5, 1.0), (4.0, 0.25)):
        found = losses.colour(wanted * (dark - y), scale * y, dark)
        assert float(found) == pytest.approx(0.0, abs=1e-6)
    # A lit channel that white clips has no saturation to keep.
    assert float(losses.colour(vis - y, torch.full_like(y, 250.0), vis)) == 0.0


def test_hot_colour_counts_where_thermal_is_brighter_and_the_visible_lit_and_coloured():
    vis = torch.tensor([150.0, 90.0, 60.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    y = luminance(vis)
    hot = y + 60.0
    assert float(losses.hot_colour(hot / y * (vis - y), hot, hot, vis)) == pytest.approx(0.0)
    # All pixels are hot: the mean away, less the share of LEAST_HOT.
    away = float(((hot / y - 1.0) * (vis - y)).abs().mean()) / 20.0 / (1.0 + losses.LEAST_HOT)
    assert float(losses.hot_colour(vis - y, hot, hot, vis)) == pytest.approx(away, rel=1e-4)
    for ir, seen in ((y, vis), (hot, y.expand(-1, 3, -1, -1)), (hot, vis / 8.0)):
        chroma = torch.ones_like(vis)  # thermal no brighter; grey; in the dark
        assert float(losses.hot_colour(chroma, luminance(seen) + 60.0, ir, seen)) == 0.0


def test_sky_is_to_be_the_visible_one_at_scales_of_clouds():
    vis, sky = torch.full((1, 1, 40, 40), 180.0), torch.zeros(1, 1, 40, 40)
    sky[:, :, :20] = 1.0
    assert float(losses.sky_kept(vis, vis, sky)) == 0.0
    away = 8.0 / 40.0 * 0.5 / (0.5 + losses.LEAST_SKY)
    assert float(losses.sky_kept(vis + 8.0, vis, sky)) == pytest.approx(away, rel=1e-4)
    below = vis.clone()
    below[:, :, 24:] += 50.0  # farther than the means reach
    assert float(losses.sky_kept(below, vis, sky)) < 1e-3
    noise = 4.0 * torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    assert float(losses.sky_kept(vis + noise, vis, sky)) < 0.25 * 4.0 / 40.0


def test_only_the_terms_asked_for_are_computed():
    planes = tensors(*images())
    every = losses.source_losses(*planes)
    assert set(every) == set(losses.SOURCE_TERMS)
    some = losses.source_losses(*planes, names=["scd", "base"])
    assert some == {name: every[name] for name in ("scd", "base")}


def day_and_night():
    day, night = images(0), [p // 16 for p in images(1)]
    return [tensors(*planes) for planes in (day, night)]


def test_a_batch_is_the_mean_of_its_images():
    """A night scene's faint edges count as much as a day scene's strong ones."""
    both = [torch.cat(pair) for pair in zip(*day_and_night())]
    together = losses.source_losses(*both)
    for name, term in losses.SOURCE_TERMS.items():
        alone = [float(term(*planes)) for planes in day_and_night()]
        assert term(*both).tolist() == pytest.approx(alone, abs=1e-5), name
        assert float(together[name]) == pytest.approx(sum(alone) / 2, abs=1e-5), name


def test_terms_vanish_when_nothing_is_left_to_gain():
    _, ir, _ = images()
    (a,) = tensors(ir)
    terms = losses.source_losses(a, a, a)
    for name in ("ssim", "vif", "base", "noise", "qabf"):
        assert float(terms[name]) == pytest.approx(0.0, abs=0.02), name
    # Both sigmoids of Qabf end below 1: its ceiling, in closed form.
    ceiling = 0.9994 / (1 + np.exp(-15 * 0.5)) * 0.9879 / (1 + np.exp(-22 * 0.2))
    assert float(losses.qabf(a, a, a)) == pytest.approx(ceiling, abs=2e-3)


def test_terms_have_finite_gradients_on_hard_images():
    """Black, white and flat images, where square roots and ratios are at their worst."""
    for value_ir, value_vis in ((0.0, 0.0), (255.0, 255.0), (0.0, 255.0)):
        fused = torch.full((1, 1, 64, 64), 0.5 * (value_ir + value_vis), requires_grad=True)
        ir, vis = torch.full_like(fused, value_ir), torch.full_like(fused, value_vis)
        sum(losses.source_losses(fused, ir.detach(), vis.detach()).values()).backward()
        assert torch.isfinite(fused.grad).all()


@pytest.mark.parametrize(
    "term, name", [("vif", "VIF"), ("qabf", "Qabf"), ("ssim", "SSIM"), ("scd", "SCD")]
)
def test_descent_on_a_term_raises_its_metric(term, name):
    """Forty steps on the pixels themselves, from a noisy mean of both."""
    _, ir, vis = images(3)
    a, b = tensors(ir, vis)
    torch.manual_seed(0)
    start = ((a + b) / 2 + 3 * torch.randn_like(a)).clamp(0, 255)
    pixels = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([pixels], lr=0.5)
    for _ in range(40):
        optimizer.zero_grad()
        losses.source_losses(pixels, a, b)[term].backward()
        optimizer.step()
    before, after = (
        p.detach().clamp(0, 255).round().numpy()[0, 0].astype(np.uint8) for p in (start, pixels)
    )
    rows = [metrics.score_pair(p, ir, vis, [name])[name] for p in (before, after)]
    assert rows[1] > rows[0] * 1.02


# Each term and the sum of its gradient's magnitudes, as the first implementation of PyTorch
# operators gave them (matrices as filters, the gradient by autograd).
RECORDED = {
    "ssim": (0.5483153, 0.0785117),
    "qabf": (0.1625755, 0.212602),
    "vif": (0.631032, 0.071875),
    "scd": (0.5275009, 0.159035),
    "base": (0.0002498789, 0.000454023),
    "noise": (1.019047, 0.803494),
}


def recorded_planes():
    """A warm spot, waves, a step and grain, from closed forms."""
    columns = torch.arange(96.0)
    rows = columns[:, None]
    grain = torch.sin(91.7 * rows + 37.3 * columns * columns)
    spot = torch.exp(-((rows - 50) ** 2 + (columns - 30) ** 2) / 90)
    ir = 40 + 60 * spot + 8 * (columns > 60) + 2 * grain
    waves = torch.sin(rows / 19) * torch.cos(columns / 17)
    vis = 90 + 30 * waves + 25 * (rows > columns) + grain.flip(0)
    ir, vis = (plane.round()[None, None] for plane in (ir, vis))
    return 0.6 * torch.maximum(ir, vis) + 0.4 * vis + 3 * grain.T, ir, vis


@pytest.mark.parametrize("name", losses.SOURCE_TERMS)
def test_terms_and_their_gradients_are_the_recorded_ones(name):
    fused, ir, vis = recorded_planes()
    fused.requires_grad_(True)
    value = losses.source_losses(fused, ir, vis, [name])[name]
    (gradient,) = torch.autograd.grad(value, fused)
    found = value.item(), gradient.abs().sum().item()
    assert found[0] == pytest.approx(RECORDED[name][0], abs=1e-5)
    assert found[1] == pytest.approx(RECORDED[name][1], rel=1e-3)


def test_the_gradient_of_kept_edges_is_the_differential():
    """Away from arctan's jump, whose derivative is chosen."""
    torch.manual_seed(0)
    sx, sy, fx, fy = (10.0 * torch.randn(40, dtype=torch.float64) for _ in range(4))
    far = (fx.abs() > 5.0) & (sx.abs() > 1.0)
    source = torch.sqrt(sx**2 + sy**2)[far], sx[far], sy[far]

    def kept(x, y):
        return losses.edge_kept(source, (torch.sqrt(x**2 + y**2), x, y))

    fused = [part[far].requires_grad_(True) for part in (fx, fy)]
    assert kept(*fused).max() > 0.5 and len(fused[0]) > 10
    assert torch.autograd.gradcheck(kept, fused, atol=1e-6)
