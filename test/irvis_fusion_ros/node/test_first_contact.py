"""What a user notices at the first start: warnings, log levels, overrides, reports."""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

import rclpy
from builtin_interfaces.msg import Time
from graph import play_until_fused, wait_until_fusing
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from irvis_fusion_ros.node.fusion_node import FusionNode

NUMPY = ["-m", "irvis_fusion_ros.node.fusion_node"]


def test_the_first_message_on_the_clock_is_no_jump(graph):
    graph.start_node({"use_sim_time": True, "lazy": False})
    graph.wait_for(lambda: "fusion" in graph.statuses, what="a report")
    for second in (1_700_000_000, 1_700_000_001, 1_700_000_300):
        clock = Clock()
        clock.clock.sec = second
        graph.clock.publish(clock)
        graph.wait_for_report()
        jumped = "clock jump" in graph.statuses["messages"].message
        assert jumped == (second == 1_700_000_300), graph.fusion.log()


def test_the_future_is_what_lies_ahead_of_the_simulated_clock(graph):
    graph.start_node({"use_sim_time": True})
    clock = Clock()
    clock.clock.sec = 1_700_000_000  # long ago by the system's clock

    def said_of(seconds_ahead):
        graph.clock.publish(clock)
        graph.send_vis(Time(sec=clock.clock.sec + seconds_ahead))
        graph.spin(0.1)
        return graph.statuses["messages"].message if "messages" in graph.statuses else ""

    graph.wait_for(lambda: said_of(0) and len(graph.fused) > 5, what="frames")
    graph.wait_for_report()
    assert "future" not in said_of(0)
    graph.wait_for(lambda: "vis: stamp from the future" in said_of(1000), what="the note")


def test_a_start_with_cameras_warns_of_nothing(graph):
    graph.start_node()
    wait_until_fusing(graph)
    graph.wait_for_report()
    assert "[WARN]" not in graph.fusion.log()


def test_debug_shows_what_became_of_each_frame(graph):
    options = ["--log-level", "fusion_node:=debug"]
    graph.start_node(options=options)
    wait_until_fusing(graph)
    graph.wait_for(lambda: "a visible frame: fused" in graph.fusion.log(), what="a line")


def test_the_engine_names_itself_and_the_sizes_it_has_now(graph):
    graph.start_node({"backend": "numpy", "engine_stall_s": 30.0}, script=NUMPY)
    graph.play_until(
        lambda: graph.value("engine", "compiled_sizes") == "['160x120']",
        what="the size",
        vis_hz=5,
        ir_hz=5,
    )
    assert "engine ready: numpy " in graph.fusion.log()
    assert "docs/install.md" in graph.fusion.log()


def test_width_alone_is_checked(graph):
    graph.start_node({"ir_width": 80})
    graph.play_until(
        lambda: (
            "expected 80xany" in (graph.statuses["ir"].message if "ir" in graph.statuses else "")
        ),
        what="the wrong width",
    )
    assert graph.set_parameter("ir_width", 160) == (True, "")
    wait_until_fusing(graph)


def test_standard_qos_overrides_hold(graph):
    overrides = {
        "qos_overrides./fused/image_raw.publisher.durability": "transient_local",
        "qos_overrides./fused/image_raw.publisher.depth": 3,
        "qos_overrides./ir/image_raw.subscription.reliability": "best_effort",
    }
    graph.start_node(overrides)
    wait_until_fusing(graph)
    (fused,) = graph.node.get_publishers_info_by_topic("/fused/image_raw")
    assert fused.qos_profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
    (info,) = graph.node.get_publishers_info_by_topic("/fused/camera_info")
    assert info.qos_profile.durability == QoSDurabilityPolicy.VOLATILE
    play_until_fused(graph, 20)  # the publisher is reliable: auto would have followed it
    (ir,) = graph.node.get_subscriptions_info_by_topic("/ir/image_raw")
    assert ir.qos_profile.reliability == QoSReliabilityPolicy.BEST_EFFORT
    (vis,) = graph.node.get_subscriptions_info_by_topic("/vis/image_raw")
    assert vis.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE


def test_an_override_of_one_policy_leaves_the_others_to_the_node(graph):
    """The reliability follows a camera that is started again with another one."""
    graph.node.destroy_publisher(graph.vis)
    overrides = {"qos_overrides./vis/image_raw.subscription.depth": 7, "lazy": False}
    graph.start_node(overrides)

    def subscribed():
        found = graph.node.get_subscriptions_info_by_topic("/vis/image_raw")
        return [each.qos_profile.reliability for each in found]

    graph.wait_for(lambda: subscribed() == [QoSReliabilityPolicy.BEST_EFFORT], what="the node")
    graph.vis = graph.node.create_publisher(Image, "vis/image_raw", 10)  # reliable
    graph.wait_for(lambda: QoSReliabilityPolicy.RELIABLE in subscribed(), what="its offer")
    wait_until_fusing(graph)


def test_topics_that_change_places_are_remapped_once(graph):
    """Cameras whose drivers are named the other way round."""
    graph.ir, graph.vis = graph.vis, graph.ir
    options = ["-r", "ir/image_raw:=vis/image_raw", "-r", "vis/image_raw:=ir/image_raw"]
    graph.start_node(options=options)
    wait_until_fusing(graph)
    graph.wait_for_report()
    assert graph.value("ir", "topic") == "/vis/image_raw"
    assert graph.value("vis", "topic") == "/ir/image_raw"
    for name in ("ir", "vis"):
        assert graph.value(name, "publishers") == "/test (reliable, volatile)"


def test_subscribers_of_a_remapped_image_are_found_under_its_compressed_topic(graph):
    graph.node.create_subscription(CompressedImage, "/out/compressed", print, 1)
    options = ["-r", "fused/image_raw:=/out"]
    graph.start_node({"publish_compressed": False}, options=options)
    said = "/test gets nothing of /out/compressed: set publish_compressed: true"
    graph.wait_for(
        lambda: "output" in graph.statuses and said in graph.statuses["output"].message,
        what="the advice",
    )
    assert graph.value("output", "subscribers of fused/image_raw/compressed") == "1"


def test_the_node_lives_in_the_executor_of_another_program(graph):
    """As docs/install.md shows: a node of one's own beside it, in one executor."""
    rclpy.init(domain_id=graph.domain)
    try:
        parameters = [Parameter("model", value="nano"), Parameter("backend", value="numpy")]
        fusion = FusionNode(parameter_overrides=parameters)
        other = rclpy.create_node("mine")
        executor = SingleThreadedExecutor()
        executor.add_node(fusion)
        executor.add_node(other)
        assert fusion.start()
        ready = []
        other.create_timer(0.05, lambda: ready.append(fusion.configured.engine_state.state))
        for _ in range(600):
            executor.spin_once(timeout_sec=0.1)
            if ready and ready[-1] == "ready":
                break
        assert ready[-1] == "ready"
        fusion.trigger_shutdown()
        fusion.destroy_node()
        executor.shutdown()
    finally:
        rclpy.shutdown()
