"""Which QoS is chosen, and what is said when nothing can match, against rclpy's own check."""

import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from rclpy.qos import QoSCompatibility, qos_check_compatible
from sensor_msgs.msg import Image

from irvis_fusion_ros.messages.serialized_image import head_bytes
from irvis_fusion_ros.node.topics import qos


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


class Reader:
    """A subscription as rclpy makes it, and its queue in the middleware."""

    def __init__(self, callback):
        self.callback, self.queue, self.handle = callback, [], self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        """Let the handle go."""

    def take_message(self, kind, raw):
        assert raw
        return self.queue.pop(0) if self.queue else None

    def get_publisher_count(self):
        return 1


class Graph:
    """A node whose topic has one publisher, and up to two subscriptions of ours."""

    def __init__(self):
        self.readers, self.destroyed, self.reliability = [], [], "best_effort"
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

    def create_subscription(self, kind, topic, callback, profile, raw, **options):
        assert raw
        self.readers.append(Reader(callback))
        return self.readers[-1]

    def destroy_subscription(self, subscription):
        self.destroyed.append(subscription)
        subscription.queue.clear()

    def spin(self, reader, numbered=True):
        """Deliver the first message of a queue, as rclpy does."""
        message, info = reader.queue.pop(0)
        if numbered:
            reader.callback(message, info)
        else:
            reader.callback(message)


def numbered(number, stamp=None):
    """A serialized message, and what Jazzy's rclpy tells of it."""
    raw = head_bytes(number if stamp is None else stamp, 0, f"{number}")
    return raw, {"source_timestamp": 1000 + number, "publication_sequence_number": number}


def handed_over(graph, taken, **options):
    subscription = qos.MatchedSubscription(graph, Image, "/ir", taken.append, **options)
    subscription.open(0.0)
    return subscription


@given(st.data())
def test_each_message_is_taken_once_and_in_order_while_a_subscription_replaces_another(data):
    """The reference: what was published while a reader was there, each once, in order.

    All stamps are equal, and the executor serves the readers in any turn.
    """
    graph, taken = Graph(), []
    subscription = handed_over(graph, taken)
    published = data.draw(st.integers(1, 8))
    joins = data.draw(st.integers(0, published))
    for number in range(1, published + 1):
        if number - 1 == joins and len(graph.readers) == 1:
            graph.reliability = "reliable"
            assert "subscribed as reliable" in subscription.poll(1.0)
        for reader in graph.readers:
            if reader not in graph.destroyed:
                reader.queue.append(numbered(number, stamp=7))
        for _ in range(data.draw(st.integers(0, 3))):
            waiting = [r for r in graph.readers if r.queue and r not in graph.destroyed]
            if waiting:
                graph.spin(data.draw(st.sampled_from(waiting)))
    subscription.poll(2.0 + qos.HANDOVER_S)  # a successor without a message: the end of the wait
    for reader in graph.readers:
        while reader.queue and reader not in graph.destroyed:
            graph.spin(reader)
    assert taken == [numbered(number, stamp=7)[0] for number in range(1, published + 1)]
    assert subscription.received == published
    assert subscription.losses() == {"reader queue": 0, "middleware": 0}


def test_messages_without_numbers_are_told_apart_by_their_stamps_at_the_handover(monkeypatch):
    """As in Humble, whose rclpy gives callbacks the message alone."""
    monkeypatch.setattr(qos, "TELLS_MESSAGE_INFO", False)
    graph, taken = Graph(), []
    subscription = handed_over(graph, taken)
    graph.reliability = "reliable"
    subscription.poll(1.0)
    old, new = graph.readers
    for reader, second in [(old, 1), (old, 2), (old, 2), (old, 3), (new, 2), (new, 3), (new, 4)]:
        reader.queue = [numbered(second)]
        graph.spin(reader, numbered=False)
    assert [raw[4] for raw in taken] == [1, 2, 2, 3, 4]
    assert "not known" in subscription.describe()["lost: reader queue"]
    subscription.close()
    new.callback(numbered(5)[0])
    assert len(taken) == subscription.received == 5


def test_gaps_are_what_the_readers_queue_or_the_middleware_lost():
    graph, taken = Graph(), []
    subscription = handed_over(graph, taken)
    (reader,) = graph.readers
    reader.queue = [numbered(n) for n in (7, 8, 12, 13)]
    while reader.queue:
        graph.spin(reader)
    assert subscription.losses() == {"reader queue": 3, "middleware": 0}
    subscription._on_lost(types.SimpleNamespace(total_count_change=2))
    assert subscription.losses() == {"reader queue": 1, "middleware": 2}
    subscription.close()
    subscription.open(9.0)  # what was published meanwhile is not lost
    graph.readers[1].queue = [numbered(40), numbered(42)]
    while graph.readers[1].queue:
        graph.spin(graph.readers[1])
    assert sum(subscription.losses().values()) == 4 and len(taken) == 6


def test_publisher_without_matched_events_is_made_all_the_same():
    def create(events):
        if events.matched is not None:
            raise qos.qos_event.UnsupportedEventTypeError("not here")
        return "made"

    assert qos.matched_events(create, print) == "made"
