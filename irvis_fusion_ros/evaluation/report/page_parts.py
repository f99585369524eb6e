"""The sections of the page, each made of the summary and of the tables beside it."""

from __future__ import annotations

import os
from html import escape
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from irvis_fusion_ros.evaluation.detection_check import Example
from irvis_fusion_ros.evaluation.image_store import Shown, data_uri
from irvis_fusion_ros.evaluation.recording import FRAMES, LIVE, REFERENCE_ROWS, TIMING
from irvis_fusion_ros.evaluation.report.svg import (
    Series,
    bars,
    histogram,
    line_chart,
    number,
    percent,
    strip,
)
from irvis_fusion_ros.evaluation.summary import DECIDING, LOWER_IS_BETTER
from irvis_fusion_ros.evaluation.tables import read_columns, read_rows

OVER_TIME = ("VIF", "Qabf", "SSIM", "SCD", "EN", "ghost")
OUTCOMES = ("fused", "passed", "dropped")


class Extra(NamedTuple):
    """Images for the page, by configuration; `film` is a GIF."""

    film: Optional[bytes]
    film_names: Sequence[str]
    best: Mapping[str, Sequence[Shown]]
    worst: Mapping[str, Sequence[Shown]]
    examples: Sequence[Example]
    rank_by: str


def style_of(summary: Mapping[str, Any], name: str) -> str:
    """The CSS class of a configuration (s0, s1, ...) or a reference (ref)."""
    names = list(summary["configurations"])
    return f"s{names.index(name) % 5}" if name in names else "ref"


def legend(summary: Mapping[str, Any], names: Sequence[str]) -> str:
    """The colours of rows."""
    keys = [
        f'<span><span class="key {style_of(summary, n)}"></span>{escape(n)}</span>' for n in names
    ]
    return f'<div class="legend">{"".join(keys)}</div>'


def figure(plot: str, caption: str, note: str = "") -> str:
    """A plot with its title above."""
    note = f" <em>{escape(note)}</em>" if note else ""
    return f"<figure><figcaption>{escape(caption)}{note}</figcaption>{plot}</figure>"


def cards(summary: Mapping[str, Any]) -> str:
    """The few figures to see first, one set a configuration."""
    parts = []
    for name, became in summary["configurations"].items():
        fused = became["outcomes"].get("fused", 0)
        took = summary["timing"][name]["engine_ms"]
        skew = became["skew_ms"]
        flicker = summary["rows"][name]["flicker"]
        key = f'<span class="key {style_of(summary, name)}"></span>'
        whose = f"<i>{key}{escape(name)}</i>" if len(summary["configurations"]) > 1 else ""
        figures = [
            (percent(fused, became["frames"]), f"{fused} of {became['frames']} frames fused"),
            (_value(took, "p50", " ms"), f"engine, median; p99 {_value(took, 'p99', ' ms')}"),
            (_value(skew, "p50", " ms"), f"skew, median; {_range(skew)}"),
            (_value(flicker, "mean"), "flicker, grey levels a frame"),
        ]
        shown = "".join(
            f'<div class="card">{whose}<b>{value}</b><span>{escape(text)}</span></div>'
            for value, text in figures
        )
        parts.append(f'<div class="cards">{shown}</div>')
    return "".join(parts)


def film_section(extra: Extra) -> str:
    """The animation."""
    if extra.film is None:
        return ""
    return (
        "<section><h2>A short piece</h2>"
        f'<img class="film" alt="{escape(", ".join(extra.film_names), quote=True)}" '
        f'src="{data_uri(extra.film, "image/gif")}"></section>'
    )


def time_section(folder: str, summary: Mapping[str, Any]) -> str:
    """Metrics, flicker, latency and skew along the bag, and how they are distributed."""
    names = list(summary["configurations"])
    shown = [m for m in OVER_TIME if any(m in summary["rows"][n]["metrics"] for n in names)]
    columns = ("time_s", *shown, "flicker")
    own = _by_row(folder, FRAMES, "configuration", names, (*columns, "skew_ms"))
    maximum = _by_row(folder, REFERENCE_ROWS, "reference", ["maximum"], columns)
    timing = _by_row(folder, TIMING, "configuration", names, ("time_s", "engine_ms", "frame_ms"))

    def series(table: Mapping[str, Any], column: str) -> List[Series]:
        return [Series(n, style_of(summary, n), t["time_s"], t[column]) for n, t in table.items()]

    metrics = [
        figure(line_chart(series(maximum, m) + series(own, m), m), m, _better(m)) for m in shown
    ]
    shares = [
        figure(histogram(series(maximum, m) + series(own, m), m, m), m + ", distribution")
        for m in shown[:2]
    ]
    streams = [
        figure(
            line_chart(series(maximum, "flicker") + series(own, "flicker"), "flicker", "time, s",
                       from_zero=True),
            "flicker", "grey levels a frame beyond both sources, lower is better"),
        figure(histogram(series(own, "flicker"), "flicker", "grey levels a frame"),
               "flicker, distribution"),
        figure(line_chart(series(timing, "engine_ms"), "engine", from_zero=True),
               "engine", "ms, on this machine"),
        figure(histogram(series(timing, "engine_ms"), "engine", "ms"), "engine, distribution"),
        figure(line_chart(series(timing, "frame_ms"), "whole frame", from_zero=True),
               "whole frame", "ms, bag and decoding included"),
        figure(histogram(series(timing, "frame_ms"), "whole frame", "ms"),
               "whole frame, distribution"),
        figure(line_chart(series(own, "skew_ms"), "skew"), "skew",
               "ms, thermal minus visible stamp"),
        figure(histogram(series(own, "skew_ms"), "skew", "ms"), "skew, distribution"),
    ]  # fmt: skip
    every = summary["measured"]["stride"]
    words = (
        "every frame" if every == 1 else f"every {every}th frame ({summary['measured']['why']})"
    )
    return (
        f"<section><h2>Metrics over time</h2><p class='note'>Measured on {words}.</p>"
        f"{legend(summary, [*names, 'maximum'])}"
        f'<div class="plots">{"".join(metrics + shares)}</div></section>'
        f"<section><h2>Flicker, latency and skew</h2>{legend(summary, names)}"
        f'<div class="plots">{"".join(streams)}</div></section>'
    )


