"""Online alignment against drifts of known truth, on real pairs, and where no answer can be."""

import threading

import cv2
import numpy as np
import pytest
from real_data import data_root

from irvis_fusion_core.errors import CalibrationError, ConfigurationError
from irvis_fusion_core.registration import HomographyRegistration, make_registration
from irvis_fusion_core.registration.alignment_evidence import (
    MOTIONS,
    AlignmentEvidence,
    orientation,
)
from irvis_fusion_core.registration.alignment_tracker import AlignmentTracker
from irvis_fusion_core.registration.online_alignment import OnlineRegistration
from irvis_fusion_core.registration.warp_maps import StretchedRegistration

SIZE = (240, 320)


def read_pairs(folder, ends="", most=12):
    """(IR, visible) grey, of one size; registered as the data set has them."""
    pairs = []
    for path in sorted((data_root() / folder / "IR").iterdir()):
        if path.stem.endswith(ends) and len(pairs) < most:
            both = (path, path.parents[1] / "VIS" / path.name)
            images = [cv2.imread(str(side), cv2.IMREAD_GRAYSCALE) for side in both]
            pairs.append([cv2.resize(image, SIZE[::-1]) for image in images])
    return pairs


@pytest.fixture(scope="module")
def road():
    return read_pairs("roadscene/val")


def drift_matrix(shift, turn_deg=0.0, scale=1.0, size=SIZE):
    """3x3: where the calibration puts the infrared image -> where it belongs."""
    matrix = cv2.getRotationMatrix2D(((size[1] - 1) / 2, (size[0] - 1) / 2), turn_deg, scale)
    matrix[:, 2] += shift
    return np.vstack([matrix, [0.0, 0.0, 1.0]])


