"""Plots as inline SVG: lines over time, histograms, bars. Colours come from the page's CSS.

A series has a CSS class (`s0`, `s1`, ... for what is compared, `ref` for references), so the same
drawing serves a light and a dark page. More points than pixels are drawn as their mean, with the
range from least to most behind it.
"""

from __future__ import annotations

import math
from html import escape
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

MOST_POINTS = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 30


class Series(NamedTuple):
    """One line or histogram: its name, CSS class, and values float64 [n] (NaN is a gap)."""

    name: str
    style: str
    x: np.ndarray
    y: np.ndarray


class _Frame(NamedTuple):
    """Where data lie in the image."""

    width: int
    height: int
    x_range: Tuple[float, float]
    y_range: Tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (self.width - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return (
            self.height - _BOTTOM - (value - low) / (high - low) * (self.height - _TOP - _BOTTOM)
        )


def line_chart(
    series: Sequence[Series],
    title: str,
    x_label: str = "time, s",
    from_zero: bool = False,
    width: int = 520,
    height: int = 200,
) -> str:
    """Values over time; a note where there is nothing to show."""
    drawn = [s._replace(x=s.x[np.isfinite(s.y)], y=s.y[np.isfinite(s.y)]) for s in series]
    drawn = [s for s in drawn if s.y.size]
    if not drawn:
        return _nothing(title, width, height)
    # A few wild values must not flatten all others: the outermost half per cent may be cut off.
    y_all = np.concatenate([s.y for s in drawn])
    low, high = (
        np.percentile(y_all, (0.5, 99.5)) if y_all.size > 50 else (y_all.min(), y_all.max())
    )
    frame = _Frame(
        width,
        height,
        _widened(min(s.x.min() for s in drawn), max(s.x.max() for s in drawn), 0.0),
        _widened(min(low, 0.0) if from_zero else low, high, 0.06, from_zero),
    )
    parts = _axes(frame, x_label)
    for one in drawn:
        parts.append(f'<g class="{one.style}"><title>{escape(one.name)}</title>')
        parts += _line(frame, one)
        parts.append("</g>")
    return _svg(title, width, height, parts)


def histogram(
    series: Sequence[Series], title: str, x_label: str, width: int = 520, height: int = 200
) -> str:
    """How often values occur, in per cent of each series; `x` of the series is not used."""
    drawn = [(s, s.y[np.isfinite(s.y)]) for s in series]
    drawn = [(s, y) for s, y in drawn if y.size]
    if not drawn:
        return _nothing(title, width, height)
    everything = np.concatenate([y for _, y in drawn])
    low, high = np.percentile(everything, (0.5, 99.5))
    low, high = _widened(float(low), float(high), 0.02)
    fewest = min(y.size for _, y in drawn)
    edges = np.linspace(low, high, int(np.clip(2 * fewest ** (1 / 2), 8, 40)) + 1)
    shares = [
        100.0 * np.histogram(np.clip(y, low, high), edges)[0] / float(y.size) for _, y in drawn
    ]
    top = max(float(share.max()) for share in shares)
    frame = _Frame(width, height, (low, high), (0.0, top * 1.05))
    parts = _axes(frame, x_label, unit_y=" %")
    for (one, y), share in zip(drawn, shares):
        points = [(frame.x(edges[0]), frame.y(0.0))]
        for index, value in enumerate(share):
            points += [(frame.x(edges[i]), frame.y(float(value))) for i in (index, index + 1)]
        points.append((frame.x(edges[-1]), frame.y(0.0)))
        text = f"{one.name}: median {number(float(np.median(y)))}"
        parts.append(f'<g class="{one.style}"><title>{escape(text)}</title>')
        parts.append(f'<path class="area" d="{_path(points)}"/>')
        parts.append(f'<path class="line" d="{_path(points)}"/></g>')
    return _svg(title, width, height, parts)


def bars(
    values: Dict[str, float], title: str, style: Callable[[str], str], name_width: int = 206
) -> str:
    """Horizontal bars with their numbers, longest first; `name_width` is for their names."""
    ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    total, most = sum(values.values()), max(values.values(), default=0)
    height, width = 26 * len(ranked) + 8, name_width + 320
    parts = []
    for row, (name, value) in enumerate(ranked):
        y, left = 26 * row + 4, name_width + 10
        length = max(190.0 * value / most, 1.0) if most else 0.0
        parts.append(
            f'<g class="{style(name)}">'
            f'<text class="name" x="{name_width}" y="{y + 14}">{escape(name)}</text>'
            f'<rect class="bar" x="{left}" y="{y}" width="{length:.1f}" height="18" rx="3"/>'
            f'<text class="value" x="{left + 6 + length:.1f}" y="{y + 14}">{value:g}'
            f" ({percent(value, total)})</text></g>"
        )
    return _svg(title, width, height, parts)


def strip(kinds: Sequence[int], names: Sequence[str], title: str, width: int = 1060) -> str:
    """What became of each frame along the bag: `kinds` are numbers of `names`, style `k<n>`.

    A column that holds several frames shows the shares of their kinds.
    """
    height, count = 34, len(kinds)
    if not count:
        return _nothing(title, width, 60)
    columns = min(count, MOST_POINTS)
    bounds = np.linspace(0, count, columns + 1).astype(int)
    all_kinds = np.asarray(kinds)
    parts, step = [], width / columns
    for column in range(columns):
        part = all_kinds[bounds[column] : bounds[column + 1]]
        y = 0.0
        for kind in range(len(names)):
            share = float(np.mean(part == kind))
            if share:
                parts.append(
                    f'<rect class="k{kind}" x="{column * step:.2f}" y="{y:.2f}" '
                    f'width="{step + 0.3:.2f}" height="{height * share:.2f}"/>'
                )
                y += height * share
    return _svg(title, width, height, parts)


def number(value: float) -> str:
    """A number with three significant digits, without exponents where people read it."""
    if not math.isfinite(value):
        return "∞" if value == math.inf else "−∞" if value == -math.inf else "–"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        digits = 3 if value == 0 else max(2 - int(math.floor(math.log10(abs(value)))), 0)
        text = f"{value:.{min(digits, 4)}f}"
        return (text.rstrip("0").rstrip(".") if value == 0 else text).replace("-", "−")
    return f"{value:.2g}".replace("-", "−")


def percent(part: float, whole: float) -> str:
    """A share; never "100 %" or "0 %" where it is only nearly so."""
    if not whole:
        return "–"
    share = 100.0 * part / whole
    if part != whole and share > 99.9:
        return "> 99.9 %"
    if part and share < 0.1:
        return "< 0.1 %"
    return f"{share:.1f} %" if part not in (0, whole) else f"{share:.0f} %"


def _line(frame: _Frame, one: Series) -> List[str]:
    x, mean, low, high = decimate(one.x, one.y)
    bottom, top = frame.y_range
    mean, low, high = (np.clip(v, bottom, top) for v in (mean, low, high))
    parts = []
    if x.size < one.x.size:
        upper = [(frame.x(a), frame.y(b)) for a, b in zip(x, high)]
        lower = [(frame.x(a), frame.y(b)) for a, b in zip(x, low)]
        parts.append(f'<path class="area" d="{_path(upper + lower[::-1])}Z"/>')
    points = [(frame.x(a), frame.y(b)) for a, b in zip(x, mean)]
    parts.append(f'<path class="line" d="{_path(points)}"/>')
    if len(points) <= 60:
        parts += [f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="2.2"/>' for a, b in points]
    return parts


def decimate(
    x: np.ndarray, y: np.ndarray
) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, mean, least and most of y over at most `MOST_POINTS` runs of points, float64 [n]."""
    if x.size <= MOST_POINTS:
        return x, y, y, y
    bounds = np.linspace(0, x.size, MOST_POINTS + 1).astype(int)[:-1]
    counts = np.diff(np.append(bounds, x.size))
    return (
        np.add.reduceat(x, bounds) / counts,
        np.add.reduceat(y, bounds) / counts,
        np.minimum.reduceat(y, bounds),
        np.maximum.reduceat(y, bounds),
    )


def _axes(frame: _Frame, x_label: str, unit_y: str = "") -> List[str]:
    parts = ['<g class="axis">']
    for value in ticks(*frame.y_range, 4):
        y = frame.y(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{frame.width - _RIGHT}"/>')
        parts.append(
            f'<text class="tick y" x="{_LEFT - 6}" y="{y + 4:.1f}">{_tick(value)}{unit_y}</text>'
        )
    base = frame.height - _BOTTOM
    for value in ticks(*frame.x_range, 6):
        parts.append(
            f'<text class="tick x" x="{frame.x(value):.1f}" y="{base + 14}">{_tick(value)}</text>'
        )
    middle = (_LEFT + frame.width - _RIGHT) / 2
    parts.append(
        f'<text class="label" x="{middle:.0f}" y="{frame.height - 2}">{escape(x_label)}</text></g>'
    )
    return parts


def ticks(low: float, high: float, about: int) -> List[float]:
    """Round numbers within low..high, 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, int(math.floor(high / step + 1e-9)) + 1)]


def _tick(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def _widened(
    low: float, high: float, margin: float, keep_zero: bool = False
) -> Tuple[float, float]:
    """The range with a margin, never empty; a lower end of 0 stays where it is to be kept."""
    low, high = float(low), float(high)
    span = high - low
    if span <= 1e-12 * max(abs(low), abs(high), 1e-9):
        span = abs(high) * 0.2 or 1.0
        return (low, high + span) if keep_zero and low == 0 else (low - span / 2, high + span / 2)
    below = 0.0 if keep_zero and low == 0 else margin * span
    return low - below, high + margin * span


def _path(points: Sequence[Tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _nothing(title: str, width: int, height: int, text: Optional[str] = None) -> str:
    words = text or "nothing was measured"
    body = f'<text class="label" x="{width / 2:.0f}" y="{height / 2:.0f}">{words}</text>'
    return _svg(title, width, height, [body])


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'
    )
