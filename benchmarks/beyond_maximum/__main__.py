"""What does the pixel-wise maximum get wrong on real images, and do the models get it right?

    python -m benchmarks.beyond_maximum --data DIR [--model nano small base]
        [--only a b c d e f] [--parts val train] [--limit 20] [--images DIR]

DIR holds msrs/{train,val}, roadscene/{train,val}, llvip/train (each with IR/ and VIS/) and the
sequences video_tno_nato_camp and video_m3svd. Every fusion stands beside the maximum, the mean,
visible alone and IR alone; models run in RealtimeFusion as on a robot. Sections:

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

import argparse
from contextlib import ExitStack
from pathlib import Path

import cv2

from benchmarks.beyond_maximum import int8, sections
from benchmarks.beyond_maximum.pairs import PARTS, VIDEOS, read_set, spread
from benchmarks.beyond_maximum.people import people
from benchmarks.beyond_maximum.report import Crops
from benchmarks.reference_rows import trivial_rows
from irvis_fusion_core.fusion import RealtimeFusion

# Section -> what it measures, of which pairs (day, night or any); d and e have their own.
STILLS = {
    "a": (
        (
            "lamps and reflections",
            "any",
            lambda pairs, *rest: sections.glare(sections.lamp_glare(pairs), *rest),
        ),
        (
            "blown-out sky",
            "any",
            lambda pairs, *rest: sections.glare(sections.sky_glare(pairs), *rest),
        ),
        (
            "rendered glare",
            "any",
            lambda pairs, *rest: sections.glare(sections.rendered_glare(pairs), *rest),
        ),
    ),
    "b": (("hot background", "day", sections.hot_background),),
    "c": (("dark scenes", "night", sections.dark_noise),),
    "f": (("people at night", "night", people),),
}
SECTIONS = ("a", "b", "c", "d", "e", "f")


def open_fusions(models, options, stack):
    """Name -> function of a Pair; models are closed with the stack."""
    fusions = {
        name: lambda pair, rule=rule: rule(pair.ir, pair.luma)
        for name, rule in trivial_rows().items()
    }
    # A robot's own detector sees colour.
    fusions["visible"] = lambda pair: pair.vis
    for model in models:
        fusion = stack.enter_context(RealtimeFusion(model, **options))
        fusions[Path(model).stem] = lambda pair, fusion=fusion: fusion.fuse_frame(
            pair.ir, pair.vis, order="rgb"
        )
    return fusions


def write(crops, folder, name):
    """Write the crops as NAME.png where a folder was asked for."""
    if folder is not None and crops.write(folder / f"{name}.png"):
        print(f"\nwritten {folder / name}.png")


def stills(section, fusions, options):
    """One table for each measure of the section and part of the data."""
    for what, kind, measure in STILLS[section]:
        for part in options.parts:
            crops = Crops()
            pairs = spread(options.data, PARTS[part], kind, options.limit)
            print(measure(pairs, fusions, crops, f"{section}. {what}, {part}").markdown())
            write(crops, options.images, f"{section}_{what}_{part}".replace(" ", "_"))


def videos(fusions, options):
    """One table for each sequence."""
    for name in VIDEOS:
        frames = list(read_set(options.data, name))[: options.limit]
        models = [Path(model).stem for model in options.model]
        crops = Crops(most=len(fusions) + len(models))
        title = f"d. flicker, {name}"
        print(sections.flicker(frames, fusions, crops, title, models).markdown())
        write(crops, options.images, f"d_{name}")


def quantization(options, engine):
    """One table of all shipped models, on the validation sets."""
    crops = Crops()
    sets = {
        name: list(spread(options.data, (name,), "any", options.limit)) for name in PARTS["val"]
    }
    int8.print_table(options.model, sets, engine, crops)
    write(crops, options.images, "e_int8")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=[], help="names or .onnx paths")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of the engine; 0: its own choice")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--parts", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument(
        "--limit", type=int, help="pairs of each folder, evenly spread; first frames of a sequence"
    )
    parser.add_argument("--images", type=Path, help="folder for side by side crops")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    engine = {"backend": options.backend, "threads": options.threads}
    with ExitStack() as stack:
        fusions = open_fusions(options.model, engine, stack)
        for section in options.only:
            if section in STILLS:
                stills(section, fusions, options)
            elif section == "d":
                videos(fusions, options)
            else:
                quantization(options, engine)


if __name__ == "__main__":
    main()
