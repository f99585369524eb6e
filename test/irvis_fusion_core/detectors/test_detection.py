"""Matching, counting and suppression against brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.detectors.detection import (
    Box,
    Detection,
    Tally,
    Truth,
    match,
    merge,
    overlap,
    regroup,
    suppress_overlaps,
)
from irvis_fusion_core.detectors.labels import group_names, normal_label


def found(left, score=0.9, label="person"):
    return Detection(Box(left, 0, 10, 20), score, label)


def there(left, label="person"):
    return Truth(Box(left, 0, 10, 20), label)


def hits(*arguments):
    return sum(verdict is True for verdict in match(*arguments))


def test_each_object_is_found_once_and_only_by_its_class():
    assert hits([found(0), found(1, 0.5)], [there(0)]) == 1
    assert hits([found(0, label="car")], [there(0)]) == 0
    assert hits([found(0), found(100)], [there(1), there(101)]) == 2
    assert hits([found(6)], [there(0)]) == 0  # 4 of 16 columns shared


def test_surer_finds_choose_first():
    # The surer find lies between both, nearer to the second; the other covers the second alone.
    truths = [there(0), there(4)]
    assert hits([found(3, 0.9), found(4, 0.5)], truths, 0.5) == 2 - 1
    assert hits([found(0, 0.9), found(4, 0.5)], truths, 0.5) == 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 60), max_size=4),
    st.lists(st.integers(0, 60), max_size=4),
)
def test_matches_are_never_more_than_the_best_assignment(finds, truths):
    detections = [found(x, 0.9 - 0.01 * i) for i, x in enumerate(finds)]
    objects = [there(x) for x in truths]
    own = hits(detections, objects)
    most = 0
    few, many = sorted((detections, objects), key=len)
    for order in itertools.permutations(many, len(few)):
        pairs = zip(few, order)
        most = max(most, sum(overlap(a.box, b.box) >= 0.5 for a, b in pairs))
    assert own <= most
    assert (own > 0) == (most > 0)


def test_a_tally_knows_precision_and_recall():
    tally = Tally()
    tally.add([found(0), found(50)], [there(0), there(100), there(200)])
    tally.add([], None)
    assert (tally.images, tally.annotated_images) == (2, 1)
    assert (tally.true, tally.false, tally.missed) == (1, 1, 2)
    assert tally.precision == pytest.approx(1 / 2)
    assert tally.recall == pytest.approx(1 / 3)
    assert Tally().precision is None and Tally().recall is None


def test_an_ignored_box_costs_nothing_and_takes_any_number():
    crowd = Truth(Box(0, 0, 100, 20), "person", True)
    assert match([found(0), found(50), found(200)], [crowd, there(0)]) == [True, None, False]
    tally = Tally()
    tally.add([found(0), found(50)], [crowd])
    assert (tally.true, tally.false, tally.missed) == (0, 0, 0)
    assert match([found(0, label="car")], [crowd]) == [False]


def test_suppression_keeps_the_surest_of_each_overlapping_group():
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 100, (60, 2))
    sizes = rng.uniform(20, 60, (60, 2))
    scores = rng.permutation(60) / 60 + 0.01
    kept = suppress_overlaps(np.hstack([corners, corners + sizes]), scores, np.zeros(60), 0.4)
    boxes = [Box(*row) for row in np.hstack([corners, sizes])]
    expected = []
    for index in np.argsort(-scores):
        if all(overlap(boxes[index], boxes[other]) <= 0.4 for other in expected):
            expected.append(index)
    assert kept == expected


def test_boxes_of_different_classes_do_not_suppress_one_another():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], float)
    assert suppress_overlaps(boxes, np.array([0.9, 0.8]), np.array([0, 1])) == [0, 1]
    assert suppress_overlaps(boxes, np.array([0.8, 0.9]), np.array([0, 0])) == [1]
    assert suppress_overlaps(np.zeros((0, 4)), np.zeros(0), np.zeros(0)) == []


def test_one_vehicle_found_as_car_and_truck_is_one_detection():
    groups = group_names(["vehicle"])
    finds = [found(0, 0.5, "truck"), found(1, 0.9, "car"), found(40, 0.4, "bus"), found(0)]
    kept = regroup(finds, groups)
    assert [(d.box.left, d.score, d.label) for d in kept] == [
        (1, 0.9, "vehicle"),
        (40, 0.4, "vehicle"),
    ]
    assert regroup(finds[3:], group_names(["person"])) == finds[3:]
    assert regroup([], groups) == merge([]) == []


def test_the_words_for_people_are_one():
    assert {normal_label(n) for n in ("Person", "people", " Pedestrian ")} == {"person"}
    assert normal_label("Traffic  Light") == "traffic light"


def test_trucks_and_buses_count_as_annotated_vehicles():
    assert group_names(["person", "vehicle"])["truck"] == "vehicle"
    joined = group_names(["car/truck/bus", "person"])
    assert {joined[k] for k in ("car", "truck", "bus")} == {"car/truck/bus"}
    assert "van" not in joined and joined["person"] == "person"
    # What has its own name in the annotations is not part of the group.
    assert group_names(["vehicle", "bus"])["bus"] == "bus"
    assert group_names(["bicycle or motorcycle"])["motorcycle"] == "bicycle or motorcycle"
    assert "truck" not in group_names(["car"])
