"""The walk with given pairs, against the images calculated directly."""

import numpy as np
from bag_recording import MS, START_NS, needs_rosbags
from evaluation_scene import MaximumEngine, scene, write_bag

from irvis_fusion_ros.bags.bag_topics import find_topics
from irvis_fusion_ros.bags.replay.offline_fusion import OfflineFusion
from irvis_fusion_ros.evaluation.live.compare import NOT_FUSED, ScriptedDecider
from irvis_fusion_ros.parameters.settings_file import load_settings

pytestmark = needs_rosbags


def stamp(number):
    return START_NS + number * 33 * MS


def test_given_pairs_are_fused_and_nothing_else(tmp_path):
    bag = write_bag(tmp_path / "bag", frames=8)
    # With itself, with an older one, with one that is still to come, and with one that never was.
    pairs = {0: 0, 3: 1, 4: 6, 5: 50}
    script = {stamp(vis): stamp(ir) + 100 for vis, ir in pairs.items()}  # 100 ns: float32 skews
    settings = load_settings(None, ["thermal.method:=none", "limit_flicker:=false"])
    decider = ScriptedDecider(settings, script)
    with OfflineFusion(settings, MaximumEngine(), decider=decider) as fusion:
        frames = list(fusion.walk(bag, find_topics(bag)))
    assert [frame.index for frame in frames] == list(range(8))
    for number, frame in enumerate(frames):
        vis = scene(number)[1][..., ::-1]
        if number in (0, 3, 4):
            ir = scene(pairs[number])[0]
            assert frame.ir_stamp_ns == stamp(pairs[number])
            assert np.array_equal(frame.fused, np.maximum(vis, ir[..., None]))
        else:
            assert frame.reason == NOT_FUSED
            assert np.array_equal(frame.fused, vis)
