"""Random displacements of a thermal image whose inverse is known.

A registered image R becomes I(y) = R(source(y)). The field to learn says for a place x of R where
it lies in I: x + d(x). Smooth displacements are inverted by iteration. Objects move as a body in
front of the rest, as parallax moves them, and hide what is behind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

Random = np.random.Generator


class Body(NamedTuple):
    """A superellipse (exponent `power`) that moves by `shift`, in pixels; (x, y) everywhere."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    power: float
    shift: tuple[float, float]

    def covers(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return where points of the registered image lie on the body."""
        across = np.abs((x - self.centre[0]) / self.radii[0])
        down = np.abs((y - self.centre[1]) / self.radii[1])
        return across**self.power + down**self.power < 1.0


class Displacement(NamedTuple):
    """A displaced image.

    Attributes:
        source: float32 2 x H x W: where in the registered image each pixel comes from (x, y).
        field: float32 2 x h x w, pixels: d at the centres of cells.
        hidden: bool h x w: cells that lie behind a body or outside the displaced image.
    """

    source: np.ndarray
    field: np.ndarray
    hidden: np.ndarray


def displace(smooth: np.ndarray, bodies: Sequence[Body], cell: int) -> Displacement:
    """Displace by a smooth field, then move bodies, the nearest last.

    Args:
        smooth: float32 2 x H x W, pixels: I(y) = R(y + smooth(y)) without bodies.
        cell: Side of a cell, pixels; H and W are multiples of it.
    """
    height, width = smooth.shape[1:]
    y, x = (axis.astype(np.float32) for axis in np.mgrid[:height, :width])
    source_x, source_y = x + smooth[0], y + smooth[1]
    for body in bodies:
        # What the body leaves shows the background next to it.
        aside = 2.0 * body.radii[0] + 4.0
        left = body.covers(source_x, source_y)
        source_x[left] += aside if body.centre[0] < width / 2 else -aside
    for body in bodies:
        shown_x, shown_y = x - body.shift[0], y - body.shift[1]
        shown = body.covers(shown_x, shown_y)
        source_x[shown], source_y[shown] = shown_x[shown], shown_y[shown]
    place_y, place_x = (
        np.mgrid[: height // cell, : width // cell].astype(np.float32) * cell + (cell - 1) / 2
    )
    field = inverse(smooth, place_x, place_y)
    for body in bodies:
        field[:, body.covers(place_x, place_y)] = np.array(body.shift, np.float32)[:, None]
    to_x, to_y = place_x + field[0], place_y + field[1]
    hidden = (to_x < 0) | (to_y < 0) | (to_x > width - 1) | (to_y > height - 1)
    for number, body in enumerate(bodies):
        in_front = body.covers(to_x - body.shift[0], to_y - body.shift[1])
        for same in bodies[number:]:
            in_front &= ~same.covers(place_x, place_y)
        hidden |= in_front
    return Displacement(np.stack([source_x, source_y]), field, hidden)


def inverse(smooth: np.ndarray, x: np.ndarray, y: np.ndarray, rounds: int = 8) -> np.ndarray:
    """Return d at places x, y with d = -smooth(place + d), by fixed-point iteration."""
    planes = [np.ascontiguousarray(plane) for plane in smooth]
    field = np.zeros((2, *x.shape), np.float32)
    for _ in range(rounds):
        at = (x + field[0], y + field[1])
        field = -np.stack(
            [
                cv2.remap(plane, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                for plane in planes
            ]
        )
    return field


def smooth_field(random: Random, size: int, reach: float) -> np.ndarray:
    """Return a random smooth field, float32 2 x size x size, of at most about `reach` pixels."""
    nodes = int(random.integers(2, 7))
    knots = random.normal(0.0, 1.0, (nodes, nodes, 2)).astype(np.float32)
    field = cv2.resize(knots, (size, size), interpolation=cv2.INTER_CUBIC)
    field += random.normal(0.0, 1.0, 2).astype(np.float32)
    largest = float(np.hypot(field[..., 0], field[..., 1]).max())
    # A steep field folds: a quarter of a pixel a pixel is a strong local stretch.
    steepest = max(float(np.abs(np.diff(field, axis=axis)).max()) for axis in (0, 1))
    factor = min(reach / largest, 0.25 / max(steepest, 1e-6))
    return np.ascontiguousarray((field * factor).transpose(2, 0, 1))


def plane_field(random: Random, size: int, reach: float) -> np.ndarray:
    """Return the field of a random homography near a shift, as `smooth_field`."""
    angle, scale = random.normal(0.0, 0.015), random.normal(0.0, 0.02)
    y, x = (axis.astype(np.float32) - (size - 1) / 2 for axis in np.mgrid[:size, :size])
    tilt = 1.0 + (random.normal(0.0, 1e-4) * x + random.normal(0.0, 1e-4) * y)
    direction = random.uniform(0.0, 2.0 * math.pi)
    shift = reach * np.array([math.cos(direction), math.sin(direction)])
    across = ((1.0 + scale) * x - angle * y) / tilt - x + shift[0]
    down = (angle * x + (1.0 + scale) * y) / tilt - y + shift[1]
    return np.stack([across, down]).astype(np.float32)


def random_bodies(random: Random, size: int, reach: float, boxes: np.ndarray) -> list[Body]:
    """Return one to four bodies: annotated objects (n x 4: x, y, w, h in pixels) and others.

    Cameras next to each other displace along their baseline: one direction for all bodies.
    """
    direction = random.choice([0.0, math.pi / 2]) if random.random() < 0.7 else None
    direction = random.uniform(0.0, math.pi) if direction is None else direction
    sign = random.choice([-1.0, 1.0])
    bodies = []
    chosen = [boxes[i] for i in random.permutation(len(boxes))[:3]]
    for _ in range(int(random.integers(0 if chosen else 1, 4 - min(len(chosen), 3) + 1))):
        high = size * random.uniform(0.08, 0.5)
        wide = high * random.uniform(0.3, 1.6)
        chosen.append(np.array([*random.uniform(0.0, size, 2), wide, high]))
    for x, y, wide, high in chosen:
        radii = (max(0.55 * wide, 3.0), max(0.53 * high, 3.0))
        far = sign * reach * random.uniform(0.3, 1.0)
        shift = (far * math.cos(direction), far * math.sin(direction))
        bodies.append(Body((float(x), float(y)), radii, random.uniform(2.0, 5.0), shift))
    return sorted(bodies, key=lambda body: math.hypot(*body.shift))


def random_displacement(
    random: Random, size: int, cell: int, reach: float, boxes: np.ndarray
) -> Displacement:
    """Draw a displacement: none, a homography, a smooth field; with bodies in half of all."""
    smooth = np.zeros((2, size, size), np.float32)
    far = reach * random.random()
    kind = random.random()
    with_bodies = random.random() < 0.4
    if kind > 0.5:
        smooth = smooth_field(random, size, far)
    elif kind > 0.1:
        smooth = plane_field(random, size, far)
    if not with_bodies:
        return displace(smooth, (), cell)
    smooth *= np.float32(random.choice([0.0, 0.3, 1.0]))
    bodies = random_bodies(random, size, reach * random.uniform(0.1, 0.95), boxes)
    return displace(smooth, bodies, cell)
