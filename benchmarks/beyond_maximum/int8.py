"""How much of Qabf do the int8 models lose against the files that they were quantized from?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.beyond_maximum.report import Crops, Table
from benchmarks.shared.pairs import Pair
from irvis_fusion_core import metrics, model_zoo
from irvis_fusion_core.fusion import RealtimeFusion

DIFFERENCE_GAIN = 8


def score(
    pairs: Iterable[Pair], reference: RealtimeFusion, quantized: RealtimeFusion, crops: Crops
) -> dict[str, list[float]]:
    """Return for each pair the Qabf of the reference, of int8 and of the maximum.

    `crops` gets the places where the two models differ most.
    """
    rows = {}
    for pair in pairs:
        fused = [model.fuse_frame(pair.ir, pair.vis, "rgb") for model in (reference, quantized)]
        planes = [*map(metrics.luminance, fused), np.maximum(pair.ir, pair.luma)]
        values = [metrics.qabf(plane, pair.ir, pair.luma) for plane in planes]
        rows[pair.name] = values
        difference = np.abs(planes[0].astype(np.int16) - planes[1])
        louder = np.clip(DIFFERENCE_GAIN * difference, 0, 255).astype(np.uint8)
        shown = {"reference": fused[0], "int8": fused[1]}
        shown[f"difference x{DIFFERENCE_GAIN}"] = louder
        crops.add(values[0] - values[1], pair.name, shown, difference >= difference.max())
    return rows


def summary(rows: Mapping[str, Sequence[float]]) -> tuple[list[float], str]:
    """Return means of Qabf, mean and worst loss (above 0 where int8 is lower); the worst pair."""
    values = np.array(list(rows.values()))
    loss = values[:, 0] - values[:, 1]
    worst = list(rows)[int(loss.argmax())]
    return [*values.mean(axis=0).tolist(), float(loss.mean()), float(loss.max())], worst


def table(
    models: Sequence[str],
    sets: Mapping[str, Sequence[Pair]],
    options: Mapping[str, Any],
    crops: Crops,
) -> Table:
    """Return a row for each shipped model and set; a file given by its path has no int8 twin."""
    rows: dict[str, Sequence[object]] = {}
    engines = set()
    for model in models:
        if model_zoo.is_path(model):
            rows[model] = ["a file of one precision: not compared", *[""] * 6]
            continue
        # Where the variant ships without fp32 (base, for size), fp16 was quantized.
        precision = "fp32" if "fp32" in model_zoo.precisions(model) else "fp16"
        with ExitStack() as stack:
            reference, quantized = (
                stack.enter_context(RealtimeFusion(model, precision=each, **options))
                for each in (precision, "int8")
            )
            for name, pairs in sets.items():
                figures, worst = summary(score(pairs, reference, quantized, crops))
                first = f"{len(pairs)}", f"{precision} {figures[0]:.3f}"
                rows[f"{model}, {name}"] = [*first, *figures[1:], worst]
            for fusion in (reference, quantized):
                facts = fusion.describe()
                engine = f"{model} {facts['precision']} by {facts['engine']}, floating-point parts"
                engines.add(f"{engine} in {facts.get('inference_precision', 'the same')}")
    columns = {"pairs": "", "reference": "", "int8": ".3f", "maximum": ".3f"}
    columns.update({"mean loss": ".4f", "worst loss": ".4f", "of": ""})
    note = "Engines: " + "; ".join(sorted(engines)) + "." if engines else ""
    return Table("int8 against the file that it was quantized from, Qabf", columns, rows, note)
