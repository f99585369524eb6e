"""report.html: one file that contains its plots and images and loads nothing."""

from __future__ import annotations

import base64
import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.evaluation.image_store import Shown
from irvis_fusion_ros.evaluation.recording import Recording
from irvis_fusion_ros.evaluation.report import scores
from irvis_fusion_ros.evaluation.report.plots import OUTCOME_COLOURS, Figures
from irvis_fusion_ros.evaluation.report.scores import number, percent
from irvis_fusion_ros.evaluation.summary import DECIDING, LOWER_IS_BETTER, verdict
from irvis_fusion_ros.evaluation.tables import writing

PAGE = "report.html"
OVER_TIME = ("VIF", "Qabf", "SSIM", "SCD", "EN", "ghost")
LIBRARIES = ("jinja2", "matplotlib", "PIL")


def require_libraries() -> None:
    """Check that a report can be made here.

    Raises:
        ConfigurationError: A library is not installed.
    """
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"expected {', '.join(LIBRARIES)} for a report, found no {', '.join(missing)}; run "
            "`pip install jinja2 matplotlib pillow`, or `pip install '.[evaluate]'` in the source "
            "tree"
        )


def write_page(
    summary: Mapping[str, Any], recording: Recording, film: bytes | None, examples: Sequence[Shown]
) -> str:
    """Write the page about summary.json and a recording to its folder, and return its path.

    `film` is a GIF, `examples` are those of the downstream check.

    Raises:
        FusionError: The page cannot be written.
    """
    import jinja2

    configurations = list(summary["configurations"])
    rows = summary["rows"]

    def colour_of(name: str) -> str:
        """The CSS variable of a row."""
        return f"s{configurations.index(name) % 5}" if name in configurations else "ref"

    measured = {metric for name in configurations for metric in rows[name]["metrics"]}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(__file__)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, uri=_data_uri, value=_value)
    page = environment.get_template(PAGE).render(
        **summary,
        recording=recording,
        film=film,
        examples=examples,
        deciding=DECIDING,
        percent=percent,
        colour_of=colour_of,
        verdicts={name: verdict(rows, name) for name in configurations},
        main_scores=scores.ScoreTable(rows, scores.MAIN_METRICS),
        further_scores=scores.ScoreTable(rows, scores.FURTHER_METRICS),
        metrics_over_time=[m for m in OVER_TIME if m in measured],
        lower_is_better=LOWER_IS_BETTER,
        figures=Figures(recording.folder, configurations, colour_of),
        outcome_colours=OUTCOME_COLOURS,
    )
    path = os.path.join(recording.folder, PAGE)
    with writing(path):
        write_file(path, page.lstrip())
    return path


def _data_uri(data: bytes, kind: str) -> str:
    """Return bytes as an address that contains them; `kind` is a MIME type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _value(spread: Mapping[str, float], key: str, unit: str = "") -> str:
    """Return an entry of a spread (see `summary.spread`), or a dash."""
    return number(spread[key]) + unit if key in spread else "–"
