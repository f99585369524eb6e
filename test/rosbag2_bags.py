"""Small bags as other recorders write them: by rosbags' writer, and by mcap's own.

Every bag has /ir and /vis with `COUNT` messages each, /ir first.
"""

import functools
import re
from pathlib import Path

import numpy as np
from bag_recording import IMAGE, MS, START_NS, numbered_image

from irvis_fusion_ros.bags.bag import all_topics, read_messages
from irvis_fusion_ros.bags.made_images import ImageForm, image_message

COUNT = 6
TOPICS = ("/ir", "/vis")


@functools.lru_cache(None)
def store():
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE)


def raw_images(count=COUNT, size=(12, 16)):
    """(topic, time of recording, CDR bytes), /ir and /vis alternating."""
    types, found = store(), []
    for number in range(2 * count):
        channels = 1 + 2 * (number % 2)
        pixels = numbered_image(number, *size, channels)
        recorded_ns = START_NS + number // 2 * 33 * MS + number % 2 * MS
        form = ImageForm("mono8" if channels == 1 else "bgr8")
        message = image_message(pixels, form, recorded_ns, "camera")
        message.data = np.asarray(message.data)
        raw = bytes(types.serialize_cdr(message, IMAGE))
        found.append((TOPICS[number % 2], recorded_ns, raw))
    return found


def write_rosbags(path, messages=None, storage="sqlite3", mode="NONE", version=9, qos=()):
    """A bag of rosbags' writer; `qos` are the profiles of each topic, one connection for each."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    plugin = StoragePlugin[storage.upper()]
    writer = Writer(path, version=version, storage_plugin=plugin)
    writer.set_compression(CompressionMode[mode], CompressionFormat.ZSTD)
    with writer:
        connections = {
            topic: [
                writer.add_connection(topic, IMAGE, typestore=store(), offered_qos_profiles=each)
                for each in (qos or [()])
            ]
            for topic in TOPICS
        }
        for number, (topic, recorded_ns, raw) in enumerate(messages or raw_images()):
            of = connections[topic]
            writer.write(of[number // 2 % len(of)], recorded_ns, raw)
    return str(path)


def write_mcap(path, messages=None, type_name=IMAGE, encoding="cdr", extra=None, **options):
    """A file of mcap's writer."""
    from mcap.writer import Writer

    with open(path, "wb") as stream:
        writer = Writer(stream, **options)
        writer.start(profile="ros2")
        text = store().generate_msgdef(IMAGE, ros_version=2)[0].encode()
        schema = writer.register_schema(type_name, "ros2msg", text)
        channels = {topic: writer.register_channel(topic, encoding, schema) for topic in TOPICS}
        if extra:
            extra(writer)
        for topic, recorded_ns, raw in messages or raw_images():
            writer.add_message(channels[topic], recorded_ns, raw, recorded_ns)
        writer.finish()
    return str(path)


def edit_metadata(bag, pattern, replacement, count=0):
    path = Path(bag) / "metadata.yaml"
    text = path.read_text()
    changed = re.sub(pattern, replacement, text, count=count)
    assert changed != text
    path.write_text(changed)


def read(bag, on_incomplete=None):
    """The messages of /ir and /vis, decoded on the way: (topic, time, bytes)."""
    names = {topic.name for topic in all_topics(str(bag))}
    found = read_messages(str(bag), [n for n in TOPICS if n in names], (), on_incomplete)
    return [(message.topic, message.recorded_ns, bytes(message.raw)) for message in found]


def read_partly(bag):
    """The messages, and the errors about missing ones."""
    errors = []
    return read(bag, errors.append), errors


def write_split(tmp_path, storage="mcap", mode="NONE"):
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
