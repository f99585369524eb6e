"""One node under fault: numbered cameras, a consumer, and the account of every frame."""

import os
import time
from collections import Counter

import rclpy
from faults.ledger import Ledger
from graph import (
    DEPTH,
    HEIGHT,
    PATIENCE_S,
    WIDTH,
    Graph,
    image_message,
    ir_frame,
    vis_frame,
)
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from irvis_fusion_ros.running_node.environment import PROFILE_VARIABLES, make_environment

FRAMES, RATE_HZ = 24, 15.0
TOLD = ("published", "on their way")
QUIET_S = 0.4
"""Without anything coming out for this long, the rest is not on its way to the consumer."""


def profile(reliable=True, depth=DEPTH, transient_local=False):
    """Return a keep-last profile."""
    reliability, durability = QoSReliabilityPolicy, QoSDurabilityPolicy
    return QoSProfile(
        depth=depth,
        reliability=reliability.RELIABLE if reliable else reliability.BEST_EFFORT,
        durability=durability.TRANSIENT_LOCAL if transient_local else durability.VOLATILE,
    )


class Scene(Graph):
    """Cameras with numbered frames, the node, and a consumer that checks what comes out.

    `compressed` names the cameras that publish PNG. `stamp` gives the stamp of the next frame.
    """

    def __init__(self, tmp_path, compressed=()):
        """Join a domain of its own; the node is started by `start_node`."""
        os.environ.update(make_environment())  # large images are sent, too
        super().__init__(tmp_path, subscribe=False)
        for variable in PROFILE_VARIABLES:  # the node has a profile of its own
            os.environ.pop(variable, None)
        self._balance = None
        self.compressed = compressed
        self.ledger = Ledger()
        self.total = Counter()
        self.published = self.altered = 0
        self.exact = True
        """Whether all publishers are this scene's, so that it knows how much was published."""
        self.last_out_s = time.monotonic()
        self.stamp = self.now
        self.publishers = {}
        self._contexts = []
        for publisher in (self.ir, self.vis):
            self.node.destroy_publisher(publisher)
        for camera in ("ir", "vis"):
            self.open_camera(camera)
        self.subscription = self.node.create_subscription(
            Image, "fused/image_raw", self._on_fused, profile(), raw=True
        )

    def start_node(self, *arguments, **options):
        """Start the node, and keep how; see `Graph.start_node`."""
        self.started = (arguments, options)
        return super().start_node(*arguments, **options)

    def start_again(self):
        """Start the node once more as before."""
        arguments, options = self.started
        self.processes.remove(self.fusion)
        self.statuses.clear()
        self.start_node(*arguments, **options)

    def close(self):
        """End everything."""
        for context in list(self._contexts):
            self.leave(context)
        super().close()

    # --- cameras

    def join(self, name):
        """Return a node of a participant of its own, and the context to `leave` with."""
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=self.domain)
        node = rclpy.create_node(name, context=context)
        self._contexts.append(context)
        context.own_node = node
        return node, context

    def leave(self, context):
        """End a participant."""
        self._contexts.remove(context)
        context.own_node.destroy_node()
        rclpy.shutdown(context=context)

    def open_camera(self, camera, name=None, node=None, **qos):
        """Create a publisher of a camera, which the next frames go through."""
        packed = camera in self.compressed
        topic = camera + "/image_raw" + ("/compressed" if packed else "")
        kind = CompressedImage if packed else Image
        publisher = (node or self.node).create_publisher(kind, topic, profile(**qos))
        self.publishers[name or camera] = publisher
        return publisher

    def reopen(self, camera, **qos):
        """Replace a camera's publisher; what it had published is accounted for before."""
        self.account()
        self.node.destroy_publisher(self.publishers.pop(camera))
        self.open_camera(camera, **qos)
        self.settle()

    def frame(self, camera, pixels, frame_id, stamp):
        """Return the message of a frame, as its camera sends it."""
        message = image_message(pixels, stamp, frame_id)
        if camera in self.compressed:
            import cv2

            data = cv2.imencode(".png", pixels)[1].tobytes()
            message = CompressedImage(header=message.header, format="png", data=data)
        return message

    def send_thermal(self, alter=None, index=0, stamp=None):
        """Publish a thermal frame, or what `alter(message, index)` makes of it."""
        pixels = ir_frame(next(self.numbers))
        message = self.frame("ir", pixels, "ir", stamp or self.stamp())
        if alter is None:
            self.ledger.thermal.append(pixels)
        self._publish("ir", message if alter is None else alter(message, index))

    def send_visible(self, alter=None, index=0, stamp=None, through="vis", info=None):
        """Publish a numbered visible frame and its calibration, or what the fault makes of them.

        `alter` and `info` are called with message and index. They return a message, its bytes, or
        None to send nothing.
        """
        pixels = vis_frame(index)
        message = self.frame("vis", pixels, "vis_000000", stamp or self.stamp())
        if alter is not None:
            message = alter(message, index)
        if message is not None:
            number = self.ledger.number(through, pixels, alter is not None)
            if not isinstance(message, bytes):
                start, end = "vis_%06d" % number, message.header.frame_id[10:]
                message.header.frame_id = start + end
            else:
                message = message.replace(b"vis_000000", b"vis_%06d" % number, 1)
        header = getattr(message, "header", None)
        calibration = CameraInfo(height=HEIGHT, width=WIDTH)
        calibration.k[0] = calibration.k[4] = 250.0
        calibration.k[8] = 1.0
        if header is not None:
            calibration.header = header
        self._publish("info", calibration if info is None else info(calibration, index))
        self._publish(through, message)

    def _publish(self, through, message):
        if message is not None:
            publisher = self.info if through == "info" else self.publishers[through]
            publisher.publish(message)

    # --- the run

    def play(self, count=FRAMES, rate_hz=RATE_HZ, vis=None, ir=None, info=None, every=3, act=None):
        """Publish `count` frames of both cameras.

        Args:
            vis, ir, info: What alters one message in `every`, from the second on.
            act: Called with the scene and the index before each frame.
        """
        for index in range(count):
            if act is not None:
                act(self, index)
            due = index % every == min(1, every - 1)
            self.send_thermal(ir if due else None, index)
            self.send_visible(vis if due else None, index, info=info if due else None)
            self.spin(1.0 / rate_hz)

    def begin(self):
        """Open the account; `settle` unless the last one was balanced to the end."""
        if self._balance is None:
            self.settle()
        else:
            self.ledger.open(self._balance)

    def settle(self, timeout_s=PATIENCE_S):
        """Play until fused images come out, then open the account."""
        self.ledger.open({})
        self._balance = None
        end_s = time.monotonic() + timeout_s
        while not self.ledger.newest_is_fused:
            if time.monotonic() > end_s:
                raise AssertionError(f"no fusion; {self.told()}")
            self.fusion.check_running()
            self.play(1)
        self._wait_until_quiet()
        self.ledger.open(self.counts())

    def recover(self, fuses=True, timeout_s=PATIENCE_S):
        """Play until fused images come out again (or unchanged ones, with `fuses` off)."""
        end_s = time.monotonic() + timeout_s
        for camera in ("vis", "ir"):
            self.wait_for(
                self.publishers[camera].get_subscription_count, what="the node's subscription"
            )
        while True:
            before = len(self.ledger.out)
            self.play(2)
            if len(self.ledger.out) > before and self.ledger.newest_is_fused == fuses:
                return
            if time.monotonic() > end_s:
                raise AssertionError(f"no recovery; {self.told()}")
            self.fusion.check_running()

    def account(self, timeout_s=PATIENCE_S):
        """Wait until every frame is accounted for; assert the identity; open the next account.

        The ends are added to `total`.
        A gap is known when the next message of its publisher arrives, so frames follow while
        something is missing. Where foreign publishers took part, the node's own count of what was
        published stands for the true one.
        """
        end_s = time.monotonic() + timeout_s
        self._balance = None
        while True:
            self._wait_until_quiet()
            counts = self.counts()
            account = self.ledger.account(counts)
            known = account.published if self.exact else self.ledger.node_published(counts)
            if known in (None, sum(account.ends.values())) or time.monotonic() > end_s:
                break
            self.play(2)
        if self.exact:
            self.ledger.check(account, counts)
        else:
            account = account._replace(published=known)
            self.ledger.check_order()
            assert known in (None, sum(account.ends.values())), account
            out = len(self.ledger.out) + self.ledger.foreign
            assert out == account.total("fused") + account.total("passed"), account
        self.total.update(account.ends)
        self.published += account.published or 0
        self.altered += len(self.ledger.altered)
        self._balance = counts if self.exact else None
        self.ledger.open(counts)
        return account

    def counts(self):
        """Return the node's counts of frames, by what became of them."""
        self.wait_for_report()
        values = {v.key: v.value for v in self.statuses["fusion"].values}
        counts = {
            key[len("frames ") :]: int(n) for key, n in values.items() if key.startswith("frames ")
        }
        others = (key for key in values if key.startswith("lost: ") or key in TOLD)
        return {**counts, **{key: int(values[key]) for key in others}}

    def events(self):
        """Return how often each kind of odd message was counted."""
        status = self.statuses.get("messages")
        values = [] if status is None else status.values
        return {v.key: int(v.value.split(" ")[0]) for v in values}

    def told(self):
        """Return what helps to understand a failure."""
        lines = {name: status.message for name, status in self.statuses.items()}
        return f"statuses {lines}\nlog:\n{self.fusion.log()[-3000:]}"

    def _wait_until_quiet(self):
        self.last_out_s = time.monotonic()
        while time.monotonic() - self.last_out_s < QUIET_S:
            self.spin(0.05)
            if self.ledger.sent and len(self.ledger.out) == len(self.ledger.sent):
                return

    def _on_fused(self, raw):
        self.last_out_s = time.monotonic()
        self.ledger.arrived(raw)
