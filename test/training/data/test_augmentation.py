"""The same geometry for all images of a scene; what is changed in one of them only."""

import sys

import cv2
import numpy as np
import pytest

from irvis_fusion_core.errors import ConfigurationError, EngineUnavailableError
from irvis_fusion_core.registration.learned.learned_registration import LearnedRegistration
from irvis_fusion_core.registration.modes import NoRegistration
from training.data import residual_parallax
from training.data.augmentation import (
    Augmentation,
    jitter_chroma,
    sensor_noise,
    tone_curve,
)
from training.data.displacement_fields import inverse
from training.data.images import Images, sky_mask

KINDS = ("resize", "flip", "misalign", "tone", "gain", "colour", "noise", "jpeg")
STILL = dict.fromkeys([f"{kind}_prob" for kind in KINDS], 0.0)


def scene(seed=0, height=120, width=150, teachers=1):
    """All images show the same luminance, so that any difference is an augmentation's."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(30, 220, (12, 15)).astype(np.float32)
    grey = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grey = grey.clip(0, 255).round().astype(np.uint8)
    return Images(
        grey,
        np.repeat(grey[:, :, None], 3, 2),
        np.repeat(grey[None], teachers, 0),
        grey.astype(np.float32) / 1020.0,
    )


def view(seed=1, image=None, **changes):
    augmentation = Augmentation(size=64, **{**STILL, **changes})
    return augmentation(image or scene(), np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(6))
def test_geometry_is_shared_by_all_images(seed):
    found = view(seed, resize_prob=1.0, flip_prob=0.5)
    assert found.ir.shape == (64, 64) and found.vis.shape == (64, 64, 3)
    assert np.array_equal(found.ir, found.ir_aligned)
    assert np.array_equal(found.ir, found.vis[:, :, 1])
    assert np.array_equal(found.ir, found.teachers[0])
    assert np.abs(found.variance * 1020.0 - found.ir).max() < 1.0


def test_sky_is_the_bright_upper_part_of_a_daylight_scene_and_moves_with_the_crop():
    street = np.random.default_rng(0).integers(0, 256, (120, 150, 3)).astype(np.uint8)
    street[:50] = (120, 160, 200)
    image = scene()._replace(vis=street, sky=sky_mask(street))
    assert image.sky_share()[:30].min() > 0.99 and image.sky_share()[70:].max() < 0.01
    assert sky_mask(street // 4) is None  # at night
    assert not scene().sky_share().any()
    found = [view(seed, image, resize_prob=1.0, flip_prob=0.5) for seed in range(6)]
    skies = [each.vis_clean[each.sky > 0.99] for each in found]
    assert sum(len(sky) for sky in skies) > 1000
    assert np.abs(np.concatenate(skies).astype(int) - (120, 160, 200)).max() <= 1


def test_a_plain_crop_is_a_window_of_the_image_or_its_mirror():
    whole = scene().ir
    places = {
        crop.tobytes()
        for top in range(57)
        for left in range(87)
        for crop in [whole[top : top + 64, left : left + 64]]
    }
    seen = [view(seed, flip_prob=0.5).ir for seed in range(8)]
    mirrored = [image.tobytes() not in places for image in seen]
    assert 0 < sum(mirrored) < 8
    for image, turned in zip(seen, mirrored):
        assert (image[:, ::-1] if turned else image).tobytes() in places


def test_images_smaller_than_the_crop_are_enlarged():
    assert view(0, scene(0, 40, 50)).ir.shape == (64, 64)


@pytest.mark.parametrize("seed", range(5))
def test_misalignment_moves_only_what_the_student_sees_of_the_infrared(seed):
    """The displacement is found again by undoing it: an affine registration by ECC."""
    image = scene(seed, 200, 200)
    augmentation = Augmentation(
        size=128, **{**STILL, "misalign_prob": 1.0}, misalign_px=6.0, misalign_deg=4.0
    )
    found = augmentation(image, np.random.default_rng(seed))
    assert np.array_equal(found.ir_aligned, found.vis[:, :, 0])
    assert not np.array_equal(found.ir, found.ir_aligned)
    _, warp = cv2.findTransformECC(
        found.ir_aligned, found.ir, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE
    )
    scale = np.sqrt(np.linalg.det(warp[:, :2]))
    angle = np.rad2deg(np.arctan2(warp[1, 0], warp[0, 0]))
    centre = np.array([63.5, 63.5])
    shift = warp[:, :2] @ centre + warp[:, 2] - centre
    assert 0.945 < scale < 1.055
    assert abs(angle) < 4.1 and np.abs(shift).max() < 6.5
    assert abs(angle) > 0.02 or np.abs(shift).max() > 0.1


def test_parallax_moves_what_the_student_sees_and_learned_registration_puts_it_back(monkeypatch):
    """A registration that knows the displacement leaves only what interpolation blurs."""
    pytest.importorskip("onnxruntime")
    image, seen = scene(3, 200, 200), []
    drawn = residual_parallax.random_displacement

    def known(*arguments):
        seen.append(drawn(*arguments))
        return seen[-1]

    class Perfect:
        def refine(self, ir, coverage, vis, now_s):
            assert vis.shape == ir.shape
            y, x = np.mgrid[:128, :128].astype(np.float32)
            there = np.stack([x, y]) - seen[-1].source
            field = inverse(-there, x, y)
            return cv2.remap(ir, x + field[0], y + field[1], cv2.INTER_LINEAR), coverage

    monkeypatch.setattr(residual_parallax, "random_displacement", known)
    options = {**STILL, "parallax_prob": 1.0, "parallax_px": 6.0}
    for fixed in (False, True):
        registration = (
            Perfect()
            if fixed
            else LearnedRegistration(NoRegistration(), smoothing_s=0.0, in_background=False)
        )
        monkeypatch.setattr(residual_parallax, "_registration", lambda it=registration: it)
        # A draw without bodies, which would hide what is behind them.
        found = Augmentation(size=128, **options)(image, np.random.default_rng(1))
        assert np.array_equal(found.ir_aligned, found.vis[:, :, 0])
        far = np.hypot(*(seen[-1].source - np.mgrid[:128, :128][::-1]))
        assert 1.0 < far.max() < 6.5
        inner = np.abs(found.ir.astype(int) - found.ir_aligned)[16:-16, 16:-16]
        displaced = cv2.remap(found.ir_aligned, *seen[-1].source, cv2.INTER_LINEAR)
        before = np.abs(displaced.astype(int) - found.ir_aligned)[16:-16, 16:-16]
        assert inner.mean() < (0.1 if fixed else 0.7) * before.mean()


def test_without_an_engine_parallax_is_refused_at_the_start(monkeypatch):
    residual_parallax._registration.cache_clear()
    for name in ("openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineUnavailableError, match="expected OpenVINO or ONNX Runtime"):
        Augmentation(size=64, parallax_prob=0.1)
    Augmentation(size=64)


def test_crops_of_any_size_are_displaced():
    pytest.importorskip("onnxruntime")
    augmentation = Augmentation(size=101, **{**STILL, "parallax_prob": 1.0})
    assert augmentation(scene(1, 140, 150), np.random.default_rng(0)).ir.shape == (101, 101)


def test_without_parallax_the_other_draws_stay_as_they_are():
    found = [view(4, parallax_px=reach).ir for reach in (4.0, 16.0)]
    assert np.array_equal(*found)


def test_tone_is_the_scenes_and_follows_into_the_teacher():
    seen = view(3, tone_prob=1.0, vis_tone=0.5)
    plain = view(3)
    assert not np.array_equal(seen.vis, plain.vis)
    assert np.array_equal(seen.vis[:, :, 0], seen.teachers[0])
    assert np.array_equal(seen.ir, plain.ir)  # the teacher's answer holds for this gain only
    alone = view(3, scene(teachers=0), tone_prob=1.0)
    assert not np.array_equal(alone.ir, plain.ir) and np.array_equal(alone.ir, alone.ir_aligned)


def test_colour_changes_the_visible_alone_and_keeps_its_luminance():
    rng = np.random.default_rng(0)
    vis = rng.integers(60, 190, (32, 32, 3)).astype(np.uint8)
    grey = cv2.cvtColor(vis, cv2.COLOR_RGB2GRAY).astype(int)
    changed = jitter_chroma(vis, 1.2, 0.3)
    assert np.abs(changed.astype(int) - vis).max() > 10
    inside = (changed.min(2) > 0) & (changed.max(2) < 255)
    assert np.abs(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY).astype(int) - grey)[inside].max() <= 2
    unchanged = jitter_chroma(vis, 1.0, 0.0).astype(int)
    assert np.abs(unchanged - vis).max() <= 2


def test_a_thermal_gain_is_a_line_of_grey_levels_in_both_thermal_images():
    seen, plain = (view(4, scene(teachers=0), gain_prob=p) for p in (1.0, 0.0))
    assert np.array_equal(seen.ir, seen.ir_aligned) and not np.array_equal(seen.ir, plain.ir)
    x, y = plain.ir.astype(float).ravel(), seen.ir.astype(float).ravel()
    gain, offset = np.polyfit(x, y, 1)
    assert 0.3 <= gain <= 1.0 and offset >= -0.5
    assert np.abs(gain * x + offset - y).max() < 1.0
    assert np.array_equal(view(4, gain_prob=1.0).ir, view(4).ir)  # the teacher's answer holds


def test_losses_see_neither_noise_nor_compression():
    plain = view(0)
    kinds = set()
    for seed in range(24):
        found = view(seed, noise_prob=1.0)
        clean = view(seed)
        assert np.array_equal(found.ir_aligned, clean.ir_aligned)
        assert np.array_equal(found.vis_clean, clean.vis)
        assert not np.array_equal(found.ir, clean.ir)
        kinds.add(np.array_equal(found.vis, found.vis_clean))
    assert kinds == {True, False}
    packed = view(0, jpeg_prob=1.0)
    assert np.array_equal(packed.vis_clean, plain.vis)
    assert 0.0 < np.abs(packed.vis.astype(int) - plain.vis).mean() < 8.0


class Draws:
    """A generator whose `random()` gives these numbers first."""

    def __init__(self, *numbers):
        self.numbers, self.rest = list(numbers), np.random.default_rng(0)

    def random(self, *shape):
        return self.numbers.pop(0) if self.numbers and not shape else self.rest.random(*shape)

    def __getattr__(self, name):
        return getattr(self.rest, name)


def test_each_kind_of_noise_is_what_it_is_called():
    grey = np.full((80, 90), 100, np.uint8)

    def offset(*numbers):
        return sensor_noise(grey, 8.0, Draws(*numbers)).astype(int) - 100

    white = offset(0.1)
    assert white.std() == pytest.approx(8.0, rel=0.05)
    columns, rows = offset(0.6, 0.1), offset(0.6, 0.9)
    assert (columns == columns[:1]).all() and columns[0].std() == pytest.approx(8.0, rel=0.2)
    assert (rows == rows[:, :1]).all() and rows[:, 0].std() == pytest.approx(8.0, rel=0.3)
    # Shot noise: the variance is the level times half of the strength.
    assert offset(0.85).std() == pytest.approx(np.sqrt(100 * 8.0 / 2), rel=0.05)
    dead = offset(0.95)
    assert set(np.unique(dead)) == {-100, 0, 155} and np.mean(dead != 0) == pytest.approx(
        0.02, abs=0.01
    )


def test_boxes_follow_the_crop_and_the_mirror():
    """The boxes are drawn into the image, and found again as its bright pixels."""
    for seed in range(8):
        ir = np.zeros((120, 150), np.uint8)
        ir[40:80, 60:90] = 200
        image = Images(
            ir,
            np.repeat(ir[:, :, None], 3, 2),
            np.zeros((0, *ir.shape), np.uint8),
            None,
            np.array([[0, 75 / 150, 60 / 120, 30 / 150, 40 / 120]], np.float32),
        )
        found = view(seed, image, resize_prob=1.0, flip_prob=0.5)
        shown = np.argwhere(found.ir > 100)
        if not len(found.boxes):
            assert not len(shown)
            continue
        ((kind, cx, cy, width, height),) = found.boxes
        left, right = np.clip((cx + width * np.array([-0.5, 0.5])) * 64, 0, 64)
        top, bottom = np.clip((cy + height * np.array([-0.5, 0.5])) * 64, 0, 64)
        assert kind == 0.0
        assert shown.min(0) == pytest.approx([top, left], abs=1.5)
        assert shown.max(0) + 1 == pytest.approx([bottom, right], abs=1.5)
    assert view(0).boxes is None


def test_tone_curves_end_at_black_and_white():
    for gamma in (0.5, 1.0, 2.0):
        table = tone_curve(gamma)
        assert (table[0], table[255]) == (0, 255) and (np.diff(table.astype(int)) >= 0).all()
    assert np.array_equal(tone_curve(1.0), np.arange(256))


@pytest.mark.parametrize(
    "wrong", [{"misalign_prob": 1.5}, {"ir_noise": -1.0}, {"size": 4}, {"resize_range": (2, 1)}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ConfigurationError, match="expected"):
        Augmentation(**{"size": 64, **wrong})
