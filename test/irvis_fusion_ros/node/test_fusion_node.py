"""The node as a process of its own, cameras and consumer as others, over DDS.

The engine is a reference (max of both images), so that every pixel that comes out has a known
value: the visible frame's own, or the maximum with a thermal frame that was sent.
"""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

import numpy as np
from graph import (
    assert_every_visible_frame_came_out_once,
    play_until_fused,
    stamp_key,
    wait_until_all_are_out,
    wait_until_fusing,
)


def test_every_visible_frame_is_fused_at_the_visible_rate(graph):
    graph.start_node()
    wait_until_fusing(graph)
    play_until_fused(graph, 30)
    message = graph.fused[-1]
    assert (message.encoding, message.header.frame_id) == ("bgr8", "camera_optical")
    assert (message.height, message.width, message.step) == (120, 160, 480)
    assert [stamp_key(info) for info in graph.infos] == list(graph.sent_vis)
    assert graph.infos[-1].k[0] == 250.0
    graph.play_until(lambda: graph.level("fusion") == 0, "the good report")
    assert graph.statuses["fusion"].message == "fusing"


def test_slow_thermal_camera_is_fused_into_every_visible_frame(graph):
    graph.start_node()
    wait_until_fusing(graph, ir_hz=9.0)
    play_until_fused(graph, 30, ir_hz=9.0)


def test_killed_thermal_camera_loses_no_visible_frame_and_fusion_resumes(graph):
    graph.start_node({"ir_missing_after_s": 0.5})
    camera = graph.start_camera("ir/image_raw", 30, "ir")

    def is_changed(message):
        return not np.array_equal(
            np.frombuffer(message.data, np.uint8), graph.sent_vis[stamp_key(message)].reshape(-1)
        )

    def fusing():
        return bool(graph.fused) and is_changed(graph.fused[-1])

    graph.play_until(fusing, "a fused frame", ir_hz=0)
    wait_until_all_are_out(graph)
    graph.fused.clear()
    graph.sent_vis.clear()
    camera.stop(9)
    graph.wait_for_report()  # one from before the first thermal frame would say the same
    graph.statuses.clear()
    graph.play_until(
        lambda: graph.level("ir") == 1 and graph.value("ir", "reason") == "missing",
        "the diagnosis of a missing camera",
        ir_hz=0,
    )
    graph.play_until(lambda: graph.level("fusion") == 1, "the warning", ir_hz=0)
    assert not is_changed(graph.fused[-1])
    graph.start_camera("ir/image_raw", 30, "ir")
    graph.play_until(fusing, "fusion again", ir_hz=0)
    graph.play_until(lambda: graph.level("ir") == 0, "the all-clear", ir_hz=0)
    assert_every_visible_frame_came_out_once(graph)


def test_frozen_thermal_camera_is_not_fused_until_it_moves(graph):
    graph.start_node({"ir_frozen_after_s": 0.5})
    wait_until_fusing(graph)
    still = graph.sent_ir[max(graph.sent_ir)]
    graph.play_until(
        lambda: graph.value("ir", "reason") == "frozen", "the diagnosis", ir_pixels=still
    )
    assert not graph.is_fused(graph.fused[-1])
    graph.play_until(lambda: graph.is_fused(graph.fused[-1]), "fusion again")
    assert_every_visible_frame_came_out_once(graph)


