"""What do unmodified detectors find in the fused image, and what in each camera's own?

    python benchmarks/detection.py --data DIR --detector yolox_nano.onnx nanodet_m.onnx
        [--model nano small base] [--part val train all] [--pseudo] [--against late]
        [--json result.json] [--limit 20] [--images DIR=NAME ...]

Rows: `visible`; `thermal` (grey); `late`: the same detector on both, its boxes merged by
suppression, at twice the time; `maximum` and `mean` with the visible chroma; each model. Thermal
images pass through the node's default rescale everywhere. The sets and their parts: see
`benchmarks/shared/labelled_pairs.py`; neighbouring frames fall in one part.

AP50: area under the precision envelope, COCO's matching, for persons and for cars, trucks and
buses as one class, day and night apart. `R@P.9` is the highest recall with a precision of .9. The
figures are means of the detectors; brackets are 95 % intervals of the paired bootstrap over
images, of the figure itself or of its difference to the row `--against`. Boxes that are smaller
than 12 pixels (root of the area) are ignored: found or not, they do not count.

--pseudo judges on sets without boxes. The truth then is what `late` finds with a score of .5 or
more by the NEXT detector of the list, never by the judged one.
"""

from __future__ import annotations

if not __package__:
    import shared.as_module  # noqa: F401
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.shared.fusions import Fusion, has_images, open_fusions, open_images, rows_of
from benchmarks.shared.labelled_pairs import CLASSES, NIGHT_RULE, LabelledPair, read_labelled
from benchmarks.shared.options import SHIPPED, make_parser
from irvis_fusion_core.detectors import Detection, DetectorFile
from irvis_fusion_core.detectors.average_precision import PrecisionRecall, interval, resamples
from irvis_fusion_core.detectors.detection import Truth, merge, regroup
from irvis_fusion_core.detectors.labels import group_names
from irvis_fusion_core.errors import FusionError
from training.tables import markdown_table

LEAST_SCORE = 0.02
SURE = 0.5
"""Score from which `late` is taken as truth where there are no boxes."""
IN_CARS = group_names(CLASSES)

Column = tuple[str, str]
"""Day or night, and class."""


class Judgement(NamedTuple):
    """Detections of one detector in every image of one light: row -> class -> its counts."""

    images: int
    rows: dict[str, dict[str, PrecisionRecall]]


def look(
    scenes: Sequence[LabelledPair],
    fusions: Mapping[str, Fusion],
    detectors: Sequence[DetectorFile],
) -> list[list[dict[str, list[Detection]]]]:
    """Return for each scene and detector: row -> detections, with the row "late"."""
    found: list[list[dict[str, list[Detection]]]] = []
    for scene in scenes:
        images = {name: fuse(scene.pair) for name, fuse in rows_of(fusions).items()}
        found.append([])
        for detector in detectors:
            rows = {k: regroup(detector.find(image), IN_CARS) for k, image in images.items()}
            late = merge([*rows["visible"], *rows["thermal"]])
            first = {"visible": rows.pop("visible"), "thermal": rows.pop("thermal"), "late": late}
            found[-1].append({**first, **rows})
    return found


def judge(
    scenes: Sequence[LabelledPair],
    found: Sequence[Sequence[Mapping[str, Sequence[Detection]]]],
    detector: int,
    night: bool,
) -> Judgement:
    """Compare one detector's finds by day or by night with boxes, or else with another's."""
    rows: dict[str, dict[str, PrecisionRecall]] = {}
    images = 0
    for scene, by_detector in zip(scenes, found):
        if scene.night != night:
            continue
        images += 1
        truth = scene.truth
        if truth is None:
            other = by_detector[(detector + 1) % len(by_detector)]["late"]
            truth = [Truth(d.box, d.label) for d in other if d.score >= SURE]
        for name, finds in by_detector[detector].items():
            counts = rows.setdefault(name, {kind: PrecisionRecall() for kind in CLASSES})
            for kind, counter in counts.items():
                counter.add(
                    [d for d in finds if d.label == kind], [t for t in truth if t.label == kind]
                )
    return Judgement(images, rows)


Figures = dict[str, dict[Column, np.ndarray]]
"""Row -> column -> the figure itself, then that of each resample."""


