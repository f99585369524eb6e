"""Bags as people have them; the numbers are those of the table of reported cases."""

import os
import shlex
import shutil
import sqlite3
import struct
import sys
import tracemalloc
from pathlib import Path

import pytest
from bag_recording import IMAGE, START_NS, STORAGES, needs_rosbags
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbag2_bags import (
    COUNT,
    TOPICS,
    edit_metadata,
    raw_images,
    read,
    read_partly,
    write_mcap,
    write_rosbags,
)

from irvis_fusion_ros.bags.bag import all_topics, read_messages
from irvis_fusion_ros.bags.bag_error import BagError, IncompleteBagError
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.storage import decompression, sqlite_file

pytestmark = needs_rosbags
mcap_writer = pytest.importorskip("mcap.writer", reason="needs mcap: pip install '.[bag]'")
zstandard = pytest.importorskip("zstandard", reason="comes with mcap")
WHOLE = 2 * COUNT
NAMES = ["night #2", "what?", "50%41", "two words", "städtisch", os.fsdecode(b"caf\xe9")]
MODES = ["NONE", "FILE", "MESSAGE"]
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

    def refuse(path, how):
        if how == "mode=ro":
            raise sqlite3.OperationalError("unable to open database file")
        return connect(path, how)

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


# --- messages read and messages stated


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("stated", [5, 7, 600])
def test_counts_that_differ_are_an_error_after_every_message(tmp_path, storage, stated):
    bag = write_rosbags(tmp_path / "rec", storage=storage)
    edit_metadata(bag, f"message_count: {COUNT}\n", f"message_count: {stated}\n", 1)
    found, (error,) = read_partly(bag)
    assert found == raw_images()
    assert isinstance(error, IncompleteBagError) and error.exit_status == 2
    assert error.differences == {"/ir": (COUNT, stated)}
    for part in (f"/ir: {COUNT} read, {stated} by metadata.yaml", "was edited", "--allow-partial"):
        assert part in str(error)
    with pytest.raises(IncompleteBagError):
        read(bag)
    names = read_messages(bag, ["/vis"])  # the topic whose count is right
    assert len(list(names)) == COUNT


def test_counts_of_mcap_statistics_are_compared(tmp_path):
    file = tmp_path / "rec.mcap"
    write_mcap(file)
    data = bytearray(file.read_bytes())
    number = struct.pack("<HQ", 2, COUNT)  # channel 2 and its messages
    at = data.rindex(number)
    data[at : at + 10] = struct.pack("<HQ", 2, COUNT + 3)
    file.write_bytes(data)
    found, (error,) = read_partly(file)
    assert found == raw_images() and error.differences == {"/vis": (COUNT, COUNT + 3)}


def test_rows_of_a_topic_that_is_not_listed_are_told(tmp_path):
    bag = write_rosbags(tmp_path / "rec")
    with sqlite3.connect(tmp_path / "rec" / "rec.db3") as database:
        database.execute("UPDATE messages SET topic_id = 9 WHERE id IN (2, 4)")
    found, (error,) = read_partly(bag)
    assert len(found) == WHOLE - 2 and error.differences == {"/vis": (COUNT - 2, COUNT)}
    assert "2 messages of topics that it does not name" in str(error)


def split(tmp_path, storage="mcap", mode="NONE"):
    """A bag of three files with four messages each."""
    folder = tmp_path / "rec"
    folder.mkdir()
    names = []
    for number in range(3):
        part = tmp_path / f"rec_{number}"
        write_rosbags(part, raw_images()[4 * number : 4 * number + 4], storage, mode)
        (file,) = [path for path in part.iterdir() if path.name != "metadata.yaml"]
        file.rename(folder / file.name)
        names.append(file.name)
    text = (part / "metadata.yaml").read_text().replace("message_count: 2", "message_count: 6")
    listed = "relative_file_paths:\n" + "".join(f"  - {name}\n" for name in names)
    text = text.replace(f"relative_file_paths:\n  - {names[-1]}\n", listed)
    (folder / "metadata.yaml").write_text(text)
    return folder, names


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("with_metadata", [True, False])
def test_split_bags_are_read_whole(tmp_path, storage, mode, with_metadata):
    folder, names = split(tmp_path, storage, mode)
    assert all(name.endswith(".zstd") == (mode == "FILE") for name in names)
    if not with_metadata:
        (folder / "metadata.yaml").unlink()
    assert read(folder) == raw_images()