def test_looping_bag_gives_the_same_number_of_pairs_each_time(graph):
    from builtin_interfaces.msg import Time

    graph.start_node({"lazy": False})
    wait_until_fusing(graph)
    events = sorted(
        [(number / 30.0, "vis") for number in range(45)]
        + [(0.003 + number / 9.0, "ir") for number in range(14)]
    )
    graph.wait_for_report()
    assert graph.fused == []
    counts = []
    for _ in range(3):
        seen, paired = pairing_counts(graph)
        graph.fused.clear()
        for offset_s, stream in events:
            nanoseconds = 1000 * 10**9 + int(offset_s * 1e9)
            stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
            (graph.send_vis if stream == "vis" else graph.send_ir)(stamp=stamp)
            graph.spin(0.012)
        graph.wait_for(lambda: len(graph.fused) >= 45, what="the loop's frames")  # noqa: B023
        graph.wait_for_report()
        assert pairing_counts(graph)[0] == seen + 45
        counts.append(pairing_counts(graph)[1] - paired)
        assert len(graph.fused) == 45
        assert any(graph.is_fused(message) for message in graph.fused)
    # One frame a loop comes before the loop's first thermal frame.
    assert counts == [44, 44, 44]
    graph.wait_for_named("vis: stamp went back")


def pairing_counts(graph):
    """Return how many visible frames pairing has seen, and how many it has paired."""
    return [int(graph.value("fusion", "pairing " + key) or 0) for key in ("vis_in", "paired")]


def test_jump_of_simulated_time_clears_the_buffers_and_fusion_goes_on(graph):
    from builtin_interfaces.msg import Time
    from rosgraph_msgs.msg import Clock

    graph.start_node(
        {"use_sim_time": True, "pairing": "latest_ir", "max_ir_age_s": 0.3, "lazy": False}
    )

    def play_from(start_s, frames):
        for number in range(frames):
            nanoseconds = int((start_s + number / 30.0) * 1e9)
            stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
            graph.clock.publish(Clock(clock=stamp))
            graph.spin(0.005)
            graph.send_ir(stamp=stamp)
            graph.send_vis(stamp=stamp)
            graph.spin(0.012)

    graph.wait_for(lambda: graph.vis.get_subscription_count() > 0, what="the subscription")
    graph.wait_for(lambda: graph.clock.get_subscription_count() > 0, what="the clock")
    play_from(500.0, 40)
    graph.wait_for(lambda: graph.fused and graph.is_fused(graph.fused[-1]), what="fusion")
    wait_until_all_are_out(graph)
    graph.fused.clear()
    graph.sent_vis.clear()
    play_from(100.0, 40)
    assert_every_visible_frame_came_out_once(graph)
    assert sum(map(graph.is_fused, graph.fused)) >= 30
    graph.wait_for_named("clock jump")


def test_missing_model_file_passes_the_image_and_is_found_when_it_comes(graph, tmp_path):
    model = tmp_path / "model.onnx"
    graph.start_node({"model": str(model)})
    graph.play_until(lambda: len(graph.fused) >= 10, "the visible image")
    assert not any(graph.is_fused(message) for message in graph.fused)
    graph.play_until(lambda: graph.level("engine") == 2, "the diagnosis of the engine")
    assert str(model) in graph.statuses["engine"].message
    model.write_bytes(b"now it is there")
    graph.play_until(lambda: graph.is_fused(graph.fused[-1]), "fusion")


def test_visible_image_flows_while_the_engine_opens(graph):
    graph.start_node(environment={"REFERENCE_OPEN_S": "2.0"})
    graph.play_until(lambda: bool(graph.fused), "the visible image")
    first = stamp_key(graph.fused[0])
    graph.play_until(lambda: graph.is_fused(graph.fused[-1]), "fusion")
    wait_until_all_are_out(graph)
    sent = [key for key in graph.sent_vis if key >= first]
    assert [stamp_key(message) for message in graph.fused] == sent


def test_engine_that_hangs_does_not_stop_the_image(graph, tmp_path):
    go_on = tmp_path / "go_on"
    environment = {"REFERENCE_STALL_AT": "20", "REFERENCE_STALL_UNTIL": str(go_on)}
    graph.start_node(environment=environment)
    wait_until_fusing(graph)
    # It hangs within the first second and stays so; each frame is out all the same, in order.
    graph.play(3.0)
    assert_every_visible_frame_came_out_once(graph)
    assert graph.is_fused(graph.fused[0])
    assert not any(map(graph.is_fused, graph.fused[-30:]))
    graph.wait_for(lambda: graph.value("engine", "stalls") == "1", what="the count of stalls")
    assert graph.level("engine") == 2 and "at one frame for" in graph.statuses["engine"].message
    go_on.write_bytes(b"")
    graph.play_until(lambda: graph.is_fused(graph.fused[-1]), "fusion again")
    assert_every_visible_frame_came_out_once(graph)


