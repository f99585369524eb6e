"""Training and validation parts of the annotated images, split by scene.

Neighbouring frames of a drive show one scene. They always fall in one part, so that validation
says something about new scenes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

SCENE_GAP = 30
"""Frame numbers between two scenes; frames that are nearer show one scene (30 Hz, 2 Hz stored)."""
VALIDATION_SHARE = 3
"""One scene in this many is for validation, of those without a frame of the folder `val`."""


def roadscene_parts(train: Iterable[str], val: Iterable[str]) -> dict[str, str]:
    """Return stem -> "train" or "val" of RoadScene's images, named FLIR_NUMBER by drive.

    A scene is a run of frames of one drive with gaps of at most `SCENE_GAP`. A scene with a frame
    of the folder `val` is for validation, and so is every third of the others in the order of
    their numbers. The rule needs all names of both folders.
    """
    fixed = set(val)
    scenes: list[list[str]] = []
    last = ("", 0)
    for drive, number, stem in sorted(_place(stem) for stem in {*train, *fixed}):
        if drive != last[0] or number - last[1] > SCENE_GAP:
            scenes.append([])
        scenes[-1].append(stem)
        last = drive, number
    parts, free = {}, 0
    for scene in scenes:
        validation = not fixed.isdisjoint(scene)
        if not validation:
            free += 1
            validation = free % VALIDATION_SHARE == 0
        parts.update(dict.fromkeys(scene, "val" if validation else "train"))
    return parts


def _place(stem: str) -> tuple[str, int, str]:
    found = re.fullmatch(r"(.*?)_?(\d+)", stem)
    return (found.group(1), int(found.group(2)), stem) if found else (stem, 0, stem)
