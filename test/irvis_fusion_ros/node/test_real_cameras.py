"""Two cameras as they are, through the node as a process: raw, of different size and view.

Infrared is 640x512 in 16 bit, the visible image 1500x1000, and the engine the brighter of both:
what glows in the fused image is what is warm. Where it has to glow is computed here anew.
"""

import array
import math

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

import cv2
import numpy as np
from graph import image_message, pixels_of, stamp_key
from sensor_msgs.msg import CameraInfo

IR_SIZE, VIS_SIZE = (512, 640), (1000, 1500)
DARK = 40
# Warm things in the infrared image, x and y; one in each corner and one in the middle.
WARM_PLACES = [(70, 60), (560, 80), (320, 250), (90, 440), (575, 430)]
TURN, SCALE = math.radians(2.0), 2.0
HOMOGRAPHY = np.array(
    [
        [SCALE * math.cos(TURN), -SCALE * math.sin(TURN), 130.0],
        [SCALE * math.sin(TURN), SCALE * math.cos(TURN), -20.0],
        [1e-5, -2e-5, 1.0],
    ]
)


def raw_thermal(number, places=WARM_PLACES):
    """14-bit counts in uint16: a cool gradient, sensor noise, and warm discs."""
    rows, columns = np.mgrid[: IR_SIZE[0], : IR_SIZE[1]]
    noise = np.random.default_rng(number).normal(0.0, 6.0, IR_SIZE)
    frame = 7000.0 + 0.2 * rows + 0.1 * columns + noise
    for x, y in places:
        frame[(columns - x) ** 2 + (rows - y) ** 2 <= 20**2] = 9000.0
    return frame.astype(np.uint16)


def visible(number):
    """A dark street that carries its number."""
    frame = np.full((*VIS_SIZE, 3), DARK, np.uint8)
    frame[0, 0] = (number % 200, 1, 2)
    return frame


def glowing(image):
    """Centres (x, y) of what is much brighter than the dark street, from left to right."""
    bright = (image.max(axis=2) > 150).astype(np.uint8)
    count, _, statistics, centres = cv2.connectedComponentsWithStats(bright)
    found = [centres[i] for i in range(1, count) if statistics[i, cv2.CC_STAT_AREA] > 50]
    return np.array(sorted(map(tuple, found)))


def send_pair(graph, ir, vis, encoding="16UC1"):
    """Publish both at one stamp; returns its key."""
    stamp = graph.now()
    graph.ir.publish(image_message(ir, stamp, "ir_optical", encoding))
    message = image_message(vis, stamp, "camera_optical")
    graph.vis.publish(message)
    return stamp_key(message)


def play_pairs(
    graph, condition, what, make_ir=raw_thermal, make_vis=visible, timeout_s=30.0, **how
):
    """Publish pairs until `condition(message, its visible image)` holds of three in a row."""
    sent, number = {}, 0
    graph.fused.clear()

    def good():
        newest = [m for m in graph.fused if stamp_key(m) in sent][-3:]
        return len(newest) == 3 and all(condition(m, sent[stamp_key(m)]) for m in newest)

    ends_s = graph.node.get_clock().now().nanoseconds * 1e-9 + timeout_s
    while not good():
        if graph.node.get_clock().now().nanoseconds * 1e-9 > ends_s:
            raise AssertionError(f"{what} did not come; {graph.statuses}\n{graph.fusion.log()}")
        vis = make_vis(number)
        sent[send_pair(graph, make_ir(number), vis, **how)] = vis
        number += 1
        graph.spin(0.12)
    return graph.fused[-1]


def is_unchanged(message, vis):
    return np.array_equal(pixels_of(message), vis)


def is_changed(message, vis):
    return not is_unchanged(message, vis)


def is_unusable(graph):
    """A condition: unchanged, and counted as images that do not go together."""

    def holds(message, vis):
        count = graph.value("fusion", "frames passed: unusable_pair")
        return is_unchanged(message, vis) and int(count or 0) > 0

    return holds


def start(graph, **parameters):
    values = {
        "thermal.method": "percentile",
        "ir_frozen_after_s": 0.0,
        "ir_missing_after_s": 10.0,
        "max_ir_age_s": 1.0,
        "engine_stall_s": 20.0,
    }
    values.update({key.replace("__", "."): value for key, value in parameters.items()})
    return graph.start_node(values)


