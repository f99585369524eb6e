"""Streams that are not as they should be: lost, frozen, late, other sizes, too fast, new."""

import array

import numpy as np
from builtin_interfaces.msg import Time
from faults.campaign import Fault, Group
from faults.message_faults import stamped
from graph import HEIGHT, WIDTH, ir_frame
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage

CHANNELS = {"rgb8": 3, "bgra8": 4, "mono8": 1, "bayer_rggb8": 1, "yuv422": 2, "nv12": 1.5}


def nothing(message, index):
    """Publish nothing."""
    return


def of(encoding, height=HEIGHT, width=WIDTH, itemsize=1):
    """Return what replaces an image by noise of another encoding or size."""

    def alter(message, index):
        row = int(width * (1 if encoding == "nv12" else CHANNELS.get(encoding, 1)) * itemsize)
        rows = int(height * (1.5 if encoding == "nv12" else 1))
        noise = np.random.default_rng(index).integers(0, 256, rows * row, np.uint8)
        message.encoding, message.step = encoding, row
        message.height, message.width = height, width
        message.data = array.array("B", noise.tobytes())
        return message

    return alter


def still(message, index):
    """Return the same thermal image each time."""
    message.data = array.array("B", ir_frame(0).tobytes())
    return message


def one_in_twelve(message, index):
    """Publish a twelfth of the frames."""
    return message if index % 12 == 0 else None


def thermal(times):
    """Return an action that publishes that many thermal frames more."""
    return lambda scene, index: [scene.send_thermal() for _ in range(times)]


def in_bursts(scene, index):
    """Publish six visible frames at once, now and then."""
    for _ in range(6 if index % 6 == 0 else 0):
        scene.send_visible()


ENCODINGS = {
    **{f"visible images become {name}": {"vis": of(name)} for name in CHANNELS},
    "visible images become mono16": {"vis": of("mono16", itemsize=2)},
    "thermal images become mono16": {"ir": of("mono16", itemsize=2)},
    "thermal images become 32FC1": {"ir": of("32FC1", itemsize=4)},
    "thermal images become rgb8": {"ir": of("rgb8")},
    "visible images of 1x1": {"vis": of("mono8", 1, 1)},
    "visible images of 37x51": {"vis": of("mono8", 37, 51)},
    "visible images of 960x1280": {"vis": of("rgb8", 960, 1280)},
    "thermal images of 1x1": {"ir": of("mono8", 1, 1)},
    "thermal images of 512x640": {"ir": of("mono16", 512, 640, 2)},
    "both change their size": {"vis": of("mono8", 30, 44), "ir": of("mono8", 40, 50)},
}


def encodings():
    """Return the faults of encodings and sizes that change while images come."""
    may_pass = ("engine_warming_up", "unusable_pair")
    for name, altered in ENCODINGS.items():
        yield Fault(
            name, may_pass=may_pass, sizes=name.startswith("both") or "x" in name, **altered
        )


def losses(also=(), certain=True):
    """Return the faults of a thermal camera that gives nothing new.

    The visible frames pass for the reason that each names (where `certain`), or for one of `also`.
    """
    late, ahead = (stamped(lambda s, ns, i, by=by: (s + by, ns)) for by in (-1, 1))
    zero = stamped(lambda s, ns, i: (0, 0))
    for name, alter, reason in (
        ("thermal camera silent", nothing, "ir_missing"),
        ("thermal camera frozen", still, "ir_frozen"),
        ("thermal stamps a second late", late, "ir_late"),
        ("thermal stamps a second ahead", ahead, "ir_ahead"),
        ("thermal stamps zero", zero, "ir_unstamped"),
        ("a twelfth of the thermal frames", one_in_twelve, "ir_missing"),
    ):
        passed = (reason,) if certain else ()
        may_pass = (reason, "no_ir", *also)
        yield Fault(name, ir=alter, every=1, passed=passed, may_pass=may_pass)


WATCH = {"ir_missing_after_s": 0.4, "ir_frozen_after_s": 0.5}
UNPAIRED = ("no_partner", "waited", "queue_full")

FLOODS = (
    Fault("both cameras at 200 Hz", count=200, rate_hz=200.0),
    Fault("visible camera at 200 Hz, thermal at 9", ir=nothing, every=2, count=200, rate_hz=200.0),
    Fault("ten thermal frames with each visible one", act=thermal(10)),
    Fault("visible frames in bursts of six", act=in_bursts, quick=True),
    Fault(
        "twenty calibrations with each frame",
        act=lambda scene, index: [scene.info.publish(CameraInfo()) for _ in range(20)],
    ),
)


