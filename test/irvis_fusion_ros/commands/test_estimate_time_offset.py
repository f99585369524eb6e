"""From a bag with late infrared stamps to pairs that show the same moment."""

import numpy as np
import pytest
from bag_recording import START_NS, Recording, needs_rosbags

from irvis_fusion_core.streams.pairing import PairNearest
from irvis_fusion_ros.commands.estimate_time_offset import main
from irvis_fusion_ros.parameters.settings_file import load_settings

yaml = pytest.importorskip("yaml", reason="needs pyyaml")
LATE_S = 0.17


def place(t):
    return 14 * sum(
        np.sin(2 * np.pi * f * t + p) ** 3 for f, p in ((0.45, 0), (0.83, 2), (1.3, 4))
    )


def drawn(t, still=False):
    x = np.linspace(0, 22, 48) + (0.0 if still else 0.2 * place(t))
    return np.tile(110 + 70 * np.sin(x) + 25 * np.sin(2.3 * x), (32, 1))


def record(path, still=False, clock_s=0.0):
    """IR at 9 Hz whose stamps are LATE_S late, of a clock `clock_s` behind; visible at 30 Hz.

    Returns moments by stamp too.
    """
    recording, moments = Recording(path), {}
    rng = np.random.default_rng(0)
    frames = [(n / 9.0, "/thermal/image_raw") for n in range(72)]
    frames += [(n / 30.0 + 0.004, "/camera/image_raw") for n in range(240)]
    for moment, topic in sorted(frames):
        noisy = drawn(moment, still) + rng.normal(0, 1.5, (32, 48))
        if "thermal" in topic:
            stamp_ns = START_NS + round((moment + LATE_S) * 1e9)
            arrived = {"recorded_ns": stamp_ns} if clock_s else {}
            stamp_ns -= round(clock_s * 1e9)
            pixels = (3000 + 5 * noisy).astype(np.uint16)
            recording.image(topic, stamp_ns, pixels, "mono16", **arrived)
        else:
            stamp_ns = START_NS + round(moment * 1e9)
            pixels = np.dstack([np.clip(255 - noisy, 0, 255)] * 3).astype(np.uint8)
            recording.image(topic, stamp_ns, pixels, "bgr8")
        moments[topic, stamp_ns] = moment
    return recording.write(), moments


@needs_rosbags
def test_the_offset_written_makes_pairs_of_the_same_moment(tmp_path, capsys):
    bag, moments = record(tmp_path / "bag")
    output = tmp_path / "node.yaml"
    output.write_text(
        "/**:\n  ros__parameters:\n    ir_time_offset_s: 0.0  # none\n    slop_s: 0.05\n"
    )
    assert main([bag, "--output", str(output)]) == 0
    assert "correlation" in capsys.readouterr().out
    written = yaml.safe_load(output.read_text())["/**"]["ros__parameters"]
    assert written["slop_s"] == 0.05
    assert written["ir_time_offset_s"] == pytest.approx(-LATE_S, abs=0.015)
    pairing = PairNearest(0.05, written["ir_time_offset_s"])
    pairs = []
    for topic, stamp_ns in sorted(moments, key=lambda key: key[1]):
        add = pairing.add_ir if "thermal" in topic else pairing.add_vis
        pairs += [p for p in add(stamp_ns, moments[topic, stamp_ns]) if p.paired]
    assert len(pairs) > 60
    assert max(abs(pair.ir - pair.vis) for pair in pairs) < 0.035  # a visible frame's time


@needs_rosbags
def test_a_bag_in_which_nothing_moves_is_refused_and_nothing_written(tmp_path, capsys):
    bag, _ = record(tmp_path / "bag", still=True)
    output = tmp_path / "node.yaml"
    assert main([bag, "--output", str(output)]) == 1
    assert "nothing moves" in capsys.readouterr().err
    assert not output.exists()


@needs_rosbags
@pytest.mark.parametrize("clock_s", [7200.0, -86400.0, START_NS / 1e9 - 55.0])
def test_clocks_far_apart_are_brought_together_by_arrival_and_then_by_motion(tmp_path, clock_s):
    bag, moments = record(tmp_path / "bag", clock_s=clock_s)
    output = tmp_path / "node.yaml"
    assert main([bag, "--output", str(output)]) == 0
    written = yaml.safe_load(output.read_text())["/**"]["ros__parameters"]["ir_time_offset_s"]
    assert written - clock_s == pytest.approx(-LATE_S, abs=0.015)
    load_settings(str(output))  # the node accepts it


@needs_rosbags
def test_b37_clocks_far_apart_without_motion_are_told_by_arrival_alone(tmp_path, capsys):
    bag, _ = record(tmp_path / "bag", still=True, clock_s=1.7e9)
    output = tmp_path / "node.yaml"
    assert main([bag, "--output", str(output)]) == 0
    written = yaml.safe_load(output.read_text())["/**"]["ros__parameters"]["ir_time_offset_s"]
    assert written - 1.7e9 == pytest.approx(0.0, abs=0.05)  # arrival says nothing of LATE_S
    assert "nothing moves" in capsys.readouterr().out


@needs_rosbags
def test_a_camera_whose_stamps_stand_still_is_named(tmp_path, capsys):
    recording = Recording(tmp_path / "bag")
    for n in range(40):
        at = START_NS + n * 10**8
        recording.image(
            "/thermal/image_raw", 5, drawn(n / 10).astype(np.uint8), "mono8", recorded_ns=at
        )
        colour = np.dstack([drawn(n / 10)] * 3).astype(np.uint8)
        recording.image("/camera/image_raw", at, colour, "bgr8")
    assert main([recording.write()]) == 1
    assert "all 40 infrared frames carry one stamp" in capsys.readouterr().err


@needs_rosbags
@pytest.mark.parametrize("option", [["--largest-s", "0"], ["--seconds", "-1"]])
def test_impossible_ranges_are_refused(tmp_path, capsys, option):
    assert main([str(tmp_path), *option]) == 1
    assert "expected --largest-s" in capsys.readouterr().err