@pytest.mark.parametrize("policy", ["passthrough", "drop"])
def test_engine_slower_than_the_camera_fuses_the_newest_and_the_rest_goes_by_policy(graph, policy):
    graph.start_node({"on_overrun": policy}, environment={"REFERENCE_FUSE_S": "0.1"})
    wait_until_fusing(graph)
    graph.play(2.0)
    wait_until_all_are_out(graph)  # the newest is never displaced
    fused = [graph.is_fused(message) for message in graph.fused]
    assert sum(fused) >= 5 and fused[-1]
    if policy == "drop":
        assert all(fused)
        stamps = [stamp_key(message) for message in graph.fused]
        assert stamps == sorted(set(stamps)) and len(stamps) < len(graph.sent_vis)
        graph.wait_for_report()
        dropped = int(graph.value("fusion", "frames dropped: overrun"))
        assert dropped >= len(graph.sent_vis) - len(graph.fused)
    else:
        assert_every_visible_frame_came_out_once(graph)
        assert not all(fused)


def test_at_overload_only_fused_frames_come_until_the_engine_hangs(graph, tmp_path):
    go_on = tmp_path / "go_on"
    environment = {"REFERENCE_FUSE_S": "0.1", "REFERENCE_STALL_AT": "0"}
    environment["REFERENCE_STALL_UNTIL"] = str(go_on)
    go_on.touch()
    graph.start_node({"on_overrun": "auto", "engine_stall_s": 0.6}, environment)

    def play_until_mode(wanted):
        graph.play_until(lambda: graph.value("fusion", "overload") == wanted, wanted)

    play_until_mode("only fused frames")
    assert graph.level("fusion") == 1
    assert "take a smaller model" in graph.statuses["fusion"].message
    wait_until_all_are_out(graph)
    graph.fused.clear()
    graph.play(1.0)
    wait_until_all_are_out(graph)
    assert graph.fused and all(map(graph.is_fused, graph.fused))
    go_on.unlink()  # it hangs
    graph.play_until(lambda: not graph.is_fused(graph.fused[-1]), "the visible image")
    play_until_mode("no")
    go_on.touch()  # it goes on
    graph.play_until(lambda: graph.is_fused(graph.fused[-1]), "fusion again")
    graph.wait_for_report()
    outcomes = [each for each in graph.statuses["fusion"].values if "overrun" in each.key]
    assert {each.key for each in outcomes} >= {"frames passed: overrun", "frames dropped: overrun"}
    stamps = [stamp_key(message) for message in graph.fused]
    assert stamps == sorted(set(stamps))
    assert graph.fusion.log().count("only fused frames are published") == 1
    graph.wait_for(lambda: graph.value("fusion", "on their way") == "0", what="every outcome")
    values = {each.key: each.value for each in graph.statuses["fusion"].values}
    counted = [int(n) for key, n in values.items() if key.startswith(("frames ", "lost: "))]
    assert sum(counted) == int(values["published"])


def test_last_frame_before_a_pause_is_not_kept_by_an_engine_that_hangs(graph, tmp_path):
    environment = {"REFERENCE_STALL_AT": "2", "REFERENCE_STALL_UNTIL": str(tmp_path / "never")}
    graph.start_node({"engine_stall_s": 0.3}, environment=environment)
    wait_until_fusing(graph)
    graph.send_ir()
    graph.send_vis()
    graph.send_vis()
    graph.wait_for(lambda: len(graph.fused) >= len(graph.sent_vis), what="the last frames")
    assert not graph.is_fused(graph.fused[-1])


