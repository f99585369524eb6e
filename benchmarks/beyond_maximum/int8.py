"""How much of Qabf do the int8 models lose against the files that they were quantized from?"""

from contextlib import ExitStack
from typing import Dict, Iterable, List, Sequence, Tuple

import numpy as np

from benchmarks.beyond_maximum.pairs import Pair
from benchmarks.beyond_maximum.report import Crops
from irvis_fusion_core import metrics, model_zoo
from irvis_fusion_core.fusion import RealtimeFusion

DIFFERENCE_GAIN = 8


def reference_precision(model: str) -> str:
    """fp32 where the variant ships with it, else fp16 (base, for size)."""
    return "fp32" if "fp32" in model_zoo.precisions(model) else "fp16"


def losses(
    pairs: Iterable[Pair], reference: RealtimeFusion, quantized: RealtimeFusion, crops: Crops
) -> List[Tuple[str, float, float, float]]:
    """Of each pair: its name, and Qabf of the reference, of int8 and of the maximum."""
    rows = []
    for pair in pairs:
        fused = [
            fusion.fuse_frame(pair.ir, pair.vis, order="rgb") for fusion in (reference, quantized)
        ]
        planes = [*map(metrics.luminance, fused), np.maximum(pair.ir, pair.luma)]
        values = [metrics.qabf(plane, pair.ir, pair.luma) for plane in planes]
        rows.append((pair.name, *values))
        difference = np.abs(planes[0].astype(np.int16) - planes[1])
        shown = {
            "reference": fused[0],
            "int8": fused[1],
            f"difference x{DIFFERENCE_GAIN}": np.clip(DIFFERENCE_GAIN * difference, 0, 255).astype(
                np.uint8
            ),
        }
        crops.add(values[0] - values[1], pair.name, shown, difference >= difference.max())
    return rows


def summary(rows: Sequence[Tuple[str, float, float, float]]) -> Dict[str, object]:
    """Means of Qabf, mean and worst loss (positive where int8 is lower), and the worst's name."""
    names, values = [row[0] for row in rows], np.array([row[1:] for row in rows])
    loss = values[:, 0] - values[:, 1]
    reference, quantized, maximum = values.mean(axis=0)
    return {
        "reference": float(reference),
        "int8": float(quantized),
        "maximum": float(maximum),
        "mean loss": float(loss.mean()),
        "worst loss": float(loss.max()),
        "worst image": names[int(loss.argmax())],
    }


def print_table(
    models: Sequence[str],
    sets: Dict[str, Sequence[Pair]],
    options: Dict[str, object],
    crops: Crops,
) -> None:
    """A row for each shipped model and set; a file given by its path has no int8 beside it."""
    print("\n**int8 against the file that it was quantized from, Qabf**\n")
    columns = ("model", "set", "reference", "int8", "maximum", "mean loss", "worst loss", "of")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    engines = set()
    for model in models:
        if model_zoo.is_path(model):
            print(f"| {model} | a file of one precision: not compared |" + " |" * 6)
            continue
        precision = reference_precision(model)
        with ExitStack() as stack:
            reference, quantized = (
                stack.enter_context(RealtimeFusion(model, precision=each, **options))
                for each in (precision, "int8")
            )
            for name, pairs in sets.items():
                row = summary(losses(pairs, reference, quantized, crops))
                print(
                    f"| {model} | {name}, {len(pairs)} | {precision} {row['reference']:.3f} | "
                    f"{row['int8']:.3f} | {row['maximum']:.3f} | {row['mean loss']:.4f} | "
                    f"{row['worst loss']:.4f} | {row['worst image']} |"
                )
            engines |= {_engine(model, fusion) for fusion in (reference, quantized)}
    if engines:
        print("\nEngines: " + "; ".join(sorted(engines)) + ".")


def _engine(model: str, fusion: RealtimeFusion) -> str:
    facts = fusion.describe()
    return "{} {} by {}, floating-point parts in {}".format(
        model, facts["precision"], facts["engine"], facts.get("inference_precision", "the same")
    )