def outcome_section(folder: str, summary: Mapping[str, Any]) -> str:
    """What became of the frames along the bag, and why frames were not fused."""
    parts = ["<section><h2>What became of the frames</h2>", _outcome_legend()]
    for name, became in summary["configurations"].items():
        kinds = [
            OUTCOMES.index(row["outcome"])
            for row in read_rows(os.path.join(folder, FRAMES))
            if row["configuration"] == name
        ]
        parts.append(figure(strip(kinds, OUTCOMES, f"outcomes of {name}"), name, "along the bag"))
        causes = {**became["not_fused"]}
        if causes:
            drawing = bars(causes, "causes", lambda cause: "k2" if "drop" in cause else "k1")
            parts.append(f'<div class="narrow">{figure(drawing, "Not fused, by cause")}</div>')
        used, there = became["thermal_frames_used"], summary["bag"]["ir_frames"]
        text = f"{used} of {there} thermal frames were fused into a visible one"
        odd = [f"{n} × {cause}" for cause, n in became["thermal_frames_dropped"].items()]
        parts.append(f'<p class="note">{escape("; ".join([text, *odd]))}.</p>')
        events = became.get("events", {})
        if events:
            rows = "".join(
                f"<dt>{escape(kind)}</dt><dd>{event['times']} × (first: {escape(event['text'])})"
                for kind, event in events.items()
            )
            parts.append(f"<h3>Bad messages and changes</h3><dl>{rows}</dl>")
    parts.append("</section>")
    return "".join(parts)


def detection_section(summary: Mapping[str, Any], extra: Extra) -> str:
    """What the detector found."""
    check = summary.get("detection")
    if not check or not check["rows"]:
        return ""
    head = ["image", "frames", "found", "found a frame"]
    if check["annotated"]:
        head += ["true", "false", "missed", "precision", "recall"]
    body = []
    for name, row in check["rows"].items():
        cells = [str(row["images"]), str(row["found"]), number(row["found_per_image"] or 0.0)]
        if check["annotated"]:
            cells += [str(row[key]) for key in ("true", "false", "missed")]
            cells += [_share(row["precision"]), _share(row["recall"])]
        key = f'<span class="key {style_of(summary, name)}"></span>'
        own = " class='own'" if name in summary["configurations"] else ""
        body.append(f"<tr{own}><td>{key}{escape(name)}</td>{_cells(cells)}</tr>")
    note = f"{check['detector']}, which knows nothing of fusion, on {check['frames']} frames. " + (
        f"A find is true where it covers an object of its class by {check['min_overlap']:g} "
        "of the union."
        if check["annotated"]
        else "Without annotations nobody knows which finds are true: --annotations gives "
        "precision and recall."
    )
    shown = "".join(
        _frame_figure(
            f"frame <b>{e.frame}</b> at {e.seconds:.2f} s",
            {f"{n}: {e.found[n]} found": data for n, data in e.images.items()},
        )
        for e in extra.examples
    )
    head_row = "".join(f"<th>{h}</th>" for h in head)
    return (
        f"<section><h2>Downstream: what a detector finds</h2><p class='note'>{escape(note)}</p>"
        f'<div class="scroll"><table><thead><tr>{head_row}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{shown}</section>"
    )


