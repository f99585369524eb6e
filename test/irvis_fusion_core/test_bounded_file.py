"""Files that nobody vouches for: each is read as PyYAML and json read it, or refused at once."""

import contextlib
import json
import os
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_fusion_core.bounded_file import (
    DEEPEST_NESTING,
    open_regular,
    parse_json,
    parse_yaml,
    read_text,
)
from irvis_fusion_core.errors import FileContentError

SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=20)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner)
)


@given(TREES)
def test_what_is_in_order_is_read_as_the_libraries_read_it(tree):
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    assert parse_json(json.dumps(tree)) == tree
    assert parse_yaml(yaml.safe_dump(tree)) == yaml.safe_load(yaml.safe_dump(tree))


@given(st.text(alphabet="[]{}:,-?!&*<>|'\"%@#~= \n\t0123456789.eE_:abnyt\0\ud800", max_size=60))
def test_any_text_is_read_or_refused(text):
    pytest.importorskip("yaml", reason="needs PyYAML")
    for parse in (parse_json, parse_yaml):
        with contextlib.suppress(FileContentError):
            parse(text)


@pytest.mark.parametrize(
    "text, said",
    [
        ("a: &a [1]\nb: *a\n", "alias"),
        ("a: &a {b: 1}\nc: {<<: *a}\n", "alias"),
        ("a: &a [*a]", "alias"),
        ("a: " + "1" * 101, "overlong number"),
        ("a: " + "1:" * 50 + "1.0", "overlong number"),
        ("a: " + "[" * 100_000, "recursion"),
        ("- " * 100_000, "recursion"),
        ("[" * (DEEPEST_NESTING + 1) + "]" * (DEEPEST_NESTING + 1), "deep"),
        ("!!int ''", "index"),
        ("!!bool maybe", "maybe"),
        ("!!timestamp soon", "NoneType"),
        ("2001-99-99", "month"),
        ("!!python/object/apply:os.getcwd []", "constructor"),
        ("a: [", "while parsing"),
        ("a: \0", "special characters"),
    ],
)
def test_yaml_that_costs_or_executes_is_refused(text, said):
    pytest.importorskip("yaml", reason="needs PyYAML")
    with pytest.raises(FileContentError, match=said):
        parse_yaml(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 60 + "]" * 60, "{", ""])
def test_json_that_nests_too_deeply_or_ends_early_is_refused(text):
    with pytest.raises(FileContentError):
        parse_json(text)


def test_the_deepest_nesting_that_is_allowed_is_read():
    text = "[" * (DEEPEST_NESTING - 1) + "]" * (DEEPEST_NESTING - 1)
    assert parse_json(text) == json.loads(text)


def test_a_long_text_is_no_number():
    pytest.importorskip("yaml", reason="needs PyYAML")
    assert parse_yaml("a: " + "x" * 10_000)["a"] == "x" * 10_000


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 100)
    assert read_text(str(path), 100) == "x" * 100
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    assert read_text(str(link), 100) == "x" * 100
    with pytest.raises(FileContentError, match="more than 99 bytes"):
        read_text(str(path), 99)
    path.write_bytes(b"\xff")
    with pytest.raises(FileContentError, match="utf-8"):
        read_text(str(path), 99)


def test_a_file_larger_than_the_memory_is_not_read_whole(tmp_path):
    path = tmp_path / "large.txt"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # takes no disk
    tracemalloc.start()
    with pytest.raises(FileContentError, match="more than"):
        read_text(str(path), 1000)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (str(pipe), "/dev/zero", "/dev/tty", str(tmp_path)):
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(path)
        with pytest.raises(FileContentError, match="not a regular file"):
            read_text(path, 1000)
    with pytest.raises(FileContentError, match="No such file"):
        read_text(str(tmp_path / "none"), 1000)
