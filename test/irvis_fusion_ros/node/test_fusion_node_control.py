"""Steering the node from outside: signals, life cycle, services, parameters, transports."""

import os

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

import numpy as np
from graph import HERE, assert_every_visible_frame_came_out_once, stamp_key, wait_until_fusing


@pytest.mark.parametrize("number", [2, 15])
def test_signals_end_the_node_cleanly(graph, number):
    graph.start_node()
    graph.play_until(lambda: len(graph.fused) >= 3, "output")
    assert graph.fusion.stop(number) == 0
    assert "Traceback" not in graph.fusion.log()


def test_nobody_listens_so_nothing_is_subscribed(tmp_path):
    import graph as module

    graph = module.Graph(tmp_path, subscribe=False)
    try:
        graph.start_node()
        graph.wait_for(lambda: "idle" in getattr(graph.statuses.get("fusion"), "message", ""))
        assert graph.vis.get_subscription_count() == graph.ir.get_subscription_count() == 0
        graph.subscribe()
        graph.play_until(lambda: len(graph.fused) > 5, "output")
        graph.node.destroy_subscription(graph.subscription)
        for subscription in list(graph.node.subscriptions):
            if subscription.topic_name.startswith("/fused"):
                graph.node.destroy_subscription(subscription)
        graph.wait_for(lambda: graph.vis.get_subscription_count() == 0, what="idleness")
    finally:
        graph.close()


CALIBRATED = {"registration.mode": "calibration", "registration.extrinsics": "parameters"}


def test_a_drive_that_hangs_costs_no_image_and_no_end(graph):
    graph.start_node(script=[os.path.join(HERE, "node_with_hanging_drive.py")])
    wait_until_fusing(graph)
    assert graph.set_parameter("registration.ir_calibration_file", "/net/gone.yaml") == (True, "")
    assert graph.set_parameter("registration.mode", "calibration") == (True, "")
    graph.wait_for(lambda: "registration" in graph.statuses, what="a report")
    graph.play_until(
        lambda: "gone.yaml is still being read" in graph.statuses["registration"].message,
        "the reason",
    )
    graph.play(1.0)
    assert_every_visible_frame_came_out_once(graph)
    assert not graph.is_fused(graph.fused[-1])
    assert graph.fusion.stop(15) == 0


def test_a_calibration_file_with_text_for_numbers_passes_images(graph, tmp_path):
    pytest.importorskip("yaml", reason="needs PyYAML to read calibration files")
    path = tmp_path / "ir.yaml"
    path.write_text(
        "image_width: 160\nimage_height: 120\n"
        "camera_matrix: {data: [100, 0, 80, 0, 100, 60, 0, 0, 1]}\n"
        "distortion_coefficients: {data: [a, b, c, d]}\n"
    )
    graph.start_node({**CALIBRATED, "registration.ir_calibration_file": str(path)})
    graph.play_until(lambda: len(graph.fused) >= 3, "output")
    graph.wait_for(lambda: "registration" in graph.statuses, what="the reason")
    assert "could not convert string to float" in graph.statuses["registration"].message
    assert not graph.is_fused(graph.fused[-1])
    assert graph.fusion.stop(15) == 0


def test_a_burst_of_requests_is_answered_to_the_last(graph):
    from rclpy.qos import QoSProfile
    from std_srvs.srv import SetBool

    graph.start_node()
    name = "/fusion_node/enable"
    client = graph.node.create_client(SetBool, name, qos_profile=QoSProfile(depth=300))
    graph.wait_for(client.service_is_ready, what="the service")
    first = []  # a service may know a client later than the client knows it

    def is_answered():
        first.append(client.call_async(SetBool.Request(data=True)))
        return any(future.done() for future in first)

    graph.wait_for(is_answered, what="a first answer")
    futures = [client.call_async(SetBool.Request(data=bool(n % 2))) for n in range(200)]
    graph.wait_for(lambda: all(future.done() for future in futures), what="200 answers")
    assert all(future.result().success for future in futures)
    assert [f.result().message for f in futures[-2:]] == [
        "the visible image passes through",
        "fusing",
    ]


def test_requests_at_which_rclpy_raises_are_answered_and_cost_no_frame(graph):
    from lifecycle_msgs.srv import ChangeState
    from rcl_interfaces.msg import Parameter, ParameterValue
    from rcl_interfaces.srv import SetParameters

    graph.start_node()
    wait_until_fusing(graph)
    setter = graph.node.create_client(SetParameters, "/fusion_node/set_parameters")
    changer = graph.node.create_client(ChangeState, "/fusion_node/change_state")
    graph.wait_for(setter.service_is_ready, what="the parameters")
    graph.wait_for(changer.service_is_ready, what="the life cycle")
    no_type = Parameter(name="slop_s", value=ParameterValue(type=77))
    illegal = ChangeState.Request()
    illegal.transition.id = 99
    answers = []
    for _ in range(20):
        request = SetParameters.Request(parameters=[no_type])
        answers.append(setter.call_async(request))
        answers.append(changer.call_async(illegal))
        graph.play(0.1)
    graph.wait_for(lambda: all(answer.done() for answer in answers), what="the answers")
    assert not any(answer.result().results[0].successful for answer in answers[::2])
    assert not any(answer.result().success for answer in answers[1::2])
    assert_every_visible_frame_came_out_once(graph)
    assert graph.fusion.stop(2) == 0


