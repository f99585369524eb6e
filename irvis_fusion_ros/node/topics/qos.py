"""Subscribe with what the publishers offer, and say so when nothing can match.

A reliable subscription never receives anything from a best-effort camera, in silence; a
best-effort one loses most large images of a reliable camera in the middleware's shared memory.
So the offers are read from the graph first (`get_publishers_info_by_topic`), followed while the
node runs, and the subscription is replaced when they change. REP-2003 is the background:
sensor data may come best effort, and a reliable output serves both kinds of subscriber.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import (
    QoSCompatibility,
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from irvis_fusion_ros.node.topics.arrivals import Arrivals

try:
    from rclpy import event_handler as qos_event
except ImportError:  # pragma: no cover - Humble
    from rclpy import qos_event  # type: ignore[no-redef]

HANDOVER_S = 2.0
"""How long a replaced subscription lives on when its successor has received nothing."""
TELLS_MESSAGE_INFO = hasattr(Subscription, "CallbackType")
"""Whether callbacks may take the information about a message, too. Humble's rclpy drops it."""
LOST_ADVICE = "the node was not served in time: free a processor core, or raise {}_qos.depth"


class Offer(NamedTuple):
    """One publisher of a topic, as the graph tells it."""

    node: str
    type_name: str
    profile: QoSProfile

    def text(self) -> str:
        """Return `name (reliability, durability)`."""
        return f"{self.node} ({profile_text(self.profile)})"


def profile_text(profile: QoSProfile) -> str:
    """Return the two policies that decide over a match, as `reliable, volatile`."""
    return "{}, {}".format(
        profile.reliability.name.lower().replace("policy", ""),
        profile.durability.name.lower().replace("policy", ""),
    )


def type_name(message_type: type[Any]) -> str:
    """Return `sensor_msgs/msg/Image` for the class `sensor_msgs.msg.Image`."""
    package = message_type.__module__.split(".")[0]
    return f"{package}/msg/{message_type.__name__}"


def read_offers(node: Node, topic: str) -> list[Offer]:
    """Return who publishes `topic` (see `name_for_rclpy`) now, in a stable order."""
    offers = []
    for info in node.get_publishers_info_by_topic(topic):
        name = info.node_namespace.rstrip("/") + "/" + info.node_name
        if info.node_name.startswith("_NODE_NAME_UNKNOWN"):  # its participant was just discovered
            name = "a node whose name is not known yet"
        offers.append(Offer(name, info.topic_type, info.qos_profile))
    return sorted(offers, key=lambda offer: (offer.node, offer.type_name))


def choose_reliability(offers: list[Offer], wanted: str = "auto") -> str:
    """Return `reliable` when every publisher offers it, else `best_effort`.

    `wanted` other than `auto` overrules the offers. Without a publisher the answer is
    `best_effort`, which matches whoever comes.
    """
    if wanted != "auto":
        return wanted
    reliable = QoSReliabilityPolicy.RELIABLE
    if offers and all(offer.profile.reliability == reliable for offer in offers):
        return "reliable"
    return "best_effort"


