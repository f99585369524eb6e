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


def test_separable_filter_is_a_convolution():
    x, window = torch.rand(2, 1, 20, 23), losses.gaussian_window(5, 1.0)
    kernel = torch.outer(window, window)[None, None]
    expected = torch.nn.functional.conv2d(x, kernel)
    assert torch.allclose(losses.separable_filter(x, window), expected, atol=1e-6)


def test_brightness_and_gradient_terms_are_numpys():
    fused, ir, vis = images(1)
    f, a, b = tensors(fused, ir, vis)
    brighter = np.maximum(ir, vis).astype(np.float64)
    assert float(losses.max_intensity(f, a, b)) == pytest.approx(
        np.abs(fused - brighter).mean() / 255, rel=1e-5
    )
    blurred = [p.reshape(12, 8, 14, 8).mean((1, 3)) for p in (fused.astype(float), brighter)]
    assert float(losses.intensity(f, a, b)) == pytest.approx(
        np.abs(blurred[0] - blurred[1]).mean() / 255, rel=1e-5
    )
    strengths = [
        np.hypot(*(cv2.Sobel(p.astype(np.float64), -1, *d) for d in ((1, 0), (0, 1))))[1:-1, 1:-1]
        for p in (fused, ir, vis)
    ]
    away = np.abs(strengths[0] - np.maximum(strengths[1], strengths[2])).mean()
    assert float(losses.max_gradient(f, a, b)) == pytest.approx(away / 1020, rel=1e-4)


def test_structure_leans_on_the_published_convention():
    fused, ir, vis = images(2)
    published, clean = metrics.ssim(fused, ir, vis) / 2, metrics.ssim255(fused, ir, vis)
    expected = 1.0 - (0.75 * published + 0.25 * clean)
    assert float(losses.structure(*tensors(fused, ir, vis))) == pytest.approx(expected, abs=3e-3)


def noisy(sigma, seed=0, level=40.0):
    """A flat image with white noise of so many grey levels."""
    random = torch.Generator().manual_seed(seed)
    return level + sigma * torch.randn(1, 1, 128, 128, generator=random)


def test_noise_is_what_exceeds_the_louder_source():
    ir, vis = noisy(2.0), noisy(1.0, seed=1)
    assert float(losses.noise(ir, ir, vis)) == 0.0
    assert float(losses.noise((ir + vis) / 2, ir, vis)) < 0.02
    louder = ir + noisy(6.0, seed=2, level=0.0)
    expected = np.hypot(2.0, 6.0) - 2.0
    assert float(losses.noise(louder, ir, vis)) == pytest.approx(expected, rel=0.12)


def test_noise_is_immerkaers_estimate():
    """A second implementation with OpenCV's filter; neither source has noise."""
    fused, still = noisy(5.0), noisy(0.0)
    plane = fused[0, 0].numpy()
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(plane, -1, kernel))[1:-1, 1:-1]
    expected = np.sqrt(np.pi / 2.0) / 6.0 * response.mean()
    assert float(losses.noise(fused, still, still)) == pytest.approx(expected, rel=0.01)


def test_noise_counts_in_flat_regions_alone_and_not_as_slope():
    ir, vis = noisy(0.0), noisy(0.0)
    ramp = 0.5 * torch.arange(128.0).expand(1, 1, 128, 128)
    assert float(losses.noise(ramp, ir, vis)) == pytest.approx(0.0, abs=1e-4)
    texture = noisy(8.0)
    assert float(losses.noise(texture, 10.0 * ramp, vis)) == 0.0
    half = torch.where(torch.arange(128) < 64, ir, 10.0 * ramp)
    # The border between both halves is not flat either.
    assert float(losses.noise(texture, half, vis)) == pytest.approx(8.0, rel=0.1)


def warm_body(level=30.0, body=120.0):
    """A thermal image with one warm body 24 pixels wide and 60 high, and where it is."""
    inside = torch.zeros(1, 1, 128, 128, dtype=torch.bool)
    inside[..., 32:92, 52:76] = True
    return torch.where(inside, level + body, torch.tensor(level)), inside


