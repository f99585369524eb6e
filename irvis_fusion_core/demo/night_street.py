"""A drawn night street as two registered cameras see it.

For demos and tests without a recording: houses with lit windows, a street lamp, a parked car with
dazzling headlights, and walking pedestrians. The visible camera sees people only in the light; the
thermal camera sees them everywhere, but neither windows nor lettering nor lamplight. The same seed
and time give the same pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.detectors.detection import Box

_SUBPIXEL_BITS = 4  # cv2 draws at 1/16 of a pixel, so that walking is smooth
_NOISE_FRAMES = 8
_SIGNS = ("CAFE", "BAR", "HOTEL", "SHOP")


class StreetFrame(NamedTuple):
    ir: np.ndarray  # uint8 [height, width]
    vis: np.ndarray  # uint8 [height, width, 3], RGB
    boxes: list[Box]


class Pedestrian(NamedTuple):
    """Someone who walks to and fro across the street."""

    height: float  # pixels, of an image 480 high
    start: float  # share of the width, 0..1
    speed: float  # pixels a second; negative to the left
    lit: bool  # walks in the light
    step_phase: float


class NightStreet:
    """The scene; `frame(time_s)` draws it.

    Args:
        width: size in pixels, at least 64 each.
        height: See `width`.
        pedestrians: their number; the first walks under the lamp, the others in the dark.
    """

    def __init__(
        self, width: int = 640, height: int = 480, pedestrians: int = 4, seed: int = 0
    ) -> None:
        self.width, self.height, self.seed = width, height, seed
        self._random = np.random.default_rng(seed)
        self._scale = height / 480.0
        self._lamp_x = 0.24 * width
        self._vis, self._ir = self._draw_background()
        self._light = self._draw_light()
        self._people = [self._make_pedestrian(i, pedestrians) for i in range(pedestrians)]
        self._vis_noise = self._make_noise(3, 2.2)
        self._ir_noise = self._make_noise(1, 1.6)

    def frame(self, time_s: float) -> StreetFrame:
        """Draw the moment `time_s` (seconds from the beginning, 0 or later)."""
        vis, ir = self._vis.copy(), self._ir.copy()
        # Small people are far away, and are drawn first.
        people = sorted(self._people, key=lambda each: each.height)
        boxes = [self._draw_person(vis, ir, person, time_s) for person in people]
        vis = cv2.add(vis, self._light)
        number = int(round(time_s * 1000.0)) % _NOISE_FRAMES
        vis = cv2.add(cv2.GaussianBlur(vis, (3, 3), 0), self._vis_noise[number], dtype=cv2.CV_8U)
        ir = cv2.add(cv2.GaussianBlur(ir, (5, 5), 0), self._ir_noise[number], dtype=cv2.CV_8U)
        return StreetFrame(ir, vis, boxes)

    def _draw_background(self) -> tuple[np.ndarray, np.ndarray]:
        """Return sky, houses and road without light and people: visible, thermal."""
        w, h = self.width, self.height
        vis = np.zeros((h, w, 3), np.uint8)
        ir = np.zeros((h, w), np.uint8)
        horizon = int(0.5 * h)
        vis[:horizon] = (6, 7, 12)
        ir[:horizon] = 14  # a clear sky is the coldest part
        x = 0
        while x < w:
            house = int(self._random.uniform(0.16, 0.26) * w)
            self._draw_house(vis, ir, x, house, horizon)
            x += house
        rows = np.linspace(0.0, 1.0, h - horizon)[:, None]
        texture = self._random.normal(0.0, 1.0, (h - horizon, w))
        texture = cv2.GaussianBlur(texture, (0, 0), 1.2 * self._scale)
        road = 13.0 + 9.0 * rows + 5.0 * texture
        vis[horizon:] = np.clip(road[..., None] * (1.0, 1.0, 1.1), 0, 255)
        ir[horizon:] = np.clip(62.0 + 14.0 * rows + 2.0 * texture, 0, 255)
        for i in range(6):  # lane markings: paint is visible, not warm
            left, top = int((0.1 + 0.17 * i) * w), int(0.86 * h)
            corner = (left + int(0.07 * w), top + max(1, h // 100))
            cv2.rectangle(vis, (left, top), corner, (46, 46, 42), -1)
        self._draw_car(vis, ir)
        return vis, ir

    def _draw_house(
        self, vis: np.ndarray, ir: np.ndarray, x: int, width: int, horizon: int
    ) -> None:
        h = self.height
        top = int(self._random.uniform(0.06, 0.2) * h)
        foot = horizon + int(0.06 * h)
        wall = self._random.uniform(10, 18)
        colour = np.array([wall * 1.1, wall, wall * 0.9])
        cv2.rectangle(vis, (x, top), (x + width - 2, foot), colour.tolist(), -1)
        cv2.rectangle(ir, (x, top), (x + width - 2, foot), self._random.uniform(48, 66), -1)
        columns, rows = 4, 3
        for column in range(columns):
            for row in range(rows):
                left = x + int((column + 0.25) * width / columns)
                upper = top + int((row + 0.3) * (foot - top) / rows)
                corner = (left + width // 9, upper + int(0.075 * h))
                lit = self._random.random() < 0.4
                lamp = self._random.uniform(0.45, 1.0) * np.array([215.0, 170.0, 95.0])
                pane = lamp if lit else np.array([7.0, 8.0, 11.0])
                cv2.rectangle(vis, (left, upper), corner, pane.tolist(), -1)
                cv2.rectangle(vis, (left, upper), corner, (22, 20, 18), 1)
                # Glass is opaque to a thermal camera, and leaks a little heat.
                cv2.rectangle(ir, (left, upper), corner, 74.0, -1)
        sign, place = _SIGNS[x % 4], (x + width // 8, horizon - int(0.02 * h))
        font, size, thick = cv2.FONT_HERSHEY_SIMPLEX, 0.55 * self._scale, int(1.4 * self._scale)
        cv2.putText(vis, sign, place, font, size, (70, 120, 60), max(1, thick), cv2.LINE_AA)

    def _draw_car(self, vis: np.ndarray, ir: np.ndarray) -> None:
        """Draw a parked car with a warm bonnet and tyres, headlights on."""
        s, x, y = self._scale, int(0.8 * self.width), int(0.62 * self.height)
        front = [(-62, 0), (-56, -26), (-30, -32)]
        body = np.array([*front, (-18, -56), (34, -56), (48, -30), (64, -24), (66, 0)])
        points = [(body * s + (x, y)).astype(np.int32)]
        cv2.fillPoly(vis, points, (20, 14, 14), cv2.LINE_AA)
        cv2.fillPoly(ir, points, 70, cv2.LINE_AA)
        bonnet = np.array([*front, (-24, 0)])
        cv2.fillPoly(ir, [(bonnet * s + (x, y)).astype(np.int32)], 150, cv2.LINE_AA)
        for wheel in (-40, 42):
            centre = (int(x + wheel * s), y)
            cv2.circle(vis, centre, int(13 * s), (6, 6, 6), -1, cv2.LINE_AA)
            cv2.circle(ir, centre, int(13 * s), 118, -1, cv2.LINE_AA)

    def _draw_light(self) -> np.ndarray:
        """Return the light of lamp and headlights in the visible image, with glare."""
        w, h = self.width, self.height
        y, x = np.mgrid[0:h, 0:w].astype(np.float32)
        lamp_y, s = 0.2 * h, self._scale
        spread = 40.0 * s + 0.32 * np.maximum(y - lamp_y, 0.0)
        cone = np.exp(-(((x - self._lamp_x) / spread) ** 2)) * (y > lamp_y)
        cone *= np.clip((y - lamp_y) / (0.5 * h), 0.0, 1.0) * 44.0
        glow = 250.0 * np.exp(-((x - self._lamp_x) ** 2 + (y - lamp_y) ** 2) / (2 * (9 * s) ** 2))
        car_x, car_y = 0.8 * w - 60 * s, 0.62 * h - 14 * s
        distance2 = (x - car_x) ** 2 + (y - car_y) ** 2
        glare = 255.0 * np.exp(-distance2 / (2 * (10 * s) ** 2))
        glare += 70.0 * np.exp(-distance2 / (2 * (48 * s) ** 2))
        beam = 26.0 * np.exp(-(((y - car_y - 0.12 * (car_x - x)) / (22 * s)) ** 2)) * (x < car_x)
        yellow = (cone + glow)[..., None] * (1.0, 0.82, 0.5)
        white = (glare + beam)[..., None] * (0.95, 0.97, 1.0)
        return np.clip(yellow + white, 0, 255).astype(np.uint8)

    def _make_noise(self, channels: int, sigma: float) -> list[np.ndarray]:
        shape = (self.height, self.width, channels)[: 3 if channels > 1 else 2]
        return [
            np.round(self._random.normal(0.0, sigma, shape)).astype(np.int16)
            for _ in range(_NOISE_FRAMES)
        ]

    def _make_pedestrian(self, index: int, count: int) -> Pedestrian:
        if index == 0:
            return Pedestrian(168.0, self._lamp_x / self.width, 9.0, True, 0.0)
        share = 0.36 + 0.5 * (index - 0.5) / max(1, count - 1)
        speed = float(self._random.uniform(14.0, 30.0)) * (1 if index % 2 else -1)
        height = float(self._random.uniform(138.0, 190.0))
        return Pedestrian(height, share, speed, False, float(self._random.uniform(0.0, 6.28)))

    def _draw_person(
        self, vis: np.ndarray, ir: np.ndarray, person: Pedestrian, time_s: float
    ) -> Box:
        size = person.height * self._scale
        reach = 0.05 * self.width if person.lit else 0.12 * self.width
        x = person.start * self.width + _to_and_fro(person.speed * self._scale * time_s, reach)
        top = 0.6 * self.height - 0.5 * size + 0.25 * (size - 140.0 * self._scale)
        swing = np.sin(2.0 * np.pi * 0.9 * time_s + person.step_phase)
        # Clothes by night: a shade above the road, more where the lamp reaches.
        dark = (17, 16, 18) if not person.lit else (96, 84, 70)
        skin = (24, 21, 19) if not person.lit else (150, 118, 92)
        _draw_body(vis, x, top, size, swing, dark, skin)
        _draw_body(ir, x, top, size, swing, (186,) * 3, (236,) * 3)
        return Box(x - 0.2 * size, top, 0.4 * size, size)


def _to_and_fro(distance: float, reach: float) -> float:
    """Return the position within ±reach after walking `distance`, turning at the ends."""
    phase = (distance + reach) % (4.0 * reach)
    return phase - reach if phase < 2.0 * reach else 3.0 * reach - phase


def _draw_body(
    canvas: np.ndarray,
    x: float,
    top: float,
    size: float,
    swing: float,
    clothes: Sequence[int],
    skin: Sequence[int],
) -> None:
    """Draw a walking person, `size` pixels tall and centred on x."""

    def limb(points: Sequence[tuple[float, float]], width: float, colour: Sequence[int]) -> None:
        scaled = np.array([(x + size * px, top + size * py) for px, py in points])
        fixed = np.round(scaled * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        thickness = max(1, int(round(size * width)))
        cv2.polylines(canvas, [fixed], False, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)

    stride = 0.075 * swing
    for side in (-1.0, 1.0):
        foot = 0.075 * side + side * stride
        knee = 0.062 * side + 0.6 * side * stride
        limb([(0.055 * side, 0.5), (knee, 0.72), (foot, 0.95)], 0.085, clothes)
        limb([(foot, 0.955), (foot + 0.03 * side, 0.97)], 0.05, clothes)
        hand = (0.155 * side - 0.6 * side * stride, 0.5)
        limb([(0.115 * side, 0.2), (0.15 * side, 0.35), hand], 0.055, clothes)
        limb([hand, (hand[0], hand[1] + 0.02)], 0.045, skin)
    torso = np.array(
        [(-0.12, 0.17), (0.12, 0.17), (0.135, 0.22), (0.1, 0.53), (-0.1, 0.53), (-0.135, 0.22)]
    )
    fixed = np.round((torso * size + (x, top)) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], clothes, cv2.LINE_AA, _SUBPIXEL_BITS)
    limb([(0.0, 0.13), (0.0, 0.18)], 0.06, skin)
    ellipse = np.array([(x, top + 0.075 * size), (0.052 * size, 0.073 * size)])
    centre, axes = np.round(ellipse * (1 << _SUBPIXEL_BITS)).astype(int).tolist()
    cv2.ellipse(canvas, centre, axes, 0, 0, 360, skin, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
