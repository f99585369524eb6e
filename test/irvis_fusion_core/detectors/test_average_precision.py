"""AP and recall at a precision, against plain loops and pycocotools."""

import contextlib
import io

import numpy as np
import pytest

from irvis_fusion_core.detectors.average_precision import PrecisionRecall, interval, resamples
from irvis_fusion_core.detectors.detection import Box, Detection, Truth


def scenes(seed, images=25, ties=False):
    """Objects, some of them ignored, and shifted, doubled and false detections."""
    random = np.random.default_rng(seed)
    result = []
    for _ in range(images):
        truth, found = [], []
        for _ in range(random.integers(0, 5)):
            box = Box(*random.uniform(0, 80, 2), *random.uniform(10, 30, 2))
            truth.append(Truth(box, "person", bool(random.random() < 0.2)))
            for _ in range(random.integers(0, 3)):
                left, top = np.array(box[:2]) + random.normal(0, 3, 2)
                found.append(Box(left, top, *box[2:]))
        for _ in range(random.integers(0, 3)):
            found.append(Box(*random.uniform(0, 80, 2), *random.uniform(10, 30, 2)))
        scores = random.random(len(found))
        scores = scores.round(1) if ties else scores
        result.append(([Detection(b, s, "person") for b, s in zip(found, scores)], truth))
    return result


def collect(images):
    counter = PrecisionRecall()
    for found, truth in images:
        counter.add(found, truth)
    return counter


def slow(verdicts, objects):
    """AP and recall at a precision of .9, of (score, true) pairs, threshold after threshold."""
    points = []
    for threshold in sorted({score for score, _ in verdicts}, reverse=True):
        taken = [true for score, true in verdicts if score >= threshold]
        points.append((sum(taken) / objects, sum(taken) / len(taken)))
    area, before = 0.0, 0.0
    for number, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[number:])
        before = recall
    return area, max((r for r, p in points if p >= 0.9), default=0.0)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_a_plain_loop(seed, ties):
    from irvis_fusion_core.detectors.detection import match

    images = scenes(seed, ties=ties)
    verdicts = [
        (each.score, verdict)
        for found, truth in images
        for each, verdict in zip(found, match(found, truth))
        if verdict is not None
    ]
    objects = sum(not thing.ignored for _, truth in images for thing in truth)
    counter = collect(images)
    area, recall = slow(verdicts, objects)
    assert counter.objects == objects
    assert counter.average_precision()[0] == pytest.approx(area)
    assert counter.recall_at(0.9)[0] == pytest.approx(recall)


@pytest.mark.parametrize("seed", range(4))
def test_matches_are_those_of_pycocotools(seed):
    coco = pytest.importorskip("pycocotools.coco", reason="compares with pycocotools")
    from pycocotools.cocoeval import COCOeval

    images = scenes(seed)
    truth, found = [], []
    for number, (finds, things) in enumerate(images, 1):
        for thing in things:
            entry = {"image_id": number, "category_id": 1, "bbox": list(thing.box)}
            area = thing.box.width * thing.box.height
            truth.append(
                {**entry, "id": len(truth) + 1, "area": area, "iscrowd": int(thing.ignored)}
            )
        for each in finds:
            entry = {"image_id": number, "category_id": 1, "bbox": list(each.box)}
            found.append({**entry, "score": each.score})
    with contextlib.redirect_stdout(io.StringIO()):
        base = coco.COCO()
        base.dataset = {
            "info": {},
            "images": [{"id": n} for n in range(1, len(images) + 1)],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": truth,
        }
        base.createIndex()
        evaluation = COCOeval(base, base.loadRes(found), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
    verdicts, objects = [], 0
    for one in filter(None, evaluation.evalImgs):
        objects += int((~np.array(one["gtIgnore"], bool)).sum())
        rows = zip(one["dtScores"], one["dtMatches"][0], one["dtIgnore"][0])
        verdicts += [(score, bool(of)) for score, of, ignored in rows if not ignored]
    counter = collect(images)
    assert counter.objects == objects
    assert counter.average_precision()[0] == pytest.approx(slow(verdicts, objects)[0])


def test_resamples_are_new_sets_of_images():
    images = scenes(5)
    weights = resamples(len(images), 6, seed=1)
    assert (weights.sum(axis=1) == len(images)).all()
    expected = []
    for row in weights:
        drawn = [image for image, times in zip(images, row) for _ in range(times)]
        expected.append(collect(drawn).average_precision()[0])
    # Copies of an image have equal scores, as the weighted ones have.
    assert collect(images).average_precision(weights) == pytest.approx(expected)


def test_edges_of_the_definition():
    box = Box(0, 0, 10, 10)
    perfect = collect([([Detection(box, 0.5, "person")], [Truth(box, "person")])])
    assert perfect.average_precision()[0] == perfect.recall_at()[0] == 1.0
    assert collect([([], [Truth(box, "person")])]).average_precision()[0] == 0.0
    assert np.isnan(collect([([Detection(box, 0.5, "person")], [])]).average_precision()[0])
    assert interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))
    assert np.isnan(interval(np.array([np.nan]))).all()