def listed(numbers):
    """As a parameter on the command line."""
    return "[" + ", ".join(repr(float(number)) for number in np.ravel(numbers)) + "]"


def test_warm_objects_of_a_raw_frame_glow_where_the_homography_says(graph):
    # The homography was made with images of half the size: both cameras now give twice that.
    half = np.diag([0.5, 0.5, 1.0])
    start(
        graph,
        registration__mode="homography",
        registration__homography=listed(half @ HOMOGRAPHY @ np.linalg.inv(half)),
        registration__calibrated_ir_size="[256, 320]",
        registration__calibrated_vis_size="[500, 750]",
    )
    message = play_pairs(graph, is_changed, "a fused image")
    assert (message.height, message.width, message.encoding) == (*VIS_SIZE, "bgr8")
    image = pixels_of(message)
    projected = cv2.perspectiveTransform(np.array([WARM_PLACES], np.float64), HOMOGRAPHY)[0]
    # Half a pixel: what is scaled about its edge moves by it at the centre of a pixel.
    assert glowing(image) == pytest.approx(np.array(sorted(map(tuple, projected))), abs=1.5)
    corners = np.array([[(0, 0), (639, 0), (639, 511), (0, 511)]], np.float64)
    outline = cv2.perspectiveTransform(corners, HOMOGRAPHY).astype(np.int32)
    covered = cv2.fillPoly(np.zeros(VIS_SIZE, np.uint8), outline, 1)
    outside = cv2.dilate(covered, np.ones((9, 9), np.uint8)) == 0
    outside[0, 0] = False
    # No black border: beyond the infrared image the visible one stands.
    assert outside.mean() > 0.1 and (image[outside] == DARK).all()
    assert image.min() >= 1


def camera_info(size, focal_px, distortion, frame_id):
    info = CameraInfo(height=size[0], width=size[1], distortion_model="plumb_bob")
    info.header.frame_id = frame_id
    centre = ((size[1] - 1) / 2.0, (size[0] - 1) / 2.0)
    info.k = [focal_px, 0.0, centre[0], 0.0, focal_px, centre[1], 0.0, 0.0, 1.0]
    info.d = array.array("d", distortion)
    return info


def test_calibration_mode_waits_for_both_calibrations_and_then_places_by_depth(graph):
    ir_info = camera_info(IR_SIZE, 700.0, (-0.25, 0.08, 0.001, -0.001, 0.0), "ir_optical")
    vis_info = camera_info(VIS_SIZE, 1300.0, (-0.12, 0.03, 0.0, 0.0, 0.0), "camera_optical")
    angle = math.radians(1.5)
    start(
        graph,
        registration__mode="calibration",
        registration__depth_m=6.0,
        registration__translation_m="[0.12, -0.03, 0.01]",
        registration__rotation_xyzw=listed([0.0, math.sin(angle / 2), 0.0, math.cos(angle / 2)]),
    )
    info_publisher = graph.node.create_publisher(CameraInfo, "ir/camera_info", 1)
    play_pairs(graph, is_unchanged, "the visible image")
    graph.wait_for(lambda: graph.level("registration") == 1, what="the warning")
    message = graph.statuses["registration"].message
    assert "passing the visible image" in message and "/ir/camera_info" in message

    def publish_both(number):
        info_publisher.publish(ir_info)
        graph.info.publish(vis_info)
        return raw_thermal(number)

    image = pixels_of(play_pairs(graph, is_changed, "a fused image", make_ir=publish_both))
    # Where both cameras see the warm points 6 m before the infrared one, by OpenCV.
    k_ir, k_vis = (np.array(list(info.k)).reshape(3, 3) for info in (ir_info, vis_info))
    rays = cv2.undistortPointsIter(
        np.array(WARM_PLACES, np.float64)[:, None],
        k_ir,
        np.array(ir_info.d),
        None,
        None,
        (cv2.TERM_CRITERIA_COUNT, 100, 0.0),
    )[:, 0]
    points = 6.0 * np.column_stack([rays, np.ones(len(rays))])
    turned = np.array([[0.0], [angle], [0.0]])
    shift = np.array([0.12, -0.03, 0.01])
    expected, _ = cv2.projectPoints(points, turned, shift, k_vis, np.array(vis_info.d))
    assert glowing(image) == pytest.approx(np.array(sorted(map(tuple, expected[:, 0]))), abs=2.0)
    graph.wait_for(lambda: graph.level("registration") == 0, what="the all-clear")
    assert graph.value("registration", "depth_m") == "6.0"
    assert "expected error in visible pixels" in graph.fusion.log()
    # Another aspect than the calibration's: nobody knows where the image was cropped.
    play_pairs(graph, is_unusable(graph), "the refusal", make_ir=lambda n: raw_thermal(n)[:400])
    assert "another aspect" in graph.fusion.log()
    # A transform that nobody publishes: the fallback, and why.
    assert graph.set_parameter("registration.fallback", "resize")[0]
    assert graph.set_parameter("registration.extrinsics", "tf")[0]
    play_pairs(graph, is_changed, "a fused image by the fallback")
    graph.wait_for(lambda: graph.level("registration") == 1, what="the warning")
    message = graph.statuses["registration"].message
    assert "resize" in message and ("tf2_msgs" in message or "no static transform" in message)


