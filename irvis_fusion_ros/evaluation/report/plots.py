"""Plots of the tables in the report's folder, drawn by matplotlib as inline SVG.

Colours are names of CSS variables of report.css (`s0`, `s1`, ... for configurations, `ref` for
references), so one drawing serves the light and the dark page.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from irvis_fusion_ros.evaluation.recording import FRAMES, LIVE, REFERENCE_ROWS, TIMING
from irvis_fusion_ros.evaluation.report.scores import number
from irvis_fusion_ros.evaluation.tables import read_columns, read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUTCOME_COLOURS = {"fused": "s2", "passed": "s4", "dropped": "bad"}
_FILES = {"engine_ms": TIMING, "frame_ms": TIMING, "latency_ms": LIVE}
"""The tables of columns that are not in frames.csv."""
_FROM_ZERO = ("flicker", *_FILES)
MOST_POINTS = 400
_NAMES = ("soft", "grid", "ref", "bad", "s0", "s1", "s2", "s3", "s4")
_MARKERS = {name: f"#fe00{index:02x}" for index, name in enumerate(_NAMES)}
"""matplotlib draws with these; in the SVG each is replaced by its CSS variable."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "irvis_fusion",
    "font.size": 11.0,
    "font.sans-serif": ["DejaVu Sans"],  # measures text; the style sheet chooses the page's font
    "axes.edgecolor": "none",
    "axes.labelcolor": _MARKERS["soft"],
    "xtick.color": _MARKERS["soft"],
    "ytick.color": _MARKERS["soft"],
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.major.pad": 5.0,
    "ytick.major.pad": 6.0,
    "axes.labelpad": 2.0,
    "axes.axisbelow": True,
}
_WIDTH, _HEIGHT = 520, 200


class Series(NamedTuple):
    """A line or a histogram: values float64 [n], NaN for a gap; `colour` is a CSS variable."""

    name: str
    colour: str
    x: np.ndarray
    y: np.ndarray


class Figures(NamedTuple):
    """Draws columns of all configurations as SVG; the template calls it."""

    folder: str
    names: Sequence[str]
    colour_of: Callable[[str], str]

    def line(self, column: str, title: str, with_maximum: bool = False) -> str:
        """Return a column over time; `with_maximum` adds the trivial fusion "maximum"."""
        x, x_label = ("frame", "frame") if column == "latency_ms" else ("time_s", "time, s")
        series = self._series(column, with_maximum, x)
        return line_chart(series, title, x_label, column in _FROM_ZERO)

    def histogram(self, column: str, title: str, x_label: str, with_maximum: bool = False) -> str:
        """Return the distribution of a column; arguments as of `line`."""
        return histogram(self._series(column, with_maximum, "frame"), title, x_label)

    def outcomes(self, name: str) -> str:
        """Return the outcome of each frame of a configuration."""
        rows = read_rows(os.path.join(self.folder, FRAMES), {"configuration": name})
        kinds = [list(OUTCOME_COLOURS).index(row["outcome"]) for row in rows]
        return strip(kinds, list(OUTCOME_COLOURS.values()), f"outcomes of {name}")

    def _series(self, column: str, with_maximum: bool, x: str) -> list[Series]:
        sources = [(REFERENCE_ROWS, "reference", "maximum")] if with_maximum else []
        sources += [(_FILES.get(column, FRAMES), "configuration", name) for name in self.names]
        series = []
        for file, key, name in sources:
            found = read_columns(os.path.join(self.folder, file), (x, column), {key: name})
            series.append(Series(name, self.colour_of(name), found[x], found[column]))
        return series


def line_chart(
    series: Sequence[Series], title: str, x_label: str = "time, s", from_zero: bool = False
) -> str:
    """Return values over time; a note where there is nothing to show.

    More than `MOST_POINTS` points are drawn as means, with the range from minimum to maximum
    behind them. Of many values, the outermost half per cent at each end is drawn at the border,
    so that a few outliers do not flatten the rest.
    """
    drawn = _finite(series)
    if not drawn:
        return _nothing(title)
    y = np.concatenate([one.y for one in drawn])
    low, high = np.percentile(y, (0.5, 99.5)) if y.size > 50 else (y.min(), y.max())
    low = min(low, 0.0) if from_zero else low
    below = 0.0 if from_zero and low == 0 else 0.06 * (high - low)
    bottom, top = _range(low - below, high + 0.06 * (high - low), from_zero)
    figure, axes = _axes(x_label)
    for index, one in enumerate(drawn):
        x, *lines = decimate(one.x, one.y)
        mean, least, most = (np.clip(y, bottom, top) for y in lines)
        colour, is_ref = _MARKERS[one.colour], one.colour == "ref"
        if x.size < one.x.size:
            axes.fill_between(x, least, most, color=colour, alpha=0.16, linewidth=0)
        dots = "." if len(x) <= 60 and not is_ref else ""
        dash, width = ("--", 1.3) if is_ref else ("-", 1.6)
        axes.plot(x, mean, dash, marker=dots, color=colour, linewidth=width, gid=f"line{index}")
    axes.set_xlim(*_range(min(s.x.min() for s in drawn), max(s.x.max() for s in drawn)))
    axes.set_ylim(bottom, top)
    return _svg(figure, title, [one.name for one in drawn])


