"""Neighbouring frames fall in one part."""

from training.data.scene_parts import SCENE_GAP, roadscene_parts


def test_a_scene_never_spans_two_parts():
    train = [f"FLIR_{number:05}" for number in (1, 5, 30, 100, 120, 400, 800, 801, 1200)]
    train.append("FLIR_video_00001")
    val = ["FLIR_00125", "FLIR_02000"]
    parts = roadscene_parts(train, val)
    assert parts.keys() == {*train, *val}
    assert {parts[f"FLIR_{number:05}"] for number in (100, 120, 125)} == {"val"}
    assert parts["FLIR_02000"] == "val"
    numbers = sorted(int(stem[-5:]) for stem in parts if "video" not in stem)
    for one, two in zip(numbers, numbers[1:]):
        if two - one <= SCENE_GAP:
            assert parts[f"FLIR_{one:05}"] == parts[f"FLIR_{two:05}"]
    assert set(parts.values()) == {"train", "val"}
    assert parts == roadscene_parts(reversed(train), reversed(val))