def test_bad_homographies_and_bad_frames_leave_the_visible_image(graph):
    start(
        graph,
        registration__mode="homography",
        registration__homography=listed([1, 2, 3, 2, 4, 6, 0, 0, 1]),
    )
    play_pairs(graph, is_unchanged, "the visible image")
    graph.wait_for(lambda: graph.level("registration") == 1, what="the warning")
    assert "singular" in graph.statuses["registration"].message
    mirrored = np.diag([-1.0, 1.0, 1.0]) @ HOMOGRAPHY
    done, reason = graph.set_parameter("registration.homography", mirrored.ravel().tolist())
    assert not done and "mirrors" in reason
    done, reason = graph.set_parameter("registration.homography", HOMOGRAPHY.ravel().tolist())
    assert done, reason
    play_pairs(graph, is_changed, "a fused image")

    constant = np.full(IR_SIZE, 7000, np.uint16)
    play_pairs(graph, is_unchanged, "the visible image", make_ir=lambda number: constant)
    nothing = np.full(IR_SIZE, np.nan, np.float32)
    play_pairs(
        graph, is_unusable(graph), "the refusal", make_ir=lambda number: nothing, encoding="32FC1"
    )
    play_pairs(graph, is_changed, "a fused image again")


def street(seed, size):
    """Patches with edges in all directions, smooth as lenses are."""
    rng = np.random.default_rng(seed)
    image = np.full(size, 60, np.uint8)
    for _ in range(60):
        x, y = rng.integers(0, size[1]), rng.integers(0, size[0])
        corner = (int(x + rng.integers(8, 40)), int(y + rng.integers(8, 40)))
        cv2.rectangle(image, (int(x), int(y)), corner, int(rng.integers(20, 130)), -1)
    return cv2.GaussianBlur(image, (0, 0), 1.0)


def test_online_alignment_finds_a_drift_and_tells_it(graph):
    size, drift = (240, 320), (6.0, -4.0)

    def thermal(number):
        # The same edges with the contrast turned, seen (6, -4) pixels too far left and low.
        scene = 255 - street(number // 4, size)
        moved = np.array([[1.0, 0.0, -drift[0]], [0.0, 1.0, -drift[1]]])
        return cv2.warpAffine(scene, moved, size[::-1], borderMode=cv2.BORDER_REFLECT)

    start(
        graph,
        thermal__method="none",
        registration__mode="online",
        registration__online_base="resize",
        registration__online_period_s=0.05,
        registration__online_smoothing_s=0.3,
    )

    def found(message, vis):
        text = graph.value("registration", "correction_px")
        if text is None or graph.value("registration", "state") != "following":
            return False
        return np.allclose([float(part) for part in text.split(",")], drift, atol=0.7)

    play_pairs(
        graph,
        found,
        "the correction",
        make_ir=thermal,
        make_vis=lambda n: cv2.merge([street(n // 4, size)] * 3),
        encoding="mono8",
    )
    assert graph.level("registration") == 0
    assert float(graph.value("registration", "confidence")) > 4.0
