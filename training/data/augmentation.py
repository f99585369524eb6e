"""Random variants of a scene: one geometry for all its images, a sensor's faults for each.

The student sees ``ir``, displaced against the visible image, and ``vis``, both with a sensor's
faults; losses compare with the clean ``ir_aligned`` in place and ``vis_clean``. A changed exposure
of the visible image belongs to the scene, so a teacher's image follows it; its chroma is jittered
alone, since the student keeps it. The thermal gain is varied in both thermal images, but not where
a teacher's answer would no longer fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.errors import ConfigurationError
from training.data.boxes import cut_boxes
from training.data.images import Images
from training.data.residual_parallax import check_engine, residual_parallax

Window = tuple[int, int, int]  # top, left and side of a square


class View(NamedTuple):
    """One variant of a scene, all of one size."""

    ir: np.ndarray  # uint8 HxW
    vis: np.ndarray  # uint8 HxWx3 RGB
    ir_aligned: np.ndarray  # uint8 HxW, clean and in place
    vis_clean: np.ndarray  # uint8 HxWx3 RGB
    sky: np.ndarray  # float32 HxW, 0..1 (`training.data.images.sky_mask`)
    teachers: np.ndarray  # uint8 kxHxW
    variance: np.ndarray | None  # float32 HxW
    boxes: np.ndarray | None  # float32 nx5 (`training.data.boxes`), None: not annotated
    objects: np.ndarray | None = None  # float32 nx8 (`training.data.found_objects`)


@dataclass(frozen=True)
class Augmentation:
    """How far scenes are varied: pixels of the crop, grey levels of 255, probabilities 0..1."""

    size: int = 512  # side of the square crop
    resize_prob: float = 0.7
    resize_range: tuple[float, float] = (0.65, 1.25)
    flip_prob: float = 0.5
    misalign_prob: float = 0.03
    misalign_px: float = 4.0
    misalign_deg: float = 1.0
    misalign_scale: float = 0.01
    parallax_prob: float = 0.0  # as misaligned, then registered (`residual_parallax`)
    parallax_px: float = 16.0
    tone_prob: float = 0.3
    vis_tone: float = 0.3  # standard deviation of the logarithm of gamma
    ir_tone: float = 0.2
    gain_prob: float = 0.2  # the thermal image does not reach over all grey levels
    least_gain: float = 0.3
    colour_prob: float = 0.3
    colour: float = 0.2  # reach of the chroma's gain, and (in 3/4 radians) of its hue
    noise_prob: float = 0.1  # one of `sensor_noise`, and perhaps noise of the visible image
    ir_noise: float = 14.0  # largest strength, grey levels; the least is a seventh
    vis_noise: float = 10.0
    jpeg_prob: float = 0.2  # of the crops without noise, the visible image

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: A bad probability, a negative reach, an empty crop.
            EngineUnavailableError: Parallax is wanted, and no engine runs its registration.
        """
        for name, value in vars(self).items():
            if name.endswith("_prob") and not 0.0 <= value <= 1.0:
                raise ConfigurationError(f"expected {name} within 0..1, found {value}")
            if isinstance(value, (int, float)) and value < 0.0:
                raise ConfigurationError(f"expected {name} of 0 or more, found {value}")
        low, high = self.resize_range
        if self.size < 16 or not 0.05 <= low <= high <= 20.0:
            raise ConfigurationError(
                "expected a crop of at least 16 pixels and 0.05 <= low <= high <= 20 for "
                f"resize_range, found {self.size} and {self.resize_range}"
            )
        if self.parallax_prob:
            check_engine()

    def __call__(self, scene: Images, random: np.random.Generator) -> View:
        """Return a variant of `scene`; the same generator state gives the same variant."""
        window = self._window(scene.ir.shape, random)
        flip = random.random() < self.flip_prob
        ir_aligned, vis = (self._cut(p, window, flip) for p in (scene.ir, scene.vis))
        sky = self._cut(scene.sky_share(), window, flip)
        boxes, objects = (
            None if table is None else cut_boxes(table, scene.ir.shape, window, flip)
            for table in (scene.boxes, scene.objects)
        )
        variance = None if scene.variance is None else self._cut(scene.variance, window, flip)
        teachers = [self._cut(p, window, flip) for p in scene.teachers]
        ir = ir_aligned
        if random.random() < self.misalign_prob:
            # Displaced before it is cut, so that real pixels move in at the border.
            ir = self._cut(self._displaced(scene.ir, window, random), None, flip)
        # Not drawn without need: it would change the other draws.
        if self.parallax_prob and random.random() < self.parallax_prob:
            ir = residual_parallax(ir_aligned, vis, self.parallax_px, random, boxes)
        if random.random() < self.tone_prob:
            table = tone_curve(np.exp(random.normal(0.0, self.vis_tone)))
            vis, teachers = table[vis], [table[p] for p in teachers]
        if random.random() < self.tone_prob and not teachers:
            table = tone_curve(np.exp(random.normal(0.0, self.ir_tone)))
            ir, ir_aligned = table[ir], table[ir_aligned]
        if random.random() < self.gain_prob and not teachers:
            gain = random.uniform(self.least_gain, 1.0)
            levels = random.uniform(0.0, 255.0 * (1.0 - gain)) + gain * np.arange(256)
            table = levels.round().astype(np.uint8)
            ir, ir_aligned = table[ir], table[ir_aligned]
        if random.random() < self.colour_prob:
            gain, turn = self.colour * random.uniform(-1, 1, 2)
            vis = jitter_chroma(vis, 1.0 + gain, 0.75 * turn)
        clean = vis
        if random.random() < self.noise_prob:
            ir = sensor_noise(ir, random.uniform(self.ir_noise / 7.0, self.ir_noise), random)
            if random.random() < 0.4:
                strength = random.uniform(self.vis_noise / 10.0, self.vis_noise)
                vis = add_noise(vis, random.normal(0.0, strength, vis.shape))
        elif random.random() < self.jpeg_prob:
            vis = compressed(vis, int(random.integers(40, 90)))
        stacked = np.stack(teachers) if teachers else np.zeros((0, *ir.shape), np.uint8)
        return View(ir, vis, ir_aligned, clean, sky, stacked, variance, boxes, objects)

    def _window(self, shape: tuple[int, ...], random: np.random.Generator) -> Window:
        """Draw top, left and side of the square that becomes the crop."""
        scale = random.uniform(*self.resize_range)
        if random.random() >= self.resize_prob:
            scale = 1.0
        side = max(8, min(round(self.size / scale), *shape))
        top, left = (int(random.integers(length - side + 1)) for length in shape)
        return top, left, side

    def _cut(self, image: np.ndarray, window: Window | None, flip: bool) -> np.ndarray:
        if window is not None:
            top, left, side = window
            image = image[top : top + side, left : left + side]
        return resize_square(image, self.size, flip)

    def _displaced(
        self, ir: np.ndarray, window: Window, random: np.random.Generator
    ) -> np.ndarray:
        """Return the window of the thermal image, turned, scaled and shifted about its centre."""
        top, left, side = window
        dx, dy = random.uniform(-1.0, 1.0, 2) * self.misalign_px * side / self.size
        angle = np.deg2rad(random.uniform(-1.0, 1.0) * self.misalign_deg)
        scale = 1.0 + random.uniform(-1.0, 1.0) * self.misalign_scale
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
        centre = np.full(2, (side - 1) / 2.0)
        offset = np.array([left + dx, top + dy]) + centre - turn @ centre
        return cv2.warpAffine(
            ir,
            np.column_stack([turn, offset]),
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )


