"""How much of Qabf do the int8 models lose against the files that they were quantized from?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from benchmarks.beyond_maximum.report import Crops
from benchmarks.shared.pairs import Pair
from irvis_fusion_core import metrics, model_zoo
from irvis_fusion_core.fusion import RealtimeFusion

DIFFERENCE_GAIN = 8


class Scored(NamedTuple):
    """A pair's name, and Qabf of the reference, of int8 and of the maximum."""

    name: str
    reference: float
    int8: float
    maximum: float


class Loss(NamedTuple):
    """Means of Qabf, mean and worst loss (positive where int8 is lower), the worst pair's name."""

    reference: float
    int8: float
    maximum: float
    mean: float
    worst: float
    worst_pair: str


def score(
    pairs: Iterable[Pair], reference: RealtimeFusion, quantized: RealtimeFusion, crops: Crops
) -> list[Scored]:
    """Return the Qabf of each pair; `crops` gets where the two models differ most."""
    rows = []
    for pair in pairs:
        fused = [model.fuse_frame(pair.ir, pair.vis, "rgb") for model in (reference, quantized)]
        planes = [*map(metrics.luminance, fused), np.maximum(pair.ir, pair.luma)]
        values = [metrics.qabf(plane, pair.ir, pair.luma) for plane in planes]
        rows.append(Scored(pair.name, *values))
        difference = np.abs(planes[0].astype(np.int16) - planes[1])
        louder = np.clip(DIFFERENCE_GAIN * difference, 0, 255).astype(np.uint8)
        shown = {"reference": fused[0], "int8": fused[1]}
        shown[f"difference x{DIFFERENCE_GAIN}"] = louder
        crops.add(values[0] - values[1], pair.name, shown, difference >= difference.max())
    return rows


def summary(rows: Sequence[Scored]) -> Loss:
    """Return the means over the pairs and the worst of them."""
    values = np.array([row[1:] for row in rows])
    loss = values[:, 0] - values[:, 1]
    reference, quantized, maximum = map(float, values.mean(axis=0))
    worst = int(loss.argmax())
    mean, most = float(loss.mean()), float(loss[worst])
    return Loss(reference, quantized, maximum, mean, most, rows[worst].name)


def print_table(
    models: Sequence[str],
    sets: Mapping[str, Sequence[Pair]],
    options: Mapping[str, Any],
    crops: Crops,
) -> None:
    """Print a row for each shipped model and set; a file given by its path has no int8 twin."""
    print("\n**int8 against the file that it was quantized from, Qabf**\n")
    columns = ("model", "set", "reference", "int8", "maximum", "mean loss", "worst loss", "of")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    engines = set()
    for model in models:
        if model_zoo.is_path(model):
            print(f"| {model} | a file of one precision: not compared |" + " |" * 6)
            continue
        # Where the variant ships without fp32 (base, for size), fp16 was quantized.
        precision = "fp32" if "fp32" in model_zoo.precisions(model) else "fp16"
        with ExitStack() as stack:
            reference, quantized = (
                stack.enter_context(RealtimeFusion(model, precision=each, **options))
                for each in (precision, "int8")
            )
            for name, pairs in sets.items():
                row = summary(score(pairs, reference, quantized, crops))
                print(
                    f"| {model} | {name}, {len(pairs)} | {precision} {row.reference:.3f} | "
                    f"{row.int8:.3f} | {row.maximum:.3f} | {row.mean:.4f} | {row.worst:.4f} | "
                    f"{row.worst_pair} |"
                )
            for fusion in (reference, quantized):
                facts = fusion.describe()
                parts = facts.get("inference_precision", "the same")
                engines.add(
                    f"{model} {facts['precision']} by {facts['engine']}, floating-point parts in "
                    f"{parts}"
                )
    if engines:
        print("\nEngines: " + "; ".join(sorted(engines)) + ".")
