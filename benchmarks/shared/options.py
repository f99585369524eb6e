"""The options that benchmarks share: which data, which models, which engine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from irvis_fusion_core.benchmark import machine

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
VALIDATION_SETS = ("msrs/val", "roadscene/val")
VIDEO_SETS = ("video_tno_nato_camp", "video_m3svd")
SHIPPED = ("nano", "small", "base")

_OPTIONS: dict[str, dict[str, Any]] = {
    "data": {"type": Path, "default": DATA, "help": "folder of the image sets"},
    "sets": {
        "nargs": "+",
        "default": VALIDATION_SETS,
        "metavar": "FOLDER[@ENDING]",
        "help": "folders with IR/ and VIS/; @ENDING takes the names that end so",
    },
    "model": {"nargs": "+", "default": (), "help": "shipped names, .onnx files or checkpoints"},
    "images": {
        "nargs": "+",
        "default": (),
        "metavar": "DIR[=NAME]",
        "help": "rows of images that exist, DIR/STEM.png, such as a teacher's; pairs that are not "
        "in all of these folders are left out",
    },
    "backend": {"default": "auto", "help": "engine (default: auto)"},
    "threads": {"type": int, "default": 0, "help": "of the engine; 0: its own choice"},
    "limit": {"type": int, "help": "pairs of each set (default: all)"},
}


def machine_facts(options: argparse.Namespace, *names: str) -> dict[str, str]:
    """Return and print facts about this machine, and the options of these names."""
    facts = {**machine(), **{name: str(getattr(options, name)) for name in names}}
    print(", ".join(f"{key}: {value}" for key, value in facts.items()))
    return facts


def make_parser(
    description: str | None, options: str = "", **defaults: object
) -> argparse.ArgumentParser:
    """Return a parser with shared options, named with spaces between them, and other defaults."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in options.split():
        parser.add_argument(f"--{name}", **_OPTIONS[name])
    parser.set_defaults(**defaults)
    return parser
