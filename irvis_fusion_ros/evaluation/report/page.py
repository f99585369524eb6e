"""report.html: one file that carries its plots and images within itself and loads nothing."""

from __future__ import annotations

import os
from html import escape
from typing import Any, Dict, List, Mapping, Optional

from irvis_fusion_ros.evaluation.image_store import write_bytes
from irvis_fusion_ros.evaluation.report.page_parts import (
    Extra,
    cards,
    configuration_section,
    detection_section,
    film_section,
    frames_section,
    live_section,
    outcome_section,
    time_section,
)
from irvis_fusion_ros.evaluation.report.page_scores import score_section
from irvis_fusion_ros.evaluation.report.page_style import STYLE

PAGE = "report.html"


def write_page(folder: str, summary: Mapping[str, Any], extra: Extra) -> str:
    """Write the page of what lies in `folder`, and return its path.

    Args:
        summary: as written into summary.json.
        extra: the images, which summary.json does not hold.

    Raises:
        ReportError: it cannot be written.
    """
    path = os.path.join(folder, PAGE)
    write_bytes(path, make_page(folder, summary, extra).encode("utf-8"))
    return path


def make_page(folder: str, summary: Mapping[str, Any], extra: Extra) -> str:
    """The text of the page."""
    bag: Dict[str, Any] = summary["bag"]
    title = "Fusion of " + bag["name"]
    sections: List[Optional[str]] = [
        score_section(summary),
        film_section(extra),
        time_section(folder, summary),
        outcome_section(folder, summary),
        live_section(folder, summary),
        detection_section(summary, extra),
        frames_section(summary, extra),
        configuration_section(summary),
    ]
    return _PAGE.format(
        title=escape(title),
        style=STYLE,
        subtitle=escape(_subtitle(bag)),
        banner=_banner(summary),
        cards=cards(summary),
        sections="\n".join(section for section in sections if section),
        command=escape(summary["command"]),
    )


def _subtitle(bag: Mapping[str, Any]) -> str:
    formats = bag["formats"]
    parts = [
        f"{bag['vis_frames']} visible frames of {bag['vis_topic']} ({formats.get('vis', '?')})",
        f"{bag['ir_frames']} thermal ones of {bag['ir_topic']} ({formats.get('ir', '?')})",
        f"{bag['duration_s']:.1f} s",
    ]
    if bag["vis_rate_hz"]:
        parts.append(f"{bag['vis_rate_hz']:.1f} Hz")
    return " · ".join(parts)


def _banner(summary: Mapping[str, Any]) -> str:
    if summary["complete"]:
        return ""
    return (
        '<div class="banner"><b>Incomplete.</b> What follows was measured until the run ended: '
        f"{escape(summary['error'])}</div>"
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<header><h1>{title}</h1><p>{subtitle}</p></header>
{banner}
{cards}
{sections}
<footer>Made by <code>{command}</code>. Beside this page: summary.json, frames.csv,
references.csv, timing.csv.</footer>
</main>
</body>
</html>
"""
