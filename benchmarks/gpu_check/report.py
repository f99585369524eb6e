"""What a section of the check found, and the report that all of them make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from irvis_fusion_core.atomic_file import write_file

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass
class Section:
    """The outcome of one section.

    Args:
        state: PASSED, FAILED or SKIPPED.
        reason: why it failed or was skipped, or what was checked.
        heading: columns of `rows`.
        rows: texts.
        seconds: time that it took.
    """

    name: str
    state: str
    reason: str = ""
    heading: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    seconds: float = 0.0


def verdict(sections: Sequence[Section]) -> str:
    """Return FAILED if a section failed, SKIPPED if none ran, else PASSED."""
    states = {section.state for section in sections}
    return FAILED if FAILED in states else PASSED if PASSED in states else SKIPPED


def to_markdown(facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    lines = [f"# GPU check: {facts.get('GPU', 'no GPU')}", ""]
    lines += [f"Result: **{verdict(sections)}**. Written by `make gpu-check`.", ""]
    lines += _table(["", ""], [[name, value] for name, value in facts.items()])
    overview = [[s.name, s.state, f"{s.seconds:.0f}", s.reason] for s in sections]
    lines += ["", *_table(["section", "result", "s", "remark"], overview)]
    for section in sections:
        if section.rows:
            lines += ["", f"## {section.name}", "", *_table(section.heading, section.rows)]
    return "\n".join(lines) + "\n"


def write_report(folder: Path, facts: Mapping[str, str], sections: Sequence[Section]) -> None:
    """Write `gpu_report.md` and `gpu_report.json` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(str(folder / "gpu_report.md"), to_markdown(facts, sections))
    everything = {
        "result": verdict(sections),
        "machine": dict(facts),
        "sections": [asdict(section) for section in sections],
    }
    write_file(str(folder / "gpu_report.json"), json.dumps(everything, indent=2) + "\n")


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heading, ["---"] * len(heading), *rows]
    cells = ([" ".join(text.replace("|", "/").split()) for text in line] for line in lines)
    return ["| " + " | ".join(line) + " |" for line in cells]
