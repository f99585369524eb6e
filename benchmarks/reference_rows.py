"""The rows that every table of fusion results needs: maximum, mean, visible alone, IR alone.

A fusion is worth having only where it does better than these. `--model` adds rows of trained
models, fused by RealtimeFusion exactly as a robot would run them.

    python benchmarks/reference_rows.py --data DIR [--sets msrs/val roadscene/val]
        [--model base small ...] [--backend auto] [--limit 20] [--markdown]

A set is a folder with IR/ and VIS/ that hold files of the same names. FOLDER@ENDING takes only
those whose name ends so: msrs/val@D is MSRS by day, msrs/val@N by night.
"""

import argparse
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from irvis_fusion_core import metrics


def trivial_rows():
    """Name -> function of the uint8 HxW planes (IR, visible luminance) -> fused luminance."""
    return {
        "maximum": np.maximum,
        "mean": lambda ir, vis: np.rint((ir.astype(np.float32) + vis) / 2).astype(np.uint8),
        "visible": lambda ir, vis: vis,
        "IR": lambda ir, vis: ir,
    }


def read_pairs(folder, limit=None, ending=""):
    """(name, IR uint8 HxW, visible uint8 HxWx3 RGB) for every pair of the folder.

    `ending` is what the names without suffix must end in.
    """
    names = sorted(p.name for p in (folder / "IR").iterdir() if p.stem.endswith(ending))
    if not names:
        raise SystemExit(f"{folder / 'IR'} has no images that end in {ending!r}; expected some")
    for name in names[:limit]:
        ir = cv2.imread(str(folder / "IR" / name), cv2.IMREAD_GRAYSCALE)
        vis = cv2.imread(str(folder / "VIS" / name), cv2.IMREAD_COLOR)
        if ir is None or vis is None:
            raise SystemExit(f"{folder}: {name} cannot be read in both IR/ and VIS/")
        if ir.shape != vis.shape[:2]:
            raise SystemExit(f"{folder}: {name} differs in size: {ir.shape}, {vis.shape[:2]}")
        yield name, ir, cv2.cvtColor(vis, cv2.COLOR_BGR2RGB)


def table(folder, fusions, limit=None, ending=""):
    """Fusion name -> mean of every metric over the pairs; and the number of pairs."""
    scores = {name: [] for name in fusions}
    for _, ir, vis in read_pairs(folder, limit, ending):
        for name, fuse in fusions.items():
            scores[name].append(metrics.score_pair(fuse(ir, vis), ir, vis))
    count = len(next(iter(scores.values())))
    return {
        name: {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        for name, rows in scores.items()
    }, count


def print_table(title, rows):
    width = max(len(name) for name in rows)
    print(f"\n{title}")
    print(" " * width + "".join(f"{name:>9}" for name in metrics.METRIC_NAMES))
    for name, row in rows.items():
        print(f"{name:{width}}" + "".join(f"{row[key]:9.3f}" for key in metrics.METRIC_NAMES))


def markdown_table(title, rows):
    """The same for a document: Markdown, three digits."""
    empty = " |" * len(metrics.METRIC_NAMES)
    lines = [
        "| | " + " | ".join(metrics.METRIC_NAMES) + " |",
        "|---" * (len(metrics.METRIC_NAMES) + 1) + "|",
        f"| **{title}** |{empty}",
    ]
    for name, row in rows.items():
        values = " | ".join(f"{row[key]:.3f}" for key in metrics.METRIC_NAMES)
        lines.append(f"| {name} | {values} |")
    return "\n".join(lines)


def default_data():
    return Path(__file__).resolve().parents[2] / "shared" / "data"


def make_parser(description):
    """A parser with the options of every table: which sets, which models."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--sets", nargs="+", default=["msrs/val", "roadscene/val"])
    parser.add_argument("--model", nargs="+", default=[], help="names or .onnx paths")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--limit", type=int, help="pairs of each set (default: all)")
    return parser


def open_models(stack, models, backend):
    """Name -> function (IR HxW, visible HxWx3 RGB, both uint8) -> fused RGB; `stack` closes them.

    Engines are imported only where there are models.
    """
    fusions = {}
    for model in models:
        from irvis_fusion_core.fusion import RealtimeFusion

        fusion = stack.enter_context(RealtimeFusion(model=model, backend=backend))
        fusions[Path(model).stem] = partial(fusion.fuse_frame, order="rgb")
    return fusions


def main(arguments=None):
    parser = make_parser(__doc__)
    parser.add_argument("--markdown", action="store_true", help="tables for a document")
    options = parser.parse_args(arguments)

    fusions = {
        name: lambda ir, vis, rule=rule: rule(ir, metrics.luminance(vis))
        for name, rule in trivial_rows().items()
    }
    with ExitStack() as stack:
        fusions.update(open_models(stack, options.model, options.backend))
        for name in options.sets:
            folder, _, ending = name.partition("@")
            rows, count = table(options.data / folder, fusions, options.limit, ending)
            if options.markdown:
                print(markdown_table(f"{name}, {count} pairs", rows))
            else:
                print_table(f"{name}, {count} pairs, clamped, no stretch", rows)


if __name__ == "__main__":
    main()
