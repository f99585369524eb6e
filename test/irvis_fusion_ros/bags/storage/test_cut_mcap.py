"""Of an MCAP file that was cut off, every message in a complete chunk is read; the cut is told."""

import tempfile

import pytest
from bag_recording import START_NS, needs_rosbags, numbered_image, street
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bags import make_bag, read_whole, write_pairs

from irvis_fusion_ros.bags.bag import BagError, all_topics, read_messages
from irvis_fusion_ros.bags.bag_error import IncompleteBagError
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.made_images import IMAGE_TYPE, ImageForm, image_message
from irvis_fusion_ros.bags.storage import mcap_file
from irvis_fusion_ros.bags.storage.decompression import unpack
from irvis_fusion_ros.bags.storage.mcap_file import McapFile

pytestmark = needs_rosbags
writer_module = pytest.importorskip("mcap.writer", reason="needs mcap: pip install '.[bag]'")


def read_until_error(bag):
    found, names = [], [topic.name for topic in all_topics(str(bag))]
    with pytest.raises(IncompleteBagError, match="cut off after .* messages"):
        for message in read_messages(str(bag), (), names):
            found.append((message.topic, message.recorded_ns, bytes(message.raw)))
    return found


@pytest.fixture(scope="module", params=[False, True])
def bag(request, tmp_path_factory):
    """3.4 MB of images in chunks of 1 MB, compressed or not, in a folder with metadata.yaml."""
    path = tmp_path_factory.mktemp("whole") / "bag"
    with BagWriter(path, "mcap", compress=request.param) as writer:
        for number in range(60):
            pixels = numbered_image(number, 120, 160, 3)
            message = image_message(pixels, ImageForm("rgb8"), START_NS + number, "camera")
            topic = "/a" if number % 3 else "/b"
            writer.write_message(topic, IMAGE_TYPE, START_NS + number, message)
    return path


@pytest.mark.parametrize("share", [0.4, 0.7, 0.99])
@pytest.mark.parametrize("with_metadata", [True, False])
def test_what_is_there_is_read_in_order(tmp_path, bag, share, with_metadata):
    expected = read_whole(bag)
    whole = (bag / "bag.mcap").read_bytes()
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "bag.mcap").write_bytes(whole[: int(share * len(whole))])
    if with_metadata:
        (cut / "metadata.yaml").write_bytes((bag / "metadata.yaml").read_bytes())
    found = read_until_error(cut)
    assert found == expected[: len(found)]
    assert 60 - len(found) <= 60 * (1 - share) + 19  # a chunk has 18 images
    assert sum(topic.messages for topic in all_topics(str(cut))) == len(found)
    assert read_until_error(cut / "bag.mcap") == found


def write_mcap(path, compression, use_chunking):
    """20 messages by `mcap`'s own writer; return [(bytes until it is complete, message)]."""
    complete = []
    with open(path, "wb") as stream:
        writer = writer_module.Writer(
            stream,
            chunk_size=300,
            compression=getattr(writer_module.CompressionType, compression),
            use_chunking=use_chunking,
        )
        writer.start(profile="ros2")
        text = b"string data"
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", text)
        channel = writer.register_channel("/words", "cdr", schema)
        pending = []
        for number in range(20):
            words = f"message {number:02}".encode() * 4
            before = stream.tell()
            writer.add_message(channel, START_NS + number, words, START_NS + number)
            pending.append(("/words", START_NS + number, words))
            if stream.tell() > before:  # a record, or a chunk with its messages, was written
                complete += [(stream.tell(), message) for message in pending]
                pending = []
        before_end = stream.tell()
        writer.finish()
        complete += [(stream.tell(), message) for message in pending]
    assert use_chunking or not pending
    return complete, before_end


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "ZSTD"])
@pytest.mark.parametrize("use_chunking", [True, False])
def test_at_every_cut_the_complete_messages_are_read(tmp_path, compression, use_chunking):
    complete, before_end = write_mcap(tmp_path / "whole.mcap", compression, use_chunking)
    whole = (tmp_path / "whole.mcap").read_bytes()
    every = [message for _, message in complete]
    cut = tmp_path / "cut.mcap"
    for length in range(9, before_end):
        cut.write_bytes(whole[:length])
        found, problem = read_file(cut)
        assert "cut off" in problem
        # The writer adds an index to each chunk: the last chunk may be there without it.
        least = sum(end <= length for end, _ in complete)
        assert found == every[: len(found)]
        assert least <= len(found) <= least + (8 if use_chunking else 0)


