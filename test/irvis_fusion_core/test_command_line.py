"""What the commands share, and how `irvis_fusion COMMAND` finds them."""

import argparse
import io
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_fusion_core.command_line import (
    command,
    make_parser,
    one_of,
    parse_size,
    print_table,
    progress_line,
    show_progress,
)
from irvis_fusion_core.commands import cli
from irvis_fusion_core.errors import FrameError


@given(width=st.integers(1, 9999), height=st.integers(1, 9999))
def test_sizes_are_width_times_height(width, height):
    assert parse_size(f"{width}x{height}") == (height, width)


@given(text=st.text(max_size=12))
def test_any_other_text_is_no_size(text):
    try:
        height, width = parse_size(text)
    except argparse.ArgumentTypeError as error:
        assert "640x480" in str(error)
    else:
        assert height > 0 and width > 0


def test_lists_are_checked():
    parse = one_of(["fp32", "int8"], "precisions")
    assert parse("int8, fp32") == ["int8", "fp32"]
    for text in ("", "fp8", "fp32,fp8"):
        with pytest.raises(argparse.ArgumentTypeError, match="fp32, int8"):
            parse(text)


def test_our_errors_are_one_line_and_others_are_not_hidden(capsys):
    def ours(arguments):
        raise FrameError("expected a, found b")

    @command
    def interrupted(arguments):
        raise KeyboardInterrupt

    @command
    def broken(arguments):
        raise KeyError("a mistake of ours must be seen")

    for module, program in (
        ("irvis_fusion_ros.commands.fuse_bag", "irvis_fusion fuse_bag"),
        ("training.train", "training.train"),
    ):
        ours.__module__ = module
        assert command(ours)([]) == 1
        assert capsys.readouterr().err == f"{program}: expected a, found b\n"
    assert interrupted([]) == 130
    with pytest.raises(KeyError):
        broken([])


def test_tables_align_numbers_to_the_right():
    stream = io.StringIO()
    print_table([["name", "ms"], ["a", "1.50"], ["bcdef", "12.25"]], stream)
    assert stream.getvalue().splitlines() == [
        "name   ms",
        "-----  -----",
        "a       1.50",
        "bcdef  12.25",
    ]


def test_the_bar_says_how_far_it_is():
    assert progress_line(5, 10, 2.0, width=10) == "[#####.....] 5/10, 2.5 a second, 2 s left "
    assert progress_line(7, 0, 2.0) == "7 frames, 3.5 a second"


def test_progress_gives_every_item_and_is_silent_without_a_terminal(capsys):
    assert list(show_progress(range(5), 5)) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""


def entry_point(module, load=None):
    return types.SimpleNamespace(value=module + ":main", load=load)


def test_only_the_command_that_was_asked_for_is_loaded(monkeypatch, capsys):
    def refuse():
        raise AssertionError("loaded without being asked for")

    seen = []
    points = {
        "good_one": entry_point("irvis_fusion_core.commands.fuse", lambda: seen.append),
        "other": entry_point("irvis_fusion_core.commands.doctor", refuse),
    }
    monkeypatch.setattr(cli, "find_commands", lambda: points)
    assert cli.main(["good-one", "--x", "1"]) == 0  # hyphens do as well
    assert seen == [["--x", "1"]]
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "Fuse two images" in text and "Report installed packages" in text


def test_unknown_and_missing_commands_are_usage_errors(monkeypatch, capsys):
    monkeypatch.setattr(cli, "find_commands", lambda: {"fuse": entry_point("x")})
    assert cli.main(["fuze"]) == 2
    assert "fuse" in capsys.readouterr().err
    assert cli.main([]) == 2


def test_a_command_whose_packages_are_missing_says_which(monkeypatch, capsys):
    def load():
        raise ImportError("No module named 'rclpy'", name="rclpy")

    monkeypatch.setattr(cli, "find_commands", lambda: {"node": entry_point("x.node", load)})
    assert cli.main(["node"]) == 1
    error = capsys.readouterr().err
    assert "rclpy" in error and "source a ROS 2" in error


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("irvis_fusion ")


def test_help_shows_the_example(capsys):
    from irvis_fusion_core.commands import fuse

    parser = make_parser(fuse.__doc__, "fuse")
    text = parser.format_help()
    assert "irvis_fusion fuse --ir ir.png --vis vis.png --output fused.png" in text