def simulated(seconds):
    """Return an action that sets /clock and the stamps to `seconds(index)`."""

    def act(scene, index):
        now_s = seconds(index)
        now = Time(sec=int(now_s), nanosec=int(now_s % 1 * 1e9))
        scene.clock.publish(Clock(clock=now))
        scene.spin(0.01)
        scene.stamp = lambda: now

    return act


def at_frames(actions):
    """Return an action that calls `actions[index](scene)` before those frames."""
    return lambda scene, index: actions.get(index, lambda scene: None)(scene)


def add(camera, name, frames=0, **qos):
    """Return an action: a participant joins and publishes to a camera's topic."""

    def act(scene):
        node, context = scene.join(name)
        context.publisher = scene.open_camera(camera, name, node, **qos)
        scene.wait_for(context.publisher.get_subscription_count, what="the node's subscription")
        setattr(scene, name, context)

    return act


def remove(name):
    """Return an action: what `add` added leaves, after its frames came out."""

    def act(scene):
        scene.account()
        scene.publishers.pop(name)
        scene.leave(getattr(scene, name))
        scene.settle()

    return act


def through_both(scene, index):
    """Publish each second frame through a second publisher of the topic."""
    if index == 2:
        add("vis", "second_vis")(scene)
    elif index == 22:
        remove("second_vis")(scene)
    elif 4 < index < 22 and index % 2:
        scene.send_visible(through="second_vis")


def other_type(scene):
    """Publish another type on the topic of the visible images."""
    node, context = scene.join("other_type")
    publisher = node.create_publisher(CompressedImage, "vis/image_raw", 5)
    for _ in range(10):
        publisher.publish(CompressedImage(format="png"))
        scene.spin(0.02)
    scene.leave(context)


def best_effort_for_a_while(scene):
    """Both cameras become best effort, and reliable again."""
    for reliable in (False, True):
        for camera in ("vis", "ir"):
            scene.reopen(camera, reliable=reliable)


def restarts(camera, **qos):
    """Return an action: the publisher of a camera is replaced three times."""
    return lambda scene: [scene.reopen(camera, **qos) for _ in range(3)]


HANDOVER = at_frames({4: add("vis", "guest", reliable=False), 18: remove("guest")})
IR_HANDOVER = at_frames({4: add("ir", "ir_guest", reliable=False), 18: remove("ir_guest")})
PUBLISHERS = (
    Fault("visible publisher restarts three times", once=restarts("vis"), quick=True),
    Fault("thermal publisher restarts three times", once=restarts("ir")),
    Fault("reliable, best effort, reliable", once=best_effort_for_a_while),
    Fault("visible publisher becomes transient_local", once=restarts("vis", transient_local=True)),
    Fault("a best-effort publisher joins the visible one, and leaves", act=HANDOVER),
    Fault("a best-effort publisher joins the thermal one, and leaves", act=IR_HANDOVER),
    Fault("two publishers of visible images in turns", act=through_both),
    Fault("a publisher of another type on the topic", once=other_type),
)
CLOCK = (
    Fault("/clock runs at a tenth", act=simulated(lambda i: 500 + i / 150)),
    Fault("/clock jumps an hour ahead", act=simulated(lambda i: 500 + i / 15 + 3600 * (i > 12))),
    Fault("/clock jumps back", act=simulated(lambda i: 500 + i / 15 - 300 * (i > 12))),
    Fault("/clock loops every eight frames", act=simulated(lambda i: 500 + i % 8 / 15)),
    Fault("/clock stands still", act=simulated(lambda i: 500)),
    Fault("/clock at zero", act=simulated(lambda i: 0)),
)
JUMPED = ("cleared", "no_ir", "duplicate_stamp", "zero_stamp", "ir_unstamped", "ir_ahead")

GROUPS = (
    # Beside images of noise the flicker limiter may hold back a little of the fused image.
    Group("encodings and sizes", tuple(encodings()), {"limit_flicker": False}),
    Group("thermal camera", tuple(losses()), WATCH),
    Group("thermal camera, pairing: pair", tuple(losses(UNPAIRED)), {**WATCH, "pairing": "pair"}),
    Group(
        "thermal camera, on_ir_loss: hold",
        tuple(losses(certain=False)),
        {**WATCH, "on_ir_loss": "hold"},
    ),
    Group("floods", FLOODS),
    Group("publishers", PUBLISHERS),
    Group(
        "simulated time",
        tuple(Fault(f.name, act=f.act, may_pass=JUMPED) for f in CLOCK),
        {"use_sim_time": True},
    ),
)
