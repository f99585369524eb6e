"""A conditional diffusion teacher: from noise to a fused image that fits two given sources.

It learns the targets of another teacher (``TEACHER_FUSED/``) from sources with and without a
sensor's faults, so it restores and fuses. The shape is Mask-DiFuser's, whose two views are the
sources here: its task and its sampling are used as they are. The network is `ConditionalUNet`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from training.data.augmentation import Augmentation
from training.data.dataset import FusionDataset, Root
from training.data.sampling import Draw
from training.errors import DataError
from training.teachers.mask_difuser.teacher import MaskDiFuser
from training.teachers.optimised import Optimised

DEFAULT_STEPS = 5


class Conditional(MaskDiFuser):
    """The teacher; see `MaskDiFuser`. The saturation follows the luminance, as in its targets."""

    name = "conditional"
    colour = staticmethod(Optimised.colour)


class TaughtCrops(FusionDataset):
    """Crops of the pairs that have a teacher's image, as `PriorTask` takes them.

    An item has the teacher's luminance (``image``) and the thermal and visible sources
    (``view_a``, ``view_b``), float 1 x size x size, -1..1. The sources have a sensor's faults by
    the chances of `augmentation`; the teacher's image never has.

    Raises:
        DataError: No pair has a teacher's image; or as `FusionDataset`.
    """

    def __init__(
        self,
        roots: Sequence[str | Root],
        augmentation: Augmentation,
        seed: int,
        boxes: Sequence[str],
        exclude_validation: bool,
    ) -> None:
        super().__init__(
            roots,
            augmentation,
            seed,
            in_channels=1,
            boxes=boxes,
            exclude_validation=exclude_validation,
        )
        self.keep_taught()
        if not self.pairs:
            raise DataError(
                f"expected TEACHER_FUSED/ in {', '.join(map(str, roots))}, found no teacher image "
                "to learn; make them with training.make_teacher_images --teacher optimised"
            )

    def __getitem__(self, key: int | Draw) -> dict[str, torch.Tensor]:
        item = super().__getitem__(key)
        names = {"image": "teacher", "view_a": "ir", "view_b": "vis"}
        return {name: item[source].float() / 127.5 - 1.0 for name, source in names.items()}
