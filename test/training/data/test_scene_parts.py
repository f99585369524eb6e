"""Which scenes are held out, and that neighbouring frames fall in one part."""

import pytest

from training.data.scene_parts import held_out


@pytest.mark.parametrize(
    "stem, annotated, expected",
    [
        ("FLIR_00018", False, False),
        ("FLIR_01200", True, True),
        ("FLIR_01799", False, True),
        ("FLIR_01800", True, False),
        ("FLIR_03600", False, True),  # 3600 // 600 = 6
        ("FLIR_video_01425", False, False),
        ("00131D", True, True),
        ("00085D", False, False),
        ("00085N", False, True),
        ("00121N", False, False),
        ("00284N", False, True),  # 284 // 40 = 7
        ("set06_V001_I00459", True, False),
    ],
)
def test_the_rule(stem, annotated, expected):
    assert held_out(stem, annotated) is expected


def test_one_run_of_frames_in_four_is_held_out():
    parts = [held_out(f"FLIR_{number:05}") for number in range(0, 9600, 10)]
    assert sum(parts) == len(parts) / 4
    changes = [n for n in range(1, len(parts)) if parts[n] != parts[n - 1]]
    assert all(n * 10 % 600 == 0 for n in changes)
