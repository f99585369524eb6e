"""The few frames that are kept, and the animation."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.errors import FusionError
from irvis_fusion_ros.evaluation.image_store import (
    Animation,
    Extremes,
    Shown,
    TopFrames,
    jpeg,
)
from irvis_fusion_ros.evaluation.tables import writing


def shown(value, frame):
    return Shown(float(value), frame, float(frame), {}, {})


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 1000), unique=True, max_size=40))
def test_the_extremes_are_those_of_sorting(values):
    extremes = Extremes(3, apart_s=0.5)
    for frame, value in enumerate(values):
        extremes.add(shown(value, frame))
    best = [s.value for s in extremes.best()]
    assert best == sorted(values, reverse=True)[:3]
    rest = [v for v in sorted(values)[:3] if v not in best]
    assert [s.value for s in extremes.worst()] == rest


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20)), max_size=40))
def test_frames_are_wanted_exactly_if_they_change_what_is_kept(stream):
    top = TopFrames(3, apart_s=2.0)
    for value, frame in stream:
        before, wanted = top.frames(), top.wants(float(value), float(frame))
        top.add(shown(value, frame))
        assert wanted == (top.frames() != before)


def test_frames_of_one_moment_are_shown_once():
    extremes = Extremes(2, apart_s=5.0)
    for frame, value in [(0, 1), (1, 9), (2, 8), (20, 5)]:
        extremes.add(shown(value, frame))
    assert [s.frame for s in extremes.best()] == [1, 20]


@pytest.mark.parametrize("frames, rate", [(20, 30.0), (900, 30.0), (10_000, 60.0), (5, 0.0)])
def test_the_animation_is_short_and_from_the_middle(frames, rate, tmp_path):
    animation = Animation(frames, rate, most=6)
    taken = [i for i in range(frames) if animation.wanted(i) and not animation.add(image(i))]
    assert len(taken) == min(frames, 6)
    assert abs(np.mean(taken) - frames / 2) <= 0.5 * frames / 6 + 10
    assert animation.write(str(tmp_path / "a.gif"))
    assert animation.names == ["a", "b"]
    pillow = pytest.importorskip("PIL.Image", reason="decodes with Pillow")
    assert pillow.open(str(tmp_path / "a.gif")).n_frames == len(taken)


def test_nothing_to_show_is_no_file(tmp_path):
    assert not Animation(0, 30.0).write(str(tmp_path / "a.gif"))
    assert not Animation(10, 30.0, most=0).wanted(5)
    assert list(tmp_path.iterdir()) == []


def image(number):
    return {"a": np.full((30, 40, 3), number % 256, np.uint8), "b": np.zeros((30, 40), np.uint8)}


def test_a_thumbnail_is_never_larger_than_its_image():
    pillow = pytest.importorskip("PIL.Image", reason="decodes with Pillow")
    for width in (40, 900):
        image = pillow.open(io.BytesIO(jpeg(np.zeros((30, width, 3), np.uint8), 480)))
        assert image.size[0] == min(width, 480)


def test_files_are_there_whole_or_not_at_all(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FusionError, match="--output"), writing("a"):
        write_file(tmp_path / "file" / "a", b"x")
    with writing("a"):
        write_file(tmp_path / "a", b"x")
    assert {p.name for p in tmp_path.iterdir()} == {"a", "file"}
