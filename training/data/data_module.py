"""The loaders of a training run."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
from torch.utils.data import DataLoader, Subset

from training.data.dataset import FusionDataset
from training.data.sampling import EpochSampler
from training.errors import DataError


class FusionData(pl.LightningDataModule):
    """Training crops in `EpochSampler`'s order, and whole validation images one by one.

    A resumed run starts with the draw that came next, as the trainer's step says.
    """

    def __init__(
        self,
        train: FusionDataset,
        validation: FusionDataset | None = None,
        batch_size: int = 8,
        num_workers: int = 2,
        samples_per_epoch: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.train, self.validation = train, validation
        self.batch_size, self.num_workers = batch_size, num_workers
        self.samples_per_epoch, self.seed = samples_per_epoch, seed

    def sampler(self, rank: int = 0, world_size: int = 1) -> EpochSampler:
        """Return the sampler of one process."""
        return EpochSampler(
            self.train.groups, self.batch_size, self.seed, self.samples_per_epoch, rank, world_size
        )

    def _place(self) -> tuple[int, int]:
        """Return rank and number of processes; those of one process without a trainer."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def train_dataloader(self) -> DataLoader:
        """Return batches of training crops, from the trainer's step on."""
        sampler = self.sampler(*self._place())
        if self.trainer is not None:
            # Lightning makes the first iterator before it tells the epoch.
            epoch, sampler.first_step = divmod(self.trainer.global_step, sampler.steps)
            sampler.set_epoch(epoch)
        return DataLoader(
            self.train,
            self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.trainer is not None
            and self.trainer.strategy.root_device.type == "cuda",
        )

    def val_dataloader(self) -> DataLoader:
        """Return whole images; every process takes its part of them."""
        if self.validation is None:
            return DataLoader([])
        rank, world = self._place()
        part = Subset(self.validation, range(rank, len(self.validation), world))
        return DataLoader(part, batch_size=1)


def same_images(train: FusionDataset, validation: FusionDataset) -> None:
    """Raise DataError where validation images are trained on."""
    seen = {Path(pair.vis).resolve() for pair in train.pairs}
    both = [str(pair.vis) for pair in validation.pairs if Path(pair.vis).resolve() in seen]
    if both:
        raise DataError(
            f"expected other images for validation, found {len(both)} of the training images, "
            f"first {both[0]}; give another --val_root"
        )
