"""The models that ship: whole, the same image on every engine, and a real fusion."""

import contextlib
import os

import cv2
import numpy as np
import pytest
from real_data import real_pairs

from irvis_fusion_core import RealtimeFusion, metrics, model_zoo
from irvis_fusion_core.backends import BackendOptions, open_backend
from irvis_fusion_core.backends.model_file import read_model_file
from irvis_fusion_core.metrics import image_faults
from irvis_fusion_core.thermal import ThermalRescale

VALIDATION = ("msrs/val", "roadscene/val")


def pairs(folders=VALIDATION):
    """Every real validation pair: (name, ir HxWx1, vis HxWx3 RGB)."""
    for folder in folders:
        for stem, ir, vis in real_pairs(folder):
            yield stem, ir[:, :, np.newaxis], vis


def test_every_variant_ships_whole():
    assert model_zoo.list_models() == ["nano", "small", "base"]
    for variant in model_zoo.VARIANTS:
        assert "fp16" in model_zoo.precisions(variant)
        for precision in model_zoo.precisions(variant):
            file = read_model_file(model_zoo.path(variant, precision))
            assert (file.variant, file.precision) == (variant, precision)
            assert file.fixed_size is None
        model_zoo.weights_path(variant)  # raises where it is missing or changed


def test_the_models_stay_small():
    files = model_zoo._checksums(model_zoo.MODELS_DIR)
    total = sum(os.path.getsize(os.path.join(model_zoo.MODELS_DIR, name)) for name in files)
    assert total <= 25e6


