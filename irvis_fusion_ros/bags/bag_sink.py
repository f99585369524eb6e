"""Write the files of a bag with `rosbags`. See `bag_writer.BagWriter`."""

from __future__ import annotations

import array
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from irvis_fusion_ros.bags.bag_error import bag_library
from irvis_fusion_ros.bags.bag_storage import StoredTopic

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

COMMIT_EVERY = 32
"""Messages between two commits to SQLite: at most these are lost when a run is killed."""
UNKNOWN_DIGEST = "RIHS01_" + 64 * "0"


class BagSink:
    """Takes topics and messages as bytes, and makes bytes of messages."""

    def __init__(self, folder: str, storage: str, compress: bool) -> None:
        """Create the new folder; raise what rosbags and the file system raise.

        Args:
            storage: "sqlite3" or "mcap".
            compress: Use zstd, for chunks of an MCAP file or each message in SQLite.

        Raises:
            BagReaderUnavailableError: `rosbags` is not installed.
        """
        rosbag2 = bag_library("rosbags.rosbag2")
        self._typesys = bag_library("rosbags.typesys")
        self._store = self._typesys.get_typestore(self._typesys.Stores.ROS2_HUMBLE)
        plugin = rosbag2.StoragePlugin[storage.upper()]
        self._writer = rosbag2.Writer(Path(folder), version=9, storage_plugin=plugin)
        if compress:
            mode = rosbag2.CompressionMode
            self._writer.set_compression(
                mode.STORAGE if storage == "mcap" else mode.MESSAGE,
                rosbag2.CompressionFormat.ZSTD,
            )
        self._writer.open()
        self._connections: dict[tuple[str, str], Connection] = {}
        self._since_commit = 0

    def add_topic(self, topic: StoredTopic) -> None:
        """Announce a topic, with its definition where the store does not know its type."""
        definition: dict[str, Any] = {"msgdef": topic.definition}
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

    def serialize(self, message: object, kind: str) -> bytes:
        """Return the CDR bytes of a message that has the fields of `kind`."""
        data = getattr(message, "data", None)
        if isinstance(data, (array.array, bytes, bytearray, memoryview)):
            message = _WithData(message, np.frombuffer(data, np.uint8))
        raw: bytes = self._store.serialize_cdr(message, kind)
        return raw

    def close(self) -> None:
        """Finish the bag."""
        self._writer.close()

    def abort(self) -> None:
        """Close the files as they are, without an index."""
        with contextlib.suppress(Exception):  # of a failed commit: the reason is known already
            self._commit()
        with contextlib.suppress(Exception):
            self._writer.abort()

    def _commit(self) -> None:
        # rosbags uses one transaction for a whole bag, which is lost when a run is killed.
        connection = getattr(self._writer.storage, "conn", None)
        if connection is not None:
            connection.commit()

    def _digest(self, topic: StoredTopic) -> str:
        """Return the type hash by the bag's own definition; old bags lack the hash."""
        if topic.type in self._store.types:
            return str(self._store.hash_rihs01(topic.type))
        try:
            store = self._typesys.get_typestore(self._typesys.Stores.ROS2_HUMBLE)
            store.register(self._typesys.get_types_from_msg(topic.definition, topic.type))
            return str(store.hash_rihs01(topic.type))
        except Exception:  # noqa: BLE001 - definitions may be of any kind; players need no hash
            return UNKNOWN_DIGEST


class _WithData:
    """A message with its `data` as a numpy array, which rosbags needs."""

    def __init__(self, message: object, data: np.ndarray) -> None:
        self._message = message
        self.data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)