def test_enable_service_and_parameters_at_run_time(graph):
    from std_srvs.srv import SetBool

    graph.start_node()
    wait_until_fusing(graph)
    assert graph.call(SetBool, "/fusion_node/enable", SetBool.Request(data=False)).success
    graph.play_until(lambda: graph.fused and not graph.is_fused(graph.fused[-1]), "passing")
    assert graph.call(SetBool, "/fusion_node/enable", SetBool.Request(data=True)).success
    graph.play_until(lambda: graph.is_fused(graph.fused[-1]), "fusing")
    assert graph.set_parameter("max_ir_age_s", 1) == (True, "")
    done, reason = graph.set_parameter("max_ir_age_s", -1.0)
    assert not done and "max_ir_age_s" in reason
    done, reason = graph.set_parameter("model", "base")
    assert not done and "configured" in reason
    done, reason = graph.set_parameter("pairing", "message_filters")
    if not done:  # where ROS is installed it is there
        assert "message_filters" in reason
    assert graph.set_parameter("pairing", "pair")[0]
    graph.fused.clear()
    graph.sent_vis.clear()
    graph.play(1.0)
    assert_every_visible_frame_came_out_once(graph)


def test_on_ir_loss_stop_publishes_nothing_and_hold_keeps_the_last(graph):
    held = {"on_ir_loss": "hold", "hold_s": 60.0, "max_ir_age_s": 0.2}
    graph.start_node({**held, "limit_flicker": False})
    wait_until_fusing(graph)
    graph.play(1.0, ir_hz=0)
    assert_every_visible_frame_came_out_once(graph)
    last = graph.sent_ir[max(graph.sent_ir)]
    expected = np.maximum(last[..., None], graph.sent_vis[stamp_key(graph.fused[-1])])
    assert np.array_equal(np.frombuffer(graph.fused[-1].data, np.uint8), expected.reshape(-1))
    assert graph.set_parameter("on_ir_loss", "stop")[0]
    graph.spin(0.2)
    graph.fused.clear()
    graph.play(0.5, ir_hz=0)
    graph.spin(0.2)
    assert graph.fused == []


def test_invalid_parameter_ends_the_start_with_a_sentence(graph):
    process = graph.start_node({"slop_s": -3.0})
    graph.wait_for(lambda: process.exit_status is not None, what="the end")
    assert process.exit_status == 1
    assert "slop_s" in process.log() and "Traceback" not in process.log()


def test_life_cycle_without_autostart_and_a_second_configuration(graph, tmp_path):
    from lifecycle_msgs.srv import ChangeState, GetState

    def change(label):
        request = ChangeState.Request()
        request.transition.label = label
        assert graph.call(ChangeState, "/fusion_node/change_state", request).success, label

    def state():
        return graph.call(GetState, "/fusion_node/get_state", GetState.Request()).current_state

    graph.start_node({"autostart": False})
    assert state().label == "unconfigured"
    change("configure")
    graph.play(0.5)
    assert state().label == "inactive" and graph.fused == []
    change("activate")
    wait_until_fusing(graph)
    change("deactivate")
    graph.spin(0.2)
    graph.fused.clear()
    graph.play(0.5)
    assert graph.fused == [] and graph.vis.get_subscription_count() == 0
    change("cleanup")
    model = tmp_path / "other.onnx"
    model.write_bytes(b"here")
    assert graph.set_parameter("model", str(model))[0]
    change("configure")
    change("activate")
    wait_until_fusing(graph)
    assert graph.fusion.stop() == 0
    assert "Traceback" not in graph.fusion.log()


def test_output_remapped_onto_an_input_is_refused(graph):
    process = graph.start_node(options=["-r", "fused/image_raw:=vis/image_raw"])
    graph.wait_for(lambda: process.exit_status is not None, what="the end")
    assert process.exit_status == 1
    assert "which this node publishes itself" in process.log()


def test_compressed_input_and_output(graph):
    import cv2
    from sensor_msgs.msg import CompressedImage

    publisher = graph.node.create_publisher(CompressedImage, "/cam/rgb/compressed", 10)
    seen = []
    graph.node.create_subscription(CompressedImage, "fused/image_raw/compressed", seen.append, 10)
    parameters = {"vis_transport": "compressed", "publish_compressed": True}
    # As image_transport has it, the compressed topic follows a remapping of the image.
    graph.start_node(parameters, options=["-r", "vis/image_raw:=/cam/rgb"])
    flat = np.full((120, 160, 3), (30, 60, 90), np.uint8)

    def send():
        graph.send_ir()
        message = CompressedImage(format="jpeg")
        message.header.stamp = graph.now()
        message.data = cv2.imencode(".jpg", flat)[1].tobytes()
        publisher.publish(message)
        graph.spin(0.03)
        newest = image(seen[-1]) if seen else None
        return newest is not None and newest[60, 70].min() > 200

    def image(message):
        return cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)

    graph.wait_for(send, what="a fused JPEG")
    assert np.abs(image(seen[-1])[110, 150].astype(int) - (30, 60, 90)).max() <= 8
    raw = graph.fused[-1]
    assert (raw.encoding, raw.height, raw.width) == ("bgr8", 120, 160)
    publisher.publish(CompressedImage(format="jpeg", data=b"no image"))
    graph.wait_for(
        lambda: (
            send()
            and "messages" in graph.statuses
            and "vis: undecodable" in graph.statuses["messages"].message
        ),
        what="the naming of the broken image",
    )
