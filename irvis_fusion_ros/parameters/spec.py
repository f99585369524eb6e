"""One row of the parameter table: a dataclass field, and below it the text that describes it."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import inspect
import math
import sys
from typing import Any, NamedTuple

_NO_LIMITS = (-1.0e9, 1.0e9)
_TYPE_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


class ParameterSpec(NamedTuple):
    """The facts of one parameter.

    The default gives the type and, for a tuple, the length. Numbers, also those in a tuple, lie
    within `minimum` … `maximum`.
    """

    section: str
    name: str
    default: Any
    description: str
    choices: tuple[str, ...]
    minimum: float
    maximum: float
    live: bool

    def why_invalid(self, value: object) -> str | None:
        """Return why the parameter cannot have `value`, or None when it can.

        A whole number is accepted for a float, because `ros2 param set` makes an integer of `7`.
        Lists may be any sized sequence: rclpy gives array.array, YAML gives list.
        """
        if not isinstance(self.default, tuple):
            return self._why_invalid_scalar(type(self.default), value)
        count = len(self.default)
        if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
            return f"expected a list of {count} numbers, found {value!r}"
        items = list(value)  # type: ignore[call-overload]
        if len(items) != count:
            return f"expected {count} numbers, found {len(items)}"
        reasons = (self._why_invalid_scalar(type(self.default[0]), item) for item in items)
        return next((reason for reason in reasons if reason), None)

    def coerced(self, value: Any) -> Any:
        """Return a valid `value` in the type of the default."""
        if isinstance(self.default, tuple):
            return tuple(type(self.default[0])(item) for item in value)
        return float(value) if type(self.default) is float else value

    def constraints(self) -> str:
        """Return the allowed values in words; empty for true or false and for free text."""
        if self.choices:
            return ", ".join(choice or '""' for choice in self.choices)
        if isinstance(self.default, tuple):
            return f"{len(self.default)} numbers"
        if type(self.default) in (int, float):
            return f"{self.minimum:g} … {self.maximum:g}"
        return ""

    def value_words(self) -> str:
        """Return the allowed values in words, or the type."""
        return self.constraints() or _TYPE_WORDS[type(self.default)]

    def _why_invalid_scalar(self, wanted: type, value: Any) -> str | None:
        found = type(value)
        if found is not wanted and not (wanted is float and found is int):
            return f"expected {_TYPE_WORDS[wanted]}, found {found.__name__} {value!r}"
        if self.choices and value not in self.choices:
            return f"expected one of {', '.join(self.choices)}, found {value!r}"
        if wanted in (int, float):
            if not math.isfinite(value):
                return f"expected a finite number, found {value}"
            if not self.minimum <= value <= self.maximum:
                return f"expected {self.minimum:g} to {self.maximum:g}, found {value:g}"
        return None


def row(
    default: Any,
    allowed: tuple[str, ...] | tuple[float, float] = (),
    name: str = "",
    live: bool = False,
) -> Any:
    """Return a dataclass field that is one parameter; the string below it describes it.

    Args:
        default: of type bool, int, float, str, or a tuple of numbers.
        allowed: for text the choices, for numbers the smallest and the largest; empty allows any.
        name: ROS name where it is not the section's prefix followed by the field's name.
        live: the parameter may change while the node is configured.
    """
    choices, limits = (allowed, ()) if isinstance(default, str) else ((), allowed)
    facts = (choices, *(limits or _NO_LIMITS), live)
    return dataclasses.field(default=default, metadata={"name": name, "facts": facts})


live_row = functools.partial(row, live=True)
"""`row` of a parameter that may change while the node is configured."""


def specs_of(section_name: str, settings: Any) -> dict[str, ParameterSpec]:
    """Return the rows of a section, a dataclass of rows with its defaults, by field name."""
    prefix, texts = getattr(settings, "PREFIX", ""), _texts_below_fields(type(settings).__module__)
    return {
        field.name: ParameterSpec(
            section_name,
            field.metadata["name"] or prefix + field.name,
            field.default,
            texts.get((type(settings).__name__, field.name), ""),
            *field.metadata["facts"],
        )
        for field in dataclasses.fields(settings)
    }


@functools.lru_cache(None)
def _texts_below_fields(module: str) -> dict[tuple[str, str], str]:
    """Return the string below each annotated field of a module's classes, by (class, field).

    Python keeps no such strings, so they are read from the source; none where it is not there.
    """
    found = {}
    with contextlib.suppress(OSError):
        for block in ast.parse(inspect.getsource(sys.modules[module])).body:
            if not isinstance(block, ast.ClassDef):
                continue
            for field, below in zip(block.body, block.body[1:]):
                name = getattr(getattr(field, "target", None), "id", "")
                if name and isinstance(below, ast.Expr):
                    text = ast.literal_eval(below.value)
                    found[block.name, name] = " ".join(text.split())
    return found