def test_a_missing_split_is_told_with_the_file_and_copying_it_is_the_remedy(tmp_path):
    folder, names = split(tmp_path)
    (folder / names[1]).rename(tmp_path / names[1])
    found, (error,) = read_partly(folder)
    assert found == raw_images()[:4] + raw_images()[8:]
    assert error.differences == {"/ir": (4, 6), "/vis": (4, 6)}
    assert f"{names[1]}, which metadata.yaml lists, is not there" in str(error)
    assert "reindex" not in str(error)
    (tmp_path / names[1]).rename(folder / names[1])
    assert read(folder) == raw_images()


def test_a_split_that_metadata_does_not_list_is_read_and_told(tmp_path):
    folder, names = split(tmp_path)
    edit_metadata(folder, f"  - {names[2]}\n", "", 1)
    edit_metadata(folder, "message_count: 6", "message_count: 4")
    found, (error,) = read_partly(folder)
    assert found == raw_images()
    assert f"{names[2]} is there, and metadata.yaml does not list it" in str(error)
    (folder / names[2]).rename(folder / "rec_0 (copy).mcap")  # no later split
    assert read(folder) == raw_images()[:8]


def test_a_storage_file_of_another_name_stands_for_a_missing_one(tmp_path):
    bag = Path(write_rosbags(tmp_path / "rec", storage="mcap"))
    (bag / "rec.mcap").rename(bag / "tuesday.mcap")
    assert read(bag) == raw_images()
    (bag / "tuesday.mcap").unlink()
    with pytest.raises(BagError, match="none of the storage files.*rec.mcap.*copy them") as caught:
        all_topics(str(bag))
    assert "reindex" not in str(caught.value) and "--allow-partial" not in str(caught.value)


def test_files_decompressed_or_compressed_by_hand_are_read(tmp_path):
    folder, names = split(tmp_path, "sqlite3", "FILE")
    packed = (folder / names[0]).read_bytes()
    size = 1 << 20
    plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
    (folder / names[0]).unlink()
    (folder / "rec_0.db3").write_bytes(plain)
    assert read(folder) == raw_images()
    (folder / names[0]).write_bytes(packed[:-9])  # killed while it compressed
    (folder / "metadata.yaml").unlink()
    assert read(folder) == raw_images()


# --- B22c, B19: recordings without their end


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("mode", MODES)
def test_b22c_recordings_of_every_compression_are_read_without_metadata(tmp_path, storage, mode):
    bag = write_rosbags(tmp_path / "rec", storage=storage, mode=mode)
    assert read(bag) == raw_images()
    (tmp_path / "rec" / "metadata.yaml").unlink()
    assert read(bag) == raw_images()


@pytest.mark.parametrize("mode", MODES)
def test_b22c_a_cut_mcap_of_every_compression_gives_its_whole_chunks(tmp_path, mode):
    messages = raw_images(30, (120, 160))  # 2.3 MB: two chunks of 1 MB and the rest
    bag = write_rosbags(tmp_path / "rec", messages, "mcap", mode)
    (file,) = [path for path in (tmp_path / "rec").iterdir() if "mcap" in path.name]
    whole = file.read_bytes()
    file.write_bytes(whole[: int(0.8 * len(whole))])
    for name in ("metadata.yaml", None):
        found, (error,) = read_partly(bag)
        assert 20 < len(found) < 60 and found == messages[: len(found)]
        assert "cut off" in str(error) and "--allow-partial" in str(error)
        if name:
            (tmp_path / "rec" / name).unlink()


@pytest.mark.parametrize("identifier", ['""', "mcap", "my_plugin"])
@pytest.mark.parametrize("storage", STORAGES)
def test_b19_the_storage_is_that_of_the_file(tmp_path, storage, identifier):
    bag = write_rosbags(tmp_path / "rec", storage=storage, version=8)
    text = f"storage_identifier: {identifier}"
    (tmp_path / "rec" / "metadata.yaml").write_text(
        (tmp_path / "rec" / "metadata.yaml").read_text().replace(
            f"storage_identifier: {storage}", text
        )
    )  # fmt: skip
    assert read(bag) == raw_images()


