"""A damaged .db3: the error names SQLite's recovery, whose result is a bag again."""

import shutil
import subprocess

import pytest
from bag_recording import START_NS, needs_rosbags, numbered_image
from made_bags import read_whole

from irvis_fusion_ros.bags.bag import BagError, all_topics, read_messages
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.made_images import IMAGE_TYPE, ImageForm, image_message

pytestmark = needs_rosbags


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "bag"
    with BagWriter(path) as writer:
        for number in range(60):
            pixels = numbered_image(number, 120, 160, 3)
            message = image_message(pixels, ImageForm("rgb8"), START_NS + number, "camera")
            writer.write_message("/ab"[: 2 + number % 2], IMAGE_TYPE, START_NS + number, message)
    return path


@pytest.fixture(params=[0.3, 0.8, 0.999])
def cut(request, tmp_path, bag):
    """The bag, of which a part is missing."""
    whole = (bag / "bag.db3").read_bytes()
    (tmp_path / "bag.db3").write_bytes(whole[: int(request.param * len(whole))])
    (tmp_path / "metadata.yaml").write_bytes((bag / "metadata.yaml").read_bytes())
    return tmp_path


@pytest.mark.parametrize("as_folder", [True, False])
def test_the_error_names_the_command_that_recovers(cut, as_folder):
    path = cut if as_folder else cut / "bag.db3"
    with pytest.raises(BagError) as caught:
        for _ in read_messages(str(path), (), ["/a", "/ab"]):
            pass
    assert f'`sqlite3 {cut / "bag.db3"} ".recover" | sqlite3 recovered.db3`' in str(caught.value)
    assert "copy it again" in str(caught.value)


def test_what_the_command_recovers_is_read(cut, bag):
    """Only with a sqlite3 that has `.recover`: Debian's and Ubuntu's are built without it."""
    program = shutil.which("sqlite3")
    options = "select 1 from pragma_compile_options where compile_options='ENABLE_DBPAGE_VTAB'"
    if program is None or subprocess.check_output([program, ":memory:", options]) != b"1\n":
        pytest.skip("needs a sqlite3 that was built with SQLITE_ENABLE_DBPAGE_VTAB")
    with pytest.raises(BagError) as caught:
        read_whole(cut)
    command = str(caught.value).split("`")[1]
    subprocess.run(command, shell=True, check=True, cwd=cut)
    found = read_whole(cut / "recovered.db3")
    assert {topic.name for topic in all_topics(str(cut / "recovered.db3"))} == {"/a", "/ab"}
    assert found and set(found) <= set(read_whole(bag))


def test_a_file_without_its_beginning_is_no_bag(tmp_path, bag):
    (tmp_path / "bag.db3").write_bytes((bag / "bag.db3").read_bytes()[4096:])
    with pytest.raises(BagError, match="readable"):
        all_topics(str(tmp_path / "bag.db3"))
