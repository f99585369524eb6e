"""Reads a .db3 of which a part is missing, as far as SQLite gives messages.

A copy that was interrupted leaves such a file. Messages are read in the order in which they were
written, to the first page that is missing; then that is told as BagError, so that nobody takes a
part for the whole.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import types
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from irvis_fusion_ros.bags.bag_error import BagError


class CutSqlite:
    """What rosbags' reader offers of such a file: `connections` and `messages`."""

    def __init__(self, path: Any) -> None:
        """Nothing is opened yet."""
        self.path = os.fspath(path)
        self.connections: List[Any] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> CutSqlite:
        # Read only, and no journal beside it is rolled back: the file stays as it was found.
        uri = Path(self.path).resolve().as_uri() + "?mode=ro&immutable=1"
        database = self._stack.enter_context(contextlib.closing(sqlite3.connect(uri, uri=True)))
        database.row_factory = sqlite3.Row
        # Without this SQLite refuses a file shorter than its header says; nothing is written.
        database.execute("PRAGMA writable_schema = ON")
        self._database = database
        definitions = self._definitions()
        for row in database.execute("SELECT * FROM topics ORDER BY id"):
            self.connections.append(
                types.SimpleNamespace(
                    id=row["id"],
                    topic=row["name"],
                    msgtype=row["type"],
                    msgcount=0,
                    digest="",
                    msgdef=types.SimpleNamespace(data=definitions.get(row["type"], "")),
                    ext=types.SimpleNamespace(offered_qos_profiles=()),
                )
            )
        counts: Dict[int, int] = {}
        with contextlib.suppress(sqlite3.DatabaseError):  # the cut, which `messages` tells
            for row in self._rows("topic_id"):
                counts[row[0]] = counts.get(row[0], 0) + 1
        for connection in self.connections:
            connection.msgcount = counts.get(connection.id, 0)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()

    def messages(self, connections: Sequence[Any]) -> Iterator[Tuple[Any, int, bytes]]:
        """(connection, time of recording in ns, bytes), in the order of writing.

        Raises:
            BagError: where the file ends too early.
        """
        wanted = {connection.id: connection for connection in connections}
        count = 0
        try:
            for topic, recorded_ns, raw in self._rows("topic_id, timestamp, data"):
                count += 1
                if topic in wanted:
                    yield wanted[topic], recorded_ns, raw
        except sqlite3.DatabaseError as error:
            raise BagError(
                f"expected {self.path} to be a readable ROS 2 bag to its end, found it damaged "
                f"after {count} messages ({error}): was its copying cut off? copy it anew, or try "
                "`sqlite3 BAG.db3 .recover` and `ros2 bag reindex` on a copy"
            ) from error

    def _rows(self, columns: str) -> Any:
        # By the table alone: the index over time has pages all over the file.
        return self._database.execute(f"SELECT {columns} FROM messages NOT INDEXED ORDER BY id")

    def _definitions(self) -> Dict[str, str]:
        try:
            rows = self._database.execute(
                "SELECT topic_type, encoded_message_definition FROM message_definitions"
            )
            return {row[0]: row[1] for row in rows}
        except sqlite3.DatabaseError:  # before Iron bags did not hold them
            return {}
