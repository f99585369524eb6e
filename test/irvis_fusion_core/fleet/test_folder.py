"""Every source has a place of its own, and keeps it."""

import tempfile

import pytest

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.fleet.folder import PAGE, SUMMARY, TABLE, FleetFolder

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st

NAMES = ("street", "Street", "street.mcap", "street_2", "index.html", "a.part", "a.log", ".b", "é")
SOURCES = st.lists(
    st.tuples(st.sampled_from(("/data/1", "/data/2", "/x")), st.sampled_from(NAMES)), max_size=6
)


def paths(pairs):
    return [f"{folder}/{name}" for folder, name in pairs]


@hypothesis.settings(max_examples=40)
@hypothesis.given(SOURCES, SOURCES)
def test_names_are_unlike_and_stay(first, second):
    with tempfile.TemporaryDirectory() as root:
        earlier = FleetFolder(root).name(paths(first))
        later = FleetFolder(root).name(paths(second))
    assert sorted(earlier.values()) == sorted(set(paths(first)))
    assert sorted(later.values()) == sorted(set(paths(second)))
    both = {(name, source) for found in (earlier, later) for name, source in found.items()}
    names = [name for name, _ in both]
    assert len(both) == len(set(paths(first + second)))  # one name each, in both runs
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert name not in (PAGE, SUMMARY, TABLE) and "/" not in name
        assert not name.startswith(".") and not name.endswith((".part", ".log"))


def test_a_name_is_that_of_the_bag_where_it_is_free(tmp_path):
    found = FleetFolder(str(tmp_path / "deep" / "out")).name(["/a/run.mcap", "/b/run", "/b/run/"])
    assert found == {"run": "/a/run.mcap", "run_2": "/b/run"}


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "report.html").touch()
    with pytest.raises(ConfigurationError, match="found other files"):
        FleetFolder(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_source_inside_of_the_folder_is_refused(tmp_path):
    folder = FleetFolder(str(tmp_path))
    for source in (tmp_path, tmp_path / "bag"):
        with pytest.raises(ConfigurationError, match="outside of what is read"):
            folder.name([str(source)])


@pytest.mark.parametrize("content", ["{", "[1]", '"x"'])
def test_an_edited_list_of_names_is_an_error(tmp_path, content):
    (tmp_path / ".names.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"found: "):
        FleetFolder(str(tmp_path))


def test_two_runs_at_once_are_refused(tmp_path):
    pytest.importorskip("fcntl")
    first = FleetFolder(str(tmp_path))
    with pytest.raises(ConfigurationError, match="expected no other run in"):
        FleetFolder(str(tmp_path))
    del first
    FleetFolder(str(tmp_path))
