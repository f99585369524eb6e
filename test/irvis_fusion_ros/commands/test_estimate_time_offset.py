"""From a bag with late infrared stamps to pairs that show the same moment."""

import numpy as np
import pytest
from bag_recording import START_NS, Recording, needs_rosbags

from irvis_fusion_core.streams.pairing import PairNearest
from irvis_fusion_ros.commands.estimate_time_offset import main

yaml = pytest.importorskip("yaml", reason="needs pyyaml")
LATE_S = 0.17


def place(t):
    return 14 * sum(
        np.sin(2 * np.pi * f * t + p) ** 3 for f, p in ((0.45, 0), (0.83, 2), (1.3, 4))
    )


def drawn(t, still=False):
    x = np.linspace(0, 22, 48) + (0.0 if still else 0.2 * place(t))
    return np.tile(110 + 70 * np.sin(x) + 25 * np.sin(2.3 * x), (32, 1))


def record(path, still=False):
    """IR at 9 Hz whose stamps are LATE_S late; visible at 30 Hz. Returns moments by stamp too."""
    recording, moments = Recording(path), {}
    rng = np.random.default_rng(0)
    frames = [(n / 9.0, "/thermal/image_raw") for n in range(72)]
    frames += [(n / 30.0 + 0.004, "/camera/image_raw") for n in range(240)]
    for moment, topic in sorted(frames):
        noisy = drawn(moment, still) + rng.normal(0, 1.5, (32, 48))
        if "thermal" in topic:
            stamp_ns = START_NS + round((moment + LATE_S) * 1e9)
            recording.image(topic, stamp_ns, (3000 + 5 * noisy).astype(np.uint16), "mono16")
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
@pytest.mark.parametrize("option", [["--largest-s", "0"], ["--seconds", "-1"]])
def test_impossible_ranges_are_refused(tmp_path, capsys, option):
    assert main([str(tmp_path), *option]) == 1
    assert "expected --largest-s" in capsys.readouterr().err
