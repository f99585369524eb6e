"""Parameters written are those that the node reads; everything else in the file stays."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.calibration.parameter_file import update_parameters, updated, yaml_text
from irvis_fusion_core.errors import ConfigurationError

yaml = pytest.importorskip("yaml", reason="needs pyyaml")

FILE = """# My robot.
/**:
  ros__parameters:
    model: "small"  # small is enough
    registration.homography: [1.0, 0.0, 0.0,
                              0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    # as it is
    slop_s: 0.05

other_node:
  parameter: 1
"""


def parameters(text):
    return yaml.safe_load(text)["/**"]["ros__parameters"]


def test_a_new_file_is_made_with_its_folder(tmp_path):
    path = tmp_path / "sub" / "registration.yaml"
    values = {"registration.mode": "homography", "registration.calibrated_ir_size": [512, 640]}
    update_parameters(str(path), values, "a note")
    assert parameters(path.read_text()) == values
    assert "# a note" in path.read_text()
    assert [p.name for p in path.parent.iterdir()] == ["registration.yaml"]


def test_lines_are_replaced_and_all_others_stay():
    text = updated(FILE, {"registration.homography": [2.0] * 9, "slop_s": 0.1, "max_wait_s": 0.2})
    assert parameters(text) == {
        "model": "small",
        "registration.homography": [2.0] * 9,
        "slop_s": 0.1,
        "max_wait_s": 0.2,
    }
    for line in ("# My robot.", '    model: "small"  # small is enough', "    # as it is"):
        assert line in text.splitlines()
    assert yaml.safe_load(text)["other_node"] == {"parameter": 1}
    assert updated(text, {"slop_s": 0.1}) == text


def test_block_lists_are_replaced_whole():
    text = "/**:\n  ros__parameters:\n    a.b:\n    - 1\n    - 2\n    c: 3\n"
    assert parameters(updated(text, {"a.b": [5]})) == {"a.b": [5], "c": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: 1\n", "found 0"),
        (FILE + "/b:\n  ros__parameters:\n    x: 1\n", "found 2"),
        ("/**:\n  ros__parameters:\n    registration:\n      mode: none\n", "nested"),
    ],
)
def test_files_of_another_form_are_refused_and_left(tmp_path, text, expected):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=expected):
        update_parameters(str(path), {"registration.mode": "resize"})
    assert path.read_text() == text


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"file/x\.yaml"):
        update_parameters(str(tmp_path / "file" / "x.yaml"), {"a": 1})


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        # As ROS has names: a letter first. The ending keeps YAML's words (yes, off, null) out.
        st.from_regex(r"\A[a-z][a-z_]{0,5}(\.[a-z]{1,4})?_s\Z"),
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False),
            st.integers(-(10**9), 10**9),
            st.text(string.printable.strip() + " ", max_size=12),
            st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=9),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_written_is_read_again(values):
    names = {name.partition(".")[0] for name in values if "." in name}
    values = {k: v for k, v in values.items() if k not in names} or {"x": 1}
    text = updated("/**:\n  ros__parameters:\n", values)
    assert parameters(text) == values
    assert parameters(updated(text, values)) == values


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ConfigurationError, match="finite"):
        yaml_text("slop_s", [1.0, float("nan")])
