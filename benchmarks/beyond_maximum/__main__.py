"""What does the pixel-wise maximum get wrong on real images, and do the models get it right?

    python -m benchmarks.beyond_maximum --data DIR [--model nano small base]
        [--only a b c d e f] [--parts val train] [--limit 20] [--images DIR]

DIR holds msrs/{train,val}, roadscene/{train,val}, llvip/train (each with IR/ and VIS/) and the
sequences video_tno_nato_camp and video_m3svd. Every table also has the maximum, the mean, visible
alone and IR alone; models run in RealtimeFusion as on a robot. Sections:

a  glare: where the visible image is blown out, the maximum is white. What is left of IR's edges
   and of the contrast of warm objects? Real lamps and reflections, blown-out sky, and headlamps
   rendered before warm objects.
b  hot background, by day: the maximum is IR where that is brighter. What is left of visible
   texture and lettering there?
c  dark scenes: is noise amplified in flat regions, and what comes out of noise added to IR?
d  flicker on the sequences
e  Qabf that int8 loses against the file it was quantized from (shipped models only)
f  people found by OpenCV's HOG at night, judged by warmth, for lack of boxes

`edges kept` is the share of a source's gradient that the fused image shows, `Q` its edge
preservation as in Qabf, `correlation` that of both gradient fields: 1 is all, in each. IR alone
is perfect in section a by definition and visible alone in b: a good fusion is good in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2

from benchmarks.beyond_maximum import int8, sections
from benchmarks.beyond_maximum.people import people
from benchmarks.beyond_maximum.report import Crops, Table
from benchmarks.shared.fusions import open_fusions
from benchmarks.shared.options import VALIDATION_SETS, VIDEO_SETS, make_parser
from benchmarks.shared.pairs import Pair, read_pairs
from irvis_fusion_core.metrics.trivial_fusions import TRIVIAL_FUSIONS

# No model was trained on `val`; the shipped ones were on `train`, wholly or in part.
PARTS: dict[str, tuple[str, ...]] = {
    "val": VALIDATION_SETS,
    "train": ("msrs/train", "roadscene/train", "llvip/train"),
}
KINDS = {
    "any": {"msrs": "", "roadscene": "", "llvip": ""},
    "day": {"msrs": "D", "roadscene": ""},
    "night": {"msrs": "N", "llvip": ""},
}
"""Kind of pairs -> sets that have some -> ending of their names."""
# RoadScene does not say when an image was taken, and its night ones are lit up to a mean of 150.
ROADSCENE_DAY_LUMA = 155.0
STILLS: tuple[tuple[str, str, str, Callable[..., Table]], ...] = (
    ("a", "lamps and reflections", "any", sections.LAMPS.table),
    ("a", "blown-out sky", "any", sections.SKY.table),
    ("a", "rendered glare", "any", sections.RENDERED.table),
    ("b", "hot background", "day", sections.HOT_BACKGROUND.table),
    ("c", "dark scenes", "night", sections.DARK_NOISE.table),
    ("f", "people at night", "night", people),
)
"""Section, what it measures, of which kind of pairs; d and e have their own."""


def spread(data: Path, sets: Sequence[str], kind: str, limit: int | None) -> Iterator[Pair]:
    """Yield pairs of a kind from several folders, at most `limit` of each, evenly over its names.

    Day pairs of RoadScene are recognised by their brightness only afterwards: fewer are left.
    """
    for name in sets:
        family = name.partition("/")[0]
        if family in KINDS[kind]:
            least_luma = ROADSCENE_DAY_LUMA if (kind, family) == ("day", "roadscene") else 0.0
            for pair in read_pairs(data, f"{name}@{KINDS[kind][family]}", limit, spread=True):
                if pair.luma.mean() >= least_luma:
                    yield pair


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and write crops with `--images`."""
    parser = make_parser(__doc__, "data model backend threads limit", threads=1)
    parser.add_argument("--only", nargs="+", choices="abcdef", default=tuple("abcdef"))
    parser.add_argument("--parts", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    # `--pictures`, its old name, stays for one release.
    parser.add_argument("--images", "--pictures", type=Path, help="folder for side by side crops")
    options = parser.parse_args(arguments)
    data, limit = options.data, options.limit
    cv2.setNumThreads(1)

    def write(crops: Crops, name: str) -> None:
        path = options.images and options.images / f"{name.replace(' ', '_')}.png"
        if path and crops.write(path):
            print(f"\nwritten {path}")

    with open_fusions(options, TRIVIAL_FUSIONS) as fusions:
        models = [name for name in fusions if name not in TRIVIAL_FUSIONS]
        # A robot's own detector sees colour.
        fusions["visible"] = lambda pair: pair.vis
        for section in options.only:
            for what, kind, measure in [row[1:] for row in STILLS if row[0] == section]:
                for part in options.parts:
                    crops, pairs = Crops(), spread(data, PARTS[part], kind, limit)
                    title = f"{section}. {what}, {part}"
                    print(measure(pairs, fusions, crops, title).markdown())
                    write(crops, f"{section}_{what}_{part}")
            for name in VIDEO_SETS if section == "d" else ():
                frames = list(read_pairs(data, name, limit))
                crops = Crops(most=len(fusions) + len(models))
                title = f"d. flicker, {name}"
                print(sections.flicker(frames, fusions, crops, title, models).markdown())
                write(crops, f"d_{name}")
            if section == "e":
                sets = {name: list(spread(data, (name,), "any", limit)) for name in PARTS["val"]}
                engine = {"backend": options.backend, "threads": options.threads}
                crops = Crops()
                print(int8.table(options.model, sets, engine, crops).markdown())
                write(crops, "e_int8")


if __name__ == "__main__":
    main()