@pytest.mark.parametrize("text", ["", "%$", "rosbag2_bagfile_information:\n  version: 4\n"])
def test_metadata_that_cannot_be_read_is_told_and_the_messages_are_read(tmp_path, text):
    bag = write_rosbags(tmp_path / "rec")
    (tmp_path / "rec" / "metadata.yaml").write_text(text)
    found, (error,) = read_partly(bag)
    assert found == raw_images() and "metadata.yaml is unreadable" in str(error)


# --- B24, B25b: MCAP as the format allows it


INDEXES = ["NONE", "CHUNK", "MESSAGE", "ALL"]
LEAN = {
    "no statistics": {"use_statistics": False},
    "no channels in the summary": {"repeat_channels": False, "repeat_schemas": False},
    "no schemas in the summary": {"repeat_schemas": False},
    "no summary offsets": {"use_summary_offsets": False},
    "nothing": {
        "use_statistics": False,
        "repeat_channels": False,
        "repeat_schemas": False,
        "use_summary_offsets": False,
    },
}


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "ZSTD"])
@pytest.mark.parametrize("index", INDEXES)
def test_b24_mcap_with_any_index_is_read(tmp_path, index, compression):
    bag = write_mcap(
        tmp_path / "a.mcap",
        index_types=getattr(mcap_writer.IndexType, index),
        compression=getattr(mcap_writer.CompressionType, compression),
        chunk_size=3000,
    )
    assert read(bag) == raw_images()


@pytest.mark.parametrize("use_chunking", [True, False])
@pytest.mark.parametrize("lean", LEAN)
def test_b24_mcap_with_any_summary_is_read(tmp_path, lean, use_chunking):
    bag = write_mcap(tmp_path / "a.mcap", use_chunking=use_chunking, chunk_size=3000, **LEAN[lean])
    assert read(bag) == raw_images()
    assert [topic[:3] for topic in all_topics(bag)] == [(n, IMAGE, COUNT) for n in TOPICS]


@pytest.mark.parametrize("use_chunking", [True, False])
def test_b25b_mcap_out_of_order_is_read_in_order(tmp_path, use_chunking):
    messages = raw_images(12)
    shuffled = messages[14:] + messages[1:14:2] + messages[0:14:2]
    bag = write_mcap(tmp_path / "a.mcap", shuffled, use_chunking=use_chunking, chunk_size=2000)
    assert read(bag) == messages


