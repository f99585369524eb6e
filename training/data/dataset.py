"""Pairs with or without teacher images, as PyTorch tensors.

    dataset = FusionDataset(["DATA/train"], Augmentation(size=256), seed=0)
    sampler = EpochSampler(dataset.groups, batch_size=8, seed=0)
    loader = DataLoader(dataset, batch_size=8, sampler=sampler, num_workers=4)

The variant of a draw depends on the seed and the draw's number only, not on workers or resuming.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.metrics import luminance
from training.data.augmentation import Augmentation, View
from training.data.boxes import padded_boxes
from training.data.images import ImageStore, PairPaths
from training.data.listing import PairListing, list_images
from training.data.object_masks import object_masks
from training.data.sampling import Draw, Group
from training.data.scene_parts import held_out
from training.errors import DataError


class Root(NamedTuple):
    """A folder with `IR/` and `VIS/`, and its share of the draws."""

    folder: Path
    share: float = 1.0


def parse_root(text: str | Path | Root) -> Root:
    """Read ``DIR`` or ``DIR=SHARE``; ConfigurationError where the share is no number above 0."""
    if isinstance(text, Root):
        return text
    folder, _, share = str(text).rpartition("=")
    # An existing folder may have an equals sign in its name.
    if not folder or Path(text).is_dir():
        return Root(Path(text))
    try:
        number = float(share)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise ConfigurationError(
            f"expected DIR or DIR=SHARE with a share above 0 such as data/train=0.4, found {text}"
        )
    return Root(Path(folder), number)


class FusionDataset(Dataset):
    """Scenes of one or several folders.

    An item is a dict of tensors, H and W being the crop's, or the image's without augmentation:

    ==============  =============  =====================================================
    ``ir``          uint8 1xHxW    input of the student
    ``vis``         uint8 CxHxW    RGB, or BT.601 luminance where `in_channels` is 1
    ``ir_aligned``  uint8 1xHxW    reference of the losses (`training.data.augmentation`)
    ``vis_clean``   uint8 CxHxW    the same of the visible image
    ``sky``         float 1xHxW    1 where a daylight scene shows sky
    ``boxes``       float 32x5     annotated objects (`training.data.boxes`); class -1: none
    ``has_boxes``   bool           whether the scene is annotated
    ``objects``     float 1xHxW    `object_masks`, where the dataset has `objects`
    ``vehicles``    float 1xHxW    the same
    ``teacher``     float 1xHxW    teacher's luminance in grey levels; 0 where there is none
    ``variance``    float 1xHxW    of the teacher's luminance (white is 1); 0 where unknown
    ``has_teacher`` bool           whether ``teacher`` is one
    ``index``       int            for `names`
    ==============  =============  =====================================================

    Args:
        augmentation: None gives whole images as they are.
        check: Decode everything once at the start (`list_images`).
        skip_bad: Go on without the faulty files, which `report` names, instead of raising.
        limit: At most this many pairs of every root, evenly spread; 0 for all.
        cache_gb: Memory for decoded images, GiB; 0 decodes every time.
        teacher_target: Of several teacher samples take the ``mean``, or a random ``sample``.
        boxes: Folders of annotations, ``<stem>.txt`` each; the first that has a scene's counts.
        exclude_validation: Leave out scenes that are `held_out`.

    Raises:
        DataError: No usable pair in a folder; faulty files without `skip_bad`.
    """

    def __init__(
        self,
        roots: Sequence[str | Path | Root],
        augmentation: Augmentation | None = None,
        seed: int = 0,
        check: bool = True,
        skip_bad: bool = False,
        limit: int = 0,
        cache_gb: float = 2.0,
        teacher_target: str = "mean",
        in_channels: int = 3,
        boxes: Sequence[str | Path] = (),
        exclude_validation: bool = False,
    ) -> None:
        self.augmentation, self.seed = augmentation, seed
        self.teacher_target, self.in_channels = teacher_target, in_channels
        self.boxes = [Path(folder) for folder in boxes]
        if missing := [str(folder) for folder in self.boxes if not folder.is_dir()]:
            raise DataError(f"expected folders of boxes, found no {', '.join(missing)}")
        self.read = ImageStore(int(cache_gb * 1024**3))
        self.roots = [parse_root(root) for root in roots]
        self.objects: list[np.ndarray] | None = None
        """What detectors find in each of `pairs` (`training.data.found_objects`)."""
        self.untaught = 0
        """Pairs that `keep_taught` left out."""
        self.listings: list[PairListing] = []
        self.pairs: list[PairPaths] = []
        self.groups: list[Group] = []
        for root in self.roots:
            listing = list_images(
                root.folder, check, lambda pair: self.read(self._needed(pair)), limit
            )
            self.listings.append(listing if skip_bad else listing.require_clean())
            first = len(self.pairs)
            if exclude_validation:
                listing.pairs = [
                    pair
                    for pair in listing.pairs
                    if not held_out(pair.stem, self._boxes_of(pair) is not None)
                ]
            self.pairs += [self._needed(pair) for pair in listing.pairs]
            if len(self.pairs) == first:
                raise DataError(
                    f"expected images for training in {root.folder}, found that all are held out; "
                    "leave out --exclude_validation or this folder"
                )
            self.groups.append(Group(range(first, len(self.pairs)), root.share))

    def _needed(self, pair: PairPaths) -> PairPaths:
        """Return the pair with its boxes and the teacher files that `teacher_target` needs.

        The image of the pair's own name is the mean of numbered samples.
        """
        pair = pair._replace(boxes=self._boxes_of(pair))
        means = tuple(path for path in pair.teachers if path.stem == pair.stem)
        samples = tuple(path for path in pair.teachers if path.stem != pair.stem)
        if not samples or not means:
            return pair
        means_do = self.teacher_target == "mean" and pair.variance is not None
        return pair._replace(teachers=means if means_do else samples)

    def _boxes_of(self, pair: PairPaths) -> Path | None:
        files = (folder / f"{pair.stem}.txt" for folder in self.boxes)
        return next((path for path in files if path.is_file()), None)

    @property
    def has_teachers(self) -> bool:
        """Return whether any scene has a teacher image."""
        return any(pair.teachers for pair in self.pairs)

    def keep_taught(self) -> None:
        """Leave out the pairs, and the folders, that have no teacher image."""
        pairs, groups = self.pairs, self.groups
        self.pairs, self.groups = [], []
        for group in groups:
            first = len(self.pairs)
            self.pairs += [pairs[i] for i in group.indices if pairs[i].teachers]
            if len(self.pairs) > first:
                self.groups.append(Group(range(first, len(self.pairs)), group.share))
        self.untaught = len(pairs) - len(self.pairs)

    def report(self) -> str:
        """Return the listing of every folder as text, and how many pairs were left out."""
        lines = [listing.report() for listing in self.listings]
        if self.untaught:
            lines.append(
                f"{self.untaught} pairs without a teacher image are left out; terms of the "
                "sources, such as --lambda_src_base 1, would train them too"
            )
        return "\n".join(lines)

    def names(self, indices: Iterable[int | torch.Tensor]) -> list[str]:
        """Return the visible images' paths of some items, for messages."""
        return [str(self.pairs[int(i)].vis) for i in indices]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: int | Draw) -> dict[str, torch.Tensor]:
        """Return the scene of an index as it is, or the variant that a `Draw` numbers."""
        index, number = key if isinstance(key, tuple) else (int(key), int(key))
        scene = self.read(self.pairs[index])
        if self.objects is not None:
            scene = scene._replace(objects=self.objects[index])
        random = np.random.default_rng((self.seed, number))
        if self.augmentation is None:
            rest = scene.teachers, scene.variance, scene.boxes, scene.objects
            ir, vis, sky = scene.ir, scene.vis, scene.sky_share()
            view = View(ir, vis, ir, vis, sky, *rest)
        else:
            view = self.augmentation(scene, random)
        teacher, variance = self._target(view, random)
        masks = {}
        if view.objects is not None:
            clean = view.ir_aligned, view.vis_clean
            drawn = torch.from_numpy(object_masks(*clean, view.objects, view.boxes))[:, None]
            masks = dict(zip(("objects", "vehicles"), drawn))
        return {
            **masks,
            "ir": torch.from_numpy(view.ir)[None],
            "vis": self._planes(view.vis),
            "ir_aligned": torch.from_numpy(view.ir_aligned)[None],
            "vis_clean": self._planes(view.vis_clean),
            "sky": torch.from_numpy(view.sky)[None],
            "boxes": torch.from_numpy(padded_boxes(view.boxes)),
            "has_boxes": torch.tensor(view.boxes is not None),
            "teacher": torch.from_numpy(teacher)[None],
            "variance": torch.from_numpy(variance)[None],
            "has_teacher": torch.tensor(len(view.teachers) > 0),
            "index": torch.tensor(index),
        }

    def _planes(self, vis: np.ndarray) -> torch.Tensor:
        """Return uint8 `in_channels` x H x W of RGB."""
        image = vis if self.in_channels == 3 else luminance(vis)[:, :, None]
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))

    def _target(self, view: View, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the teacher's luminance and variance, which samples give where no file does."""
        nothing, count = np.zeros(view.ir.shape, np.float32), len(view.teachers)
        if not count:
            return nothing, nothing
        variance = nothing if view.variance is None else view.variance
        if view.variance is None and count > 1:
            variance = (view.teachers / np.float32(255.0)).var(0, ddof=1, dtype=np.float32)
        if self.teacher_target == "sample":
            return view.teachers[random.integers(count)].astype(np.float32), variance
        return view.teachers.mean(0, dtype=np.float32), variance