def figures(
    judgements: Sequence[Mapping[str, Judgement]],
    measure: Callable[[PrecisionRecall, np.ndarray], np.ndarray],
    rounds: int,
) -> Figures:
    """Return the mean of the detectors (light -> judgement of each)."""
    result: Figures = {}
    for light in judgements[0]:
        images = judgements[0][light].images
        if not images:
            continue
        weights = np.vstack([np.ones((1, images), int), resamples(images, rounds)])
        for name in judgements[0][light].rows:
            for kind, heading in CLASSES.items():
                each = [measure(one[light].rows[name][kind], weights) for one in judgements]
                result.setdefault(name, {})[light, heading] = np.mean(each, axis=0)
    return result


def table(rows: Figures, against: str = "") -> str:
    """Return markdown: figures with intervals, or differences to the row `against`."""
    columns = list(next(iter(rows.values())))
    cells: dict[str, list[str]] = {}
    for name, found in rows.items():
        cells[name] = []
        for column in columns:
            values = found[column] - (rows[against][column] if against else 0.0)
            low, high = interval(values[1:])
            style = "+.3f" if against else ".3f"
            cells[name].append(f"{values[0]:{style}} [{low:{style}}, {high:{style}}]")
    return markdown_table([" ".join(column) for column in columns], cells)


def as_json(rows: Figures) -> dict[str, dict[str, list[float]]]:
    """Return row -> column -> figure and both ends of its interval."""
    return {
        name: {" ".join(c): [float(v[0]), *interval(v[1:])] for c, v in columns.items()}
        for name, columns in rows.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(
        __doc__, "data model images backend threads limit", model=SHIPPED, threads=1
    )
    text = "several .onnx or .xml (default: those in the folder detectors next to the data)"
    parser.add_argument("--detector", nargs="+", type=Path, metavar="FILE", help=text)
    parser.add_argument("--part", choices=("train", "val", "all"), default="val")
    parser.add_argument("--pseudo", action="store_true", help="sets without boxes, see above")
    parser.add_argument("--against", default="late", help="row that differences refer to")
    parser.add_argument("--rounds", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args(arguments)
    if options.detector is None:
        options.detector = sorted(options.data.parent.glob("detectors/*.onnx"), reverse=True)
    if not options.detector:
        parser.error(f"expected --detector, found none in {options.data.parent / 'detectors'}")
    if options.pseudo and len(options.detector) < 2:
        parser.error("expected two detectors or more for --pseudo: each is judged by another one")
    cv2.setNumThreads(1)
    try:
        detectors = [DetectorFile(str(f), LEAST_SCORE, threads=1) for f in options.detector]
    except FusionError as error:
        parser.error(str(error))
    made = open_images(options)
    labelled = read_labelled(options.data, options.part, not options.pseudo, options.limit)
    scenes = [scene for scene in labelled if has_images(scene.pair, made)]
    if not scenes:
        parser.error(f"expected pairs of the part {options.part} in {options.data}, found none")
    with open_fusions(options, ("maximum", "mean")) as fusions:
        found = look(scenes, {**fusions, **made}, detectors)
    judged = [
        {light: judge(scenes, found, n, light == "night") for light in ("night", "day")}
        for n in range(len(detectors))
    ]
    truth = "the NEXT detector's `late` at .5 or more" if options.pseudo else "annotated boxes"
    print(f"Part {options.part}, {len(scenes)} pairs; truth: {truth}; {NIGHT_RULE}.")
    for light, (images, by_row) in judged[0].items():
        first = next(iter(by_row.values()), {})
        objects = {k: counter.objects for k, counter in first.items()}
        print(f"* {light}: {images} pairs, {', '.join(f'{n} {k}' for k, n in objects.items())}")
    measures = {
        "AP50": lambda counter, weights: counter.average_precision(weights),
        "R@P.9": lambda counter, weights: counter.recall_at(0.9, weights),
    }
    result = {}
    for measure, of in measures.items():
        rows = figures(judged, of, options.rounds)
        result[measure] = {"mean": as_json(rows)}
        print(f"\n**{measure}, mean of {len(detectors)} detectors**\n\n{table(rows)}")
        if options.against not in rows:
            parser.error(f"expected --against out of {', '.join(rows)}, found {options.against}")
        print(f"\n**{measure}, difference to {options.against}**\n")
        print(table(rows, options.against), flush=True)
        for detector, own in zip(detectors, judged):
            one = figures([own], of, options.rounds)
            result[measure][detector.name] = as_json(one)
            if measure == "AP50":
                print(f"\n**{measure}, {detector.name}**\n\n{table(one)}", flush=True)
    if options.json:
        facts = {"part": options.part, "pairs": len(scenes), "truth": truth, **result}
        options.json.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
