"""Class names: COCO's, spellings of the data sets, and groups such as "car/truck/bus"."""

from __future__ import annotations

from collections.abc import Iterable

PERSON = "person"
_PEOPLE = {"people", "pedestrian", "pedestrians", "persons", "human", "walker"}
_VEHICLES = ("car", "truck", "bus", "van", "vehicle")
_VEHICLE_WORDS = {"vehicle", "vehicles", "motor vehicle", "motor vehicles"}

_COCO = (
    "person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|"
    "stop sign|parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|"
    "backpack|umbrella|handbag|tie|suitcase|frisbee|skis|snowboard|sports ball|kite|baseball bat|"
    "baseball glove|skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork|knife|spoon|"
    "bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair|couch|"
    "potted plant|bed|dining table|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|"
    "oven|toaster|sink|refrigerator|book|clock|vase|scissors|teddy bear|hair drier|"
    "toothbrush"
)
COCO = tuple(_COCO.split("|"))
"""The classes of a detector of 80 classes whose file does not name them."""


def normal_label(name: str) -> str:
    """Return the name in lower case; the data sets' words for people become "person"."""
    name = " ".join(name.strip().lower().split())
    return PERSON if name in _PEOPLE else name


def members(label: str) -> tuple[str, ...]:
    """Return the classes that an annotated class stands for.

    "vehicle" stands for cars, trucks, buses and vans; "car/truck/bus" for the three that it names.
    """
    if label in _VEHICLE_WORDS:
        return (*_VEHICLES, label)
    return tuple(normal_label(part) for part in label.replace(" or ", "/").split("/"))


def group_names(annotated: Iterable[str]) -> dict[str, str]:
    """Return class of a detector -> annotated class that it counts as.

    A class that is annotated under its own name is never part of a group.
    """
    annotated = list(annotated)
    groups = {member: label for label in annotated for member in members(label)}
    return {**groups, **{label: label for label in annotated}}
