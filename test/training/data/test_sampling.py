"""Draws depend on seed, epoch and place alone, and processes share them without overlap."""

import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.errors import ConfigurationError
from training.data.sampling import EpochSampler, Group


@settings(max_examples=60, deadline=None)
@given(
    scenes=st.integers(1, 40),
    batch=st.integers(1, 7),
    world=st.integers(1, 4),
    epoch=st.integers(0, 5),
    first=st.integers(0, 3),
)
def test_processes_together_see_what_one_with_their_whole_batch_sees(
    scenes, batch, world, epoch, first
):
    groups = [Group(range(scenes))]
    one = EpochSampler(groups, batch * world, seed=3)
    parts = [EpochSampler(groups, batch, 3, rank=r, world_size=world) for r in range(world)]
    for sampler in (one, *parts):
        sampler.set_epoch(epoch)
        sampler.first_step = min(first, sampler.steps)
    whole = list(one)
    split = [list(part) for part in parts]
    steps = one.steps - min(first, one.steps)
    for step in range(steps):
        there = [d for part in split for d in part[step * batch : (step + 1) * batch]]
        assert there == whole[step * batch * world : (step + 1) * batch * world]
    assert len(whole) == steps * batch * world
    # The next pass is a whole one.
    assert len(list(one)) == len(one) == one.steps * batch * world


def test_an_epoch_is_a_permutation_and_the_next_another_one():
    sampler = EpochSampler([Group(range(12))], 4, seed=1)
    epochs = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        epochs.append([draw.index for draw in sampler])
        assert sorted(epochs[-1]) == list(range(12))
    assert epochs[0] != epochs[1]
    numbers = [draw.number for epoch in range(3) for draw in _epoch(sampler, epoch)]
    assert sorted(numbers) == list(range(36))


def _epoch(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def test_shares_decide_how_often_a_folder_is_drawn():
    groups = [Group(range(0, 10), 0.75), Group(range(10, 110), 0.25)]
    sampler = EpochSampler(groups, 10, seed=0, samples=4000)
    drawn = [draw.index for draw in sampler]
    small = [index for index in drawn if index < 10]
    assert len(small) / len(drawn) == pytest.approx(0.75, abs=0.03)
    counts = [small.count(index) for index in range(10)]
    assert max(counts) - min(counts) <= 1  # permutations one after the other


def test_impossible_options_are_refused():
    with pytest.raises(ConfigurationError, match="batch_size"):
        EpochSampler([Group(range(3))], 0)
