"""Read an MCAP file whose recording was cut off, so that it has no footer and no index.

A recorder that is killed leaves such a file. `mcap` reads it record by record from the beginning.
Complete chunks give their messages; a chunk that is cut gives none.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
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
        self.path = path
        self.connections: list[Connection] = []
        self._mcap = bag_library("mcap.records")
        self._streams = bag_library("mcap.stream_reader")
        self._interfaces = bag_library("rosbags.interfaces")

    def __enter__(self) -> CutMcap:
        kept: dict[tuple[type, int], Any] = {}
        counts: Counter[int] = Counter()
        with contextlib.suppress(BagError):  # the cut; `messages` raises it again
            for record in itertools.chain.from_iterable(self._chunks()):
                if isinstance(record, self._mcap.Message):
                    counts[record.channel_id] += 1
                elif isinstance(record, (self._mcap.Schema, self._mcap.Channel)):
                    kept[type(record), record.id] = record
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
        """Yield (connection, time of recording in ns, bytes) in order of recording.

        A recorder writes messages as they arrive, which differs from their times by little: those
        of a chunk are held until the next one begins later.

        Raises:
            BagError: Always, at the cut.
        """
        wanted = {connection.id: connection for connection in connections}
        held: list[tuple[int, int, Connection, bytes]] = []
        number = itertools.count()
        try:
            for chunk in self._chunks():
                messages = [record for record in chunk if isinstance(record, self._mcap.Message)]
                begin_ns = min((message.log_time for message in messages), default=0)
                while held and held[0][0] < begin_ns:
                    recorded_ns, _, connection, raw = heapq.heappop(held)
                    yield connection, recorded_ns, raw
                for found in messages:
                    if found.channel_id in wanted:
                        item = found.log_time, next(number), wanted[found.channel_id], found.data
                        heapq.heappush(held, item)
        except BagError:
            for recorded_ns, _, connection, raw in sorted(held):
                yield connection, recorded_ns, raw
            raise

    def _chunks(self) -> Iterator[list[McapRecord]]:
        """Yield the records of each complete chunk, and each record outside of chunks."""
        count = 0
        try:
            with open(self.path, "rb") as stream:
                reader = self._streams.StreamReader(
                    _WholeReads(stream), emit_chunks=True, validate_crcs=True
                )
                for record in reader.records:
                    if isinstance(record, self._mcap.DataEnd):
                        break
                    records = [record]
                    if isinstance(record, self._mcap.Chunk):
                        records = self._streams.breakup_chunk(record, validate_crc=True)
                    count += sum(isinstance(each, self._mcap.Message) for each in records)
                    yield records
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
