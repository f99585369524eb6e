"""Metrics against scikit-image, scikit-learn, literal loops and images with a known answer."""

import math

import cv2
import numpy as np
import pytest

from irvis_fusion_core import metrics
from irvis_fusion_core.errors import ConfigurationError, FrameError


def scene(seed, shape=(64, 72)):
    """A fused image and two sources with texture, noise and flat, saturated areas."""
    rng = np.random.default_rng(seed)
    planes = []
    for _ in range(2):
        plane = cv2.GaussianBlur(rng.normal(0, 1, shape), (0, 0), 2.5)
        plane = 128 + 90 * plane / np.abs(plane).max() + rng.normal(0, 3, shape)
        planes.append(np.clip(np.rint(plane), 0, 255).astype(np.uint8))
    ir, vis = planes
    ir[:20, :24] = 17
    vis[30:, 40:] = 255
    fused = np.rint(0.6 * np.maximum(ir, vis) + 0.4 * vis).astype(np.uint8)
    return fused, ir, vis


@pytest.fixture(params=[0, 1], ids=["scene 0", "scene 1"])
def images(request):
    return scene(request.param)


# --- second implementations ----------------------------------------------------------------


def test_entropy_agrees_with_scikit_image(images):
    measure = pytest.importorskip("skimage.measure")
    assert metrics.en(images[0]) == pytest.approx(measure.shannon_entropy(images[0]))


def test_standard_deviation_spatial_frequency_and_average_gradient_by_loops(images):
    f = images[0].astype(float).tolist()
    rows, columns = len(f), len(f[0])
    values = [v for row in f for v in row]
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    across = [(f[r][c + 1] - f[r][c]) ** 2 for r in range(rows) for c in range(columns - 1)]
    down = [(f[r + 1][c] - f[r][c]) ** 2 for r in range(rows - 1) for c in range(columns)]
    frequency = math.sqrt(sum(across) / len(across) + sum(down) / len(down))

    def slope(line, i):
        low, high = max(i - 1, 0), min(i + 1, len(line) - 1)
        return (line[high] - line[low]) / (high - low)

    total = 0.0
    for r in range(rows):
        for c in range(columns):
            gx = slope(f[r], c)
            gy = slope([row[c] for row in f], r)
            total += math.sqrt((gx * gx + gy * gy) / 2)
    assert metrics.sd(images[0]) == pytest.approx(deviation)
    assert metrics.sf(images[0]) == pytest.approx(frequency)
    assert metrics.ag(images[0]) == pytest.approx(total / (rows * columns))


def test_mutual_information_agrees_with_scikit_learn_in_nats(images):
    cluster = pytest.importorskip("sklearn.metrics")
    f, a, b = (p.ravel() for p in images)
    expected = cluster.mutual_info_score(f, a) + cluster.mutual_info_score(f, b)
    assert metrics.mi(*images) == pytest.approx(expected, rel=1e-9)


def test_correlations_agree_with_numpy(images):
    f, a, b = (p.astype(float).ravel() for p in images)

    def r(x, y):
        return np.corrcoef(x, y)[0, 1]

    assert metrics.scd(*images) == pytest.approx(r(a, f - b) + r(b, f - a))
    assert metrics.cc(*images) == pytest.approx((r(f, a) + r(f, b)) / 2)


def test_ssim_agrees_with_scikit_image_in_both_conventions(images):
    reference = pytest.importorskip("skimage.metrics").structural_similarity
    f, a, b = (p.astype(float) for p in images)
    published = reference(f, a, data_range=2) + reference(f, b, data_range=2)
    clean = (reference(f, a, data_range=255) + reference(f, b, data_range=255)) / 2
    assert metrics.ssim(*images) == pytest.approx(published, abs=1e-6)
    assert metrics.ssim255(*images) == pytest.approx(clean, abs=1e-6)


def test_psnr_agrees_with_scikit_image(images):
    reference = pytest.importorskip("skimage.metrics").mean_squared_error
    f, a, b = (p.astype(float) for p in images)
    error = (reference(f, a) + reference(f, b)) / 2
    assert metrics.psnr(*images) == pytest.approx(10 * math.log10(f.max() ** 2 / error))
    assert metrics.psnr255(*images) == pytest.approx(10 * math.log10(255**2 / error))


def gaussian(size, sigma):
    axis = np.arange(size) - size // 2
    window = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2.0 * sigma**2))
    return window / window.sum()


def windows(image, window):
    """The weighted mean under every position of a window inside the image, by a loop."""
    size = window.shape[0]
    rows, columns = (n - size + 1 for n in image.shape)
    return np.array(
        [
            [(image[r : r + size, c : c + size] * window).sum() for c in range(columns)]
            for r in range(rows)
        ]
    )