def test_warm_bodies_keep_their_outline_in_the_dark():
    ir, inside = warm_body()
    dark = torch.full_like(ir, 20.0)
    assert float(losses.warm(ir, ir, dark)) == pytest.approx(0.0, abs=1e-2)
    assert float(losses.warm(ir + 40.0, ir, dark)) == pytest.approx(0.0, abs=1e-2)
    # Nothing of the body is seen: all of its outline is missing, and nothing else counts.
    flat = torch.full_like(ir, 30.0)
    assert float(losses.warm(flat, ir, dark)) == pytest.approx(1.0, abs=1e-2)
    far = flat + torch.zeros_like(flat).index_fill_(2, torch.arange(0, 12), 99.0)
    assert float(losses.warm(far, ir, dark)) == pytest.approx(1.0, abs=1e-2)
    # As a share of all edges: those of a textured visible image count as well.
    texture = dark + noisy(10.0, level=0.0)
    strengths = [
        np.hypot(*(cv2.Sobel(p[0, 0].numpy(), -1, *d) for d in ((1, 0), (0, 1))))[1:-1, 1:-1]
        for p in (ir, texture)
    ]
    expected = strengths[0].sum() / sum(strength.sum() for strength in strengths)
    assert float(losses.warm(flat, ir, texture)) == pytest.approx(expected, rel=1e-3)
    across = ir + torch.where(inside, texture - 20.0, 0.0)
    assert float(losses.warm(across, ir, texture)) > 0.03


@pytest.mark.parametrize("what", ["no margin", "daylight", "a warm wall"])
def test_nothing_warm_in_the_dark_counts_nothing(what):
    ir, _ = warm_body(body=20.0 if what == "no margin" else 120.0)
    vis = torch.full_like(ir, 120.0 if what == "daylight" else 20.0)
    ir = torch.full_like(ir, 150.0) if what == "a warm wall" else ir
    assert float(losses.warm(torch.zeros_like(ir), ir, vis)) == 0.0


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


def test_only_the_terms_asked_for_are_computed():
    planes = tensors(*images())
    every = losses.source_losses(*planes)
    assert set(every) == set(losses.SOURCE_TERMS)
    some = losses.source_losses(*planes, names=["scd", "max"])
    assert some == {name: every[name] for name in ("scd", "max")}


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


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_of_a_lead_over_the_maximum_only_a_share_counts(share):
    """Image by image: the night scene is fused well, the day scene badly."""
    day, night = day_and_night()
    day[0] = 0.25 * day[0]
    ir, vis = (torch.cat(pair) for pair in zip(day[1:], night[1:]))
    fused = torch.cat([day[0], (night[1] + night[2]) / 2]).requires_grad_(True)
    losses.source_losses(fused, ir, vis, ["scd"], share)["scd"].backward()
    whole = torch.autograd.grad(losses.SOURCE_TERMS["scd"](fused, ir, vis).mean(), fused)[0]
    assert torch.allclose(fused.grad[0], whole[0], atol=1e-9)
    assert torch.allclose(fused.grad[1], share * whole[1], atol=1e-9)

    fused = fused.detach()
    terms = losses.SOURCE_TERMS["scd"]
    maximum = [float(terms(torch.maximum(*pair), *pair)) for pair in (day[1:], night[1:])]
    short, ahead = terms(fused, ir, vis).tolist()
    start = maximum[1] - losses.MARGINS["scd"]
    assert short > maximum[0] and ahead < start
    expected = (short + start + share * (ahead - start)) / 2
    found = losses.source_losses(fused, ir, vis, ["scd"], share)["scd"]
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_terms_vanish_when_nothing_is_left_to_gain():
    _, ir, _ = images()
    (a,) = tensors(ir)
    terms = losses.source_losses(a, a, a)
    for name in ("ssim", "vif", "intensity", "noise", "warm"):
        assert float(terms[name]) == pytest.approx(0.0, abs=0.02), name
    # Both sigmoids of Qabf end below 1: its ceiling, in closed form.
    ceiling = 0.9994 / (1 + np.exp(-15 * 0.5)) * 0.9879 / (1 + np.exp(-22 * 0.2))
    assert float(terms["qabf"]) == pytest.approx(1.0 - ceiling, abs=2e-3)


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
