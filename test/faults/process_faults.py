"""Processes, engines and the machine: what dies, stops, hangs, or has no room."""

import os
import signal
from pathlib import Path

from faults.campaign import Fault, Group
from faults.stream_faults import at_frames
from graph import HERE, ROOT, start_process
from std_msgs.msg import String

FOLDER = Path(__file__).parent
CONSUMER = str(FOLDER / "consumer_process.py")


def engine(told, frames=8):
    """Return an action: the engine does what is told for some frames."""

    def begin(scene):
        (scene.tmp_path / "engine").write_text(told)

    return at_frames({6: begin, 6 + frames: lambda scene: (scene.tmp_path / "engine").unlink()})


FAILING = ("raise", "out of memory", "half the size", "one channel", "NaN", "nothing", "text")
OPENED = ("engine_failed", "engine_loading", "engine_warming_up")


def engines():
    """Return the faults of engines: the visible image passes meanwhile."""
    for told in (*FAILING, "exit", "write into the image"):
        reason = "unusable_pair" if told == "half the size" else "engine_error"
        yield Fault(f"engine: {told}", act=engine(told), passed=(reason,), may_pass=OPENED)
    yield Fault("engine: hang", act=engine("hang", 14), passed=("engine_stuck",))
    yield Fault("engine: slow", act=engine("slow", 12))


def stopped(seconds, frames):
    """Return an action: the node stands still while frames come."""

    def act(scene):
        os.kill(scene.fusion.pid, signal.SIGSTOP)
        try:
            for _ in range(frames):
                scene.send_thermal()
                scene.send_visible()
                scene.spin(seconds / frames)
        finally:
            os.kill(scene.fusion.pid, signal.SIGCONT)

    return act


def ended(number, status):
    """Return an action: the node gets a signal with frames on their way, and is started again."""

    def act(scene):
        scene.account()
        for _ in range(5):
            scene.send_thermal()
            scene.send_visible()
        found = scene.fusion.stop(number)
        assert found == status, f"{found}: {scene.fusion.log()}"
        scene.spin(0.2)
        scene.ledger.check_order()
        scene.start_again()
        scene.settle()

    return act


def consumer(quality, seconds, then=signal.SIGKILL, frames=10):
    """Return an action: a consumer comes, and is killed or stopped while images come."""

    def act(scene):
        path = os.pathsep.join([ROOT, HERE, str(FOLDER.parent)])
        process = start_process(
            "consumer",
            [CONSUMER, quality, str(seconds)],
            scene.domain,
            scene.tmp_path / "consumer.log",
            {"PYTHONPATH": path},
        )
        scene.processes.append(process)
        topic = scene.subscription.topic_name
        scene.wait_for(lambda: scene.node.count_subscribers(topic) > 1, what="the consumer")
        scene.play(frames)
        os.kill(process.pid, then)
        scene.play(frames)
        process.stop(signal.SIGKILL)
        scene.processes.remove(process)

    return act


def camera_process(camera, number):
    """Return an action: a camera of its own process gets a signal; SIGSTOP is taken back."""

    def act(scene):
        scene.account()
        scene.exact = camera == "ir"
        received = int(scene.value("ir", "received"))
        process = scene.start_camera(camera + "/image_raw", 15, camera)

        def arrives():
            thermal = int(scene.value("ir", "received")) - received
            return min(4, thermal if camera == "ir" else scene.ledger.foreign) == 4

        scene.wait_for(arrives, what="images of the other camera")
        os.kill(process.pid, number)
        scene.spin(0.7)
        if number == signal.SIGSTOP:
            os.kill(process.pid, signal.SIGCONT)
            scene.spin(0.5)
            process.stop(signal.SIGKILL)
        scene.processes.remove(process)

    return act


def participants(scene, index):
    """A participant joins and leaves with every second frame, and one leaves without a word."""
    if index % 2 == 0:
        node, context = scene.join(f"guest_{index}")
        node.create_subscription(String, "chatter", print, 1)
        node.create_publisher(String, "chatter", 1)
        scene.leave(context)


def subscribers(scene):
    """Ten more consumers of the fused images come and go."""
    contexts = []
    for number in range(10):
        node, context = scene.join(f"viewer_{number}")
        node.create_subscription(
            scene.subscription.msg_type, "fused/image_raw", lambda _: None, 1, raw=True
        )
        contexts.append(context)
        scene.play(1)
    for context in contexts:
        scene.leave(context)
        scene.play(1)


def wrong_subscriber(scene):
    """A consumer of another type subscribes to the fused topic."""
    node, context = scene.join("wrong_type")
    node.create_subscription(String, "fused/image_raw", print, 1)
    scene.play(6)
    scene.leave(context)


SHORT = {"vis_qos.depth": 5, "ir_qos.depth": 5}
STOPPED = (
    Fault("the node stands still for 4 frames", once=stopped(0.3, 4)),
    Fault("the node stands still for 30 frames", once=stopped(1.5, 30), may_pass=("no_ir",)),
)
SIGNALS = (
    Fault("SIGINT to the node", once=ended(signal.SIGINT, 0)),
    Fault("SIGTERM to the node", once=ended(signal.SIGTERM, 0)),
    Fault("SIGKILL to the node, started again", once=ended(signal.SIGKILL, -9)),
)
CONSUMERS = (
    Fault("a consumer is killed", once=consumer("reliable", 0.0)),
    Fault("a consumer stands still", once=consumer("reliable", 0.0, signal.SIGSTOP)),
    Fault("a consumer takes half a second for each image", once=consumer("reliable", 0.5)),
    Fault("a best-effort consumer is killed", once=consumer("best_effort", 0.0)),
    Fault("a transient_local consumer of a volatile topic", once=consumer("transient_local", 0.0)),
    Fault("a consumer of another type", once=wrong_subscriber),
    Fault("ten consumers come and go", once=subscribers),
    Fault("a participant joins and leaves with every second frame", act=participants),
)
CAMERAS = (
    Fault("a second thermal camera is killed", once=camera_process("ir", signal.SIGKILL)),
    Fault("a second thermal camera stands still", once=camera_process("ir", signal.SIGSTOP)),
    Fault("a second visible camera is killed", once=camera_process("vis", signal.SIGKILL)),
    Fault("a second visible camera stands still", once=camera_process("vis", signal.SIGSTOP)),
)
NOWHERE = dict.fromkeys(("ROS_LOG_DIR", "HOME", "XDG_CACHE_HOME"), "/proc/nowhere")
FAULTY = (str(FOLDER / "node_with_faulty_engine.py"),)
FULL = (str(FOLDER / "node_without_shared_memory.py"),)

GROUPS = (
    Group(
        "engine",
        tuple(engines()),
        environment={"FAULTY_ENGINE": "{folder}/engine"},
        script=FAULTY,
        pixels=False,
    ),
    Group("node that stands still", STOPPED, SHORT),
    Group("signals", SIGNALS, ends=True),
    Group("consumers", CONSUMERS),
    Group(
        "consumers of a transient_local output",
        CONSUMERS[4:5],
        {"output_qos.durability": "transient_local"},
    ),
    Group("cameras that are processes", CAMERAS, pixels=False),
    Group(
        "folders that cannot be written",
        (Fault("no log, no home, no cache"),),
        environment=NOWHERE,
    ),
    Group("no room in /dev/shm", (Fault("images over UDP"),), script=FULL),
)