def literal_vif(source, fused):
    """The four-scale pixel-domain VIF of one source, pixel by pixel."""
    kept = offered = 0.0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        window = gaussian(size, size / 5.0)
        if scale > 1:
            source = windows(source, window)[::2, ::2]
            fused = windows(fused, window)[::2, ::2]
        mean_s, mean_f = windows(source, window), windows(fused, window)
        var_s = windows(source * source, window) - mean_s**2
        var_f = windows(fused * fused, window) - mean_f**2
        both = windows(source * fused, window) - mean_s * mean_f
        for s, f, c in zip(var_s.ravel(), var_f.ravel(), both.ravel()):
            s, f = max(s, 0.0), max(f, 0.0)
            gain, noise = c / (s + 1e-10), f - c * c / (s + 1e-10)
            if s < 1e-10:
                gain, noise, s = 0.0, f, 0.0
            if f < 1e-10:
                gain, noise = 0.0, 0.0
            if gain < 0:
                gain, noise = 0.0, f
            noise = max(noise, 1e-10)
            kept += math.log10(1 + gain * gain * s / (noise + 2.0))
            offered += math.log10(1 + s / 2.0)
    return kept / offered


def test_vif_agrees_with_a_literal_loop(images):
    f, a, b = (p.astype(float) for p in images)
    expected = literal_vif(a, f) + literal_vif(b, f)
    assert metrics.vif(*images) == pytest.approx(expected, rel=1e-6)


def literal_qabf(f, a, b):
    """Xydeas and Petrovic pixel by pixel, zeros outside the image."""

    def edges(image):
        p = np.pad(image.astype(float), 1)
        strength, angle = np.zeros(image.shape), np.zeros(image.shape)
        for r in range(image.shape[0]):
            for c in range(image.shape[1]):
                w = p[r : r + 3, c : c + 3]
                x = w[0, 2] + 2 * w[1, 2] + w[2, 2] - w[0, 0] - 2 * w[1, 0] - w[2, 0]
                y = w[2, 0] + 2 * w[2, 1] + w[2, 2] - w[0, 0] - 2 * w[0, 1] - w[0, 2]
                strength[r, c] = math.hypot(x, y)
                angle[r, c] = math.atan(y / x) if x else math.pi / 2
        return strength, angle

    def kept(gs, as_, gf, af):
        # Where both are equal, as published: the strength in place of the ratio.
        g = gf if gs == gf else min(gs, gf) / max(gs, gf)
        alike = 1 - abs(as_ - af) / (math.pi / 2)
        return (
            0.9994 / (1 + math.exp(-15 * (g - 0.5))) * 0.9879 / (1 + math.exp(-22 * (alike - 0.8)))
        )

    (gf, af), *sources = edges(f), edges(a), edges(b)
    above = below = 0.0
    for gs, as_ in sources:
        for i in np.ndindex(*f.shape):
            above += kept(gs[i], as_[i], gf[i], af[i]) * gs[i]
            below += gs[i]
    return above / below


def test_qabf_agrees_with_a_literal_loop(images):
    assert metrics.qabf(*images) == pytest.approx(literal_qabf(*images), rel=1e-6)


