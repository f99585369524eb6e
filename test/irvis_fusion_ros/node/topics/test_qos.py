"""Which QoS is chosen, and what is said when nothing can match, against rclpy's own check."""

import types

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from builtin_interfaces.msg import Time
from rclpy.qos import QoSCompatibility, qos_check_compatible
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from irvis_fusion_ros.node.topics import qos as qos


def offer(reliability, durability="volatile", kind="sensor_msgs/msg/Image", node="/camera"):
    """Return a publisher as the graph would tell it."""
    return qos.Offer(node, kind, qos.make_profile(reliability, durability, 5))


def test_reliability_follows_the_publishers():
    reliable, best_effort = offer("reliable"), offer("best_effort")
    assert qos.choose_reliability([]) == "best_effort"
    assert qos.choose_reliability([reliable]) == "reliable"
    assert qos.choose_reliability([reliable, best_effort]) == "best_effort"
    assert qos.choose_reliability([best_effort], "reliable") == "reliable"


@pytest.mark.parametrize("offered", ["reliable", "best_effort"])
@pytest.mark.parametrize("durability", ["volatile", "transient_local"])
def test_what_is_chosen_can_match_every_offer(offered, durability):
    offers = [offer(offered, durability), offer("reliable")]
    profile = qos.make_profile(qos.choose_reliability(offers), "volatile", 5)
    for each in offers:
        assert qos_check_compatible(each.profile, profile)[0] != QoSCompatibility.ERROR
        assert qos.why_no_match(each, "sensor_msgs/msg/Image", profile) is None


def test_silence_is_explained():
    profile = qos.make_profile("reliable", "volatile", 5)
    name = qos.type_name(Image)
    assert name == "sensor_msgs/msg/Image"
    nobody = qos.explain_silence("/ir", name, [], profile, 5.0)
    assert "/ir" in nobody and "nobody publishes" in nobody
    other = qos.explain_silence("/ir", name, [offer("best_effort")], profile, 5.0)
    assert "/camera (best_effort, volatile)" in other and "cannot match" in other
    wrong = offer("reliable", kind="sensor_msgs/msg/CompressedImage")
    text = qos.explain_silence("/ir", name, [wrong], profile, 5.0)
    assert "it publishes sensor_msgs/msg/CompressedImage" in text
    mute = qos.explain_silence("/ir", name, [offer("reliable")], profile, 5.0)
    assert "the QoS matches" in mute and "fastdds_large_images" in mute


class Graph:
    """A node whose subscriptions are the callbacks, and whose topic has one publisher."""

    def __init__(self):
        self.callbacks, self.destroyed, self.reliability = [], [], "best_effort"
        self._parameter_overrides = {}

    def resolve_topic_name(self, topic):
        return topic

    def get_publishers_info_by_topic(self, topic):
        profile = qos.make_profile(self.reliability, "volatile", 5)
        info = {
            "node_name": "camera",
            "node_namespace": "/",
            "topic_type": "sensor_msgs/msg/Image",
        }
        return [types.SimpleNamespace(qos_profile=profile, **info)]

    def create_subscription(self, kind, topic, callback, profile, **options):
        self.callbacks.append(callback)
        return callback

    def destroy_subscription(self, subscription):
        self.destroyed.append(subscription)


def test_each_message_is_taken_once_while_a_subscription_replaces_another():
    graph, taken = Graph(), []
    subscription = qos.MatchedSubscription(
        graph, Image, "/ir", lambda message: taken.append(message.header.stamp.sec)
    )
    subscription.open(0.0)
    graph.reliability = "reliable"
    assert "subscribed as reliable" in subscription.poll(1.0)
    old, new = graph.callbacks
    for deliver, second in [(old, 1), (old, 2), (old, 3), (new, 2), (new, 3), (old, 4), (new, 4)]:
        deliver(Image(header=Header(stamp=Time(sec=second))))
    assert taken == [1, 2, 3, 4] and graph.destroyed == [old]
    subscription.close()
    new(Image())
    assert len(taken) == subscription.received == 4


def test_publisher_without_matched_events_is_made_all_the_same():
    def create(events):
        if events.matched is not None:
            raise qos.qos_event.UnsupportedEventTypeError("not here")
        return "made"

    assert qos.matched_events(create, print) == "made"
