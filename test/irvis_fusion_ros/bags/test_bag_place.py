"""Whenever the process is killed, a whole bag has the name, the old one or the new one."""

import errno
import os
import signal

import pytest
from bag_recording import IMAGE, START_NS, STORAGES, needs_rosbags
from rosbag2_bags import raw_images, read

from irvis_fusion_ros.bags import bag_place
from irvis_fusion_ros.bags.bag import BagError
from irvis_fusion_ros.bags.bag_place import MARK, count_readable
from irvis_fusion_ros.bags.bag_writer import BagWriter

pytestmark = needs_rosbags
STEPS = ("rename", "remove", "makedirs", "fsync", "rmdir", "unlink")


def write(path, messages, storage="sqlite3", **options):
    with BagWriter(path, storage, overwrite=True, **options) as writer:
        for topic, recorded_ns, raw in messages:
            writer.write_raw(topic, IMAGE, recorded_ns, raw)


def killed_at(step, work):
    """Run `work` in a child that dies at the given call of the file system; return if it did."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status)
    calls = 0

    def deadly(function):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    try:
        for name in STEPS:
            setattr(os, name, deadly(getattr(os, name)))
        bag_place._exchange = deadly(bag_place._exchange)
        work()
    finally:
        os._exit(0)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_kill_at_any_step_leaves_the_old_or_the_new_bag_whole(
    tmp_path, monkeypatch, can_exchange
):
    if not can_exchange:  # two renames, as on file systems that know no other way
        monkeypatch.setattr(bag_place, "_exchange", lambda one, other: False)
    old, new = raw_images(2), raw_images(3)
    path = tmp_path / "bag"
    write(path, old)
    seen, died, step = set(), True, 0
    while died:
        step += 1
        died = killed_at(step, lambda: write(path, new))
        if not path.exists():  # between two renames: the next writer puts the old one back
            assert not can_exchange
            with pytest.raises(BagError, match="--overwrite"):
                BagWriter(path)
        found = read(path)
        assert found in (old, new)
        seen.add(len(found))
        write(path, old)
        assert [entry.name for entry in tmp_path.iterdir()] == ["bag"]
    assert seen == {len(old), len(new)} and step > 6


def test_a_kill_while_the_replaced_bag_is_removed_leaves_nothing_to_resume(tmp_path, monkeypatch):
    """What is left of the replaced bag is not what an interrupted run has written."""
    listdir = os.listdir  # in any order; here that in which the end comes first
    monkeypatch.setattr(os, "listdir", lambda path: sorted(listdir(path)))
    path, run = tmp_path / "bag", {"bag": "a recording"}

    def resumed(messages):
        writer = BagWriter(path, overwrite=True, resume=True)
        writer.identify(run)
        with writer:
            found = writer.place.before
            for topic, recorded_ns, raw in messages:
                writer.write_raw(topic, IMAGE, recorded_ns, raw)
        return found

    died, step, replaced = True, 0, 0
    while died:
        step += 1
        write(path, raw_images(2))
        died = killed_at(step, lambda: resumed(raw_images(3)))
        if died and path.exists() and read(path) == raw_images(3):
            replaced += 1
            assert resumed(raw_images(4)) is None
    assert replaced > 3


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_that_lost_messages_on_the_disk_does_not_replace_the_old_one(
    tmp_path, monkeypatch, storage
):
    path = tmp_path / "bag"
    write(path, raw_images(2), storage)
    monkeypatch.setattr(
        BagWriter, "_count_again", _damaging(BagWriter._count_again, path.name, storage)
    )
    with pytest.raises(BagError, match=r"bag\.part/bag"):
        write(path, raw_images(4), storage)
    assert read(path) == raw_images(2)


def _damaging(count_again, name, storage):
    def damage_and_count(writer):
        suffix = "db3" if storage == "sqlite3" else "mcap"
        file = f"{writer.place.unfinished}/{name}.{suffix}"
        os.truncate(file, os.path.getsize(file) * 2 // 3)
        count_again(writer)

    return damage_and_count


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("written", [3, 31, 32, 40, 100])
def test_the_messages_said_to_be_kept_can_be_read(tmp_path, storage, written):
    messages = raw_images(60, (100, 120))
    with pytest.raises(BagError) as caught, BagWriter(tmp_path / "bag", storage) as writer:
        full = OSError(errno.ENOSPC, "No space left on device")
        for number, (topic, recorded_ns, raw) in enumerate(messages):
            if number == written:
                _fill_disk(writer, full)
            writer.write_raw(topic, IMAGE, recorded_ns, raw)
    assert "make room" in str(caught.value)
    kept = writer.place.unfinished
    if not os.path.isdir(kept):
        assert "nothing is kept" in str(caught.value)
        return
    count = count_readable(kept)
    assert f"({count} messages are kept in {kept})" in str(caught.value)
    assert 0 < count <= written
    assert f"can be read: {count}" in (tmp_path / "bag.part" / MARK).read_text()


def _fill_disk(writer, error):
    """Let every write of the storage fail, as on a full disk."""
    storage = writer._writer.storage

    def fail(*arguments):
        raise error

    storage.write = storage.close = fail
    if hasattr(storage, "conn"):
        storage.conn.rollback()  # what SQLite does with a transaction that the disk refuses


def test_time_0_is_a_time(tmp_path):
    write(tmp_path / "bag", [("/vis", 0, raw_images()[1][2]), ("/vis", START_NS, b"\0\1\0\0")])
    assert count_readable(str(tmp_path / "bag")) == 2


@pytest.mark.parametrize("name", ["a_file/bag", "x" * 260])
def test_a_place_that_cannot_be_is_answered_with_another_one(tmp_path, name):
    (tmp_path / "a_file").write_bytes(b"")
    writer = BagWriter(tmp_path / name)
    writer.identify({})
    with pytest.raises(BagError, match="choose another name or place$"), writer:
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["a_file"]


def test_overwriting_is_advised_where_it_helps(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(BagError, match="found a file or folder; choose another name$"):
        BagWriter(tmp_path / "folder")
    for overwrite in (False, True):
        with BagWriter(tmp_path / "bag", overwrite=overwrite) as writer:
            writer.write_raw("/vis", IMAGE, 1, b"\0\1\0\0")
        with pytest.raises(BagError, match="found a bag; .*or replace it with --overwrite"):
            BagWriter(tmp_path / "bag")
