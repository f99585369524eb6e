"""The scenes that are held out of training, by the names of the public sets' images.

Neighbouring frames of a drive show one scene. They always fall in one part, so that validation
says something about new scenes.
"""

from __future__ import annotations

import re

_ROADSCENE = re.compile(r"FLIR_(\d+)")
_MSRS = re.compile(r"(\d{5})([DN])")


def held_out(stem: str, annotated: bool = False) -> bool:
    """Return whether an image of a training folder is for validation.

    RoadScene (``FLIR_04321``): one run of 600 frame numbers in four. MSRS (``00123N``): the
    annotated images, and one run of 40 numbers in five of the night's. Images of other names never
    are.

    Args:
        stem: File name without suffix.
        annotated: Whether its objects are annotated.
    """
    if found := _ROADSCENE.match(stem):
        return int(found.group(1)) // 600 % 4 == 2
    if found := _MSRS.fullmatch(stem):
        night = found.group(2) == "N"
        return annotated or (night and int(found.group(1)) // 40 % 5 == 2)
    return False
