"""Bags as people have them; the numbers are those of the table of reported cases."""

import os
import shutil
import sqlite3

import pytest
from bag_recording import IMAGE, STORAGES, needs_rosbags
from rosbag2_bags import (
    COUNT,
    TOPICS,
    edit_metadata,
    raw_images,
    read,
    write_rosbags,
)

from irvis_fusion_ros.bags.bag import all_topics
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.storage import sqlite_file

pytestmark = needs_rosbags
NAMES = ["night #2", "what?", "50%41", "two words", "städtisch", os.fsdecode(b"caf\xe9")]
SUFFIX = {"sqlite3": ".db3", "mcap": ".mcap"}


# --- B46, B46b: names


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("storage", STORAGES)
def test_b46_a_bag_of_any_name_replaces_the_old_one_whole(tmp_path, name, storage):
    path = tmp_path / name
    for messages in (raw_images(2), raw_images()):
        with BagWriter(path, storage, overwrite=True) as writer:
            for topic, recorded_ns, raw in messages:
                writer.write_raw(topic, IMAGE, recorded_ns, raw)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert read(path) == raw_images()
    (file,) = [entry for entry in path.iterdir() if entry.suffix == SUFFIX[storage]]
    assert f"- {file.name}" in (path / "metadata.yaml").read_text().replace("'", "")


@pytest.mark.parametrize("name", NAMES)
def test_b46b_a_bag_of_any_name_is_read(tmp_path, name):
    write_rosbags(tmp_path / "rec")
    (tmp_path / "rec").rename(tmp_path / name)
    assert read(tmp_path / name) == raw_images()
    assert read(tmp_path / name / "rec.db3") == raw_images()


# --- B20: messages beside the database


def killed_with_wal(tmp_path):
    """Two thirds of the messages are in the write-ahead log alone."""
    bag = tmp_path / "rec"
    write_rosbags(bag)
    database = sqlite3.connect(bag / "rec.db3")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    rows = database.execute("SELECT * FROM messages WHERE id > 4").fetchall()
    database.execute("DELETE FROM messages WHERE id > 4")
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.executemany("INSERT INTO messages VALUES (?,?,?,?)", rows)
    database.commit()
    shutil.copytree(bag, tmp_path / "killed")
    database.close()
    return tmp_path / "killed"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if "shm" not in path.name}


def test_b20_messages_in_the_write_ahead_log_are_read(tmp_path):
    bag = killed_with_wal(tmp_path)
    before = contents(bag)
    assert read(bag) == raw_images()
    assert contents(bag) == before
    (bag / "metadata.yaml").unlink()
    (bag / "rec.db3-shm").unlink(missing_ok=True)
    assert read(bag) == raw_images()


def test_b20_where_nobody_may_write_a_copy_is_read(tmp_path, monkeypatch):
    bag = killed_with_wal(tmp_path)
    connect = sqlite_file._connect

    def refuse(path, how, size):
        if how == "mode=ro":
            raise sqlite3.OperationalError("unable to open database file")
        return connect(path, how, size)

    monkeypatch.setattr(sqlite_file, "_connect", refuse)
    before = contents(bag)
    assert read(bag) == raw_images()
    assert contents(bag) == before


def test_b20_a_transaction_that_did_not_end_is_taken_back_in_a_copy(tmp_path):
    bag = tmp_path / "rec"
    write_rosbags(bag)
    database = sqlite3.connect(bag / "rec.db3", isolation_level=None)
    database.execute("PRAGMA cache_size = 1")  # so that pages are written before the end
    database.execute("BEGIN")
    database.execute("UPDATE messages SET data = zeroblob(20000) WHERE id > 3")
    shutil.copytree(bag, tmp_path / "killed")
    database.close()
    before = contents(tmp_path / "killed")
    assert len(before["rec.db3-journal"]) > 0
    assert read(tmp_path / "killed") == raw_images()
    assert contents(tmp_path / "killed") == before


# --- B26: quality of service


def profiles(*reliabilities):
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    time = QosTime(9223372036, 854775807)
    return [
        [
            Qos(
                QosHistory.KEEP_LAST,
                10,
                QosReliability[each],
                QosDurability.VOLATILE,
                time,
                time,
                QosLiveliness.AUTOMATIC,
                time,
                False,
            )  # fmt: skip
        ]
        for each in reliabilities
    ]


@pytest.mark.parametrize("storage", STORAGES)
def test_b26_messages_are_read_whatever_profile_the_metadata_has(tmp_path, storage):
    bag = write_rosbags(tmp_path / "rec", storage=storage, qos=profiles("RELIABLE"))
    edit_metadata(bag, "reliability: reliable", "reliability: best_effort")
    assert read(bag) == raw_images()
    edit_metadata(bag, "reliability: best_effort", "reliability: [7, nonsense]")
    assert read(bag) == raw_images()


@pytest.mark.parametrize("storage", STORAGES)
def test_b26_all_publishers_of_a_topic_are_read(tmp_path, storage):
    qos = profiles("RELIABLE", "BEST_EFFORT", "RELIABLE")[:2]
    bag = write_rosbags(tmp_path / "rec", storage=storage, qos=qos)
    assert read(bag) == raw_images()
    assert [topic[:3] for topic in all_topics(bag)] == [(n, IMAGE, COUNT) for n in TOPICS]