def drifted(ir, drift):
    """The infrared image as a camera that has drifted gives it: `drift` brings it back."""
    size = (ir.shape[1], ir.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(ir, drift, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def misplacement_px(found, true, size=SIZE):
    """Mean distance between both maps over the image."""
    x, y = np.meshgrid(np.linspace(0, size[1] - 1, 5), np.linspace(0, size[0] - 1, 5))
    points = np.stack([x.ravel(), y.ravel()], axis=1)[None]
    both = [cv2.perspectiveTransform(points, np.asarray(m, np.float64)) for m in (found, true)]
    return float(np.linalg.norm(both[0] - both[1], axis=2).mean())


def follow(registration, pairs, drift, count=36, begin=0):
    """Offer `count` pairs, a second apart; what comes out of `describe` after each."""
    states = []
    for number in range(begin, begin + count):
        ir, vis = pairs[number % len(pairs)]
        assert registration.offer(drifted(ir, drift), vis, float(number))
        states.append(registration.describe())
    return states


def online(**options):
    return OnlineRegistration(StretchedRegistration(0.0), in_background=False, **options)


@pytest.mark.parametrize(
    ("drift", "tolerance_px"),
    [
        (drift_matrix((0.0, 0.0)), 0.7),
        (drift_matrix((7.0, -5.0)), 0.8),
        (drift_matrix((3.0, 2.0), turn_deg=1.0, scale=1.01), 1.2),
    ],
    ids=["none", "shift", "shift turn and scale"],
)
def test_a_known_drift_of_real_pairs_is_found(road, drift, tolerance_px):
    registration = online()
    states = follow(registration, road, drift)
    assert states[0]["state"] == "calibrated" and states[-1]["state"] == "following"
    assert misplacement_px(registration.correction, drift) <= tolerance_px
    # Smoothed: no step from one pair to the next is more than a fifth of the way.
    reach = [float(state["correction_at_corners_px"]) for state in states]
    total = np.linalg.norm(drift[:2, 2]) + 10
    assert max(abs(b - a) for a, b in zip(reach, reach[1:])) <= total / 5


def test_a_known_drift_is_found_in_streets_by_day_and_night():
    drift = drift_matrix((5.0, -3.0))
    for ends in ("D", "N"):
        registration = online()
        follow(registration, read_pairs("msrs/train", ends), drift)
        # The data set itself is registered to a few pixels of 640, which are half as many here.
        assert misplacement_px(registration.correction, drift) <= 2.0


def test_the_warp_of_the_frame_path_is_corrected(road):
    drift = drift_matrix((7.0, -5.0))
    registration = online()
    ir = drifted(road[0][0], drift)
    before, coverage = registration.warp(ir, SIZE)
    assert coverage is None and np.array_equal(before, ir)
    follow(registration, road, drift)
    after, coverage = registration.warp(ir, SIZE)
    inner = (slice(20, -20), slice(20, -20))
    gone = cv2.absdiff(after, road[0][0])[inner].mean()
    assert gone < 0.4 * cv2.absdiff(before, road[0][0])[inner].mean()
    # What the correction uncovers is known to be unknown.
    assert coverage is not None and coverage.min() == 0


@pytest.mark.parametrize("scene", ["others", "flat", "noise", "black"])
def test_scenes_without_an_answer_keep_the_calibrated_value(road, scene):
    rng = np.random.default_rng(0)

    def unrelated(number):
        ir = road[number % len(road)][0]
        vis = {
            "others": road[(number + 7) % len(road)][1],
            "flat": np.full(SIZE, 128, np.uint8),
            "noise": rng.integers(0, 256, SIZE).astype(np.uint8),
            "black": np.zeros(SIZE, np.uint8),
        }[scene]
        return ir, vis

    registration = online()
    states = follow(registration, [unrelated(n) for n in range(34)], np.eye(3), count=34)
    assert {state["state"] for state in states} == {"calibrated"}
    assert np.array_equal(registration.correction, np.eye(3))
    assert states[-1]["why_not_followed"]


def test_a_drift_beyond_the_bound_is_told_and_not_followed(road):
    registration = online(max_shift_px=6.0)
    states = follow(registration, road, drift_matrix((9.0, 0.0)), count=20)
    assert np.array_equal(registration.correction, np.eye(3))
    assert "calibrate again" in states[-1]["why_not_followed"]


def test_without_evidence_it_holds_and_then_returns_to_the_calibrated_value(road):
    registration = online(hold_s=15.0, smoothing_s=5.0)
    follow(registration, road, drift_matrix((7.0, -5.0)), count=30)
    reached = registration.correction
    dark = [(ir, np.zeros(SIZE, np.uint8)) for ir, _ in road]
    states = follow(registration, dark, drift_matrix((7.0, -5.0)), count=80, begin=30)
    order = list(dict.fromkeys(state["state"] for state in states))
    assert order == ["following", "holding", "returning", "calibrated"]
    held = next(s for s in states if s["state"] == "returning")
    assert float(held["correction_at_corners_px"]) <= np.linalg.norm(reached[:2, 2]) + 1
    assert np.array_equal(registration.correction, np.eye(3))


def test_a_jump_of_one_pair_moves_nothing(road):
    registration = online()
    follow(registration, road, np.eye(3), count=20)
    before = registration.correction
    follow(registration, road, drift_matrix((12.0, 9.0)), count=1, begin=20)
    assert misplacement_px(registration.correction, before) < 0.5


def test_the_comparison_runs_in_the_background_and_one_at_a_time(road, monkeypatch):
    registration = OnlineRegistration(StretchedRegistration(0.0), period_s=1.0)
    may_go, threads = threading.Event(), []
    add = AlignmentTracker.add

    def slow(self, *arguments):
        threads.append(threading.current_thread())
        assert may_go.wait(10.0)
        return add(self, *arguments)

    monkeypatch.setattr(AlignmentTracker, "add", slow)
    ir, vis = road[0]
    assert registration.offer(ir, vis, 0.0)
    assert not registration.offer(ir, vis, 0.5)  # too early
    assert not registration.offer(ir, vis, 5.0)  # the first is still at work
    registration.warp(ir, SIZE)  # and the frame path goes on
    may_go.set()
    assert registration.wait()
    assert registration.offer(ir, vis, 6.0) and registration.wait()
    assert len(threads) == 2 and threading.current_thread() not in threads
    assert registration.describe()["pairs_compared"] == "2"


def test_what_fails_in_the_background_is_told_and_the_base_stays(road):
    registration = online()
    ir, vis = road[0]
    assert registration.offer(ir.astype(np.float32), vis, 0.0)
    assert "uint8" in registration.describe()["failure"]
    assert np.array_equal(registration.warp(ir, SIZE)[0], ir)
    assert registration.offer(ir, vis, 2.0)
    assert "failure" not in registration.describe()


def test_another_image_size_begins_anew_and_never_fails(road):
    registration = online()
    follow(registration, road, drift_matrix((7.0, -5.0)), count=25)
    ir, vis = road[0]
    square = cv2.resize(vis, (300, 300))
    warped, coverage = registration.warp(ir, (300, 300))
    assert warped.shape == (300, 300) and coverage is None
    assert registration.offer(ir, square, 100.0)
    assert registration.describe()["pairs_compared"] == "1"


def test_colour_and_grey_give_the_same_correction(road):
    found = []
    for colour in (False, True):
        registration = online()
        pairs = [(ir, cv2.merge([vis] * 3) if colour else vis) for ir, vis in road]
        follow(registration, pairs, drift_matrix((5.0, 0.0)), count=12)
        found.append(registration.correction)
    assert found[0] == pytest.approx(found[1], abs=1e-9)


def test_over_a_homography_the_correction_is_in_visible_pixels(road):
    """IR of half the size, brought up by a homography that is off by (8, 6) visible pixels."""
    homography = np.diag([2.0, 2.0, 1.0])
    homography[:2, 2] = (0.5 - 8.0, 0.5 - 6.0)
    registration = make_registration(
        "online", online_base="homography", homography=homography, online_in_background=False
    )
    for number in range(36):
        ir, vis = road[number % len(road)]
        small = cv2.resize(ir, (160, 120), interpolation=cv2.INTER_AREA)
        registration.offer(small, vis, float(number))
    assert misplacement_px(registration.correction, drift_matrix((8.0, 6.0))) <= 1.2
    values = registration.describe()
    assert (values["mode"], values["base"]) == ("online", "homography")


# --- parts ---------------------------------------------------------------------------------


def test_edges_of_either_contrast_look_alike():
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.integers(0, 256, (60, 80)).astype(np.uint8), (0, 0), 2)
    assert orientation(image) == pytest.approx(orientation(255 - image), abs=1e-4)
    assert np.abs(orientation(image)).max() <= 1.0
    known = np.zeros((60, 80), np.uint8)
    known[:, 40:] = 1
    assert not orientation(image, known)[:, :44].any()


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_synthetic_motion_is_found_to_a_fraction_of_a_pixel(motion):
    rng = np.random.default_rng(2)
    noise = rng.integers(0, 256, (240, 320)).astype(np.uint8)
    vis = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    drift = drift_matrix((4.0, -3.0))
    if motion != "shift":
        drift = drift_matrix((4.0, -3.0), turn_deg=0.8, scale=1.01)
    evidence = AlignmentEvidence((240, 320), 10.0)
    evidence.add(drifted(255 - vis, drift), vis)
    estimate = evidence.estimate(motion)
    assert estimate.shift_px == pytest.approx((4.0, -3.0), abs=0.3)
    found = np.vstack([estimate.matrix, [0, 0, 1]])
    assert misplacement_px(found, drift) <= 0.5
    assert estimate.height > 5 and estimate.lead > 2


def test_no_evidence_is_the_identity():
    estimate = AlignmentEvidence(SIZE, 10.0).estimate()
    assert estimate.height == 0.0 and np.array_equal(estimate.matrix, np.eye(2, 3))


def test_corrections_of_a_registration_do_not_add_up():
    base = HomographyRegistration(np.eye(3), soft_edge_px=0.0)
    ir = np.zeros((40, 50), np.uint8)
    ir[10, 20] = 255
    once = base.corrected(drift_matrix((3.0, 2.0)), (40, 50))
    twice = once.corrected(drift_matrix((1.0, 0.0)), (40, 50))
    assert np.argwhere(once.warp(ir, (40, 50))[0]).tolist() == [[12, 23]]
    assert np.argwhere(twice.warp(ir, (40, 50))[0]).tolist() == [[10, 21]]
    assert np.array_equal(base.warp(ir, (40, 50))[0], ir)
    with pytest.raises(CalibrationError, match="mirrors"):
        base.corrected(np.diag([-1.0, 1.0, 1.0]), (40, 50))


@pytest.mark.parametrize(
    "options",
    [
        {"period_s": 0.0},
        {"smoothing_s": float("nan")},
        {"max_shift_px": -1.0},
        {"hold_s": -1.0},
        {"motion": "twist"},
        {"no_such": 1},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigurationError):
        make_registration("online", **{"online_" + name: v for name, v in options.items()})
    with pytest.raises(ConfigurationError, match="NoRegistration"):
        make_registration("online", online_base="none")
