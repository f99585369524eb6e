"""Where the thermal image is kept, where the visible one, and that masks move with the crop."""

import numpy as np
import pytest

pytest.importorskip("lightning")

from training.data.augmentation import Augmentation
from training.data.images import Images
from training.data.object_masks import object_masks

PERSON, VEHICLE = 0, 2
MIDDLE = (0.5, 0.5, 0.25, 0.25)
THERMAL, VISIBLE = 1, 0


def images(ir=0, vis=0, side=64):
    return np.full((side, side), ir, np.uint8), np.full((side, side, 3), vis, np.uint8)


def masks(*rows, **levels):
    return object_masks(*images(**levels), np.array(rows, np.float32).reshape(-1, 8))


@pytest.mark.parametrize("score, other, wanted", [(0.9, 0.1, 1.0), (0.6, 0.3, 0.8), (0.5, 0.5, 0)])
def test_objects_of_the_thermal_image_alone_keep_it(score, other, wanted):
    objects, vehicles = masks((PERSON, *MIDDLE, THERMAL, score, other))
    assert objects[32, 32] == pytest.approx(wanted) and not vehicles.any()
    assert wanted == 0 or 0 < objects[32, 22] < objects[32, 24] < wanted  # a soft border
    assert not objects[:18].any() and not objects[:, 46:].any()


def test_what_the_visible_image_shows_better_hides_thermal_objects():
    thermal = (PERSON, *MIDDLE, THERMAL, 0.9, 0.1)
    objects, _ = masks(thermal, (PERSON, *MIDDLE, VISIBLE, 0.8, 0.2))
    assert objects[32, 32] == pytest.approx(0.2)
    objects, _ = masks(thermal, (PERSON, *MIDDLE, VISIBLE, 0.3, 0.2))  # not sure
    assert objects[32, 32] == pytest.approx(1.0)
    assert masks((VEHICLE, 0.5, 0.5, 0.5, 0.5, THERMAL, 0.9, 0.1))[0].any()
    assert not masks((VEHICLE, 0.5, 0.5, 0.9, 0.9, THERMAL, 0.9, 0.1)).any()  # the whole crop


def test_vehicles_that_the_visible_image_shows_as_surely_keep_it():
    objects, vehicles = masks((VEHICLE, *MIDDLE, VISIBLE, 0.5, 0.3))
    assert not objects.any() and vehicles[32, 32] == pytest.approx(1.0)
    assert not masks((PERSON, *MIDDLE, VISIBLE, 0.5, 0.3)).any()
    assert not masks((VEHICLE, *MIDDLE, VISIBLE, 0.5, 0.6)).any()
    # A person in front of it, whom the thermal image alone shows.
    person = (PERSON, 0.5, 0.5, 0.125, 0.25, THERMAL, 0.9, 0.0)
    objects, vehicles = masks((VEHICLE, *MIDDLE, VISIBLE, 0.345, 0.2), person)
    assert objects[32, 32] > 0.8 and vehicles[32, 32] < 0.2 and vehicles[32, 25] > 0.3


def test_annotated_warm_persons_and_lit_vehicles_count_without_a_detector():
    nothing = np.zeros((0, 8), np.float32)
    ir, vis = images(ir=50, vis=100)
    ir[24:40, 24:40] = 120
    person, vehicle = (np.array([(kind, *MIDDLE)], np.float32) for kind in (PERSON, VEHICLE))
    objects, vehicles = object_masks(ir, vis, nothing, person)
    assert objects[32, 32] == pytest.approx(1.0) and not vehicles.any()
    assert object_masks(ir, vis + 100, nothing, person)[0, 32, 32] == pytest.approx(0.5)
    assert not object_masks(*images(50, 100), nothing, person).any()  # as warm as its surroundings
    objects, vehicles = object_masks(ir, vis, nothing, vehicle)
    assert not objects.any() and vehicles[32, 32] == pytest.approx(1.0)
    assert not object_masks(ir, vis // 2, nothing, vehicle).any()
    outside = np.array([(PERSON, 1.5, 0.5, 0.2, 0.2), (1, *MIDDLE)], np.float32)
    assert not object_masks(ir, vis, nothing, outside).any()


@pytest.mark.parametrize("seed", range(6))
def test_objects_move_with_the_crop(seed):
    ir, vis = np.zeros((120, 150), np.uint8), np.zeros((120, 150, 3), np.uint8)
    ir[40:80, 60:80] = 255
    found = np.array([(PERSON, 70 / 150, 60 / 120, 20 / 150, 40 / 120, 1, 0.9, 0.0)], np.float32)
    augmentation = Augmentation(
        64, resize_prob=1.0, misalign_prob=0, tone_prob=0, gain_prob=0, noise_prob=0
    )
    scene = Images(ir, vis, np.zeros((0, 120, 150), np.uint8), objects=found)
    view = augmentation(scene, np.random.default_rng(seed))
    objects, _ = object_masks(view.ir_aligned, view.vis_clean, view.objects)
    assert np.abs((objects > 0.5) ^ (view.ir_aligned > 127)).mean() < 0.03


def test_the_borders_of_masks_are_those_of_the_losses_filter():
    """`training.losses.filters.smooth`, also at the border of the crop."""
    torch = pytest.importorskip("torch")
    from training.losses.filters import smooth

    ir, vis = np.full((48, 64), 90, np.uint8), np.full((48, 64, 3), 90, np.uint8)
    found = np.array([[PERSON, 0.9, 0.5, 0.4, 0.5, 1, 0.9, 0.0]], np.float32)
    objects, _ = object_masks(ir, vis, found)
    box = torch.zeros(1, 1, 48, 64)
    box[:, :, 12:36, 45:] = 1.0
    np.testing.assert_allclose(objects, smooth(box, 9)[0, 0].numpy(), atol=1e-5)