def test_ms_ssim_agrees_with_a_literal_second_implementation():
    filters = pytest.importorskip("scipy.signal")
    fused, ir, vis = scene(3, (181, 190))
    window = gaussian(11, 1.5)

    def one(x, y):
        value = 1.0
        for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            if scale:
                rows, columns = (n // 2 * 2 for n in x.shape)
                x, y = (p[:rows, :columns] for p in (x, y))
                x, y = (
                    (p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4 for p in (x, y)
                )

            def mean(p):
                return filters.convolve2d(p, window, mode="valid")

            mx, my = mean(x), mean(y)
            vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
            term = (2 * both + 58.5225) / (vx + vy + 58.5225)
            if scale == 4:
                term = term * (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
            value *= term.mean() ** weight
        return value

    f, a, b = (p.astype(float) for p in (fused, ir, vis))
    expected = (one(f, a) + one(f, b)) / 2
    assert metrics.ms_ssim(fused, ir, vis) == pytest.approx(expected, rel=1e-6)


# --- known answers -------------------------------------------------------------------------


def test_a_flat_image_holds_nothing():
    flat = np.full((200, 200), 90, np.uint8)
    textured = scene(5, (200, 200))[1]
    assert [metrics.en(flat), metrics.sd(flat), metrics.sf(flat), metrics.ag(flat)] == [0] * 4
    row = metrics.score_pair(flat, textured, textured)
    assert row["MI"] == pytest.approx(0, abs=1e-12)
    assert row["CC"] == 0
    assert row["VIF"] == pytest.approx(0, abs=1e-9)
    assert row["Qabf"] < 0.1  # only at the border, beyond which the metric assumes black
    assert all(np.isfinite(list(row.values())))


def test_all_256_levels_equally_often_have_eight_bits():
    assert metrics.en(np.arange(256, dtype=np.uint8).reshape(16, 16)) == pytest.approx(8.0)


def test_closed_forms_of_a_ramp_and_a_chequerboard():
    ramp = np.tile(np.arange(0, 120, 3, dtype=np.uint8), (40, 1))
    assert metrics.sf(ramp) == pytest.approx(3.0)
    assert metrics.ag(ramp) == pytest.approx(3.0 / math.sqrt(2))
    board = (np.indices((32, 32)).sum(0) % 2 * 100).astype(np.uint8)
    assert metrics.sd(board) == pytest.approx(50.0)
    assert metrics.sf(board) == pytest.approx(100.0 * math.sqrt(2))
    assert metrics.en(board) == pytest.approx(1.0)


def test_an_image_fused_of_itself_loses_nothing():
    image = scene(7, (200, 210))[2]
    row = metrics.score_pair(image, image, image)
    nats = metrics.en(image) * math.log(2)
    assert row["MI"] == pytest.approx(2 * nats)
    assert row["SSIM"] == pytest.approx(2)
    assert row["SSIM255"] == row["MS_SSIM"] == row["CC"] == pytest.approx(1)
    assert row["VIF"] == pytest.approx(2, abs=1e-6)
    assert row["Qabf"] == pytest.approx(0.9994 * 0.9879 / (1 + math.exp(-22 * 0.2)), abs=1e-3)
    assert row["PSNR"] == row["PSNR255"] == math.inf
    assert metrics.psnr(np.zeros_like(image), image, image) == -math.inf


def test_a_sum_of_sources_reaches_the_highest_scd():
    rng = np.random.default_rng(1)
    ir, vis = (rng.integers(0, 120, (50, 50)).astype(np.uint8) for _ in range(2))
    assert metrics.scd(ir + vis, ir, vis) == pytest.approx(2)


def test_a_negative_keeps_no_information_and_contradicts_the_source():
    image = scene(9, (200, 200))[1]
    row = metrics.score_pair(255 - image, image, image)
    assert row["CC"] == pytest.approx(-1)
    assert row["VIF"] == pytest.approx(0, abs=1e-6)
    assert row["MS_SSIM"] == 0


def test_colour_is_reduced_to_bt601_luminance():
    fused, ir, vis = scene(2, (200, 200))
    colour = np.stack([vis, np.roll(vis, 3, 0), np.roll(vis, 5, 1)], axis=2)
    luma = np.rint(colour @ [0.299, 0.587, 0.114]).astype(np.uint8)
    assert np.abs(metrics.luminance(colour).astype(int) - luma).max() <= 1
    assert metrics.score_pair(fused, ir[:, :, None], colour) == metrics.score_pair(
        fused, ir, metrics.luminance(colour)
    )


def test_score_pair_returns_what_was_asked_for_in_that_order():
    images = scene(0)
    assert list(metrics.score_pair(*images, names=("VIF", "EN"))) == ["VIF", "EN"]
    with pytest.raises(ConfigurationError, match=r"LPIPS.*known ones are EN"):
        metrics.score_pair(*images, names=("LPIPS",))


# --- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int8])
def test_other_types_than_uint8_are_refused(dtype):
    fused, ir, vis = scene(0)
    with pytest.raises(FrameError, match="uint8"):
        metrics.mi(fused.astype(dtype), ir, vis)


def test_sizes_must_agree_and_the_message_gives_them():
    fused, ir, vis = scene(0)
    with pytest.raises(FrameError, match="72x64, 70x64"):
        metrics.vif(fused, ir[:, :70], vis)
    with pytest.raises(FrameError, match="one size"):
        metrics.mi(fused, ir[:, :70], vis)


def test_images_too_small_for_a_metric_are_refused():
    small = tuple(p[:40, :40] for p in scene(0))
    with pytest.raises(FrameError, match="41"):
        metrics.vif(*small)
    with pytest.raises(FrameError, match="176"):
        metrics.ms_ssim(*small)
    with pytest.raises(FrameError, match="8x8"):
        metrics.en(np.zeros((4, 40), np.uint8))
    with pytest.raises(FrameError, match="HxW"):
        metrics.en(np.zeros((40, 40, 4), np.uint8))


def test_a_row_says_the_same_as_its_metrics_one_by_one():
    images = scene(2, (180, 190))
    row = metrics.score_pair(*images)
    for name in metrics.METRIC_NAMES:
        assert metrics.score_pair(*images, names=[name]) == {name: row[name]}
    assert row["SSIM"] == metrics.ssim(*images)
    assert row["SSIM255"] == metrics.ssim255(*images)


@pytest.mark.parametrize("side", [8, 40, 41, 175, 176])
def test_names_for_size_are_those_that_can_be_calculated(side):
    images = scene(1, (side, 200))
    names = metrics.names_for_size(side, 200)
    assert list(metrics.score_pair(*images, names=names)) == list(names)
    for name in set(metrics.METRIC_NAMES) - set(names):
        with pytest.raises(FrameError):
            metrics.score_pair(*images, names=[name])