def test_chunks_that_all_overlap_are_read_in_order_with_little_memory(tmp_path):
    messages = raw_images(60, (120, 160))  # 4.6 MB
    early = [(topic, START_NS - 1, raw) for topic, _, raw in messages[::9]]
    mixed = [each for n in range(14) for each in (early[n], *messages[9 * n : 9 * n + 9])]
    bag = write_mcap(tmp_path / "a.mcap", mixed[: len(mixed)], chunk_size=300_000)
    names = list(TOPICS)
    tracemalloc.start()
    times = [message.recorded_ns for message in read_messages(bag, (), names)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert times == sorted(each[1] for each in mixed)
    assert peak < 4_500_000


def test_channels_of_other_systems_do_not_hide_the_images(tmp_path):
    def extra(writer):
        for name, encoding, schema in (
            ("/json", "json", "jsonschema"),
            ("/protobuf", "protobuf", "protobuf"),
            ("/old", "ros1", "ros1msg"),
        ):
            kind = writer.register_schema("sensor_msgs/Image", schema, b"\xff\xfe{}")
            channel = writer.register_channel(name, encoding, kind)
            writer.add_message(channel, START_NS, b"{}", START_NS)
        writer.add_message(writer.register_channel("/bare", "json", 0), START_NS, b"{}", START_NS)

    bag = write_mcap(tmp_path / "a.mcap", extra=extra)
    assert read(bag) == raw_images()
    types = {topic.name: topic.type for topic in all_topics(bag)}
    assert types["/json"] == "sensor_msgs/Image as json" and types["/vis"] == IMAGE
    with pytest.raises(BagError, match="where it is a sensor_msgs/Image as ros1"):
        list(read_messages(bag, ["/old"]))


@pytest.mark.parametrize("name", ["sensor_msgs/Image", "sensor_msgs::msg::Image"])
def test_types_are_understood_as_other_recorders_write_them(tmp_path, name):
    assert read(write_mcap(tmp_path / "a.mcap", type_name=name)) == raw_images()
    bag = write_rosbags(tmp_path / "rec")
    with sqlite3.connect(tmp_path / "rec" / "rec.db3") as database:
        database.execute("UPDATE topics SET type = ?", (name,))
    assert read(bag) == raw_images()


# --- bombs


def zeros(size):
    """`size` zero bytes as a zstd frame, which states no size."""
    frame = zstandard.ZstdCompressor().compressobj()
    piece = bytes(1 << 20)
    return b"".join(frame.compress(piece) for _ in range(size >> 20)) + frame.flush()


def mcap_of_chunk(path, data, declared, compression):
    def text(words):
        return struct.pack("<I", len(words)) + words

    chunk = struct.pack("<QQQI", START_NS, START_NS, declared, 0) + text(compression)
    chunk += struct.pack("<Q", len(data)) + data
    records = [(1, text(b"ros2") + text(b"")), (6, chunk), (2, struct.pack("<QQI", 0, 0, 0))]
    content = b"".join(struct.pack("<BQ", kind, len(each)) + each for kind, each in records)
    path.write_bytes(b"\x89MCAP0\r\n" + content + b"\x89MCAP0\r\n")


def lz4_zeros(size):
    return pytest.importorskip("lz4.frame").compress(bytes(size))


@pytest.mark.parametrize("compression", [b"zstd", b"lz4"])
@pytest.mark.parametrize("declared", [1000, 3 << 30, (1 << 63) + 5])
def test_a_bomb_in_a_chunk_takes_no_more_than_it_declares(tmp_path, compression, declared):
    bomb = zeros(300 << 20) if compression == b"zstd" else lz4_zeros(20 << 20)
    mcap_of_chunk(tmp_path / "bomb.mcap", bomb, declared, compression)
    tracemalloc.start()
    found, (error,) = read_partly_of_any(tmp_path / "bomb.mcap")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not found and "damaged" in str(error) and peak < 8 << 20


def read_partly_of_any(bag):
    errors = []
    return list(read_messages(str(bag), (), (), errors.append)), errors


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bomb_in_a_message_is_left_out_and_told(tmp_path, storage, monkeypatch):
    monkeypatch.setattr(decompression, "LARGEST_BYTES", 1 << 20)
    pack = zstandard.ZstdCompressor().compress
    messages = [(topic, at_ns, pack(raw)) for topic, at_ns, raw in raw_images()]
    messages[5] = (messages[5][0], messages[5][1], zeros(64 << 20))
    messages[8] = (messages[8][0], messages[8][1], pack(bytes(2 << 20)))
    bag = write_rosbags(tmp_path / "rec", messages, storage)
    found, (error,) = read_partly(bag)
    expected = raw_images()
    assert found == expected[:5] + expected[6:8] + expected[9:]
    assert error.differences == {"/vis": (COUNT - 1, COUNT), "/ir": (COUNT - 1, COUNT)}


@pytest.mark.parametrize("stated", [True, False])
def test_a_bomb_in_a_file_ends_at_the_limit(tmp_path, stated, monkeypatch):
    monkeypatch.setattr(decompression, "LARGEST_FILE_BYTES", 4 << 20)
    size = 64 << 20
    data = zstandard.ZstdCompressor().compress(bytes(size)) if stated else zeros(size)
    (tmp_path / "rec_0.db3.zstd").write_bytes(data)
    with pytest.raises(BagError, match="hold at most.*`zstd -d`"):
        all_topics(str(tmp_path))


def test_the_remedy_of_a_large_file_is_the_named_command(tmp_path, monkeypatch):
    program = shutil.which("zstd")
    if program is None:
        pytest.skip("needs the program zstd")
    bag = write_rosbags(tmp_path / "rec", mode="FILE")
    monkeypatch.setattr(decompression, "LARGEST_FILE_BYTES", 1000)
    monkeypatch.setattr(decompression, "LARGEST_RATIO", 0)
    with pytest.raises(BagError, match="decompress it with `zstd -d`"):
        all_topics(bag)
    assert os.system(f"{program} -q -d {bag}/rec.db3.zstd") == 0
    assert read(bag) == raw_images()


def test_a_temporary_folder_without_room_is_named(tmp_path, monkeypatch):
    bag = write_rosbags(tmp_path / "rec", mode="FILE")
    usage = type("Usage", (), {"free": 70 << 20})
    with monkeypatch.context() as full:
        full.setattr(decompression.shutil, "disk_usage", lambda path: usage)
        full.setattr(decompression, "_SPARE_BYTES", 70 << 20)
        with pytest.raises(BagError, match="room for .* set TMPDIR"):
            all_topics(bag)
    assert read(bag) == raw_images()  # the same with room


def test_a_table_that_makes_its_rows_up_is_refused(tmp_path):
    database = sqlite3.connect(tmp_path / "a.db3")
    database.execute("CREATE TABLE topics(id, name, type, serialization_format)")
    database.execute(f"INSERT INTO topics VALUES (1, '/vis', '{IMAGE}', 'cdr')")
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i AS id"
    database.execute(
        f"CREATE VIEW messages AS {endless}, 1 AS topic_id, i AS timestamp, '' AS data FROM n"
    )
    database.commit()
    database.close()
    with pytest.raises(BagError, match="no tables of topics and messages"):
        all_topics(str(tmp_path / "a.db3"))


# --- advice


def test_a_bag_of_ros_1_is_converted_by_the_named_command(tmp_path):
    from rosbags.convert.cli import main as convert
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS1_NOETIC)
    text = types.types["std_msgs/msg/String"]
    path = tmp_path / "old one.bag"
    with Writer(path) as writer:
        connection = writer.add_connection("/vis", text.__msgtype__, typestore=types)
        raw = types.serialize_ros1(text("hello"), text.__msgtype__)
        writer.write(connection, START_NS, raw)
    with pytest.raises(BagError, match="a bag of ROS 1; convert it") as caught:
        all_topics(str(path))
    assert "reindex" not in str(caught.value)
    command = shlex.split(str(caught.value).split("`")[1])
    assert command[0] == "rosbags-convert"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            convert()
    assert not ended.value.code
    (message,) = read_messages(str(tmp_path / "old one"), (), ["/vis"])
    assert bytes(message.raw)[8:13] == b"hello"