def test_best_effort_publishers_are_matched(tmp_path):
    import graph as module

    graph = module.Graph(tmp_path, reliable=False)
    try:
        graph.start_node()
        graph.play_until(lambda: graph.fused and graph.is_fused(graph.fused[-1]), "a fused frame")
        graph.play_until(
            lambda: "best_effort" in (graph.value("vis", "subscribed") or ""), "the report"
        )
    finally:
        graph.close()


def test_silent_input_is_explained_with_its_publishers(graph):
    from rclpy.qos import QoSProfile, QoSReliabilityPolicy
    from sensor_msgs.msg import Image

    graph.start_node({"ir_qos.reliability": "reliable"})
    profile = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
    graph.node.destroy_publisher(graph.ir)
    graph.ir = graph.node.create_publisher(Image, "ir/image_raw", profile)
    graph.play_until(
        lambda: "cannot match" in getattr(graph.statuses.get("ir"), "message", ""),
        "the explanation",
    )
    message = graph.statuses["ir"].message
    assert "/ir/image_raw" in message and "/test (best_effort" in message
    assert "cannot match" in graph.fusion.log()


def test_bad_messages_are_counted_and_harmless(graph):
    from builtin_interfaces.msg import Time
    from graph import image_message, ir_frame, vis_frame

    graph.start_node()
    wait_until_fusing(graph)
    stamp = graph.now()
    for publisher, pixels in ((graph.ir, ir_frame(1)), (graph.vis, vis_frame(1))):
        short = image_message(pixels, stamp, "x")
        short.data = short.data[:100]
        narrow = image_message(pixels, stamp, "x")
        narrow.step = 3
        empty = image_message(pixels, stamp, "x")
        empty.height = 0
        strange = image_message(pixels, stamp, "x", encoding="no_such")
        for message in (short, narrow, empty):
            publisher.publish(message)
        if publisher is graph.ir:
            publisher.publish(strange)
            hot = image_message(np.full((120, 160), np.nan, np.float32), stamp, "x", "32FC1")
            publisher.publish(hot)
        publisher.publish(image_message(pixels, Time(sec=2**31 - 1), "x"))
        graph.spin(0.05)
    graph.sent_vis.clear()
    graph.play(0.5)
    graph.fused.clear()
    graph.sent_vis.clear()
    graph.play(1.0)
    graph.send_vis(stamp=Time())
    assert_every_visible_frame_came_out_once(graph)
    assert graph.is_fused(graph.fused[-2])
    for kind in ("short_data", "wrong_step", "zero_size", "stamp from the future"):
        graph.wait_for_named("ir: " + kind, "vis: " + kind)
    graph.wait_for_named("vis: zero stamp", "ir: unknown_encoding", "ir: not_finite")
    assert graph.fusion.log().count("vis: short_data") == 1


def test_cameras_that_change_their_resolution_mid_stream_are_followed(graph):
    from graph import ir_frame, vis_frame

    graph.start_node()
    wait_until_fusing(graph)
    small = [image[::2, ::2].copy() for image in (ir_frame(1), vis_frame(1))]
    for number in range(12):
        graph.send_ir(pixels=small[0] if number % 4 == 3 else None)
        graph.send_vis(pixels=small[1] if number % 3 else None)
        graph.spin(0.03)
    assert_every_visible_frame_came_out_once(graph)
    for message in graph.fused:
        assert (message.height, message.width) == graph.sent_vis[stamp_key(message)].shape[:2]
    graph.wait_for_named("vis: size changed", "ir: size changed")
    graph.play_until(lambda: graph.is_fused(graph.fused[-1]), "fusion")
    assert_every_visible_frame_came_out_once(graph)
    assert graph.fusion.log().count("vis: size changed") == 1
