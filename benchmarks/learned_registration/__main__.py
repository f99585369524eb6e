"""How far does the learned registration get, and what does it cost?

    python -m benchmarks.learned_registration [--data DIR] [--model FILE.onnx] [--only PART ...]

Parts, each for no registration, online alignment, OpenCV's ECC and DIS, XFeat (where it is
installed), and the network:

* smooth: thermal images displaced by smooth fields of 4, 8 and 16 px; end-point error in pixels;
* people: annotated people moved by 0, 8, 16 and 24 px in front of the rest; Qabf of the fused
  image with the true thermal image, and of that around people, less those of the true
  registration;
* registered: pairs as they are; displacement, and change of Qabf, VIF and SSIM. The scores compare
  with the thermal image as it was: against the displaced one, even 40 px cost no Qabf;
* unaligned: `calibrate` on scenes as the cameras gave them, against the makers' homographies; and
  with the field on top. In pixels of a visible image of 640;
* time: of a frame at 640x480, and its share of that of `base` on the same engine.

``sure`` are the cells that the network is confident of. DIR holds `msrs/val`, `roadscene/val`,
`roadscene_boxes`, `msrs_boxes`, `m3fd` and `roadscene_unaligned`; for --images
`video_tno_nato_camp`.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.calibration.homographies import estimated
from benchmarks.calibration.true_homographies import true_pairs
from benchmarks.learned_registration import methods, xfeat
from benchmarks.learned_registration.methods import Learned, Method, warped
from benchmarks.shared.options import VALIDATION_SETS, machine_facts, make_parser
from benchmarks.shared.pairs import Pair, read_pairs
from irvis_fusion_core import metrics
from irvis_fusion_core.benchmark import time_interleaved
from irvis_fusion_core.fusion import RealtimeFusion
from irvis_fusion_core.image_sheet import caption_row, stack_rows
from irvis_fusion_core.registration.camera_geometry import project
from irvis_fusion_core.registration.learned.field_image import field_image
from irvis_fusion_core.registration.modes import HomographyRegistration
from training.data.boxes import read_boxes
from training.data.displacement_fields import Body, displace, inverse
from training.tables import markdown_table

AMOUNTS_PX = (4.0, 8.0, 16.0)
PARALLAX_PX = (0.0, 8.0, 16.0, 24.0)
GRID_PX = 8
SURE = 0.4
PEOPLE_SETS = {"roadscene/val": "roadscene_boxes", "msrs/val": "msrs_boxes", "m3fd": "m3fd/boxes"}
SHOWN_SET, SHOWN_BODY = "video_tno_nato_camp", (180.0, 240.0, 116.0, 70.0)
"""Whose images may be shown (TNO Image Fusion Dataset, CC BY 4.0), and its hut in front."""
LEAST_PERSON_PX = 24  # height of the people that are moved
SCORES = ("Qabf", "VIF", "SSIM")
OTHERS_TIMED = {"ECC", "DIS", "XFeat"}


def smooth_displacement(
    rng: np.random.Generator, size: Sequence[int], amount: float
) -> np.ndarray:
    """Return a field of about `amount` everywhere: a direction that turns and swells slowly."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) / max(size)
    waves = [
        np.sin(rng.uniform(1, 5) * x + rng.uniform(1, 5) * y + rng.uniform(0, 6)) for _ in "ab"
    ]
    angle = rng.uniform(0, 2 * np.pi) + 0.4 * waves[0]
    far = amount * (1.0 + 0.25 * waves[1])
    return np.stack([far * np.cos(angle), far * np.sin(angle)]).astype(np.float32)


