"""Files made to exhaust memory or disk end at stated limits."""

import os
import shutil
import sqlite3
import struct
import tracemalloc

import pytest
from bag_recording import IMAGE, START_NS, STORAGES, needs_rosbags
from rosbag2_bags import (
    COUNT,
    raw_images,
    read,
    read_partly,
    write_rosbags,
)

from irvis_fusion_ros.bags.bag import all_topics
from irvis_fusion_ros.bags.bag_error import BagError
from irvis_fusion_ros.bags.storage import decompression

pytestmark = needs_rosbags
pytest.importorskip("mcap.writer", reason="needs mcap: pip install '.[bag]'")
zstandard = pytest.importorskip("zstandard", reason="comes with mcap")


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
    with pytest.raises(BagError, match=f"damaged.*{declared} bytes|damaged.*where {declared}"):
        all_topics(str(tmp_path / "bomb.mcap"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


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


def test_a_column_that_is_computed_is_refused_before_it_is(tmp_path):
    """12 KB took gigabytes: each of its rows asks for as much as it likes."""
    database = sqlite3.connect(tmp_path / "a.db3")
    database.execute("CREATE TABLE topics(id, name, type, serialization_format)")
    database.execute(f"INSERT INTO topics VALUES (1, '/vis', '{IMAGE}', 'cdr')")
    bomb = "data BLOB AS (hex(zeroblob(4000000)))"
    database.execute(f"CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, {bomb})")
    database.executemany("INSERT INTO messages VALUES (?, 1, 0)", [(1,), (2,), (3,)])
    database.commit()
    database.close()
    with pytest.raises(BagError, match="columns of messages that are computed"):
        all_topics(str(tmp_path / "a.db3"))


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
