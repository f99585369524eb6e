"""What writes the files of a bag: `rosbags`, or ROS's own `rosbag2_py` where that is installed.

A sink takes topics, messages as bytes, and makes bytes of messages. See `bag_writer.BagWriter`.
"""

from __future__ import annotations

import array
import contextlib
import importlib
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np

from irvis_fusion_ros.bags.bag_storage import (
    BagError,
    StoredTopic,
    rosbag2_py_or_none,
    rosbags_or_none,
    unavailable,
)

COMMIT_EVERY = 32
"""Messages after which sqlite3 is told to keep them: so many are lost where a run is killed."""

UNKNOWN_DIGEST = "RIHS01_" + 64 * "0"


def open_sink(folder: str, storage: str, compress: bool) -> Any:
    """A sink that writes the new bag `folder`, storage "sqlite3" or "mcap".

    Raises:
        BagReaderUnavailableError: there is no library to write it with.
        BagError: compression is asked of a library that does not do it here.
    """
    if rosbags_or_none("rosbags.rosbag2") is not None:
        return RosbagsSink(folder, storage, compress)
    rosbag2_py = rosbag2_py_or_none()
    if rosbag2_py is None:
        raise unavailable("writes")
    if compress:
        raise BagError(
            "expected the Python package rosbags, which compresses bags, found rosbag2_py alone; "
            "run `ros2 bag convert` afterwards"
        )
    return Rosbag2Sink(folder, storage, rosbag2_py)


class RosbagsSink:
    """Writes with `rosbags`."""

    def __init__(self, folder: str, storage: str, compress: bool) -> None:
        """Create the folder; raises what rosbags and the file system raise."""
        rosbag2 = importlib.import_module("rosbags.rosbag2")
        typesys = importlib.import_module("rosbags.typesys")
        self._store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
        plugin = rosbag2.StoragePlugin[storage.upper()]
        self._writer = rosbag2.Writer(Path(folder), version=9, storage_plugin=plugin)
        if compress:
            mode = rosbag2.CompressionMode
            self._writer.set_compression(
                mode.STORAGE if storage == "mcap" else mode.MESSAGE,
                rosbag2.CompressionFormat.ZSTD,
            )
        self._writer.open()
        self._connections: Dict[Tuple[str, str], Any] = {}
        self._since_commit = 0

    def add_topic(self, topic: StoredTopic) -> None:
        """Announce a topic, with its definition where the store does not know its type."""
        definition: Dict[str, Any] = {"msgdef": topic.definition}
        definition["rihs01"] = topic.digest or self._digest(topic)
        if not topic.definition and topic.type in self._store.types:
            definition = {"typestore": self._store}
        self._connections[topic.name, topic.type] = self._writer.add_connection(
            topic.name, topic.type, offered_qos_profiles=topic.qos, **definition
        )

    def write(self, name: str, kind: str, recorded_ns: int, raw: bytes) -> None:
        """Write a message of an announced topic."""
        self._writer.write(self._connections[name, kind], recorded_ns, raw)
        self._since_commit += 1
        if self._since_commit >= COMMIT_EVERY:
            self._since_commit = 0
            self._commit()

    def serialize(self, message: Any, kind: str) -> bytes:
        """The bytes of a message that has the fields of `kind`."""
        data = getattr(message, "data", None)
        if isinstance(data, (array.array, bytes, bytearray, memoryview)):
            message = _WithData(message, np.frombuffer(data, np.uint8))
        return self._store.serialize_cdr(message, kind)

    def close(self) -> None:
        """Finish the bag."""
        self._writer.close()

    def abort(self) -> None:
        """Let go of the files as they are, without an index."""
        with contextlib.suppress(Exception):  # of a failed commit: the reason is known already
            self._commit()
        with contextlib.suppress(Exception):
            self._writer.abort()

    def _commit(self) -> None:
        # One transaction for a whole bag, as rosbags has it, loses all of it when a run is killed.
        connection = getattr(self._writer.storage, "conn", None)
        if connection is not None:
            connection.commit()

    def _digest(self, topic: StoredTopic) -> str:
        """The type hash, by the bag's own definition; old bags do not hold it."""
        if topic.type in self._store.types:
            return str(self._store.hash_rihs01(topic.type))
        typesys = importlib.import_module("rosbags.typesys")
        try:
            store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
            store.register(typesys.get_types_from_msg(topic.definition, topic.type))
            return str(store.hash_rihs01(topic.type))
        except Exception:  # noqa: BLE001 - definitions may be of any kind; players need no hash
            return UNKNOWN_DIGEST


class Rosbag2Sink:
    """Writes with ROS's own `rosbag2_py`; messages become bytes through rclpy.

    Fast CDR does not clear the bytes between fields: two runs give the same messages, and bytes
    that may differ there. `rosbags` gives the same bytes.
    """

    def __init__(self, folder: str, storage: str, rosbag2_py: Any) -> None:
        """Create the folder; raises what rosbag2_py raises."""
        self._library = rosbag2_py
        self._writer: Any = rosbag2_py.SequentialWriter()
        self._writer.open(
            rosbag2_py.StorageOptions(uri=folder, storage_id=storage),
            rosbag2_py.ConverterOptions("cdr", "cdr"),
        )
        self._topics = 0

    def add_topic(self, topic: StoredTopic) -> None:
        """Announce a topic; what the reader's library said of it goes over unchanged."""
        known = topic.qos if hasattr(topic.qos, "offered_qos_profiles") else None
        values: Dict[str, Any] = {
            "name": topic.name,
            "type": topic.type,
            "serialization_format": "cdr",
        }
        if known is not None:
            values["offered_qos_profiles"] = known.offered_qos_profiles
        try:
            metadata = self._library.TopicMetadata(**values)
        except TypeError:  # from Jazzy on, a topic has a number
            metadata = self._library.TopicMetadata(id=self._topics, **values)
        self._topics += 1
        self._writer.create_topic(metadata)

    def write(self, name: str, kind: str, recorded_ns: int, raw: bytes) -> None:
        """Write a message of an announced topic."""
        self._writer.write(name, bytes(raw), recorded_ns)

    def serialize(self, message: Any, kind: str) -> bytes:
        """The bytes of a message that has the fields of `kind`."""
        serialization = importlib.import_module("rclpy.serialization")
        made = importlib.import_module("rosidl_runtime_py.utilities").get_message(kind)()
        for field in made.get_fields_and_field_types():
            setattr(made, field, getattr(message, field))
        return bytes(serialization.serialize_message(made))

    def close(self) -> None:
        """Finish the bag: rosbag2 writes its metadata when the writer goes."""
        if hasattr(self._writer, "close"):
            self._writer.close()
        self._writer = None

    def abort(self) -> None:
        """As `close`; rosbag2 has nothing else."""
        with contextlib.suppress(Exception):
            self.close()


class _WithData:
    """A message, its `data` as a numpy array: what rosbags writes."""

    def __init__(self, message: Any, data: np.ndarray) -> None:
        self._message = message
        self.data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)