def read_file(path):
    file = McapFile(path, path)
    topics = {topic[:2] for topic in file.topics}
    found = [(topic.name, recorded_ns, raw) for topic, recorded_ns, raw in file.messages(topics)]
    file.close()
    return found, file.problem


def write_chunks(path, times, chunk_size=768 * 1024, size=250_000):
    """Messages at these times in rosbag2's default chunks, without the end of the file."""
    with open(path, "wb") as stream:
        writer = writer_module.Writer(stream, chunk_size=chunk_size)
        writer.start(profile="ros2")
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
        channels = [writer.register_channel(name, "cdr", schema) for name in ("/a", "/b")]
        for number, time in enumerate(times):
            raw = number.to_bytes(4, "little") * (size // 4)
            writer.add_message(channels[number % 2], START_NS + time, raw, START_NS + time)
        writer.finish()
    whole = path.read_bytes()
    path.write_bytes(whole[: -len(b"\x89MCAP0\r\n") - 1])


def test_messages_come_in_order_of_recording_across_default_chunks(tmp_path):
    """rosbag2 writes as messages arrive: their times may go back a little, also over chunks."""
    times = [10 * number - 15 * (number % 4 == 3) for number in range(24)]
    write_chunks(tmp_path / "cut.mcap", times)
    found = [recorded_ns - START_NS for _, recorded_ns, _ in read_until_error(tmp_path)]
    assert times != sorted(times)
    assert found == sorted(times)


def test_a_last_file_without_a_complete_chunk_leaves_the_earlier_ones_readable(tmp_path):
    bag = street(tmp_path / "bag", "mcap")
    whole = (tmp_path / "bag" / "bag.mcap").read_bytes()
    split = tmp_path / "split"
    split.mkdir()
    (split / "bag_0.mcap").write_bytes(whole)
    (split / "bag_1.mcap").write_bytes(whole[:60])
    assert read_until_error(split) == read_whole(bag)


def test_a_lone_file_without_a_complete_chunk_tells_the_cut(tmp_path):
    write_chunks(tmp_path / "bag.mcap", range(12))
    (tmp_path / "bag.mcap").write_bytes((tmp_path / "bag.mcap").read_bytes()[:200])
    with pytest.raises(BagError, match="cut off after 0 messages"):
        all_topics(str(tmp_path))


def test_a_whole_file_is_none(tmp_path):
    bag = street(tmp_path / "bag", "mcap")
    assert len(read_whole(bag)) == 9
    (tmp_path / "empty.mcap").write_bytes(b"")
    with pytest.raises(BagError, match="an empty file; copy it again"):
        all_topics(str(tmp_path / "empty.mcap"))


def test_a_chunk_overwritten_with_zeros_gives_no_messages(tmp_path, bag):
    """A file system may keep the length of a file whose last blocks were never written."""
    whole = bytearray((bag / "bag.mcap").read_bytes())
    middle = len(whole) // 2
    whole[middle:] = bytes(len(whole) - middle)
    (tmp_path / "bag.mcap").write_bytes(whole)
    found = read_until_error(tmp_path)
    assert found and found == read_whole(bag)[: len(found)]


def test_a_folder_that_was_killed_with_sqlite3_is_read_without_metadata(tmp_path):
    bag = make_bag(tmp_path / "bag", write_pairs(tmp_path / "pairs", 2), 0.5)
    expected = read_whole(bag)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert read_whole(bag) == expected


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_cut_and_no_rubbish_at_the_end_breaks_the_reader(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "rubbish"
    if not folder.exists():
        street(folder / "bag", "mcap", frames=4)
    whole = (folder / "bag" / "bag.mcap").read_bytes()
    length = data.draw(st.integers(9, len(whole) - 1))
    end = data.draw(st.binary(max_size=40))
    (folder / "cut.mcap").write_bytes(whole[:length] + end)
    expected, _ = read_file(folder / "bag" / "bag.mcap")
    found, problem = read_file(folder / "cut.mcap")
    assert problem and found == expected[: len(found)]


def write_overlapping(path, chunks, messages, size):
    """Chunks of messages in turn: the first of each, the second of each, and so on in time."""
    with open(path, "wb") as stream:
        writer = writer_module.Writer(stream, chunk_size=1 << 20)
        writer.start(profile="ros2")
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
        channel = writer.register_channel("/words", "cdr", schema)
        expected = []
        for chunk in range(chunks):
            for number in range(messages):
                time_ns = START_NS + number * chunks + chunk
                raw = bytes([chunk, number]) * (size // 2)
                writer.add_message(channel, time_ns, raw, time_ns)
                expected.append(("/words", time_ns, raw))
            writer.flush()  # ends the chunk
        writer.finish()
    return sorted(expected)


@pytest.mark.parametrize("memory", [None, 1_000_000])
def test_each_of_many_overlapping_chunks_is_unpacked_once(tmp_path, monkeypatch, memory):
    """A few bytes that unpack to gigabytes must not be unpacked at each message."""
    expected = write_overlapping(tmp_path / "bag.mcap", 12, 9, 100_000)
    unpacked = []
    monkeypatch.setattr(
        mcap_file, "unpack", lambda data, size: unpacked.append(data) or unpack(data, size)
    )
    if memory:  # less than what waits: the rest of it goes to a temporary file
        monkeypatch.setattr(mcap_file, "WAITING_BYTES", memory)
    found, problem = read_file(tmp_path / "bag.mcap")
    assert found == expected and not problem
    assert len(unpacked) == len(set(unpacked)) == 12


def test_a_bag_in_order_needs_no_temporary_folder(tmp_path, bag, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert len(read_whole(bag)) == 60


def test_what_waits_on_the_disk_has_a_limit(tmp_path, monkeypatch):
    write_overlapping(tmp_path / "bag.mcap", 12, 9, 100_000)
    monkeypatch.setattr(mcap_file, "WAITING_BYTES", 10_000)
    monkeypatch.setattr(mcap_file, "largest_content", lambda size: 50_000)
    with pytest.raises(BagError, match="at most 50000 bytes of .*bag.mcap to wait for earlier"):
        read_file(tmp_path / "bag.mcap")


@settings(max_examples=60, deadline=None)
@given(
    chunks=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=5), max_size=8),
    memory=st.sampled_from([0, 300, 1 << 20]),
)
def test_messages_come_by_time_however_chunks_overlap(tmp_path_factory, chunks, memory):
    path = tmp_path_factory.getbasetemp() / "overlap.mcap"
    expected = []
    with open(path, "wb") as stream:
        writer = writer_module.Writer(stream, chunk_size=1 << 20)
        writer.start(profile="ros2")
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
        channel = writer.register_channel("/words", "cdr", schema)
        for number, times in enumerate(chunks):
            for time_ns in times:
                raw = bytes([number]) * 60
                writer.add_message(channel, time_ns, raw, time_ns)
                expected.append(("/words", time_ns, raw))
            writer.flush()
        writer.finish()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcap_file, "WAITING_BYTES", memory)
        found, _ = read_file(path)
    # Messages of one time come in any order.
    assert [time_ns for _, time_ns, _ in found] == sorted(t for _, t, _ in expected)
    assert sorted(found) == sorted(expected)