# --- further inputs


def test_a_bag_is_read_while_it_is_recorded(tmp_path):
    bag = write_rosbags(tmp_path / "rec")
    (tmp_path / "rec" / "metadata.yaml").unlink()
    recorder = sqlite3.connect(tmp_path / "rec" / "rec.db3", isolation_level=None)
    recorder.execute("PRAGMA journal_mode=WAL")
    recorder.execute("BEGIN")
    insert = "INSERT INTO messages(topic_id, timestamp, data) VALUES (1, ?, x'00010000')"
    recorder.execute(insert, (START_NS * 2,))
    assert read(bag) == raw_images()
    recorder.execute("COMMIT")
    assert len(list(read_messages(bag, (), TOPICS))) == WHOLE + 1
    recorder.close()


def test_the_first_form_of_rosbag2_is_read(tmp_path):
    """Of Dashing: no profiles, no definitions, no index on the time."""
    bag = Path(write_rosbags(tmp_path / "rec"))
    database = sqlite3.connect(bag / "rec.db3", isolation_level=None)
    for table in ("schema", "metadata", "message_definitions"):
        database.execute(f"DROP TABLE {table}")
    database.execute("DROP INDEX timestamp_idx")
    for column in ("offered_qos_profiles", "type_description_hash"):
        database.execute(f"ALTER TABLE topics DROP COLUMN {column}")
    database.execute("UPDATE messages SET id = 100 - id")
    database.close()
    edit_metadata(bag, "version: 9", "version: 1")
    assert read(bag) == raw_images()


def test_metadata_saved_by_an_editor_of_windows_is_read(tmp_path):
    bag = write_rosbags(tmp_path / "rec")
    path = tmp_path / "rec" / "metadata.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read(bag) == raw_images()


def test_attachments_and_private_records_are_passed_over(tmp_path):
    def extra(writer):
        writer.add_attachment(1, 1, "calibration.yaml", "text/plain", bytes(5000))
        writer.add_metadata("rosbag2", {"serialized_metadata": ""})

    bag = tmp_path / "a.mcap"
    data = Path(write_mcap(bag, extra=extra)).read_bytes()
    at = 17 + struct.unpack_from("<Q", data, 9)[0]  # behind the header
    bag.write_bytes(data[:at] + struct.pack("<BQ", 0x93, 7) + b"private" + data[at:])
    assert read(bag) == raw_images()


