"""The Fast DDS segment: its size, the profile, and what killed processes leave behind."""

import contextlib
import os
import signal
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from graph import start_process
from hypothesis import given
from hypothesis import strategies as st

from irvis_fusion_ros.node.startup import shared_memory
from irvis_fusion_ros.node.startup.shared_memory import (
    FOLDER,
    LARGEST,
    MIB,
    SMALLEST,
    own_segment,
    profile_text,
    remove_dead_segments,
    segment_bytes,
)
from irvis_fusion_ros.parameters.node_settings import TopicSettings
from irvis_fusion_ros.running_node.environment import (
    NODE_MODULE,
    PROFILE,
    PROFILE_VARIABLES,
    TRANSPORT_VARIABLES,
    find_config,
)

SCRIPT = """
import rclpy, time
rclpy.init()
node = rclpy.create_node("n")
print("joined", flush=True)
time.sleep(99)
"""
HOLD = ["-c", SCRIPT]
TAG = "{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}"


def sizes(width, height, depth=5):
    return TopicSettings(
        shared_memory_width=width, shared_memory_height=height, output_qos_depth=depth
    )


def segments_of(process):
    """The segments whose locks a process holds open, with their sizes."""
    found = {}
    for descriptor in Path(f"/proc/{process._process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            lock = Path(os.readlink(descriptor))
            if shared_memory.LOCK_NAME.fullmatch(lock.name):
                segment = lock.with_name(lock.name[:-3])
                found[segment] = segment.stat().st_size
    return found


@pytest.fixture
def plain(monkeypatch):
    for name in TRANSPORT_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "width, height, depth, megabytes",
    [(640, 480, 5, 8), (640, 480, 10, 11), (1280, 1024, 5, 23), (1280, 1024, 50, 24)],
)
def test_the_segment_holds_the_queue_between_8_and_24_mb(width, height, depth, megabytes):
    assert segment_bytes(sizes(width, height, depth)) == megabytes * MIB


@given(st.integers(1, 8192), st.integers(1, 8192), st.integers(1, 100))
def test_three_images_always_fit(width, height, depth):
    found = segment_bytes(sizes(width, height, depth))
    assert found >= max(SMALLEST, 3 * 3 * width * height) and found % MIB == 0
    assert found <= max(LARGEST, 3 * 3 * width * height + 2 * MIB)


def test_the_shipped_profile_is_the_largest_one_that_the_node_makes():
    shipped = ElementTree.parse(find_config(PROFILE)).getroot()
    made = ElementTree.fromstring(profile_text(LARGEST, 4 * MIB))
    assert ElementTree.canonicalize(
        ElementTree.tostring(shipped), strip_text=True
    ) == ElementTree.canonicalize(ElementTree.tostring(made), strip_text=True)


def test_the_profile_is_for_this_process_alone(plain, monkeypatch, tmp_path):
    monkeypatch.setattr(shared_memory, "room_bytes", lambda folder: 100 * MIB)
    with own_segment(sizes(640, 480), tmp_path) as told:
        (path,) = {os.environ[name] for name in PROFILE_VARIABLES}
        text = Path(path).read_text()
    assert f"<segment_size>{8 * MIB}<" in text and not told.problems
    assert not os.path.exists(path) and not set(PROFILE_VARIABLES) & set(os.environ)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TRANSPORT_VARIABLES)
def test_transports_of_the_user_are_left_and_named(plain, monkeypatch, name, tmp_path):
    monkeypatch.setenv(name, "mine")
    with own_segment(sizes(640, 480), tmp_path) as told:
        assert {n: os.environ.get(n) for n in TRANSPORT_VARIABLES} == {
            n: "mine" if n == name else None for n in TRANSPORT_VARIABLES
        }
    assert told.facts == [f"the DDS transports stay as exported: {name}=mine"]
    assert not told.problems and os.environ[name] == "mine"


