"""Reads an MCAP file whose recording was cut off: no footer and no index, but messages.

A recorder that is killed leaves such a file. Records are read from the beginning to where the
file ends, after https://mcap.dev/spec; then the cut is told as BagError, so that nobody takes a
part for the whole.
"""

from __future__ import annotations

import importlib
import os
import struct
import types
from io import BytesIO
from typing import Any, BinaryIO, Dict, Iterator, List, Sequence, Tuple

from irvis_fusion_ros.bags.bag_error import BagError

MAGIC = b"\x89MCAP0\r\n"
SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F

MOST_BYTES = 1 << 32
"""A record or chunk said to be larger is no record: what follows a cut can be anything."""


class _CutError(Exception):
    """The file ends within a record."""


def is_cut(path: Any) -> bool:
    """Whether `path` begins as an MCAP file and does not end as one."""
    with open(path, "rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            return False
        stream.seek(-len(MAGIC), os.SEEK_END)  # of a file that has the beginning alone: that
        return stream.read() != MAGIC or stream.tell() == len(MAGIC)


class CutMcap:
    """What rosbags' reader offers of such a file: `connections` and `messages`."""

    def __init__(self, path: Any) -> None:
        """Nothing is opened yet."""
        self.path = os.fspath(path)
        self.connections: List[Any] = []
        self._counts: Dict[int, int] = {}

    def __enter__(self) -> CutMcap:
        for _ in self._messages():
            pass
        for connection in self.connections:
            connection.msgcount = self._counts.get(connection.id, 0)
        return self

    def __exit__(self, *exception: Any) -> None:
        return None

    def messages(self, connections: Sequence[Any]) -> Iterator[Tuple[Any, int, bytes]]:
        """(connection, time of recording in ns, bytes), in order of recording.

        Raises:
            BagError: always, at the cut.
        """
        wanted = {connection.id: connection for connection in connections}
        count = 0
        for channel, recorded_ns, raw in self._messages():
            count += 1
            if channel in wanted:
                yield wanted[channel], recorded_ns, raw
        raise BagError(
            f"expected {self.path} to be a readable ROS 2 bag to its end, found it cut off after "
            f"{count} messages: its recording did not end well; `mcap recover` or `ros2 bag "
            "reindex` on a copy makes a bag of what is there"
        )

    def _messages(self) -> Iterator[Tuple[int, int, bytes]]:
        self._counts = {}
        known = {connection.id for connection in self.connections}
        schemas: Dict[int, Tuple[str, str]] = {}
        with open(self.path, "rb") as stream:
            stream.seek(len(MAGIC))
            for kind, body in _records(stream):
                if kind == SCHEMA:
                    number, name, _, text = _unpack("HSSB", body)
                    schemas[number] = (name.decode(), text.decode("utf-8", "replace"))
                elif kind == CHANNEL:
                    number, schema, topic, _, _ = _unpack("HHSSB", body)
                    if number not in known and schema in schemas:
                        known.add(number)
                        self.connections.append(
                            _connection(number, topic.decode(), *schemas[schema])
                        )
                elif kind == MESSAGE and len(body) >= 22:
                    channel, _, recorded_ns, _ = struct.unpack_from("<HIQQ", body)
                    self._counts[channel] = self._counts.get(channel, 0) + 1
                    yield channel, recorded_ns, body[22:]


def _records(stream: BinaryIO) -> Iterator[Tuple[int, bytes]]:
    """Kind and content of every whole record; those within chunks for the chunks."""
    try:
        while True:
            kind, size = struct.unpack("<BQ", _read(stream, 9))
            if kind == DATA_END or size > MOST_BYTES:
                return
            if kind == CHUNK:
                yield from _records(BytesIO(_chunk(stream, size)))
            else:
                yield kind, _read(stream, size)
    except _CutError:
        return


def _chunk(stream: BinaryIO, size: int) -> bytes:
    """A chunk's records, of a cut one that is not compressed those that are there."""
    _, _, unpacked_size, _, name_size = struct.unpack("<QQQII", _read(stream, 32))
    if name_size > size or unpacked_size > MOST_BYTES:
        raise _CutError("no chunk is so large")
    codec = _read(stream, name_size).decode("ascii", "replace")
    (packed_size,) = struct.unpack("<Q", _read(stream, 8))
    if not codec:
        return stream.read(min(packed_size, size))
    return _unpacked(codec, _read(stream, min(packed_size, size)))


def _unpacked(codec: str, packed: bytes) -> bytes:
    modules = {
        "zstd": ("compression.zstd", "backports.zstd"),
        "lz4": ("lz4.frame",),
    }.get(codec, ())
    for name in modules:  # both come with rosbags
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        unpacked: bytes = module.decompress(packed)
        return unpacked
    raise BagError(f"expected chunks compressed by zstd or lz4, found {codec!r}")


def _read(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise _CutError(f"{size} bytes were said to follow, {len(data)} did")
    return data


def _unpack(form: str, body: bytes) -> List[Any]:
    """H: a number of 2 bytes; S, B: bytes behind their length of 4."""
    stream, values = BytesIO(body), []
    for letter in form:
        if letter == "H":
            values.append(struct.unpack("<H", _read(stream, 2))[0])
        else:
            (size,) = struct.unpack("<I", _read(stream, 4))
            values.append(_read(stream, size))
    return values


def _connection(number: int, topic: str, kind: str, definition: str) -> Any:
    """What `bag_storage` asks of a connection of rosbags."""
    return types.SimpleNamespace(
        id=number,
        topic=topic,
        msgtype=kind,
        msgcount=0,
        digest="",
        msgdef=types.SimpleNamespace(data=definition),
        ext=types.SimpleNamespace(offered_qos_profiles=()),
    )
