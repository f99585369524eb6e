"""Read an MCAP file by walking its records, so that no index is needed.

`rosbags` passes over chunks without a message index, stops where messages outside of chunks are
not in order, and decompresses without a limit. Here only the heads of chunks are read at first.
Summary and statistics are used where they are there. A file whose recording was killed gives the
messages of its complete chunks; the cut is told at its end.
"""

from __future__ import annotations

import heapq
import io
import os
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from irvis_fusion_ros.bags.bag_error import BagError, bag_library
from irvis_fusion_ros.bags.storage.decompression import LARGEST_BYTES, largest_content, unpack
from irvis_fusion_ros.bags.storage.stored_topic import CDR, StoredTopic, plain_type, read_qos

if TYPE_CHECKING:
    from mcap.records import Channel, Schema

MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")  # operation, length
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_FOOTER, _SCHEMA, _CHANNEL, _A_MESSAGE, _CHUNK, _STATISTICS, _DATA_END = 2, 3, 4, 5, 6, 11, 15
_KNOWN, _PRIVATE = 0x0F, 0x80
WAITING_BYTES = 2 * 1024 * 1024
"""Of messages that wait in memory for later chunks with earlier ones."""


class _Place(NamedTuple):
    """A chunk, or a message outside of chunks."""

    start_ns: int
    offset: int
    operation: int
    length: int


class _Message(NamedTuple):
    channel: int
    recorded_ns: int
    data: bytes


class _Waiting(NamedTuple):
    """A message that waits: its data, or where they begin and end in a temporary file."""

    recorded_ns: int
    number: int
    topic: StoredTopic
    data: bytes | tuple[int, int]