def histogram(series: Sequence[Series], title: str, x_label: str) -> str:
    """Return how often values occur, in per cent of each series; `x` of the series is not used.

    Values outside of 99 % of all are counted in the outermost bins.
    """
    drawn = _finite(series)
    if not drawn:
        return _nothing(title)
    low, high = np.percentile(np.concatenate([one.y for one in drawn]), (0.5, 99.5))
    low, high = _range(low - 0.02 * (high - low), high + 0.02 * (high - low))
    bins = int(np.clip(2 * min(one.y.size for one in drawn) ** 0.5, 8, 40))
    figure, axes = _axes(x_label)
    for index, one in enumerate(drawn):
        counts, edges = np.histogram(np.clip(one.y, low, high), bins, (low, high))
        share = 100.0 * counts / one.y.size
        colour, is_ref = _MARKERS[one.colour], one.colour == "ref"
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.08 if is_ref else 0.16)
        dash = (0, (4, 2)) if is_ref else "-"
        axes.stairs(share, edges, color=colour, linestyle=dash, linewidth=1.6, gid=f"line{index}")
    axes.set_xlim(low, high)
    axes.set_ylim(0.0, None)
    axes.yaxis.set_major_formatter(lambda value, _: _tick(value) + " %")
    names = [f"{one.name}: median {number(float(np.median(one.y)))}" for one in drawn]
    return _svg(figure, title, names)


def strip(kinds: Sequence[int], colours: Sequence[str], title: str) -> str:
    """Return a column per frame or several, with the shares of the colours `colours[kind]`."""
    if not len(kinds):
        return _nothing(title)
    columns = min(len(kinds), MOST_POINTS)
    bounds = np.linspace(0, len(kinds), columns + 1).astype(int)
    of_kind = np.asarray(kinds)[None] == np.arange(len(colours))[:, None]
    shares = np.add.reduceat(of_kind, bounds[:-1], axis=1, dtype=np.float64) / np.diff(bounds)
    changes = np.append(True, (np.diff(shares, axis=1) != 0).any(axis=0))
    edges = np.append(np.flatnonzero(changes), columns)
    figure, axes = _figure(1060, 34)
    axes.set_position((0, 0, 1, 1))
    axes.set_axis_off()
    shares = np.repeat(shares[:, changes], 2, axis=1)
    fills = [_MARKERS[colour] for colour in colours]
    axes.stackplot(np.repeat(edges, 2)[1:-1], shares, colors=fills, antialiased=False)
    axes.set_xlim(0, columns)
    axes.set_ylim(1, 0)
    return _svg(figure, title)


def decimate(
    x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return mean x, and mean, minimum and maximum y, of at most `MOST_POINTS` equal parts."""
    if x.size <= MOST_POINTS:
        return x, y, y, y
    bounds = np.linspace(0, x.size, MOST_POINTS + 1).astype(int)
    mean_x, mean_y = (np.add.reduceat(v, bounds[:-1]) / np.diff(bounds) for v in (x, y))
    lowest, highest = (f.reduceat(y, bounds[:-1]) for f in (np.minimum, np.maximum))
    return mean_x, mean_y, lowest, highest


def _finite(series: Sequence[Series]) -> list[Series]:
    kept = [s._replace(x=s.x[np.isfinite(s.y)], y=s.y[np.isfinite(s.y)]) for s in series]
    return [s for s in kept if s.y.size]


def _range(low: float, high: float, from_zero: bool = False) -> tuple[float, float]:
    """Return a range that is not empty."""
    if high - low > 1e-12 * max(abs(low), abs(high), 1e-9):
        return float(low), float(high)
    span = abs(high) * 0.2 or 1.0
    return (low, high + span) if from_zero and low == 0 else (low - span / 2, high + span / 2)


def _axes(x_label: str) -> tuple[Figure, Axes]:
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(_WIDTH, _HEIGHT)
    axes.set_position((52 / _WIDTH, 36 / _HEIGHT, 1 - 62 / _WIDTH, 1 - 46 / _HEIGHT))
    axes.grid(axis="y", color=_MARKERS["grid"])
    axes.set_xlabel(x_label)
    for axis, ticks in ((axes.xaxis, 6), (axes.yaxis, 4)):
        axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(lambda value, _: _tick(value))
    return figure, axes


def _figure(width: int, height: int) -> tuple[Figure, Axes]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width / 72, height / 72))  # 72 units of the SVG to the inch
        return figure, figure.add_subplot()


def _tick(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def _nothing(title: str) -> str:
    figure, axes = _figure(_WIDTH, _HEIGHT)
    axes.set_axis_off()
    axes.text(0.5, 0.5, "nothing was measured", ha="center", color=_MARKERS["soft"])
    return _svg(figure, title)


def _svg(figure: Figure, title: str, names: Sequence[str] = ()) -> str:
    """Return the figure as an <svg> element; `names` are the hover texts of its lines."""
    import matplotlib

    stream = io.StringIO()
    no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(_STYLE):
        figure.savefig(stream, format="svg", transparent=True, metadata=no_metadata)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    for index, name in enumerate(names):
        text = text.replace(
            f'<g id="line{index}">', f'<g class="line"><title>{escape(name)}</title>'
        )
    for name, marker in _MARKERS.items():
        text = text.replace(marker, f"var(--{name})")
    # Several plots share a page: only the ids that are referred to, which depend on the content.
    text = re.sub(r' id="(.*?)"', lambda m: m[0] if f"#{m[1]}" in text else "", text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    return text.replace("<svg ", f'<svg class="plot" role="img" aria-label="{escape(title)}" ', 1)