def frames_section(summary: Mapping[str, Any], extra: Extra) -> str:
    """The worst and the best frames."""
    parts = []
    for name in summary["configurations"]:
        title = escape(f"{name}: " if len(summary["configurations"]) > 1 else "")
        for kind, frames in (("Worst", extra.worst[name]), ("Best", extra.best[name])):
            if not frames:
                continue
            parts.append(f"<h3>{title}{kind} frames by {escape(extra.rank_by)}</h3>")
            parts += [
                _frame_figure(
                    f"frame <b>{f.frame}</b> at {f.seconds:.2f} s · <b>{escape(extra.rank_by)} "
                    f"{number(f.value)}</b>" + _other_scores(f, extra.rank_by),
                    f.images,
                )
                for f in frames
            ]
    if not parts:
        return ""
    return f"<section><h2>Worst and best frames</h2>{''.join(parts)}</section>"


def live_section(folder: str, summary: Mapping[str, Any]) -> str:
    """How the running node compared with the walk."""
    live = summary.get("live")
    if not live:
        return ""
    table = _by_row(folder, LIVE, "configuration", list(live), ("frame", "latency_ms"))
    series = [
        Series(name, style_of(summary, name), t["frame"], t["latency_ms"])
        for name, t in table.items()
    ]
    plots = [
        figure(
            line_chart(series, "latency", "frame", from_zero=True),
            "latency",
            "ms from publishing the visible image to the fused one in another process",
        ),
        figure(histogram(series, "latency", "ms"), "latency, distribution"),
    ]
    parts = ["<section><h2>The running node against the walk</h2>"]
    for name, run in live.items():
        latency, late = run["latency_ms"], run["player_late_ms"]
        facts = {
            "came out": f"{run['received']} of {run['frames']} frames",
            "identical": str(run["identical"]),
            "same two images fused": f"{run['both_fused_the_same_pair']}, of those equal byte by "
            f"byte {run['of_those_equal']}",
            "the node counted": ", ".join(f"{k} {n}" for k, n in run["node_outcomes"].items()),
            "latency from outside": f"median {_value(latency, 'p50', ' ms')}, "
            f"p99 {_value(latency, 'p99', ' ms')}, most {_value(latency, 'max', ' ms')}",
            "the player was late": f"by {_value(late, 'p99', ' ms')} at p99",
        }
        parts.append(f"<h3>{escape(name)}</h3><p>{escape(run['sentence'])}</p>{_facts(facts)}")
        if run["causes"]:
            drawing = bars(run["causes"], "causes", lambda _: "k1", name_width=400)
            parts.append(f'<div class="wide">{figure(drawing, "Differences, by cause")}</div>')
    parts.append(f'{legend(summary, list(live))}<div class="plots">{"".join(plots)}</div>')
    return "".join(parts) + "</section>"


def configuration_section(summary: Mapping[str, Any]) -> str:
    """Parameters, engines and versions."""
    parts = ["<section><h2>Configuration and versions</h2>"]
    for name, became in summary["configurations"].items():
        changed = became["changed"] or {"parameters": "all at their defaults"}
        parts.append(f"<h3>{escape(name)}</h3>{_facts({**became['engine'], **changed})}")
        parts.append(
            f"<details><summary>All parameters</summary>{_facts(became['settings'])}</details>"
        )
    parts.append(f"<h3>Versions</h3>{_facts(summary['versions'])}</section>")
    return "".join(parts)


def _by_row(
    folder: str, file: str, key: str, names: Sequence[str], columns: Sequence[str]
) -> Dict[str, Dict[str, np.ndarray]]:
    path = os.path.join(folder, file)
    return {name: read_columns(path, columns, {key: name}) for name in names}


def _frame_figure(caption: str, images: Mapping[str, bytes]) -> str:
    cells = "".join(
        f'<figure><img alt="{escape(name, quote=True)}" src="{data_uri(data, "image/jpeg")}">'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name, data in images.items()
    )
    return f'<div class="frame"><p>{caption}</p><div class="trio">{cells}</div></div>'


def _other_scores(shown: Shown, rank_by: str) -> str:
    others = [m for m in DECIDING if m in shown.scores and m != rank_by]
    return "".join(f" · {m} {number(shown.scores[m])}" for m in others)


def _outcome_legend() -> str:
    words = ("fused", "passed on unchanged", "dropped")
    keys = [f'<span><span class="key k{i}"></span>{word}</span>' for i, word in enumerate(words)]
    return f'<div class="legend">{"".join(keys)}</div>'


def _facts(values: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<dt>{escape(str(k))}</dt><dd><code>{escape(_fact(v))}</code></dd>"
        for k, v in values.items()
    )
    return f"<dl>{rows}</dl>"


def _fact(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(each) for each in value) or "none"
    return str(value)


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in texts)


def _share(value: Optional[float]) -> str:
    return "–" if value is None else f"{100.0 * value:.1f} %"


def _value(spread: Mapping[str, float], key: str, unit: str = "") -> str:
    return number(spread[key]) + unit if key in spread else "–"


def _range(spread: Mapping[str, float]) -> str:
    if "p05" not in spread:
        return "none"
    return f"90 % within {number(spread['p05'])} … {number(spread['p95'])} ms"


def _better(metric: str) -> str:
    if metric in LOWER_IS_BETTER:
        return "lower is better"
    return "higher is better" if metric in DECIDING else ""