@pytest.mark.parametrize("variant", model_zoo.VARIANTS)
def test_engines_agree_within_one_grey_level_on_every_real_pair(variant, tmp_path):
    """ONNX Runtime, OpenVINO and torch, all in fp32, on each validation image there is."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    if "fp32" in model_zoo.precisions(variant):
        model = model_zoo.path(variant, "fp32")
    else:
        from irvis_fusion_core.network.checkpoint import load_checkpoint
        from irvis_fusion_core.network.export import export_to_onnx

        weights = model_zoo.weights_path(variant)
        model = str(export_to_onnx(load_checkpoint(weights), tmp_path / f"{variant}_fp32.onnx"))
        (tmp_path / f"{variant}.safetensors").symlink_to(weights)
    torch.set_num_threads(1)
    options = BackendOptions(threads=1, device="cpu")
    engines = {
        name: open_backend(name, model, options) for name in ("onnxruntime", "openvino", "torch")
    }
    count = 0
    for name, ir, vis in pairs():
        fused = {engine: opened.fuse(ir, vis).astype(int) for engine, opened in engines.items()}
        for engine in ("openvino", "torch"):
            worst = np.abs(fused[engine] - fused["onnxruntime"]).max()
            assert worst <= 1, f"{engine} on {name}"
        count += 1
    assert count >= 30
    for opened in engines.values():
        opened.close()


METRICS = ("SCD", "VIF", "Qabf", "SSIM")

# What the models give up at most against the pixel-wise maximum, the strongest trivial fusion on
# these metrics, for images that detectors and people read better (docs/benchmarks.md): Qabf, VIF
# and SSIM with the range 2 reward printed noise, SCD a faint copy of the thermal image anywhere.
MOST_LOST = {"msrs/val": (0.0, 0.08, 0.13, 0.1), "roadscene/val": (0.08, 0.06, 0.06, 0.07)}
# Since their second round `nano` and `small` show thermal detail by day at objects alone. SCD is
# highest where thermal clouds are drawn into the sky; what is wanted instead has its own test.
MOST_SCD_LOST = {("nano", "msrs/val"): 0.01, ("nano", "roadscene/val"): 0.32}
MOST_SCD_LOST |= {("small", folder): lost for (_, folder), lost in MOST_SCD_LOST.items()}


def scores(fused, grey, y):
    found = metrics.score_pair(fused, grey, y, METRICS)
    return [found[name] for name in METRICS]


def vif(fused, grey, y):
    return metrics.score_pair(fused, grey, y, ["VIF"])["VIF"]


@pytest.fixture(scope="module", params=VALIDATION)
def trivial(request):
    """A set, its pairs, and what the maximum and the mean of each reach."""
    found = list(pairs(folders=[request.param]))
    rows = {"maximum": [], "mean": []}
    for _, ir, vis in found:
        grey, y = ir[:, :, 0], cv2.cvtColor(vis, cv2.COLOR_RGB2GRAY)
        mean = ((grey.astype(int) + y) // 2).astype(np.uint8)
        rows["maximum"].append(scores(np.maximum(grey, y), grey, y))
        rows["mean"].append(scores(mean, grey, y))
    return request.param, found, {name: np.mean(row, 0) for name, row in rows.items()}


@pytest.mark.parametrize("variant", model_zoo.VARIANTS)
def test_it_is_a_fusion_near_the_maximum_and_cleans_noise(variant, trivial):
    """Thermal targets show, visible texture stays, added thermal noise mostly does not."""
    pytest.importorskip("onnxruntime")
    folder, found, expected = trivial
    model = model_zoo.path(variant, model_zoo.precisions(variant)[0])
    engine = open_backend("onnxruntime", model, BackendOptions(threads=1, device="cpu"))
    rows, brighter, darker, cleaned = [], [], [], []
    noise = np.random.default_rng(0)
    with contextlib.closing(engine):
        for _, ir, vis in found:
            grey, y = ir[:, :, 0], cv2.cvtColor(vis, cv2.COLOR_RGB2GRAY)
            fused = cv2.cvtColor(engine.fuse(ir, vis), cv2.COLOR_RGB2GRAY)
            rows.append(scores(fused, grey, y))
            if len(cleaned) < 6:
                noisy = ir + noise.normal(0.0, 10.0, ir.shape)
                noisy = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
                kept = cv2.cvtColor(engine.fuse(noisy, vis), cv2.COLOR_RGB2GRAY)
                cleaned.append(vif(kept, grey, y) - vif(np.maximum(noisy[:, :, 0], y), grey, y))
            hot = (grey > 200) & (y < 100)  # a warm body in the dark
            if hot.sum() > 200:
                brighter.append(fused[hot].mean() - y[hot].mean())
            sky = (grey < 100) & (y > 180)  # cold for one camera, bright for the other
            if sky.sum() > 1000:
                darker.append(y[sky].mean() - fused[sky].mean())
    ours = np.mean(rows, 0)
    vif_and_qabf = slice(1, 3)
    assert (ours > expected["mean"])[vif_and_qabf].all(), ours - expected["mean"]
    scd, *others = MOST_LOST[folder]
    lead = ours - expected["maximum"]
    assert (lead > -np.array([MOST_SCD_LOST.get((variant, folder), scd), *others])).all(), lead
    assert np.mean(cleaned) > 0.05, cleaned
    assert brighter and np.mean(brighter) > 40
    # A copy of the infrared image scores well on most metrics and turns the day into night.
    assert darker and max(darker) < 50


@pytest.mark.parametrize("variant, most", [("nano", 1.1), ("small", 1.4)])
def test_skies_stay_those_of_the_visible_image_and_hot_things_keep_their_colour(variant, most):
    """Thermal images as the node rescales them; both are means over the pairs that have some.

    `most` is the ripple in skies over that of the visible image.
    """
    ripples, saturations = [], []
    with RealtimeFusion(variant, device="cpu", threads=1) as fusion:
        for _, grey, vis in pairs(["roadscene/val"]):
            ir, y = ThermalRescale()(grey[:, :, 0]), metrics.luminance(vis)
            fused = fusion.fuse_frame(ir, vis, order="rgb")
            by_day = y[: len(y) // 3].mean() > 150.0  # as in benchmarks.image_faults
            sky = image_faults.sky(y) & by_day
            planes = metrics.luminance(fused), y, np.maximum(ir, y)
            ripples.append([image_faults.ripple(plane, sky) for plane in planes])
            saturations.append(image_faults.saturation_kept(fused, ir, vis))
    ours, visible, maximum = np.nanmean(ripples, 0)
    assert ours < most * visible, (ours, visible)
    assert ours < maximum or variant != "nano", (ours, maximum)
    assert np.nanmean(saturations) > 0.8, saturations