def test_another_middleware_is_left_alone(plain, monkeypatch, tmp_path):
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")
    with own_segment(sizes(640, 480), tmp_path / "none") as told:
        assert not set(TRANSPORT_VARIABLES) & set(os.environ)
    assert not told.facts and not told.problems


@pytest.mark.parametrize("room, transports", [(5 * MIB, ["SHM", "UDPv4"]), (0, ["UDPv4"])])
def test_what_does_not_fit_is_said_with_what_helps(plain, monkeypatch, tmp_path, room, transports):
    monkeypatch.setattr(shared_memory, "room_bytes", lambda folder: room)
    with own_segment(sizes(1280, 1024), tmp_path) as told:
        profile = ElementTree.parse(os.environ[PROFILE_VARIABLES[0]]).getroot()
    assert [element.text for element in profile.iter(TAG + "type")] == transports
    assert [int(e.text) for e in profile.iter(TAG + "segment_size")] == [room] * bool(room)
    (problem,) = told.problems
    assert f"expected 23 MB free in {tmp_path} for images of 1280x1024" in problem
    assert f"found room for {room // MIB} MB" in problem and "--shm-size=256m" in problem


def test_no_room_is_found_where_there_is_no_folder(tmp_path):
    assert shared_memory.room_bytes(tmp_path / "none") == 0
    assert shared_memory.room_bytes(tmp_path) > 0


@pytest.mark.skipif(not FOLDER.is_dir(), reason="needs /dev/shm")
def test_the_node_takes_its_segment_and_removes_those_of_killed_processes(graph):
    """Real processes: one is killed, one lives on, then the node starts."""
    variables = {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}

    def hold(name):
        log = graph.tmp_path / (name + ".log")
        process = start_process(name, HOLD, graph.domain, log, variables)
        graph.processes.append(process)
        graph.wait_for(lambda: "joined" in process.log(), what=name)
        segments = segments_of(process)
        assert segments
        for path in segments:  # as if they had been there for long
            os.utime(f"{path}_el", (0, 0))
        return process, segments

    killed, dead = hold("killed")
    _, alive = hold("alive")
    assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
    assert all(path.exists() for path in dead)
    parameters = {"backend": "numpy", "output_qos.depth": 5}
    options = ["-p", "shared_memory.width:=640", "-p", "shared_memory.height:=480"]
    node = graph.start_node(parameters, variables, ["-m", NODE_MODULE], options)
    graph.wait_for(lambda: "output" in graph.statuses, what="a report")
    assert not any(path.exists() or os.path.exists(f"{path}_el") for path in dead)
    assert all(path.exists() and os.path.exists(f"{path}_el") for path in alive)
    sizes = segments_of(node).values()
    assert any(8 * MIB < size < 8.5 * MIB for size in sizes), sizes
    assert "of dead processes from /dev/shm" in node.log()
    assert node.stop() == 0


def test_young_and_foreign_files_are_left(tmp_path):
    names = ["fastrtps_0123456789abcdef", "fastrtps_port7411", "other_0123456789abcdef"]
    for name in names:
        (tmp_path / name).write_bytes(b"12345")
        (tmp_path / (name + "_el")).touch()
    assert remove_dead_segments(tmp_path) == 0
    for name in names:
        os.utime(tmp_path / (name + "_el"), (0, 0))
    assert remove_dead_segments(tmp_path) == 5
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {name + end for name in names[1:] for end in ("", "_el")}


def test_a_pipe_in_the_place_of_a_lock_does_not_hold_up_the_start(tmp_path):
    """Every user of a machine may make one in /dev/shm; nobody writes into it."""
    lock = tmp_path / "fastrtps_0123456789abcdef_el"
    os.mkfifo(lock)
    lock.with_name(lock.name[:-3]).touch()
    os.utime(lock, (0, 0))
    child = os.fork()
    if not child:
        signal.alarm(5)  # ends it where it waits
        remove_dead_segments(tmp_path)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0 and lock.exists()
