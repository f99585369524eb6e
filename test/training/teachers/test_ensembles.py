"""Ensembles of any teacher: what is left out, memory, reduced size, how far samples differ."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.errors import TeacherMemoryError
from training.teachers import ensembles
from training.teachers.ensembles import EnsembleSampler, Pair, spread


class Stub:
    """A teacher of known answers."""

    name = "stub"

    def __init__(self, answer):
        self.answer = answer

    def fuse(self, ir, vis, seeds):
        return self.answer(ir, vis, seeds)


def pair(size=(40, 50)):
    rng = np.random.default_rng(1)
    ir = rng.integers(0, 60, size, dtype=np.uint8)
    return Pair("p", ir, rng.integers(0, 60, (*size, 3), dtype=np.uint8))


def test_samples_that_diverge_are_left_out_and_counted():
    def answer(ir, vis, seeds):
        fused = ir.clone()
        fused[1] = float("nan")
        return fused

    sampler = EnsembleSampler(Stub(answer), 4, 4, torch.device("cpu"))
    (found,) = sampler.draw([pair()])
    assert sorted(found.samples) == [0, 2, 3] and found.diverged == [1]


def test_progress_counts_images_not_pairs():
    sampler = EnsembleSampler(Stub(lambda ir, vis, seeds: ir), 3, 2, torch.device("cpu"))
    counts = []
    assert len(sampler.draw([pair(), pair()], counts.append)) == 2
    assert counts == [2, 2, 2]


@pytest.mark.parametrize(
    "batch, words", [(4, "try --batch_size 2"), (1, "at 50x40; try --max_side 32")]
)
@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
    ids=["gpu", "cpu"],
)
def test_out_of_memory_says_what_to_try(batch, words, error):
    def answer(ir, vis, seeds):
        raise error

    sampler = EnsembleSampler(Stub(answer), 4, batch, torch.device("cpu"))
    with pytest.raises(TeacherMemoryError, match=words):
        sampler.draw([pair()])
    other = EnsembleSampler(Stub(lambda *_: 1 / 0), 1, 1, torch.device("cpu"))
    with pytest.raises(ZeroDivisionError):
        other.draw([pair()])


def test_reduced_images_keep_the_visible_texture():
    """A teacher that adds a constant: what comes back is the full-size visible image plus it."""
    one = pair((48, 96))
    seen = []

    def answer(ir, vis, seeds):
        seen.append(tuple(ir.shape[2:]))
        return ensembles.luminance(vis) + 0.1

    sampler = EnsembleSampler(Stub(answer), 1, 1, torch.device("cpu"), max_side=48)
    (found,) = sampler.draw([one])
    y = ensembles.luminance(found.vis[None])[0]
    assert seen == [(24, 48)]
    assert torch.allclose(found.samples[0], y + 0.1, atol=1e-5)


class Known:
    """Samples that differ by 10 grey levels on the left half and not on the right."""

    name = "known"

    def fuse(self, ir, vis, seeds):
        fused = torch.full_like(ir, 100.0 / 255.0)
        fused[0, :, :, : ir.shape[3] // 2] += 10.0 / 255.0
        return fused


@pytest.mark.parametrize(
    "side, expected", [("left", (5.0, 0.0)), ("right", (0.0, 5.0)), ("none", None)]
)
def test_the_spread_is_measured_where_the_sources_disagree(side, expected):
    ir = np.full((32, 32), 100, np.uint8)
    vis = np.full((32, 32, 3), 100, np.uint8)
    if side != "none":
        vis[:, :16] = 100 if side == "right" else 160
        vis[:, 16:] = 100 if side == "left" else 160
    sampler = EnsembleSampler(Known(), 2, 2, torch.device("cpu"))
    (ensemble,) = sampler.draw([Pair("a", ir, vis)])
    found = spread(ensemble)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-3))
    (alone,) = EnsembleSampler(Known(), 1, 1, torch.device("cpu")).draw([Pair("a", ir, vis)])
    assert spread(alone) is None
