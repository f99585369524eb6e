"""The drawn street: repeatable, and such that fusing it is worth while."""

import numpy as np
import pytest

from irvis_fusion_core.demo.demo_pairs import DemoPairs
from irvis_fusion_core.demo.night_street import NightStreet
from irvis_fusion_core.detectors.detection import Box, overlap
from irvis_fusion_core.detectors.people_detector import count_hits
from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.image_files import write_image


def luminance(vis):
    return vis.astype(np.float64) @ (0.299, 0.587, 0.114)


def inside(box, shape):
    """The rows and columns of a person's trunk."""
    top, left = int(box.top + 0.2 * box.height), int(box.left + 0.35 * box.width)
    return np.s_[
        max(top, 0) : int(box.top + 0.5 * box.height),
        max(left, 0) : min(int(box.left + 0.65 * box.width), shape[1]),
    ]


def test_seed_and_time_decide_every_pixel():
    a, b, other = NightStreet(seed=3), NightStreet(seed=3), NightStreet(seed=4)
    b.frame(9.0)  # what was drawn before does not matter
    for time_s in (0.0, 1.3):
        first, second = a.frame(time_s), b.frame(time_s)
        np.testing.assert_array_equal(first.ir, second.ir)
        np.testing.assert_array_equal(first.vis, second.vis)
        assert first.boxes == second.boxes
    assert (other.frame(0.0).vis != a.frame(0.0).vis).any()


def test_frames_are_what_cameras_give():
    frame = NightStreet(320, 256, pedestrians=2).frame(0.5)
    assert frame.ir.dtype == frame.vis.dtype == np.uint8
    assert frame.ir.shape == (256, 320) and frame.vis.shape == (256, 320, 3)
    assert len(frame.boxes) == 2


def test_people_are_warm_everywhere_and_mostly_dark_to_the_visible_camera():
    frame = NightStreet(seed=1).frame(2.0)
    road = frame.ir[260:].astype(float)
    dark = 0
    for box in frame.boxes:
        trunk = inside(box, frame.ir.shape)
        assert np.median(frame.ir[trunk]) > np.median(road) + 60
        dark += np.median(luminance(frame.vis)[trunk]) < 60
    assert dark >= len(frame.boxes) - 1


def test_people_walk():
    street = NightStreet()
    before, after = street.frame(0.0).boxes, street.frame(2.0).boxes
    for a, b in zip(before, after):
        assert 1.0 < abs(a.left - b.left) < 200.0


def test_overlap_of_known_boxes():
    a = Box(0, 0, 10, 10)
    assert overlap(a, a) == 1.0
    assert overlap(a, Box(10, 0, 10, 10)) == 0.0
    assert overlap(a, Box(5, 0, 10, 10)) == pytest.approx(50 / 150)


def test_each_find_serves_one_person():
    people = [Box(0, 0, 10, 20), Box(100, 0, 10, 20)]
    assert count_hits([Box(1, 0, 10, 20)], people) == 1
    assert count_hits([Box(1, 0, 10, 20), Box(99, 1, 10, 20)], people) == 2
    assert count_hits([Box(1, 0, 10, 20), Box(0, 1, 10, 20)], people) == 1
    assert count_hits([], people) == 0


def test_the_detector_finds_more_people_in_thermal_than_in_visible_images():
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "HOGDescriptor"):
        pytest.skip(f"OpenCV {cv2.__version__} has no HOGDescriptor; 4.x has")
    from irvis_fusion_core.detectors.people_detector import PeopleDetector

    detector, street = PeopleDetector(), NightStreet()
    visible = thermal = 0
    for time_s in (0.0, 1.0, 2.0, 3.0):
        frame = street.frame(time_s)
        seen = [each.box for each in detector.find(frame.vis)]
        warm = [each.box for each in detector.find(np.dstack([frame.ir] * 3))]
        visible += count_hits(seen, frame.boxes)
        thermal += count_hits(warm, frame.boxes)
    assert thermal >= visible + 4


def test_a_folder_of_pairs_is_shown_over_and_over_in_one_size(tmp_path):
    random = np.random.default_rng(0)
    for number, (height, width) in enumerate([(20, 30), (40, 50)]):
        grey = random.integers(0, 256, (height, width), np.uint8)
        write_image(str(tmp_path / "IR" / f"{number}.png"), grey)
        write_image(str(tmp_path / "VIS" / f"{number}.png"), np.dstack([grey, grey // 2, grey]))
    pairs = DemoPairs(str(tmp_path))
    assert [pair.name for pair in pairs.first(9)] == ["0", "1"]
    for number in range(4):
        pair = pairs.pair(number)
        assert pair.ir.shape == (20, 30) and pair.vis.shape == (20, 30, 3) and pair.people is None
    np.testing.assert_array_equal(pairs.pair(0).vis, pairs.pair(2).vis)
    # RGB, although files are read as BGR: green is the halved one.
    np.testing.assert_array_equal(pairs.pair(0).vis[..., 1], pairs.pair(0).vis[..., 0] // 2)


def test_pairs_of_different_size_are_refused(tmp_path):
    write_image(str(tmp_path / "IR" / "a.png"), np.zeros((20, 30), np.uint8))
    write_image(str(tmp_path / "VIS" / "a.png"), np.zeros((40, 30, 3), np.uint8))
    with pytest.raises(FrameError, match="one size"):
        DemoPairs(str(tmp_path)).pair(0)
