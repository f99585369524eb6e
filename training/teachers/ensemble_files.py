"""The teacher's images on disk, in the layout that `training.data.listing` reads.

::

    TEACHER_FUSED/<stem>_<k>.png   sample k, RGB with the visible image's colour
    TEACHER_FUSED/<stem>.png       the ensemble's mean
    TEACHER_FUSED/<stem>_var.png   the variance of its luminance, 16 bits (65535 is 0.25)
    TEACHER_FUSED/teacher.json     the settings they were made with
    TEACHER_FUSED/ensembles.<rank>.jsonl   a line a pair: samples kept and left out, seconds

The variance is written last, so it says that a pair is complete.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irvis_fusion_core.bounded_file import parse_json_object
from irvis_fusion_core.errors import ConfigurationError
from training.data.images import LARGEST_VARIANCE
from training.storage import append_json, make_folder, write_json, write_png, writing

SETTINGS = "teacher.json"


class EnsembleFolder:
    """One ``TEACHER_FUSED`` folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def open(self, settings: dict[str, Any], first: bool = True) -> None:
        """Let the first process write the settings; refuse images that were made with others."""
        path = self.folder / SETTINGS
        if not path.is_file():
            if first:
                write_json(path, settings)
            return
        try:
            found = parse_json_object(path.read_bytes())
        except ValueError:
            found = {"settings": "unreadable"}
        different = sorted(k for k in {*found, *settings} if found.get(k) != settings.get(k))
        if different:
            what = ", ".join(f"{k} {found.get(k)!r} not {settings.get(k)!r}" for k in different)
            raise ConfigurationError(
                f"expected images made with the same settings in {self.folder}, found {what}; "
                "give another --output, or remove the folder to make them again"
            )

    def is_done(self, stem: str) -> bool:
        """Return whether the pair's ensemble is complete."""
        return self._variance(stem).is_file() and self.mean(stem).is_file()

    def samples(self, stem: str) -> list[Path]:
        """Return the sample images of a pair, by number."""
        numbered = {
            int(path.stem[len(stem) + 1 :]): path
            for path in self.folder.glob(f"{glob.escape(stem)}_*.png")
            if path.stem[len(stem) + 1 :].isdigit()
        }
        return [numbered[k] for k in sorted(numbered)]

    def mean(self, stem: str) -> Path:
        return self.folder / f"{stem}.png"

    def write(
        self, stem: str, samples: dict[int, np.ndarray], mean: np.ndarray, variance: np.ndarray
    ) -> None:
        """Write uint8 RGB images and the float variance (white is 1), which comes last."""
        for number, image in samples.items():
            write_png(self.folder / f"{stem}_{number}.png", image)
        write_png(self.mean(stem), mean)
        scaled = np.rint(variance * (65535.0 / LARGEST_VARIANCE)).clip(0, 65535)
        write_png(self._variance(stem), scaled.astype(np.uint16))

    def note(self, rank: int, row: dict[str, Any]) -> None:
        """Append a line to this process's account."""
        append_json(make_folder(self.folder) / f"ensembles.{rank}.jsonl", row)

    def take_over(self, stem: str, other: EnsembleFolder) -> None:
        """Take over another folder's ensemble of a pair, as hard links where possible."""
        for path in self.samples(stem):
            path.unlink()  # of an earlier choice with more samples
        for path in (*other.samples(stem), other.mean(stem), other._variance(stem)):
            target = self.folder / path.name
            if target.exists() and target.samefile(path):
                continue  # linked by an earlier run; renaming would leave both names
            with writing(target) as part:
                part.unlink()
                try:
                    os.link(path, part)
                except OSError:
                    shutil.copyfile(path, part)

    def _variance(self, stem: str) -> Path:
        return self.folder / f"{stem}_var.png"


def refuse_ambiguous(stems: Sequence[str], samples: int) -> None:
    """Raise ConfigurationError where a sample of one pair would have the name of another."""
    known = set(stems)
    for stem in stems:
        taken = [f"{stem}_{k}" for k in range(samples) if f"{stem}_{k}" in known]
        if taken:
            raise ConfigurationError(
                f"expected names that differ from each other's samples, found {stem} and "
                f"{taken[0]}; rename one of them, or ask for fewer --samples"
            )
