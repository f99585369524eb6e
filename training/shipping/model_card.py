"""The skeleton of a model card (Mitchell et al., FAT* 2019), filled in as far as the files say.

A line that begins with `TODO:` asks for what only a person knows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from irvis_fusion_core.bounded_file import parse_json
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import Student
from training.tables import markdown_table

TODO = "TODO:"
TEMPLATE = """\
# Model card: {name}

## Model

An infrared-visible fusion student of `irvis_fusion`, variant `{variant}`, {parameters:,} \
parameters. It takes `ir` uint8 [1, H, W, 1] and `vis` uint8 [1, H, W, 3] in {order} order and \
gives `fused` in the same form: fused luminance, the visible image's colour.

TODO: who trained it, when, which version, under which licence, whom to ask.

## Intended use

TODO: which cameras (make, spectral band, resolution, 8 or 16 bit), how they are mounted and \
registered, which scenes, what the fused image is for.

TODO: what it must not be used for.

## Files

| file | bytes | SHA-256 | compared with the student |
|---|---|---|---|
{files}

## Training

Exported from `{checkpoint}`.

{run}

TODO: the data: where from, how many pairs, licence, day and night, whom they show, which teacher.

## Evaluation

{evaluation}

## Limits and risks

A fused image is made for looking and for detectors; temperatures cannot be read from it. Where \
the infrared image is missing, frozen or badly registered, the fused one is wrong in ways that \
look plausible.

TODO: images on which it fails, and what they have in common.

TODO: whom the images of training and use show, and whether they agreed.
"""


class CardFacts(NamedTuple):
    """The facts that are known when a model is exported."""

    name: str
    model: Student
    checkpoint: Path
    files: Sequence[tuple[Path, str]] = ()  # ONNX files, and how each compares with the student
    vis_order: str = "rgb"
    calibration_pairs: int = 0
    evaluation: Path | None = None  # summary.json of training.eval
    run_config: Path | None = None  # the training run's configuration


def model_card(facts: CardFacts) -> str:
    """Return the card's text; ConfigurationError where a file of `facts` cannot be read."""
    run = f"{TODO} the configuration of the run (--run_config)."
    if facts.run_config is not None:
        run = f"Configuration of the run:\n\n```\n{_text(facts.run_config).strip()}\n```"
    text = TEMPLATE.format(
        name=facts.name,
        variant=facts.model.variant,
        parameters=sum(p.numel() for p in facts.model.parameters()),
        order=facts.vis_order,
        files="\n".join(_files(facts)),
        checkpoint=facts.checkpoint.name,
        run=run,
        evaluation="\n".join(_evaluation(facts)),
    )
    return text.rstrip() + "\n"


def missing_answers(card: str) -> list[str]:
    """Return the questions of a card that nobody has answered yet."""
    return [x[len(TODO) :].strip() for x in card.splitlines() if x.startswith(TODO)]


def _files(facts: CardFacts) -> list[str]:
    rows = []
    for path, difference in facts.files:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append(f"| `{path.name}` | {path.stat().st_size:,} | `{digest}` | {difference} |")
    rows += ["", f"Weights: `{facts.name}.safetensors`. `checksums.json` names every file."]
    if pairs := facts.calibration_pairs:
        rows.append(f"The int8 file's scales were drawn from {pairs} real pairs.")
    return rows


def _evaluation(facts: CardFacts) -> list[str]:
    if facts.evaluation is None:
        return [f"{TODO} run `python -m training.eval` and pass its summary.json (--evaluation)."]
    try:
        summary = parse_json(_text(facts.evaluation))
        means = summary["means"]
        names = list(next(iter(means.values())))
        lines = [
            f"{summary['pairs']} pairs of `{Path(summary['data_root']).name}`, evaluated: "
            f"`{Path(summary['model']['file']).name}`. {summary['conventions']}",
            "",
            markdown_table(names, {k: [row[name] for name in names] for k, row in means.items()}),
        ]
        missing = summary["not_computed"].items()
        lines += [f"\n{name}: not computed, {why}" for name, why in missing]
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ConfigurationError(
            f"expected the summary.json of training.eval in {facts.evaluation}, found: {error!r}"
        ) from error
    return [*lines, "", f"{TODO} results on data from another place than the training data's."]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"expected a text file at {path}, found: {error}") from error