def smooth(pairs: Sequence[Pair], tried: dict[str, Method], learned: Learned) -> None:
    """Print end-point errors of known smooth fields."""
    errors: dict[str, dict[float, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    sure_share = []
    for number, pair in enumerate(pairs):
        for amount in AMOUNTS_PX:
            rng = np.random.default_rng([number, int(amount)])
            field = smooth_displacement(rng, pair.ir.shape, amount)
            ir = methods.warped(pair.ir, field)
            y, x = np.mgrid[4 : ir.shape[0] : GRID_PX, 4 : ir.shape[1] : GRID_PX]
            truth = inverse(field, x.astype(np.float32), y.astype(np.float32))
            there = (x + truth[0] >= 0) & (x + truth[0] < ir.shape[1])
            there &= (y + truth[1] >= 0) & (y + truth[1] < ir.shape[0])
            for name, method in tried.items():
                error = np.hypot(*(method(ir, pair.luma)[:, y, x] - truth))
                errors[name][amount].append(error[there])
                if method is learned:
                    sure = there & (learned.confidence[y, x] >= SURE)
                    errors["learned, sure"][amount].append(error[sure])
                    sure_share.append(sure.sum() / there.sum())
    rows = {
        name: [
            percentile_of(by_amount[amount], percentile)
            for amount in AMOUNTS_PX
            for percentile in (50, 95)
        ]
        for name, by_amount in errors.items()
    }
    columns = [f"{a:g} px: {what}" for a in AMOUNTS_PX for what in ("median", "95 %")]
    print(markdown_table(columns, rows, ".2f", "end-point error"))
    print(f"sure: {np.mean(sure_share):.0%} of the cells\n", flush=True)


def percentile_of(errors: Sequence[np.ndarray], percent: float) -> float:
    """Return a percentile of all errors; NaN of none."""
    together = np.concatenate(errors)
    return float(np.percentile(together, percent)) if together.size else float("nan")


def people_boxes(data: Path, name: str, folder: str, pair: Pair) -> np.ndarray:
    """Return the boxes of people, n x 4 (centre, width, height; pixels), that are no specks."""
    path = data / folder / f"{Path(pair.name).name}.txt"
    boxes = read_boxes(path) if path.is_file() else np.zeros((0, 5), np.float32)
    height, width = pair.ir.shape
    boxes = boxes[boxes[:, 0] == 0, 1:] * np.array([width, height] * 2, np.float32)
    return boxes[boxes[:, 3] >= LEAST_PERSON_PX]


def people(
    data: Path, tried: dict[str, Method], engine: RealtimeFusion, limit: int | None
) -> None:
    """Print what moved people cost the fused image; at 0 px nobody is moved."""
    losses: dict[str, dict[float, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    scenes = 0
    for name, folder in PEOPLE_SETS.items():
        for pair in read_pairs(data, name, limit):
            boxes = people_boxes(data, name, folder, pair)
            if not len(boxes):
                continue
            scenes += 1
            true_scores = scored(pair, engine.fuse_frame(pair.ir, pair.vis), boxes)
            for shift in PARALLAX_PX:
                ir = people_moved(pair.ir, boxes, shift)
                fields = {name: method(ir, pair.luma) for name, method in tried.items()}
                for method_name, field in {**fields, **true_fields(boxes, shift, ir)}.items():
                    fixed = methods.warped(ir, field)
                    found = scored(pair, engine.fuse_frame(fixed, pair.vis), boxes)
                    losses[method_name][shift].append([t - f for t, f in zip(true_scores, found)])
    rows = {
        name: [float(v) for shift in PARALLAX_PX for v in np.mean(by_shift[shift], axis=0)]
        for name, by_shift in losses.items()
    }
    columns = [f"{s:g} px: {what}" for s in PARALLAX_PX for what in ("image", "people")]
    print(markdown_table(columns, rows, ".4f", f"loss of Qabf, {scenes} scenes"), "\n", flush=True)


def true_fields(boxes: np.ndarray, shift: float, image: np.ndarray) -> dict[str, np.ndarray]:
    """Return the field that `people_moved` made, by pixel, by cell, and a pixel short.

    What the true field loses is what stays behind moved people: they show twice.
    """
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    true = np.zeros((2, *image.shape), np.float32)
    for body in bodies_of(boxes, shift):
        true[0][body.covers(x, y)] = shift
    cells = tuple(max(side // GRID_PX, 1) for side in image.shape[::-1])
    by_cell = [
        cv2.resize(cv2.resize(plane, cells, interpolation=cv2.INTER_AREA), image.shape[::-1])
        for plane in true
    ]
    return {
        "true field": true,
        "true field, by cells of 8 px": np.stack(by_cell),
        "true field, 1 px short": true * np.float32(1.0 - 1.0 / max(shift, 1.0)),
    }


def bodies_of(boxes: np.ndarray, shift: float) -> list[Body]:
    """Return people as bodies that move sideways."""
    return [
        Body((float(x), float(y)), (0.55 * w, 0.53 * h), 3.0, (shift, 0.0)) for x, y, w, h in boxes
    ]


def moved_scenes(data: Path) -> Iterator[Pair]:
    """Yield scenes to look at: the hut in front moved by 8 and 16 px, a smooth field of 8 px."""
    pair = next(read_pairs(data, SHOWN_SET, 1))
    for shift in PARALLAX_PX[1:3]:
        yield pair._replace(ir=people_moved(pair.ir, np.array([SHOWN_BODY]), shift))
    field = smooth_displacement(np.random.default_rng(4), pair.ir.shape, 8.0)
    yield pair._replace(ir=methods.warped(pair.ir, field))


def people_moved(ir: np.ndarray, boxes: np.ndarray, shift: float) -> np.ndarray:
    """Return the thermal image with people moved sideways, what they leave being filled."""
    side = 4
    height, width = (axis // side * side for axis in ir.shape)
    still = np.zeros((2, height, width), np.float32)
    moved = displace(still, bodies_of(boxes, shift), side)
    part = cv2.remap(ir, *moved.source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    out = ir.copy()
    out[:height, :width] = part
    return out


def scored(pair: Pair, fused: np.ndarray, boxes: np.ndarray) -> list[float]:
    """Return Qabf of the image, and its mean around people."""
    grey = metrics.luminance(fused)
    whole = metrics.score_pair(grey, pair.ir, pair.luma, names=["Qabf"])["Qabf"]
    around = []
    for x, y, wide, high in boxes:
        rows = slice(max(int(y - high / 2) - 32, 0), int(y + high / 2) + 32)
        columns = slice(max(int(x - wide / 2) - 32, 0), int(x + wide / 2) + 32)
        part, ir, luma = (image[rows, columns] for image in (grey, pair.ir, pair.luma))
        around.append(metrics.score_pair(part, ir, luma, names=["Qabf"])["Qabf"])
    return [whole, float(np.mean(around))]


def registered(pairs: Sequence[Pair], tried: dict[str, Method], engine: RealtimeFusion) -> None:
    """Print what the methods do to pairs that are registered."""
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for pair in pairs:
        fused = metrics.luminance(engine.fuse_frame(pair.ir, pair.vis))
        before = metrics.score_pair(fused, pair.ir, pair.luma, names=SCORES)
        for name, method in tried.items():
            field = method(pair.ir, pair.luma)
            far = np.hypot(*field)
            ir = methods.warped(pair.ir, field)
            fused = metrics.luminance(engine.fuse_frame(ir, pair.vis))
            after = metrics.score_pair(fused, pair.ir, pair.luma, names=SCORES)
            changes = [after[score] - before[score] for score in SCORES]
            rows[name].append([float(np.median(far)), float(np.percentile(far, 95)), *changes])
    means = {name: [float(v) for v in np.mean(values, axis=0)] for name, values in rows.items()}
    columns = ("displacement, median", "95 %", *SCORES)
    print(markdown_table(columns, means, (".2f", ".2f", *["+.4f"] * 3), "registered"), "\n")


def unaligned(data: Path, tried: dict[str, Method], learned: Learned, limit: int | None) -> None:
    """Print the errors of `calibrate`, alone and with each method on top."""
    errors: dict[str, list[np.ndarray]] = defaultdict(list)
    scenes = refused = 0
    for _, ir, vis, truth in itertools.islice(true_pairs(data), limit):
        scenes += 1
        found = estimated([(ir, vis)])
        if found is None:
            refused += 1
            continue
        to_640 = np.diag([640.0 / vis.shape[1]] * 2 + [1.0])
        size = (round(vis.shape[0] * to_640[0, 0]), 640)
        luma = cv2.resize(
            metrics.luminance(vis[..., ::-1]), size[::-1], interpolation=cv2.INTER_AREA
        )
        base = HomographyRegistration((to_640 @ found).tolist(), soft_edge_px=0.0)
        warped, coverage = base.warp(ir, size)
        y, x = np.mgrid[4 : size[0] : GRID_PX, 4 : size[1] : GRID_PX]
        points = np.stack([x.ravel(), y.ravel()], 1).astype(float)
        # Where the true registration puts what the estimate shows at x + d.
        known = (coverage if coverage is not None else np.full(size, 255))[y, x] == 255
        between = to_640 @ truth @ np.linalg.inv(to_640 @ found)
        for name, method in tried.items():
            field = method(warped, luma)[:, y, x]
            at = project(between, points + field.reshape(2, -1).T)
            error = np.linalg.norm(at - points, axis=1).reshape(y.shape)
            errors[name].append(error[known])
            if method is learned:
                sure = known & (learned.confidence[y, x] >= SURE)
                errors["learned, sure"].append(error[sure])
    rows = {}
    for name, scenes_errors in errors.items():
        medians = [float(np.median(e)) for e in scenes_errors if e.size]
        worst = [float(e.max()) for e in scenes_errors if e.size]
        high = [float(np.percentile(e, 95)) for e in scenes_errors if e.size]
        rows["calibrate + " + name] = [float(np.median(v)) for v in (medians, high, worst)]
    columns = ("median", "95 %", "worst point")
    corner = f"{scenes} scenes, {refused} refused"
    print(markdown_table(columns, rows, ".2f", corner), "\n", flush=True)


def times(
    pair: Pair,
    tried: Mapping[str, Method],
    learned: Learned,
    engine: RealtimeFusion,
    rounds: int = 40,
) -> None:
    """Print the times of the field and of other methods, and their shares of the engine's."""
    ir, luma = (cv2.resize(image, (640, 480)) for image in (pair.ir, pair.luma))
    vis = cv2.resize(pair.vis, (640, 480))
    ir = np.roll(ir, 6, axis=1)  # so that something is warped
    registration = learned.registration
    calls = {
        "base": lambda: engine.fuse_frame(ir, vis),
        "learned registration": lambda: registration.refine(ir, None, luma, 0.0),
        "of this, the network": lambda: registration.network.field(ir, luma),
    }
    for name in OTHERS_TIMED & tried.keys():
        calls[name] = functools.partial(tried[name], ir, luma)
    took = time_interleaved(calls, rounds)
    whole = took["base"].median_ms
    rows = {name: [t.p10_ms, t.median_ms, t.median_ms / whole] for name, t in took.items()}
    print(markdown_table(("ms, 10 %", "ms, median", "of base"), rows, ".3f", "640x480"), "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__, "data threads limit")
    parser.add_argument("--model", default="", help="the network (default: the shipped one)")
    parts = ("smooth", "people", "registered", "unaligned", "time")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--methods", nargs="+", help="by default all")
    parser.add_argument("--fusion", default="nano", help="student that fuses (default: nano)")
    parser.add_argument("--images", type=Path, metavar="JPG", help="write images of moved scenes")
    options = parser.parse_args(arguments)
    machine_facts(options, "threads")
    cv2.setNumThreads(1)
    learned = Learned(options.model, options.threads)
    tried: dict[str, Method] = {
        "none": methods.nothing,
        "online": methods.online,
        "ECC": methods.ecc,
        "DIS": methods.dis,
        **({"XFeat": xfeat.XFeatMethod()} if xfeat.is_installed() else {}),
        "learned": learned,
    }
    if not xfeat.is_installed():
        print(f"XFeat is not installed, so it is not measured: {xfeat.INSTALL}")
    if options.methods:
        tried = {name: tried[name] for name in options.methods}
    sets = {name: list(read_pairs(options.data, name, options.limit)) for name in VALIDATION_SETS}
    with RealtimeFusion(options.fusion, thermal=None, threads=options.threads) as engine:
        for name, pairs in sets.items():
            print(f"{name}, {len(pairs)} pairs\n")
            if "smooth" in options.only:
                smooth(pairs, tried, learned)
            if "registered" in options.only:
                registered(pairs, tried, engine)
        if "people" in options.only:
            people(options.data, tried, engine, options.limit)
        if options.images:
            write_sheet(options.images, moved_scenes(options.data), learned, engine)
    if "unaligned" in options.only:
        unaligned(options.data, tried, learned, options.limit)
    if "time" in options.only:
        with RealtimeFusion("base", thermal=None, threads=options.threads) as engine:
            times(sets[VALIDATION_SETS[0]][0], tried, learned, engine)


_WIDTH = 300


def write_sheet(
    path: Path, scenes: Iterable[Pair], learned: Learned, engine: RealtimeFusion
) -> None:
    """Write a row for each scene, whose thermal image is displaced: fused without and with it."""
    rows = []
    for scene in scenes:
        field = learned(scene.ir, scene.luma)
        shown = {
            "fused, base": engine.fuse_frame(scene.ir, scene.vis),
            "fused, learned": engine.fuse_frame(warped(scene.ir, field), scene.vis),
            "field": field_image(scene.vis, field),
        }
        rows.append(caption_row(shown, _WIDTH))
    sheet = np.ascontiguousarray(stack_rows(rows)[..., ::-1])
    if not cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 82]):
        raise SystemExit(f"expected to write {path}; choose another --images")


if __name__ == "__main__":
    main()