def test_joined_files_are_told(tmp_path):
    parts = [raw_images()[:6], raw_images()[6:]]
    files = [Path(write_mcap(tmp_path / f"{n}.mcap", part)) for n, part in enumerate(parts)]
    (tmp_path / "both.mcap").write_bytes(b"".join(file.read_bytes() for file in files))
    found, (error,) = read_partly(tmp_path / "both.mcap")
    assert found == parts[0] and "bytes follow its end" in str(error)


@pytest.mark.parametrize("storage", STORAGES)
def test_an_empty_last_split_is_told_and_the_others_are_read(tmp_path, storage):
    folder, names = split(tmp_path, storage)
    (folder / "metadata.yaml").unlink()
    (folder / f"rec_3{SUFFIX[storage]}").write_bytes(b"")
    found, (error,) = read_partly(folder)
    assert found == raw_images() and "found: an empty file" in str(error)


def test_messages_that_are_no_images_are_told_with_their_number(tmp_path):
    messages = raw_images()
    for number, raw in ((5, messages[5][2][:40]), (7, b""), (8, b"\xff" * 20)):
        messages[number] = (*messages[number][:2], raw)
    bag = write_rosbags(tmp_path / "rec", messages)
    errors = []
    found = list(read_messages(bag, TOPICS, (), errors.append))
    assert [number for number, each in enumerate(found) if each.message is None] == [5, 7, 8]
    assert [bytes(each.raw) for each in found] == [raw for _, _, raw in messages]
    assert f"2 messages of /vis are no {IMAGE}" in str(errors[0])


@pytest.mark.parametrize("storage", STORAGES)
def test_a_cut_zstd_file_gives_its_beginning(tmp_path, storage):
    messages = raw_images(30, (120, 160))
    bag = Path(write_rosbags(tmp_path / "rec", messages, storage, "FILE"))
    (file,) = bag.glob("*.zstd")
    file.write_bytes(file.read_bytes()[:-200_000])
    found, (error,) = read_partly(bag)
    assert 20 < len(found) < 60 and found == messages[: len(found)]
    assert f"{file} is cut off" in str(error) and "/tmp/irvis" not in str(error)


def test_a_folder_of_bags_names_them(tmp_path):
    write_rosbags(tmp_path / "monday")
    write_rosbags(tmp_path / "tuesday")
    with pytest.raises(BagError, match="name one of the bags in it: monday, tuesday") as caught:
        all_topics(str(tmp_path))
    name = str(caught.value).rpartition(", ")[2]
    assert read(tmp_path / name) == raw_images()


def test_a_pipe_is_no_bag(tmp_path):
    os.mkfifo(tmp_path / "a.mcap")
    with pytest.raises(BagError, match="not a regular file"):
        all_topics(str(tmp_path / "a.mcap"))


# --- any bytes


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_anywhere_gives_whole_messages_or_an_error(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "damage"
    if not folder.exists():
        folder.mkdir()
        write_mcap(folder / "a.mcap", chunk_size=3000)
        write_mcap(folder / "b.mcap", chunk_size=3000, index_types=mcap_writer.IndexType.NONE)
        write_rosbags(folder / "c", version=8)
        (folder / "c" / "c.db3").rename(folder / "c.db3")
    name = data.draw(st.sampled_from(["a.mcap", "b.mcap", "c.db3"]))
    whole = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=9))
        whole[at : at + len(piece)] = piece
    end = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    damaged = folder / f"damaged{Path(name).suffix}"
    damaged.write_bytes(whole[:end])
    try:
        names = [topic.name for topic in all_topics(str(damaged))]
        found = list(read_messages(str(damaged), (), names, lambda error: None))
    except BagError:
        return
    if name.endswith("mcap"):  # their chunks have checksums
        raws = {raw for _, _, raw in raw_images()}
        assert all(bytes(message.raw) in raws for message in found)


@settings(max_examples=60, deadline=None)
@given(content=st.text(max_size=200) | st.binary(max_size=200))
def test_any_metadata_is_read_or_told(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "any_metadata"
    if not folder.exists():
        write_rosbags(folder)
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    (folder / "metadata.yaml").write_bytes(data)
    found, errors = read_partly(folder)
    assert found == raw_images() and len(errors) == 1
