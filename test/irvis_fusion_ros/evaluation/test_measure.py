"""Scores, sampling, flicker tracks and references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core import metrics
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.evaluation.measure import (
    REFERENCES,
    FlickerTrack,
    Moment,
    Sampling,
    Scorer,
    reference_moments,
)


def planes(seed, shape=(64, 64)):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, shape).astype(np.uint8) for _ in range(3)]


def test_scores_are_those_of_the_metrics_however_many_threads():
    moments = {str(seed): Moment(*planes(seed)) for seed in range(4)}
    found = {}
    for threads in (1, 3):
        scorer = Scorer(None, threads)
        found[threads] = scorer.score(moments)
        scorer.close()
    assert found[1] == found[3]
    names = metrics.names_for_size(64, 64)
    for name, moment in moments.items():
        row = metrics.score_pair(*moment, names=names)
        edges = metrics.alignment(*moment)
        row.update(edges_ir=edges["ir"], edges_vis=edges["vis"], ghost=edges["ghost"])
        assert found[1][name] == row


def test_only_what_was_asked_for_is_measured():
    scorer = Scorer(["Qabf", "ghost"])
    assert list(scorer.score({"a": Moment(*planes(1))})["a"]) == ["Qabf", "ghost"]
    scorer.close()
    with pytest.raises(ConfigurationError, match="LPIPS"):
        Scorer(["LPIPS"])


def test_references_are_what_their_names_say():
    _, ir, vis = planes(5)
    found = {name: moment.fused for name, moment in reference_moments(ir, vis).items()}
    assert list(found) == list(REFERENCES)
    assert np.array_equal(found["visible alone"], vis)
    assert np.array_equal(found["IR alone"], ir)
    assert np.array_equal(found["maximum"], np.where(ir > vis, ir, vis))
    exact = (ir.astype(float) + vis) / 2
    assert np.abs(found["mean"] - exact).max() <= 0.5


@settings(max_examples=80, deadline=None)
@given(frames=st.integers(0, 500), most=st.integers(0, 60), data=st.data())
def test_sampling_is_evenly_spaced_and_never_too_much(frames, most, data):
    fused = data.draw(st.sets(st.integers(0, max(frames - 1, 0)), max_size=frames or 1))
    sampling = Sampling(frames, most)
    taken = [i for i in range(frames) if i in fused and sampling.take(i)]
    if most:
        assert len(taken) <= most
    else:
        assert len(taken) == len([i for i in fused if i < frames])
    # One of each stretch in which anything was fused.
    stretches = {i // sampling.stride for i in fused if i < frames}
    assert {i // sampling.stride for i in taken} == stretches


def test_flicker_is_measured_between_neighbours_alone():
    track = FlickerTrack()
    still = Moment(*[np.full((16, 16), 50, np.uint8)] * 3)
    bright = still._replace(fused=np.full((16, 16), 60, np.uint8))
    assert track.add("a", 0, still) is None
    assert track.add("a", 1, bright) == 10
    assert track.add("b", 1, still) is None  # another row
    assert track.add("a", 3, still) is None  # frame 2 was not fused
    other = Moment(*[np.full((24, 16), 50, np.uint8)] * 3)
    assert track.add("a", 4, other) is None  # another size
    assert track.add("a", 5, other) == 0