def make_profile(reliability: str, durability: str, depth: int) -> QoSProfile:
    """Return a keep-last profile from the words that the parameters use."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=getattr(QoSReliabilityPolicy, reliability.upper()),
        durability=getattr(QoSDurabilityPolicy, durability.upper()),
    )


def resolve_topic(node: Node, topic: str) -> str:
    """Return the absolute name of a topic, remapped as image_transport does it.

    IMAGE/compressed follows a remapping of IMAGE, unless it has one of its own.
    """
    resolved = str(node.resolve_topic_name(topic))
    image, _, transport = topic.rpartition("/")
    if transport == "compressed" and resolved == node.resolve_topic_name(topic, only_expand=True):
        return f"{node.resolve_topic_name(image)}/{transport}"
    return resolved


def name_for_rclpy(node: Node, topic: str) -> str:
    """Return the name to give to rclpy for `resolve_topic`'s.

    rclpy remaps what it is given: a resolved name a second time, where two topics change places.
    """
    resolved = resolve_topic(node, topic)
    return topic if resolved == str(node.resolve_topic_name(topic)) else resolved


def qos_overrides(node: Node, topic: str, entity: str) -> dict[str, Any]:
    """Return the values of the parameters `qos_overrides.TOPIC.ENTITY.POLICY`, by policy.

    `entity` is publisher or subscription.
    """
    start = f"qos_overrides.{node.resolve_topic_name(topic)}.{entity}."
    given = node._parameter_overrides  # rclpy tells of them no other way
    return {
        name[len(start) :]: each.value for name, each in given.items() if name.startswith(start)
    }


def overriding_options(node: Node, topic: str, entity: str) -> QoSOverridingOptions | None:
    """Return the options that let rclpy apply the overrides; None where none were given.

    Only for the policies that were given: of others rclpy would keep the first value as a
    parameter, and a subscription that follows its publishers changes them.
    """
    given = qos_overrides(node, topic, entity)
    kinds = [kind for kind in QoSPolicyKind if kind.name.lower() in given]
    return QoSOverridingOptions(kinds) if kinds else None


def why_no_match(offer: Offer, wanted_type: str, profile: QoSProfile) -> str | None:
    """Return why `offer` cannot reach a subscription with `profile`, or None when it can."""
    if offer.type_name != wanted_type:
        return f"it publishes {offer.type_name}, expected {wanted_type}"
    compatibility, reason = qos_check_compatible(offer.profile, profile)
    if compatibility == QoSCompatibility.ERROR:
        return reason.strip().rstrip(";") or "its QoS is incompatible"
    return None


def matched_events(create: Callable[[Any], Any], on_matched: Callable[[Any], None]) -> Any:
    """Return `create(event callbacks)`, a publisher that tells when subscribers come and go.

    Humble's rclpy has no matched event, and some middlewares do not support it: the publisher is
    then made without, and its subscription count has to be polled.
    """
    try:
        return create(qos_event.PublisherEventCallbacks(matched=on_matched))
    except (TypeError, qos_event.UnsupportedEventTypeError):
        return create(qos_event.PublisherEventCallbacks())


def explain_silence(
    topic: str, wanted_type: str, offers: list[Offer], profile: QoSProfile, silent_s: float
) -> str:
    """Return one sentence on why nothing arrives: which topic, who publishes, with which QoS."""
    start = f"nothing on {topic} for {silent_s:.0f} s"
    if not offers:
        return start + ": nobody publishes it; start the camera or remap the topic"
    reasons = [why_no_match(offer, wanted_type, profile) for offer in offers]
    publishers = "; ".join(
        offer.text() + (": cannot match, " + reason if reason else "")
        for offer, reason in zip(offers, reasons)
    )
    sentence = f"{start}: published by {publishers}; subscribed as {profile_text(profile)}"
    if None in reasons:
        sentence += (
            "; the QoS matches, so the publisher is silent, or its images are too large for"
            " its shared memory (start it with config/fastdds_large_images.xml), or it runs as"
            " another user (see docs/security.md)"
        )
    return sentence


@dataclass(eq=False)
class MatchedSubscription:
    """A subscription that follows the reliability which the publishers offer.

    `on_message` gets each message once, in order and serialized, also while one subscription
    replaces another. All methods belong to the executor's thread. Times are `time.monotonic()`
    seconds. `open` subscribes. `reliability` is reliable, best_effort, or auto, which follows the
    publishers; the middleware may queue `depth` messages.
    """

    node: Node
    message_type: type[Any]
    topic: str
    on_message: Callable[[bytes], None]
    reliability: str = "auto"
    depth: int = 5

    def __post_init__(self) -> None:
        self._name = name_for_rclpy(self.node, self.topic)
        self.topic = resolve_topic(self.node, self.topic)
        self.type_name = type_name(self.message_type)
        self.profile = make_profile("best_effort", "volatile", self.depth)
        overrides = qos_overrides(self.node, self._name, "subscription")
        self.reliability = overrides.get("reliability", self.reliability)
        self.offers: list[Offer] = []
        self.received = 0
        self.lost = 0
        self.incompatible = 0
        self._current: Any | None = None
        self._replaced: Any | None = None
        self._generation = 0  # of the current subscription; the replaced one has one less
        self._arrivals = Arrivals(self._matched_publishers)
        self._repeats = False  # whether the current subscription may repeat what was taken
        self._replaced_at_s = 0.0
        self._quiet_since_s = 0.0
        self._received_seen = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a subscription now."""
        return self._current is not None

    def open(self, now_s: float) -> None:
        """Subscribe with what is offered now; does nothing when already open."""
        if self._current is None:
            self.offers = read_offers(self.node, self._name)
            self._quiet_since_s = now_s
            self._arrivals.begin()
            self._subscribe(choose_reliability(self.offers, self.reliability))

    def close(self) -> None:
        """Unsubscribe; may be opened again."""
        for subscription in (self._current, self._replaced):
            if subscription is not None:
                self.node.destroy_subscription(subscription)
        self._current = self._replaced = None
        self._generation += 1

    def poll(self, now_s: float) -> str | None:
        """Read the publishers' offers; return a sentence for the log when it subscribed again."""
        if self._current is None:
            return None
        if self.received != self._received_seen:
            self._received_seen = self.received
            self._quiet_since_s = now_s
        if self._replaced is not None and now_s - self._replaced_at_s > HANDOVER_S:
            self._end_handover()
        self.offers = read_offers(self.node, self._name)
        if not self.offers:
            return None
        reliability = choose_reliability(self.offers, self.reliability)
        if self.profile.reliability == getattr(QoSReliabilityPolicy, reliability.upper()):
            return None
        self._end_handover()
        self._replaced, self._replaced_at_s, self._repeats = self._current, now_s, True
        self._subscribe(reliability)
        offers = "; ".join(offer.text() for offer in self.offers)
        return f"{self.topic}: subscribed as {profile_text(self.profile)}, as offered by {offers}"

    def silence(self, now_s: float, limit_s: float) -> str | None:
        """Return why nothing arrived for `limit_s`, or None when something did."""
        if self._current is None or now_s - self._quiet_since_s < limit_s:
            return None
        if self.received != self._received_seen:
            return None
        silent_s = now_s - self._quiet_since_s
        return explain_silence(self.topic, self.type_name, self.offers, self.profile, silent_s)

    def losses(self) -> dict[str, int]:
        """Return the published messages that did not arrive, by cause.

        The middleware tells what it lost on the way. What is missing besides was overwritten in
        this reader's queue.
        """
        missing = self._arrivals.missing or 0
        on_the_way = min(self.lost, missing)
        return {"reader queue": missing - on_the_way, "middleware": on_the_way}

    def describe(self) -> dict[str, str]:
        """Return what /diagnostics shows of this input."""
        offers = "; ".join(offer.text() for offer in self.offers)
        known = self._arrivals.missing is not None
        queue = self.losses()["reader queue"]
        lost = str(queue) if known or not self.received else "not known: messages have no numbers"
        return {
            "topic": self.topic,
            "type": self.type_name,
            "subscribed": profile_text(self.profile) if self.is_open else "no",
            "publishers": offers or "none",
            "received": str(self.received),
            "lost: reader queue": lost,
            "lost_by_middleware": str(self.lost),
            "incompatible_publishers": str(self.incompatible),
        }

    def _subscribe(self, reliability: str) -> None:
        self.profile = make_profile(reliability, "volatile", self.profile.depth)
        self._generation += 1
        deliver = self._delivery(self._generation)

        def create(**events: Any) -> Any:
            return self.node.create_subscription(
                self.message_type,
                self._name,
                deliver,
                self.profile,
                raw=True,
                # Its own: a group in which taking a message raised waits for `release_stuck`.
                callback_group=MutuallyExclusiveCallbackGroup(),
                event_callbacks=qos_event.SubscriptionEventCallbacks(**events),
                qos_overriding_options=overriding_options(self.node, self._name, "subscription"),
            )

        try:
            self._current = create(
                incompatible_qos=self._on_incompatible,
                message_lost=self._on_lost,
                use_default_callbacks=False,  # each event costs at every turn of the executor
            )
        except qos_event.UnsupportedEventTypeError:
            # Not every middleware counts lost messages; the default callback for QoS stays.
            self._current = create()

    def _delivery(self, generation: int) -> Callable[..., None]:
        """Return the callback for rclpy; a plain function is the cheapest to call there."""

        def deliver(raw: bytes, info: Mapping[str, Any]) -> None:
            if generation == self._generation:
                if self._replaced is not None:
                    self._end_handover()
                self._repeats = not self._take(raw, info, self._repeats) and self._repeats
            elif self._replaced is not None and generation + 1 == self._generation:
                self._take(raw, info)
            # Else it was still queued when the subscription was given up.

        def deliver_alone(raw: bytes) -> None:
            deliver(raw, {})

        return deliver if TELLS_MESSAGE_INFO else deliver_alone

    def _end_handover(self) -> None:
        """Take what the replaced subscription still holds: it came before what its successor has.

        The successor may deliver some of it again.
        """
        replaced, self._replaced = self._replaced, None
        if replaced is None:
            return
        try:
            with replaced.handle:
                while True:
                    taken = replaced.handle.take_message(self.message_type, True)
                    if taken is None:
                        break
                    self._take(*taken)
        finally:
            self.node.destroy_subscription(replaced)

    def _take(self, raw: bytes, info: Mapping[str, Any], repeats: bool = False) -> bool:
        is_new = self._arrivals.is_new(raw, info, repeats)
        if is_new:
            self.received += 1
            self.on_message(raw)
        return is_new

    def _matched_publishers(self) -> int:
        return int(self._current.handle.get_publisher_count()) if self._current else 0

    def _on_incompatible(self, event: Any) -> None:
        self.incompatible = event.total_count

    def _on_lost(self, event: Any) -> None:
        self.lost += event.total_count_change
