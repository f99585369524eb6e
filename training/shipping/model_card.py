"""The skeleton of a model card, filled in as far as the files say.

Sections follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. A line
that begins with `TODO:` asks for what only a person knows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import Student
from training.tables import table

TODO = "TODO:"


class CardFacts(NamedTuple):
    """The facts that are known when a model is exported."""

    name: str
    model: Student
    checkpoint: Path
    files: Sequence[tuple[Path, str]]  # ONNX files, and how each compares with the student
    vis_order: str = "rgb"
    calibration_pairs: int = 0
    evaluation: Path | None = None  # summary.json of training.eval
    run_config: Path | None = None  # the training run's configuration


def write_card(path: Path, facts: CardFacts) -> None:
    """Write the card as Markdown, whole or not at all.

    Raises:
        ConfigurationError: The evaluation or the configuration cannot be read.
    """
    write_file(path, model_card(facts))


def model_card(facts: CardFacts) -> str:
    """Return the card's text; errors as `write_card`."""
    parts = [f"# Model card: {facts.name}", ""]
    for title, lines in (
        ("Model", _model(facts)),
        ("Intended use", _intended_use()),
        ("Files", _files(facts)),
        ("Training", _training(facts)),
        ("Evaluation", _evaluation(facts)),
        ("Limits and risks", _limits()),
    ):
        parts += [f"## {title}", "", *lines, ""]
    return "\n".join(parts).rstrip() + "\n"


def missing_answers(card: str) -> list[str]:
    """Return the questions of a card that nobody has answered yet."""
    lines = [line for line in card.splitlines() if line.startswith(TODO)]
    return [line[len(TODO) :].strip() for line in lines]


def _model(facts: CardFacts) -> list[str]:
    parameters = sum(p.numel() for p in facts.model.parameters())
    return [
        f"An infrared-visible fusion student of `irvis_fusion`, variant `{facts.model.variant}`, "
        f"{parameters:,} parameters. It takes `ir` uint8 [1, H, W, 1] and `vis` uint8 "
        f"[1, H, W, 3] in {facts.vis_order} order and gives `fused` in the same form: fused "
        "luminance, the visible image's colour.",
        "",
        f"{TODO} who trained it, when, which version, under which licence, whom to ask.",
    ]


def _intended_use() -> list[str]:
    return [
        f"{TODO} which cameras (make, spectral band, resolution, 8 or 16 bit), how they are "
        "mounted and registered, which scenes, what the fused image is for.",
        "",
        f"{TODO} what it must not be used for.",
    ]


def _files(facts: CardFacts) -> list[str]:
    rows = ["| file | bytes | SHA-256 | compared with the student |", "|---|---|---|---|"]
    for path, difference in facts.files:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append(f"| `{path.name}` | {path.stat().st_size:,} | `{digest}` | {difference} |")
    rows += ["", f"Weights: `{facts.name}.safetensors`. `checksums.json` names every file."]
    if facts.calibration_pairs:
        rows.append(
            f"The int8 file's scales were drawn from {facts.calibration_pairs} real pairs."
        )
    return rows


def _training(facts: CardFacts) -> list[str]:
    lines = [f"Exported from `{facts.checkpoint.name}`.", ""]
    if facts.run_config is None:
        lines += [f"{TODO} the configuration of the run (--run_config).", ""]
    else:
        lines += ["Configuration of the run:", "", "```", _text(facts.run_config).strip(), "```"]
        lines.append("")
    lines.append(
        f"{TODO} the data: where from, how many pairs, licence, day and night, whom they show, "
        "which teacher."
    )
    return lines


def _evaluation(facts: CardFacts) -> list[str]:
    if facts.evaluation is None:
        return [f"{TODO} run `python -m training.eval` and pass its summary.json (--evaluation)."]
    try:
        summary = json.loads(_text(facts.evaluation))
        lines = _evaluation_table(summary)
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ConfigurationError(
            f"expected the summary.json of training.eval in {facts.evaluation}, found: {error!r}"
        ) from error
    return [*lines, "", f"{TODO} results on data from another place than the training data's."]


def _evaluation_table(summary: dict[str, Any]) -> list[str]:
    rows = summary["means"]
    lines = [
        f"{summary['pairs']} pairs of `{Path(summary['data_root']).name}`, evaluated: "
        f"`{Path(summary['model']['file']).name}`. {summary['conventions']}",
        "",
        *table(rows, list(next(iter(rows.values())))),
    ]
    lines += [f"\n{name}: not computed, {why}" for name, why in summary["not_computed"].items()]
    return lines


def _limits() -> list[str]:
    return [
        "A fused image is made for looking and for detectors; temperatures cannot be read from "
        "it. Where the infrared image is missing, frozen or badly registered, the fused one is "
        "wrong in ways that look plausible.",
        "",
        f"{TODO} images on which it fails, and what they have in common.",
        "",
        f"{TODO} whom the images of training and use show, and whether they agreed.",
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"expected a text file at {path}, found: {error}") from error
