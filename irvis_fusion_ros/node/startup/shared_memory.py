"""Shared memory of Fast DDS: a segment for this process's images, and what dead processes left.

Each participant keeps a segment in /dev/shm, out of which it sends. The default of 512 KB holds no
image; one for every case takes memory from every process that is started with it. So the node
brings a profile of its own, of the size of its images, and lets no other process inherit it.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from irvis_fusion_core.bounded_file import open_regular
from irvis_fusion_ros.parameters.node_settings import TopicSettings
from irvis_fusion_ros.running_node.environment import PROFILE_VARIABLES, TRANSPORT_VARIABLES

MIB = 1024 * 1024
FOLDER = Path("/dev/shm")  # where Fast DDS has its segments  # nosec B108
FAST_DDS = "rmw_fastrtps"
"""How the names of its middlewares begin; it is the default of ROS 2."""
SMALLEST, LARGEST = 8 * MIB, 24 * MIB
IMAGES_AT_LEAST = 3
"""One is being read, one waits, one is being written: three fit, however large they are."""
HEADER_BYTES = 64 * 1024
OVERHEAD = 1.06
"""The file is larger than its segment by the tables of Fast DDS, 4.7 % at 64 MB."""
RESERVE = MIB
"""Room in /dev/shm for the ports and the segments of other participants of this process."""

LOCK_NAME = re.compile(r"fast(?:rtps|dds)_[0-9a-f]{16}_el")
"""Fast DDS holds `flock` on this file, beside the segment, for as long as the process lives."""
DEAD_AFTER_S = 10.0
"""A younger file may belong to a process that has not locked it yet."""

SEGMENT = """\
    <transport_descriptor>
      <transport_id>shared_memory</transport_id>
      <type>SHM</type>
      <segment_size>{segment}</segment_size>
      <maxMessageSize>{message}</maxMessageSize>
      <port_queue_capacity>512</port_queue_capacity>
    </transport_descriptor>
"""
PROFILE = """\
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <transport_descriptors>
{descriptor}    <transport_descriptor>
      <transport_id>udp</transport_id>
      <type>UDPv4</type>
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="large_images" is_default_profile="true">
    <rtps>
      <useBuiltinTransports>false</useBuiltinTransports>
      <userTransports>
{used}        <transport_id>udp</transport_id>
      </userTransports>
    </rtps>
  </participant>
</profiles>
"""


def segment_bytes(topics: TopicSettings) -> int:
    """Return the segment for the queue of fused images and the one that is written, in bytes."""
    image = message_bytes(topics)
    wanted = min(max((topics.output_qos_depth + 1) * image, SMALLEST), LARGEST)
    return -(-max(wanted, IMAGES_AT_LEAST * image) // MIB) * MIB


def message_bytes(topics: TopicSettings) -> int:
    """Return the bytes of the largest image; larger ones travel in pieces of that size."""
    return 3 * topics.shared_memory_width * topics.shared_memory_height + HEADER_BYTES


def profile_text(segment: int, message: int) -> str:
    """Return a Fast DDS profile with a segment of these bytes; UDP alone where it is 0."""
    if not segment:
        return PROFILE.format(descriptor="", used="")
    descriptor = SEGMENT.format(segment=segment, message=message)
    used = "        <transport_id>shared_memory</transport_id>\n"
    return PROFILE.format(descriptor=descriptor, used=used)


@dataclass
class Told:
    """What a user should know of the shared memory: for the log, and what is wrong."""

    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@contextmanager
def own_segment(topics: TopicSettings, folder: Path = FOLDER) -> Iterator[Told]:
    """Give the Fast DDS participant that is created inside a segment for the images of `topics`.

    Transports that the user has configured, and other middlewares, stay as they are. Never raises:
    without shared memory the images go over UDP.
    """
    told = Told()
    if not os.environ.get("RMW_IMPLEMENTATION", FAST_DDS).startswith(FAST_DDS):
        yield told
        return
    freed = remove_dead_segments(folder)
    if freed:
        told.facts.append(f"removed {freed / MIB:.1f} MB of dead processes from {folder}")
    kept = [f"{name}={os.environ[name]}" for name in TRANSPORT_VARIABLES if os.environ.get(name)]
    if kept:
        told.facts.append("the DDS transports stay as exported: " + " and ".join(kept))
        yield told
        return
    wanted, message = segment_bytes(topics), message_bytes(topics)
    segment = min(wanted, room_bytes(folder))
    if segment < wanted:
        told.problems.append(
            f"expected {wanted / MIB:.0f} MB free in {folder} for images of"
            f" {topics.shared_memory_width}x{topics.shared_memory_height}, found room for"
            f" {segment / MIB:.0f} MB; "
            + ("large images may be lost" if segment else "images go over UDP, some may be lost")
            + "; start the container with --shm-size=256m or --ipc=host, or set"
            " shared_memory.width and shared_memory.height to the size of your images"
        )
    path = _write(profile_text(segment, min(message, segment // 2)), folder)
    if path is None:
        told.problems.append("no folder for the DDS profile can be written; large images get lost")
        yield told
        return
    os.environ.update(dict.fromkeys(PROFILE_VARIABLES, path))
    try:
        yield told
    finally:  # Fast DDS has read it; whatever this process starts must not
        for name in PROFILE_VARIABLES:
            os.environ.pop(name, None)
        os.unlink(path)


def room_bytes(folder: Path = FOLDER) -> int:
    """Return how large a segment may be, in whole MiB; 0 where nothing can be written."""
    if not os.access(folder, os.W_OK):
        return 0
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    return max(0, int((free - RESERVE) / OVERHEAD) // MIB * MIB)


def remove_dead_segments(folder: Path = FOLDER) -> int:
    """Remove the segments of processes that were killed; return the bytes.

    As `fastdds shm clean` does it: a segment is dead if its lock can be taken. Ports are left:
    they are small, and the next process that takes their number renews them.
    """
    freed = 0
    for lock in sorted(folder.glob("fast*_el")):
        if LOCK_NAME.fullmatch(lock.name) is None:
            continue
        segment = lock.with_name(lock.name[: -len("_el")])
        with suppress(OSError):  # it lives, belongs to another user, or has gone meanwhile
            if time.time() - lock.stat().st_mtime < DEAD_AFTER_S:
                continue
            with open_regular(str(lock), os.O_NOFOLLOW) as stream:  # anybody may write here
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                size = segment.stat().st_size
                segment.unlink()
                lock.unlink()
                freed += size
    return freed


def _write(text: str, folder: Path) -> str | None:
    """Write `text` to a temporary file; None where nothing can be written."""
    for place in (folder, None):
        with suppress(OSError), tempfile.NamedTemporaryFile(
            "w", prefix="irvis_fusion_", suffix=".xml", dir=place, delete=False
        ) as stream:
            stream.write(text)
            return stream.name
    return None