class McapFile:
    """One storage file.

    Attributes:
        topics: One for each channel, with the number of messages that the file states, or that
            are there where it states none.
        start_ns: Time of recording before which there is no message.
        problem: What is known to be missing, or "".
    """

    def __init__(self, path: Path, origin: Path) -> None:
        """Open the file; `origin` is the one that it was decompressed from, or itself.

        Raises:
            BagError: It is no MCAP file, or `mcap` is not installed.
        """
        self._records = bag_library("mcap.records")
        self._data_stream = bag_library("mcap.data_stream")
        self._path = origin
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._places: list[_Place] = []
        self._counts: dict[int, int] = {}
        self._damage: dict[int, str] = {}  # by offset
        self._stream = open(path, "rb")  # noqa: SIM115 - `close` closes it
        cut = self._walk()
        if not self._is_described():
            self._counts = Counter(m.channel for place in self._places for m in self._read(place))
        self.start_ns = min((place.start_ns for place in self._places), default=0)
        self._topics = {number: self._topic(number) for number in self._channels}
        self.topics = [
            topic._replace(messages=self._counts.get(number, 0))
            for number, topic in self._topics.items()
        ]
        self.problem = ""
        if cut:
            count = sum(self._counts.values())
            self.problem = f"{origin} is cut off after {count} messages ({cut}): its recording or "
            self.problem += "copying did not end well"

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def messages(self, wanted: set[tuple[str, str]]) -> Iterator[tuple[StoredTopic, int, bytes]]:
        """Yield (topic, time of recording in ns, bytes) in order of recording.

        `wanted` are names and types of topics. Each chunk is read once. Messages that wait for
        earlier ones of later chunks are held in memory, and beyond `WAITING_BYTES` in a temporary
        file.

        Raises:
            BagError: After the last message, where some could not be read; at once, where more
                have to wait than `largest_content` allows.
        """
        # Made on the disk when something is written: most bags need none.
        with tempfile.SpooledTemporaryFile(max_size=1) as aside:
            yield from self._in_order(wanted, aside)
        if self._damage:
            what = "; ".join(f"at byte {at}: {why}" for at, why in list(self._damage.items())[:3])
            raise BagError(f"{self._path} is damaged in {len(self._damage)} places ({what})")

    def _in_order(
        self, wanted: set[tuple[str, str]], aside: IO[bytes]
    ) -> Iterator[tuple[StoredTopic, int, bytes]]:
        waiting: list[_Waiting] = []
        number = in_memory = 0
        places = sorted(self._places)
        for place, later in zip(places, [*places[1:], None]):
            for message in self._read(place):
                topic = self._topics.get(message.channel)
                if topic is not None and topic[:2] in wanted:
                    number, in_memory = number + 1, in_memory + len(message.data)
                    each = _Waiting(message.recorded_ns, number, topic, message.data)
                    heapq.heappush(waiting, each)
            while waiting and (later is None or waiting[0].recorded_ns < later.start_ns):
                recorded_ns, _, topic, data = heapq.heappop(waiting)
                if isinstance(data, bytes):
                    in_memory -= len(data)
                else:
                    aside.seek(data[0])
                    data = aside.read(data[1] - data[0])
                yield topic, recorded_ns, data
            if in_memory > WAITING_BYTES:
                # Times and numbers stay, so it is still a heap.
                waiting = [self._put_aside(each, aside) for each in waiting]
                in_memory = 0

    def _put_aside(self, message: _Waiting, aside: IO[bytes]) -> _Waiting:
        if not isinstance(message.data, bytes):
            return message
        aside.seek(0, os.SEEK_END)
        begin = aside.tell()
        aside.write(message.data)
        end = aside.tell()
        most = largest_content(os.fstat(self._stream.fileno()).st_size)
        if end > most:
            raise BagError(
                f"expected at most {most} bytes of {self._path} to wait for earlier messages, "
                "found more; write the file again in order of time"
            )
        return message._replace(data=(begin, end))

    def _walk(self) -> str:
        """Find chunks, messages, channels and statistics; return why the end is missing, or ""."""
        size = os.fstat(self._stream.fileno()).st_size
        if self._stream.read(len(MAGIC)) != MAGIC:
            raise BagError(f"{self._path} does not begin as an MCAP file")
        offset, ended = len(MAGIC), False
        while True:
            self._stream.seek(offset)
            head = self._stream.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return "only its index is missing" if ended else f"at {offset} of {size} bytes"
            operation, length = _HEAD.unpack(head)
            if not operation or _KNOWN < operation < _PRIVATE:
                return f"no record at byte {offset}"
            if offset + _HEAD.size + length > size:
                return "only its index is missing" if ended else f"at {offset} of {size} bytes"
            if operation == _FOOTER:
                self._stream.seek(length, os.SEEK_CUR)
                if self._stream.read(len(MAGIC)) != MAGIC:
                    return "its last bytes"
                rest = size - self._stream.tell()
                return f"{rest} bytes follow its end, as where files were joined" if rest else ""
            ended = ended or operation == _DATA_END
            self._note(operation, offset, length)
            offset += _HEAD.size + length

    def _note(self, operation: int, offset: int, length: int) -> None:
        """Remember a record that the stream stands at the content of."""
        if operation in (_CHUNK, _A_MESSAGE):
            head = self._stream.read(min(length, _MESSAGE.size))
            if len(head) < _MESSAGE.size:
                self._damage[offset] = f"a record of {length} bytes"
                return
            start_ns = _MESSAGE.unpack(head)[2]
            if operation == _CHUNK:
                start_ns = int.from_bytes(head[:8], "little")
            self._places.append(_Place(start_ns, offset, operation, length))
        elif operation in (_SCHEMA, _CHANNEL, _STATISTICS) and length <= LARGEST_BYTES:
            self._learn(operation, offset, self._stream.read(length))

    def _learn(self, operation: int, offset: int, content: bytes) -> None:
        """Take a schema, a channel, or the statistics."""
        try:
            if operation == _STATISTICS:
                self._counts = dict(self._parse("Statistics", content).channel_message_counts)
            elif operation == _SCHEMA:
                schema = self._parse("Schema", content)
                known = self._schemas.setdefault(schema.id, schema)
                if known.name != schema.name:
                    raise BagError(f"schema {schema.id} is {known.name} and {schema.name}")
            elif operation == _CHANNEL:
                channel = self._parse("Channel", content)
                first = self._channels.setdefault(channel.id, channel)
                if (first.topic, first.schema_id) != (channel.topic, channel.schema_id):
                    raise BagError(f"channel {channel.id} is {first.topic} and {channel.topic}")
        except Exception as error:  # noqa: BLE001 - of mcap, at any bytes
            self._damage[offset] = f"{type(error).__name__} {error}"

    def _parse(self, name: str, content: bytes) -> Any:
        """Return a record of `mcap`."""
        stream = self._data_stream.ReadDataStream(io.BytesIO(content))
        return getattr(self._records, name).read(stream)

    def _is_described(self) -> bool:
        """Return whether the summary names every channel with its type and its messages."""
        known = all(c.schema_id in (0, *self._schemas) for c in self._channels.values())
        return bool(self._counts) and known and set(self._counts) <= set(self._channels)

    def _topic(self, number: int) -> StoredTopic:
        channel = self._channels[number]
        schema, definition = self._schemas.get(channel.schema_id), ""
        if schema is not None and channel.message_encoding == CDR:
            definition = schema.data.decode("utf-8", "replace")
        return StoredTopic(
            channel.topic,
            plain_type(schema.name if schema else "unknown", channel.message_encoding),
            0,
            definition,
            channel.metadata.get("topic_type_hash", ""),
            read_qos(channel.metadata.get("offered_qos_profiles", "")),
            channel.message_encoding,
        )

    def _read(self, place: _Place) -> list[_Message]:
        """Return the messages of a chunk, or the message; none where they cannot be read."""
        self._stream.seek(place.offset + _HEAD.size)
        try:
            if place.length > LARGEST_BYTES:
                raise BagError(f"{place.length} bytes, where {LARGEST_BYTES} are the most")
            content = self._stream.read(place.length)
            if place.operation == _A_MESSAGE:
                content = _HEAD.pack(_A_MESSAGE, place.length) + content
            else:
                content = self._unpacked(content)
            return list(self._split(place.offset, content))  # all, or none of a damaged chunk
        except Exception as error:  # noqa: BLE001 - of mcap, at any bytes
            self._damage[place.offset] = f"{type(error).__name__} {error}"
            return []

    def _unpacked(self, content: bytes) -> bytes:
        """Return the records of a chunk."""
        chunk = self._parse("Chunk", content)
        raw: bytes = chunk.data
        if chunk.compression:
            if chunk.compression not in ("zstd", "lz4"):
                raise BagError(f"compression {chunk.compression!r} instead of zstd or lz4")
            raw = unpack(raw, chunk.uncompressed_size)
        if len(raw) != chunk.uncompressed_size:
            raise BagError(f"{len(raw)} bytes instead of {chunk.uncompressed_size}")
        if chunk.uncompressed_crc and zlib.crc32(raw) != chunk.uncompressed_crc:
            raise BagError("its checksum does not fit")
        return raw

    def _split(self, place: int, raw: bytes) -> Iterator[_Message]:
        """Yield the messages of a chunk's records, and learn its channels."""
        offset = 0
        while offset < len(raw):
            operation, length = _HEAD.unpack_from(raw, offset)
            begin, offset = offset + _HEAD.size, offset + _HEAD.size + length
            if offset > len(raw):
                raise BagError("a record that its chunk does not hold")
            if operation == _A_MESSAGE:
                channel, _, recorded_ns, _ = _MESSAGE.unpack_from(raw, begin)
                if channel not in self._channels:
                    self._damage[place] = f"a message of a channel {channel} without its name"
                yield _Message(channel, recorded_ns, raw[begin + _MESSAGE.size : offset])
            elif operation in (_SCHEMA, _CHANNEL):
                self._learn(operation, place, raw[begin:offset])
