"""Stamps as cameras have them; the numbers are those of the table of reported cases."""

import pytest
from bag_recording import needs_rosbags
from made_bags import START_NS, ReferenceFusion, make_bag, write_pairs

from irvis_fusion_ros.bags.bag_topics import find_topics
from irvis_fusion_ros.bags.replay.offline_advice import why_nothing_fused
from irvis_fusion_ros.bags.replay.offline_fusion import FUSED, OfflineFusion
from irvis_fusion_ros.commands.estimate_time_offset import main as estimate_time_offset
from irvis_fusion_ros.parameters.settings_file import load_settings

SINCE_BOOT_S = START_NS / 1e9 - 55.0


def walked(bag, *changes):
    fusion = OfflineFusion(load_settings(changes=changes), ReferenceFusion())
    return fusion, list(fusion.walk(bag, find_topics(bag)))


@needs_rosbags
@pytest.mark.parametrize("apart_s", [SINCE_BOOT_S, 7200.0, -40.0])
def test_b37_each_advice_on_clocks_far_apart_can_be_followed(tmp_path, capsys, apart_s):
    pairs = write_pairs(tmp_path / "pairs")
    bag = make_bag(tmp_path / "bag", pairs, 2.0, ir_stamp_offset_s=-apart_s)
    fusion, frames = walked(bag)
    assert fusion.counts().get(FUSED, 0) == 0
    text = why_nothing_fused(fusion.counts(), fusion.skews, fusion.settings)
    changes = [word.rstrip(",;") for word in text.split() if ":=" in word]
    assert changes
    for change in changes:
        assert walked(bag, change)[0].counts()[FUSED] >= len(frames) - 2, change
    # The command finds the same, and the node takes what it writes.
    output = tmp_path / "node.yaml"
    assert estimate_time_offset([bag, "--output", str(output)]) == 0, capsys.readouterr().err
    written = load_settings(str(output)).pairing.ir_time_offset_s
    assert written == pytest.approx(apart_s, abs=0.05)
