"""Which scenes an epoch draws, in which order, and on which process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from irvis_fusion_core.errors import ConfigurationError


class Draw(NamedTuple):
    """One sample: which scene, and a number that no other sample of the training has."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    number: int


class Group(NamedTuple):
    """The scenes of one folder, by index, and its share of the draws."""

    indices: Sequence[int]
    share: float = 1.0


class EpochSampler(Sampler):
    """The draws of this process in one epoch after another (`set_epoch`).

    Every draw picks a group by its share; the scenes of a group come in permutations, so that none
    is drawn twice in an epoch before the others were drawn once.

    Step s of `world_size` processes takes the next `batch_size` x `world_size` draws, process r
    the r-th part of them: two processes together see the draws of one with twice the batch.
    Draws that fill no batch are left out of the epoch; an epoch has at least one step.

    Args:
        samples: Draws an epoch; by default as many as there are scenes.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        batch_size: int,
        seed: int = 0,
        samples: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or samples < 0 or not 0 <= rank < world_size:
            raise ConfigurationError(
                "expected batch_size >= 1, samples >= 0 and rank < world_size, found "
                f"{batch_size}, {samples}, {rank} and {world_size}"
            )
        self.groups, self.batch_size, self.seed = list(groups), batch_size, seed
        self.rank, self.world_size = rank, world_size
        wanted = samples or sum(len(group.indices) for group in self.groups)
        self.steps = max(1, wanted // (batch_size * world_size))
        self.epoch = 0
        self.first_step = 0  # of the next pass alone: set it to go on in the middle of an epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the draws of this process in a whole epoch."""
        return self.steps * self.batch_size

    def order(self) -> list[Draw]:
        """Return the draws of all processes in this epoch."""
        random = np.random.default_rng((self.seed, self.epoch))
        total = len(self) * self.world_size
        shares = np.array([group.share for group in self.groups], dtype=np.float64)
        chosen = np.zeros(total, np.int64)
        if len(self.groups) > 1:
            chosen = random.choice(len(self.groups), total, p=shares / shares.sum())
        indices = np.empty(total, np.int64)
        for number, (scenes, _) in enumerate(self.groups):
            places = np.flatnonzero(chosen == number)
            rounds = -(-len(places) // len(scenes))
            permutations = [random.permutation(scenes) for _ in range(rounds)]
            if permutations:
                indices[places] = np.concatenate(permutations)[: len(places)]
        return [Draw(int(i), self.epoch * total + n) for n, i in enumerate(indices)]

    def __iter__(self) -> Iterator[Draw]:
        """Yield this process's draws, from `first_step` on."""
        order, batch = self.order(), self.batch_size
        first, self.first_step = self.first_step, 0
        for step in range(first, self.steps):
            start = (step * self.world_size + self.rank) * batch
            yield from order[start : start + batch]
