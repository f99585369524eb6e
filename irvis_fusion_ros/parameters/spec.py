"""What the table of parameters is made of: see `irvis_fusion_ros.parameters.declaration`."""

from __future__ import annotations

from typing import Any, NamedTuple

_NO_LIMIT = 1.0e9


class ParameterSpec(NamedTuple):
    """One parameter. Its type is its default's, and the length of a list too;

    numbers, those of lists as well, lie within `minimum` … `maximum`.
    """

    section: str
    name: str
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    minimum: float = -_NO_LIMIT
    maximum: float = _NO_LIMIT
    live: bool = False
