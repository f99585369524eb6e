"""Read an MCAP file whose recording was cut off, so that it has no footer and no index.

A recorder that is killed leaves such a file. `mcap` reads it record by record from the beginning.
Complete chunks give their messages; a chunk that is cut gives none.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from irvis_fusion_ros.bags.bag_error import BagError, bag_library

if TYPE_CHECKING:
    from mcap.records import Channel, McapRecord
    from rosbags.interfaces import Connection

MAGIC = b"\x89MCAP0\r\n"


def is_cut(path: Path) -> bool:
    """Return whether a file begins as an MCAP file and does not end as one."""
    with open(path, "rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            return False
        stream.seek(-len(MAGIC), os.SEEK_END)  # the beginning itself where there is nothing else
        return stream.read() != MAGIC or stream.tell() == len(MAGIC)


class CutMcap:
    """A context manager with the part of `rosbags.rosbag2.Reader` that is used here."""

    def __init__(self, path: Path) -> None:
        """Import the libraries; nothing is opened yet."""
        self.path = path
        self.connections: list[Connection] = []
        self._mcap = bag_library("mcap.records")
        self._reader = bag_library("mcap.stream_reader").StreamReader
        self._interfaces = bag_library("rosbags.interfaces")

    def __enter__(self) -> CutMcap:
        kept: dict[tuple[type, int], Any] = {}
        counts: Counter[int] = Counter()
        try:
            for record in self._records():
                if isinstance(record, self._mcap.Message):
                    counts[record.channel_id] += 1
                elif isinstance(record, (self._mcap.Schema, self._mcap.Channel)):
                    kept[type(record), record.id] = record
        except BagError:  # the cut; `messages` raises it again
            if not counts:
                raise
        self.connections = [
            self._connection(kept[self._mcap.Channel, number], kept, count)
            for number, count in counts.items()
            if (self._mcap.Channel, number) in kept
        ]
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def messages(
        self, connections: Sequence[Connection]
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield (connection, time of recording in ns, bytes) in order of writing.

        Raises:
            BagError: Always, at the cut.
        """
        wanted = {connection.id: connection for connection in connections}
        for record in self._records():
            if isinstance(record, self._mcap.Message) and record.channel_id in wanted:
                yield wanted[record.channel_id], record.log_time, record.data

    def _records(self) -> Iterator[McapRecord]:
        count = 0
        try:
            with open(self.path, "rb") as stream:
                for record in self._reader(_WholeReads(stream), validate_crcs=True).records:
                    if isinstance(record, self._mcap.DataEnd):
                        break
                    count += isinstance(record, self._mcap.Message)
                    yield record
            why = "only its index is missing"
        except Exception as error:  # noqa: BLE001 - the bytes after a cut can be anything
            why = f"{type(error).__name__} {error}"
        raise BagError(
            f"expected {self.path} to be a readable ROS 2 bag to its end, found it cut off after "
            f"{count} messages ({why}): its recording did not end well; `mcap recover` or `ros2 "
            "bag reindex` on a copy makes a bag of what is there"
        )

    def _connection(self, channel: Channel, kept: Mapping, messages: int) -> Connection:
        of, schema = self._interfaces, kept[self._mcap.Schema, channel.schema_id]
        text = schema.data.decode("utf-8", "replace")
        definition = of.MessageDefinition(of.MessageDefinitionFormat.MSG, text)
        extra = of.ConnectionExtRosbag2(channel.message_encoding, [])
        connection: Connection = of.Connection(
            channel.id, channel.topic, schema.name, definition, "", messages, extra, self
        )
        return connection


class _WholeReads:
    """A file that raises EOFError where `mcap` would take the rest for the whole."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._size = os.fstat(stream.fileno()).st_size

    def read(self, size: int) -> bytes:
        if size > self._size - self._stream.tell():
            raise EOFError(f"at {self._stream.tell()} of {self._size} bytes")
        return self._stream.read(size)
