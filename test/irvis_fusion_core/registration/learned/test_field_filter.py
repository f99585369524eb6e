"""The filter of fields: steady where confident, zero where nothing is known."""

import numpy as np
import pytest

from irvis_fusion_core.registration.learned.field_filter import FieldFilter

SHAPE = (12, 16)


def found(x, confidence=0.9, y=0.0):
    return np.stack([np.full(SHAPE, v, np.float32) for v in (x, y, confidence)])


def test_a_confident_field_is_used_as_it_is():
    field = FieldFilter(0.0, 0.75).add(found(6.0, y=-2.0), 0.0)
    np.testing.assert_allclose(field[0], 6.0, atol=1e-5)
    np.testing.assert_allclose(field[1], -2.0, atol=1e-5)


def test_where_the_network_is_not_confident_the_base_stays():
    mixed = np.repeat(found(6.0), 6, axis=2)
    mixed[2, :, :60] = 0.1
    field = FieldFilter(0.0, 0.75).add(mixed, 0.0)
    assert not field[:, :, :40].any()
    np.testing.assert_allclose(field[0, :, 61:], 6.0, atol=1e-5)
    # Between them it fades, without a step that would tear the image.
    assert np.abs(np.diff(field[0], axis=1)).max() < 1.5


def test_a_small_blank_area_follows_what_is_around_it():
    mixed = found(6.0)
    mixed[:2, 5:7, 7:9] = -20.0
    mixed[2, 5:7, 7:9] = 0.05
    np.testing.assert_allclose(FieldFilter(0.0, 0.75).add(mixed, 0.0)[0], 6.0, atol=0.3)


def test_displacements_below_the_least_are_none():
    filter_ = FieldFilter(0.0, 0.75)
    assert not filter_.add(found(0.7), 0.0).any()
    np.testing.assert_allclose(filter_.add(found(1.6), 0.1)[0], 1.6, atol=1e-5)


def test_noise_from_frame_to_frame_is_smoothed_by_confidence():
    random = np.random.default_rng(0)
    smooth, alone = FieldFilter(0.3, 0.75), FieldFilter(0.0, 0.75)
    spread = {"smooth": [], "alone": []}
    for number in range(60):
        field = found(6.0)
        field[:2] += random.normal(0.0, 0.4, (2, *SHAPE)).astype(np.float32)
        for name, filter_ in (("smooth", smooth), ("alone", alone)):
            spread[name].append(filter_.add(field, number / 30.0)[0])
    after = {
        name: float(np.std(np.array(each[30:]), axis=0).mean()) for name, each in spread.items()
    }
    assert after["smooth"] < 0.5 * after["alone"]


def test_an_unsure_frame_leaves_the_memory():
    filter_ = FieldFilter(0.3, 0.75)
    for number in range(10):
        filter_.add(found(6.0), number / 30.0)
    field = filter_.add(found(-9.0, confidence=0.02), 10 / 30.0)
    np.testing.assert_allclose(field[0], 6.0, atol=0.5)


def test_another_displacement_is_followed_at_once():
    """A person steps in: the memory of what was there would leave a double edge."""
    filter_ = FieldFilter(0.3, 0.75)
    for number in range(10):
        filter_.add(found(0.0), number / 30.0)
    field = filter_.add(found(12.0), 10 / 30.0)
    np.testing.assert_allclose(field[0], 12.0, atol=0.2)


@pytest.mark.parametrize("now_s", [100.0, -5.0])
def test_a_jump_of_time_forgets(now_s):
    filter_ = FieldFilter(0.3, 0.75)
    filter_.add(found(6.0), 0.0)
    np.testing.assert_allclose(filter_.add(found(5.0), now_s)[0], 5.0, atol=1e-5)


def test_the_report_counts_confident_cells_alone():
    mixed = found(2.0)
    mixed[0, 6:] = 8.0
    mixed[2, :, 12:] = 0.0
    filter_ = FieldFilter(0.0, 0.0)
    filter_.add(mixed, 0.0)
    assert filter_.report.confident == 0.75
    assert filter_.report.median_px == pytest.approx(5.0, abs=3.1)
    assert filter_.report.p95_px == pytest.approx(8.0, abs=0.1)


def test_another_size_starts_over():
    filter_ = FieldFilter(0.3, 0.75)
    filter_.add(found(6.0), 0.0)
    assert filter_.add(np.ones((3, 4, 5), np.float32), 0.03).shape == (2, 4, 5)
