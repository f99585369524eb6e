"""Read a .db3 file of rosbag2 with Python's SQLite, also one whose last messages are in its WAL.

`rosbags` opens databases as immutable, which leaves out what lies in a write-ahead log, and by a
URI that # and ? end.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from irvis_fusion_ros.bags.bag_error import COPY_AGAIN, BagError, recovery_advice
from irvis_fusion_ros.bags.storage.decompression import LARGEST_BYTES
from irvis_fusion_ros.bags.storage.scratch import copied
from irvis_fusion_ros.bags.storage.stored_topic import StoredTopic, plain_type, read_qos

MAGIC = b"SQLite format 3\0"
_TABLES = ("topics", "messages", "message_definitions")
_STEPS, _STEPS_A_BYTE, _STEPS_A_CALL = 100_000, 10, 1000
"""Most steps of SQLite in a walk: a message takes up to 30 of them, and 24 bytes at least."""
_LEAST_RECOVERABLE = 2 * 4096  # the first page of SQLite holds no message
_LARGEST_PADDING = 1 << 40  # the file is sparse


class _Database(sqlite3.Connection):
    """A connection whose queries end: pages of a damaged file may lead around in a circle."""

    def limit(self, size: int) -> None:
        """Allow as many steps as the rows of a file of `size` bytes need, and some more."""
        self._calls, most = 0, (_STEPS + _STEPS_A_BYTE * size) // _STEPS_A_CALL

        def count() -> bool:
            self._calls += 1
            return self._calls > most

        self.set_progress_handler(count, _STEPS_A_CALL)

    def begin(self) -> None:
        """Count from 0 again."""
        self._calls = 0

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        """Run a query; memory that an impossible size asks for is damage, too."""
        try:
            return super().execute(sql, values)
        except MemoryError:
            raise sqlite3.DatabaseError("SQLite asked for more memory than there is") from None


class SqliteFile:
    """One storage file.

    Attributes:
        topics: The topics with the number of rows that the table of messages has.
        start_ns: Time of recording before which there is no message.
        problem: What is known to be missing, or "".
    """

    def __init__(self, path: Path, origin: Path) -> None:
        """Open the file; `origin` is the one that it was decompressed from, or itself.

        Raises:
            BagError: It cannot be read.
        """
        self._path = origin
        recoverable = path == origin and path.stat().st_size >= _LEAST_RECOVERABLE
        self._advice = recovery_advice(path) if recoverable else COPY_AGAIN
        try:
            self._database, cut = open_database(path)
            self._read_topics()
            self.start_ns = self._start_ns()
        except sqlite3.Error as error:
            raise self._damaged(f"{type(error).__name__}: {error}") from error
        if cut:
            self.problem = str(self._damaged("its end is cut off"))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def messages(self, wanted: set[tuple[str, str]]) -> Iterator[tuple[StoredTopic, int, bytes]]:
        """Yield (topic, time of recording in ns, bytes) in order of recording.

        `wanted` are names and types of topics. Rows that cannot be read are left out.

        Raises:
            BagError: After the last message, where some could not be read.
        """
        topics = {n: topic for n, topic in self._by_number.items() if topic[:2] in wanted}
        marks = ",".join("?" * len(topics))
        data = f"CASE WHEN length(data) <= ? AND topic_id IN ({marks}) THEN data END"
        query = "SELECT topic_id, timestamp, length(data), " + data  # nosec B608
        query += " FROM messages WHERE rowid = ?"
        lost, why = 0, ""
        for number in self._numbers():
            try:
                kind, recorded_ns, size, data = self._row(query, LARGEST_BYTES, *topics, number)
            except sqlite3.DatabaseError as error:
                lost, why = lost + 1, str(error)
                continue
            if kind not in topics:
                continue
            if data is None:
                lost, why = lost + 1, f"{size} bytes, where {LARGEST_BYTES} are the most"
                continue
            if not isinstance(recorded_ns, int) or not isinstance(data, (bytes, str)):
                lost, why = lost + 1, "a time or data of another type"
                continue
            yield topics[kind], recorded_ns, data.encode() if isinstance(data, str) else data
        if lost:
            raise self._damaged(f"{lost} messages that cannot be read ({why})")

    def _numbers(self) -> Iterator[int]:
        """Yield the rows of messages by time: from its index, which may outlive the table.

        A bag without an index would sort whole images; so only the numbers of rows are sorted.
        Tables that were copied by SQL may lack the column `id`, or have the same `id` twice.
        """
        self._database.begin()
        try:
            for row in self._database.execute(
                "SELECT rowid FROM messages ORDER BY timestamp, rowid"
            ):
                yield row[0]
        except sqlite3.DatabaseError as error:
            raise self._damaged(f"{type(error).__name__}: {error}") from error

    def _row(self, query: str, *values: object) -> tuple:
        row: tuple | None = self._database.execute(query, values).fetchone()
        if row is None:
            raise sqlite3.DatabaseError("a row that its index names is not there")
        return row

    def _damaged(self, found: str) -> BagError:
        return BagError(f"{self._path} is damaged: {found}{self._advice}")

    def _read_topics(self) -> None:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
        tables = {
            name for name, sql in self._database.execute(query) if "VIRTUAL" not in str(sql)[:20]
        }
        if not {"topics", "messages"} <= tables:
            raise self._damaged("no tables of topics and messages")
        for table in tables.intersection(_TABLES):
            # A generated column can make gigabytes of each row.
            if any(hidden for *_, hidden in self._rows(f"PRAGMA table_xinfo({table})")):
                raise self._damaged(f"columns of {table} that are computed, not stored")
        definitions = {}
        if "message_definitions" in tables:
            query = "SELECT topic_type, encoded_message_definition FROM message_definitions"
            definitions = {plain_type(str(kind)): str(text) for kind, text in self._rows(query)}
        counts = self._count()
        columns = {row[1] for row in self._rows("PRAGMA table_info(topics)")}
        later = ("offered_qos_profiles", "type_description_hash")
        chosen = ", ".join(name if name in columns else "''" for name in later)
        query = f"SELECT id, name, type, serialization_format, {chosen} FROM topics ORDER BY id"  # nosec B608
        self._by_number = {}
        for number, *texts in self._rows(query):
            if not isinstance(number, int):
                continue  # its messages are of topics without a name
            name, stored, encoding, qos, digest = map(str, texts)
            kind, count = plain_type(stored, encoding), counts.pop(number, 0)
            about = (definitions.get(kind, ""), digest, read_qos(qos), encoding)
            self._by_number[number] = StoredTopic(name, kind, count, *about)
        self.topics = list(self._by_number.values())
        self.problem = ""
        if counts:
            count = sum(counts.values())
            self.problem = f"{self._path} has {count} messages of topics that it does not name"

    def _count(self) -> dict[int, int]:
        """Return the number of messages by topic; of a damaged table that of its readable rows."""
        self._database.begin()
        with contextlib.suppress(sqlite3.DatabaseError):
            return dict(self._rows("SELECT topic_id, count(*) FROM messages GROUP BY topic_id"))
        counts: Counter[int] = Counter()
        with contextlib.suppress(BagError):
            for number in self._numbers():
                with contextlib.suppress(sqlite3.DatabaseError):
                    query = "SELECT topic_id FROM messages WHERE rowid = ?"
                    counts[self._row(query, number)[0]] += 1
        return counts

    def _start_ns(self) -> int:
        self._database.begin()
        with contextlib.suppress(sqlite3.DatabaseError):
            ((first,),) = self._rows("SELECT min(timestamp) FROM messages")
            return first if isinstance(first, int) else 0
        return 0

    def _rows(self, query: str) -> Iterator[tuple]:
        return self._database.execute(query)


def open_database(path: Path) -> tuple[_Database, bool]:
    """Open a database for reading with what lies beside it; its files are not changed.

    Returns:
        The database, and whether its end is missing. SQLite refuses such a file: then zeros stand
        for the end of a copy, whose first pages give what they have.

    Raises:
        sqlite3.Error: It cannot be opened.
        OSError: It cannot be copied to a temporary folder, where that is necessary.
    """
    beside = files_beside(path)
    there = sum(file.stat().st_size for file in (path, *beside))
    if not beside:
        with open(path, "rb") as stream:
            head = stream.read(32)
        size = int.from_bytes(head[16:18], "big")
        size = (65536 if size == 1 else size) * int.from_bytes(head[28:32], "big")
        # The size is valid where the last writer has counted both numbers up.
        cut = path.stat().st_size < size <= _LARGEST_PADDING + path.stat().st_size
        if cut:
            path = copied([path])
            os.truncate(path, size)
        return _connect(path, "immutable=1", there), cut
    if beside[0].name.endswith("-wal"):
        try:
            return _connect(path, "mode=ro", there), False
        except sqlite3.OperationalError:
            pass  # SQLite needs to write beside it, where nobody may: read a copy
    # A journal is of a transaction that did not end: SQLite takes it back, in the copy.
    return _connect(copied([path, *beside]), "mode=rw", there), False


def files_beside(path: Path) -> list[Path]:
    """Return the write-ahead log and the journal of a database, if they hold anything."""
    files = [Path(f"{path}{end}") for end in ("-wal", "-journal")]
    return [file for file in files if file.exists() and file.stat().st_size]


def _connect(path: Path, how: str, size: int) -> _Database:
    # Percent signs for what a URI would end at, and for bytes that are not UTF-8.
    name = urllib.parse.quote(os.fsencode(path.absolute()))
    uri = f"file:{name}?{how}"
    database = sqlite3.connect(uri, uri=True, check_same_thread=False, factory=_Database)
    try:
        database.limit(size)
        database.text_factory = lambda text: text.decode("utf-8", "replace")
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        database.close()
        raise
    return database
