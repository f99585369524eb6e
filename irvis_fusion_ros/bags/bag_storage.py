"""Read the files of a bag by time, and compare what was read with what it states."""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Callable

from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.bags.bag_error import (
    COPY_AGAIN,
    BagError,
    IncompleteBagError,
    reading_errors,
    unreadable,
)
from irvis_fusion_ros.bags.storage import bag_files
from irvis_fusion_ros.bags.storage.decompression import is_compressed, unpack
from irvis_fusion_ros.bags.storage.stored_topic import CDR, StoredTopic, message_types
from irvis_fusion_ros.messages.serialized_image import SERIALIZED_TYPES

OnIncomplete = Callable[[IncompleteBagError], None]
"""What to do about missing messages: raise the error, keep it, or warn."""
_PROBLEMS_SAID = 4


class BagReader:
    """Reads a bag: a folder, or one of its .db3 or .mcap files; a context manager.

    Attributes:
        topics: The topics, sorted by name and type.
    """

    def __init__(self, bag: str) -> None:
        """Open nothing yet.

        Raises:
            BagError: Nothing is there, or `rosbags` is not installed.
        """
        self._store = message_types()
        self._bag = os.fspath(bag)
        self._found = bag_files.find_files(self._bag)
        self._files: list[bag_files.StorageFile] = []
        self._problems: list[str] = []
        self._undecoded: dict[tuple[str, str], tuple[int, Exception]] = {}
        self.topics: list[StoredTopic] = []

    def __enter__(self) -> BagReader:
        with reading_errors(self._bag):
            self._open()
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files:
            file.close()

    def messages(
        self, topics: Sequence[StoredTopic], on_incomplete: OnIncomplete | None = None
    ) -> Iterator[tuple[StoredTopic, int, bytes]]:
        """Yield (topic, time of recording in ns, bytes) of these topics, in order of recording.

        Args:
            on_incomplete: Takes the error where messages are missing; None raises it.

        Raises:
            IncompleteBagError: After the last message, where fewer or more were read than the
                bag states, or a file is damaged or cut off.
        """
        wanted = {topic[:2]: topic for topic in topics}
        read: Counter[str] = Counter()
        problems = list(self._problems)
        for topic, recorded_ns, raw in self._in_order(set(wanted), problems):
            try:
                if topic.encoding == CDR and is_compressed(raw):
                    raw = unpack(raw)
            except FusionError as error:
                problems.append(str(error))
                continue
            read[topic.name] += 1
            yield wanted[topic[:2]], recorded_ns, raw
        problems += [file.problem for file in self._files if file.problem]
        for (name, kind), (count, first) in self._undecoded.items():
            problems.append(f"{count} messages of {name} are no {kind} ({first})")
        incomplete = self._incomplete({topic.name for topic in topics}, read, problems)
        if incomplete is not None:
            if on_incomplete is None:
                raise incomplete
            on_incomplete(incomplete)

    def _in_order(
        self, wanted: set[tuple[str, str]], problems: list[str]
    ) -> Iterator[tuple[StoredTopic, int, bytes]]:
        """Yield the messages of all files by time; begin to read a file when it is due.

        Files may overlap, as those of two recorders do, and their names need not be in order.
        """
        heads: list[tuple[int, int, tuple[StoredTopic, int, bytes]]] = []
        found: list[Iterator[tuple[StoredTopic, int, bytes]]] = []

        def advance(number: int) -> None:
            try:
                each = next(found[number], None)
            except (FusionError, OSError) as error:  # it ended
                problems.append(str(error))
                return
            if each is not None:
                heapq.heappush(heads, (each[1], number, each))

        waiting = sorted(self._files, key=lambda file: file.start_ns)
        while waiting or heads:
            if waiting and (not heads or waiting[0].start_ns <= heads[0][0]):
                found.append(waiting.pop(0).messages(wanted))
                advance(len(found) - 1)
                continue
            _, number, message = heapq.heappop(heads)
            yield message
            advance(number)

    def decode(self, raw: bytes, topic: StoredTopic) -> Any:
        """Return the message, or None where `raw` holds none; `messages` tells it at the end."""
        try:
            image = SERIALIZED_TYPES.get(topic.type)
            return self._store.deserialize_cdr(raw, topic.type) if image is None else image(raw)
        except Exception as error:  # noqa: BLE001 - of rosbags, at any bytes
            count, first = self._undecoded.get(topic[:2], (0, error))
            self._undecoded[topic[:2]] = (count + 1, first)
            return None

    def _open(self) -> None:
        if self._found.problem:
            self._problems.append(self._found.problem)
        first: Exception | None = None
        for path in self._found.files:
            try:
                self._files.append(bag_files.open_file(path))
            except (FusionError, OSError) as error:
                self._problems.append(str(error))
                first = first or error
        if first is not None and not self._files:
            if isinstance(first, BagError) and str(first).startswith("expected "):
                raise first
            raise unreadable(self._bag, str(first)) from first
        merged: dict[tuple[str, str], StoredTopic] = {}
        for topic in (t for file in self._files for t in file.topics):
            seen = merged.get(topic[:2], topic._replace(messages=0))
            merged[topic[:2]] = seen._replace(messages=seen.messages + topic.messages)
        names = {topic.name for topic in merged.values()}
        for topic in self._found.topics or ():
            if topic[:2] in merged:  # MCAP has no type hashes
                there = merged[topic[:2]]
                merged[topic[:2]] = there._replace(digest=there.digest or topic.digest)
            elif topic.name not in names:
                merged[topic[:2]] = topic
        self.topics = [merged[key] for key in sorted(merged)]
        if not merged:  # damage alone makes a bag without topics unreadable
            damage = [file.problem for file in self._files if file.problem]
            for file in self._files:
                try:
                    next(file.messages(set()), None)
                except FusionError as error:
                    damage.append(str(error))
            if damage:
                raise unreadable(self._bag, "; ".join(damage), COPY_AGAIN)

    def _incomplete(
        self, names: set[str], read: Counter[str], problems: Sequence[str]
    ) -> IncompleteBagError | None:
        """Compare what was read with what the bag states."""
        there = (topic for file in self._files for topic in file.topics)
        stated = {"its storage": bag_files.count_by_name(there)}
        if self._found.topics is not None:
            stated[bag_files.METADATA] = bag_files.count_by_name(self._found.topics)
        differences: dict[str, tuple[int, int]] = {}
        said = []
        for source, counts in stated.items():
            for name in sorted(names & set(counts)):
                if counts[name] != read[name]:
                    differences[name] = (read[name], counts[name])
                    said.append(f"{name}: {read[name]} read, {counts[name]} by {source}")
        if not said and not problems:
            return None
        causes = list(dict.fromkeys([*problems, *(self._found.hints if said else ())]))
        if not causes:
            causes = [
                f"{bag_files.METADATA} was edited, or a storage file was changed or left out"
            ]
        if len(causes) > _PROBLEMS_SAID:
            causes[_PROBLEMS_SAID:] = [f"and {len(causes) - _PROBLEMS_SAID} more"]
        text = f"expected every message that {self._bag} states, found the bag incomplete"
        text += "".join(f"; {each}" for each in said) + "; cause: " + "; ".join(causes)
        # Where nothing was read, there is nothing to go on with.
        text += "; --allow-partial goes on with what can be read" if read else COPY_AGAIN
        return IncompleteBagError(text, differences)