def resize_square(image: np.ndarray, size: int, flip: bool) -> np.ndarray:
    """Return a square image with sides of `size` pixels, mirrored if `flip`."""
    side = image.shape[0]
    if side != size:
        # Area averaging does not alias; it has no meaning when an image grows.
        how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        image = cv2.resize(image, (size, size), interpolation=how)
    return np.ascontiguousarray(image[:, ::-1] if flip else image)


def tone_curve(gamma: float) -> np.ndarray:
    """Return the 256 grey levels under another exposure, uint8."""
    return (255.0 * (np.arange(256) / 255.0) ** gamma).round().astype(np.uint8)


def jitter_chroma(vis: np.ndarray, gain: float, turn: float) -> np.ndarray:
    """Return RGB with Cb and Cr stretched by `gain` and turned by `turn` radians."""
    ycc = cv2.cvtColor(vis, cv2.COLOR_RGB2YCrCb)
    c, s = gain * np.cos(turn), gain * np.sin(turn)
    matrix = np.array(
        [[1, 0, 0, 0], [0, c, -s, 128 - 128 * (c - s)], [0, s, c, 128 - 128 * (c + s)]]
    )
    return cv2.cvtColor(cv2.transform(ycc, matrix), cv2.COLOR_YCrCb2RGB)


def sensor_noise(ir: np.ndarray, strength: float, random: np.random.Generator) -> np.ndarray:
    """Return a thermal image (uint8) with one kind of noise.

    Half of the draws are white noise, three in ten an offset of each column or row (fixed
    pattern), the others shot noise or dead and hot pixels.

    Args:
        strength: Standard deviation in grey levels; of shot noise that at level 2 x `strength`.
    """
    kind = random.random()
    if kind < 0.5:
        return add_noise(ir, random.normal(0.0, strength, ir.shape))
    if kind < 0.8:
        shape = (1, ir.shape[1]) if random.random() < 0.7 else (ir.shape[0], 1)
        return add_noise(ir, random.normal(0.0, strength, shape))
    if kind < 0.9:
        # The counts of a level are 2 / strength for each grey level.
        count = 2.0 / max(strength, 1e-3)
        return add_noise(ir, random.poisson(ir * count) / count - ir)
    dead = random.random(ir.shape) < 0.02
    return np.where(dead, random.choice(np.array([0, 255], np.uint8), ir.shape), ir)


def compressed(vis: np.ndarray, quality: int) -> np.ndarray:
    """Return RGB after JPEG of this quality (0..100)."""
    _, data = cv2.imencode(".jpg", vis[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1])


def add_noise(image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return uint8 plus noise in grey levels, rounded and kept within 0..255."""
    return (image + noise).round().clip(0, 255).astype(np.uint8)
