"""The files that are generated from the table: `config/fusion.yaml` and `docs/parameters.md`.

::

    python -m irvis_fusion_ros.parameters --yaml > config/fusion.yaml
    python -m irvis_fusion_ros.parameters --markdown > docs/parameters.md
"""

from __future__ import annotations

import argparse
import sys
import textwrap

from irvis_fusion_core.calibration import parameter_file
from irvis_fusion_ros.parameters.settings import SECTION_TITLES, TABLE


def markdown() -> str:
    """Return `docs/parameters.md`: one table for each section."""
    lines = [
        "# Parameters of fusion_node",
        "",
        "`python -m irvis_fusion_ros.parameters --markdown` generates this page. A parameter with",
        '"yes" under "at run time" may change at any time, the others while the node is'
        " unconfigured.",
    ]
    for section, title in SECTION_TITLES.items():
        lines += [
            "",
            f"## {title}",
            "",
            "| parameter | default | values | at run time | meaning |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| `{spec.name}` | `{parameter_file.yaml_text(spec.name, spec.default)}`"
            f" | {spec.value_words()} | {'yes' if spec.live else 'no'} | {spec.description} |"
            for spec in TABLE
            if spec.section == section
        ]
    return "\n".join(lines) + "\n"


def yaml_text() -> str:
    """Return `config/fusion.yaml`: every parameter with its default and its description."""
    lines = [
        "# Every parameter of fusion_node with its default value.",
        "# Made by `python -m irvis_fusion_ros.parameters --yaml`; copy it and keep what differs.",
        "# [live] may change at run time; the others only while the node is unconfigured.",
        "/**:",
        "  ros__parameters:",
    ]
    for section, title in SECTION_TITLES.items():
        lines += ["", f"    # --- {title}"]
        for spec in TABLE:
            if spec.section == section:
                values = f" ({spec.constraints()})" if spec.constraints() else ""
                text = ("[live] " if spec.live else "") + spec.description + values
                lines += ["    # " + line for line in textwrap.wrap(text, 92)]
                default = parameter_file.yaml_text(spec.name, spec.default)
                lines.append(f"    {spec.name}: {default}")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Print the table as Markdown or YAML."""
    parser = argparse.ArgumentParser(
        prog="python -m irvis_fusion_ros.parameters", description="The parameters of fusion_node."
    )
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--markdown", action="store_true", help="docs/parameters.md")
    form.add_argument("--yaml", action="store_true", help="config/fusion.yaml")
    options = parser.parse_args(arguments)
    sys.stdout.write(markdown() if options.markdown else yaml_text())
    return 0
