"""The same geometry for all images of a scene; what is changed in one of them only."""

import cv2
import numpy as np
import pytest

from irvis_fusion_core.errors import ConfigurationError
from training.data.augmentation import Augmentation, jitter_chroma, tone_curve
from training.data.images import Images

STILL = dict.fromkeys(
    ("resize_prob", "flip_prob", "misalign_prob", "tone_prob", "colour", "noise_prob"), 0.0
)


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


def test_noise_is_on_what_the_student_sees_and_columns_share_theirs():
    found = view(0, noise_prob=1.0, ir_noise=0.0, column_noise=6.0, vis_noise=0.0)
    offset = found.ir.astype(int) - found.ir_aligned
    assert np.abs(offset).max() > 3
    assert (offset == offset[:1]).all()
    found = view(0, noise_prob=1.0, ir_noise=4.0, column_noise=0.0, vis_noise=0.0)
    offset = found.ir.astype(int) - found.ir_aligned
    assert offset.std() == pytest.approx(4.0, rel=0.1)
    assert np.array_equal(found.vis[:, :, 0], found.ir_aligned)


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
