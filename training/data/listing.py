"""Which images of a training folder belong together.

::

    DATA/IR/<stem>.<any image suffix>                thermal, 8-bit, 16-bit or float
    DATA/VIS/<stem>.<any image suffix>               visible, colour or grey
    DATA/TEACHER_FUSED/<stem>.<suffix>               the teacher's fused image (optional)
    DATA/TEACHER_FUSED/<stem>_<k>.<suffix>           its samples, k = 0, 1, 2, ...; then the
                                                     image without number is their mean
    DATA/TEACHER_FUSED/<stem>_var.npy or _var.<suffix>   variance of its luminance, per pixel
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.image_files import IMAGE_SUFFIXES, images_by_stem
from training.data.images import PairPaths, read_images
from training.errors import DataError, SizeError

_SAMPLE = re.compile(r"(.+)_(\d+)")


@dataclass
class PairListing:
    """The usable pairs of a folder, and the files that are not usable."""

    folder: Path
    pairs: list[PairPaths] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)  # file names without a partner
    unreadable: list[str] = field(default_factory=list)  # `stem: why`
    unequal: list[str] = field(default_factory=list)  # `stem: sizes` of pairs or teachers

    @property
    def faults(self) -> int:
        """Return the number of files or pairs that were left out."""
        return len(self.unmatched) + len(self.unreadable) + len(self.unequal)

    @property
    def with_teacher(self) -> int:
        """Return the number of pairs that have a teacher image."""
        return sum(bool(pair.teachers) for pair in self.pairs)

    def report(self, shown: int = 5) -> str:
        """Return a line of counts, then a line for every kind of fault with its first files."""
        faults = {
            "without a partner": self.unmatched,
            "unreadable": self.unreadable,
            "of different sizes": self.unequal,
        }
        pairs = f"{len(self.pairs)} pairs, {self.with_teacher} with teacher images"
        lines = [f"{self.folder}: {pairs}"]
        for what, names in faults.items():
            if names:
                more = f" and {len(names) - shown} more" if len(names) > shown else ""
                lines.append(f"  {len(names)} {what}: {'; '.join(names[:shown])}{more}")
        return "\n".join(lines)

    def require_clean(self) -> PairListing:
        """Return the listing; DataError with the whole report where there is a fault."""
        if self.faults:
            raise DataError(
                f"expected only whole, matching images, found {self.faults} faults; repair or "
                f"remove these, or pass --skip_bad to train without them\n{self.report(20)}"
            )
        return self


def list_images(
    folder: Path,
    check: bool = True,
    read: Callable[[PairPaths], Any] | None = None,
    limit: int = 0,
) -> PairListing:
    """List the pairs of a folder, sorted by stem, and its faults.

    Args:
        check: Decode every image now, so that a bad one is named before the first step.
        read: Decodes a pair for the check, from several threads; `read_images` by default.
        limit: Keep, and check, at most this many pairs, evenly spread; 0 for all.

    Raises:
        DataError: IR/ or VIS/ is missing, a stem occurs twice, or no pair is left.
    """
    folder = Path(folder)
    ir, vis = (_by_stem(folder / side) for side in ("IR", "VIS"))
    listing = PairListing(folder)
    stems = sorted(set(ir) & set(vis))
    listing.unmatched += [f"IR/{ir[s].name}" for s in sorted(set(ir) - set(vis))]
    listing.unmatched += [f"VIS/{vis[s].name}" for s in sorted(set(vis) - set(ir))]
    samples, variances, strangers = _teachers(folder / "TEACHER_FUSED", stems)
    listing.unmatched += [f"TEACHER_FUSED/{name}" for name in strangers]
    pairs = [
        PairPaths(s, ir[s], vis[s], tuple(samples.get(s, ())), variances.get(s)) for s in stems
    ]
    if limit and len(pairs) > limit:
        pairs = [pairs[i * len(pairs) // limit] for i in range(limit)]
    listing.pairs = _checked(listing, pairs, read or read_images) if check else pairs
    if not listing.pairs:
        raise DataError(
            f"expected images of the same names under {folder}/IR and {folder}/VIS, found "
            f"{len(ir)} and {len(vis)} images and no usable pair\n{listing.report(20)}"
        )
    return listing


def _checked(listing: PairListing, pairs: list[PairPaths], read: Callable) -> list[PairPaths]:
    """Return the pairs that can be read; add the others to the listing's faults."""

    def attempt(pair: PairPaths) -> DataError | None:
        try:
            read(pair)
        except DataError as error:
            return error
        return None

    # OpenCV decodes without the interpreter's lock.
    with ThreadPoolExecutor(4) as threads:
        faults = list(threads.map(attempt, pairs))
    for pair, fault in zip(pairs, faults):
        if fault is not None:
            kind = listing.unequal if isinstance(fault, SizeError) else listing.unreadable
            found, _, _ = str(fault).rpartition(";")  # without the advice: a line a file
            kind.append(f"{pair.stem}: {found or fault}")
    return [pair for pair, fault in zip(pairs, faults) if fault is None]


def _by_stem(folder: Path) -> dict[str, Path]:
    try:
        return {stem: Path(path) for stem, path in images_by_stem(str(folder)).items()}
    except FrameError as error:
        raise DataError(str(error)) from error


def _teachers(
    folder: Path, stems: list[str]
) -> tuple[dict[str, list[Path]], dict[str, Path], list[str]]:
    """Return samples and variances by stem, and the names of files that belong to no pair."""
    samples: dict[str, list[Path]] = {}
    variances: dict[str, Path] = {}
    strangers: list[str] = []
    known = set(stems)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() not in (*IMAGE_SUFFIXES, ".npy") or path.name.startswith("."):
            continue
        # A file of a pair's own name is its sample even where it also reads as `<stem>_<k>`.
        numbered = _SAMPLE.fullmatch(path.stem)
        owner = path.stem if path.stem in known else numbered.group(1) if numbered else ""
        if path.stem.endswith("_var") and path.stem[:-4] in known:
            variances[path.stem[:-4]] = path
        elif owner in known and path.suffix != ".npy":
            samples.setdefault(owner, []).append(path)
        else:
            strangers.append(path.name)
    return samples, variances, strangers
