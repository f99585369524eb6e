"""Edges in place and flicker: known answers, a literal second implementation, real video."""

import cv2
import numpy as np
import pytest
from real_data import data_root

from irvis_fusion_core import metrics
from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.metrics import video_metrics

# --- edges in the right place --------------------------------------------------------------


def blocks(shift=0):
    image = np.full((96, 96), 60, np.uint8)
    image[30:60, 20 + shift : 50 + shift] = 180
    return image


def test_alignment_falls_and_ghosts_rise_as_ir_is_shifted():
    vis = blocks()
    rows = [
        video_metrics.alignment(
            ((blocks(shift).astype(int) + vis) // 2).astype(np.uint8), blocks(), vis
        )
        for shift in (0, 2, 4, 8)
    ]
    assert rows[0]["vis"] > 0.95 and rows[0]["ir"] > 0.95 and rows[0]["ghost"] < 0.05
    ghosts = [row["ghost"] for row in rows]
    assert ghosts == sorted(ghosts) and ghosts[-1] > 0.25


def test_alignment_names_the_source_that_lies_elsewhere():
    row = video_metrics.alignment(blocks(), blocks(12), blocks())
    assert row["vis"] > 0.95 > 0.7 > row["ir"]


def test_inverted_contrast_is_still_aligned():
    row = video_metrics.alignment(blocks(), 255 - blocks(), blocks())
    assert row["ir"] == pytest.approx(row["vis"])


def test_alignment_of_flat_images_is_zero_not_nan():
    flat = np.zeros((32, 32), np.uint8)
    assert video_metrics.alignment(flat, flat, flat) == {"ir": 0, "vis": 0, "ghost": 0}


# --- flicker -------------------------------------------------------------------------------


def test_flicker_of_a_known_brightness_step():
    still = [blocks()] * 4
    pumping = [frame + np.uint8(10 * (i % 2)) for i, frame in enumerate(still)]
    assert video_metrics.flicker(still, still, still) == 0
    assert video_metrics.flicker(pumping, still, still) == pytest.approx(10)
    assert video_metrics.flicker(pumping, pumping, still) == 0


def test_maximum_and_mean_of_changing_sources_do_not_count_as_flicker():
    rng = np.random.default_rng(4)
    ir = [rng.integers(0, 256, (40, 40)).astype(np.uint8) for _ in range(5)]
    vis = [rng.integers(0, 256, (40, 40)).astype(np.uint8) for _ in range(5)]
    mean = [((a.astype(int) + b) // 2).astype(np.uint8) for a, b in zip(ir, vis)]
    # Rounding down moves an 8x8 mean by up to half a level.
    assert video_metrics.flicker(mean, ir, vis) < 0.5


def test_a_min_max_stretch_flickers_on_real_video(tno_video):
    ir, vis = tno_video
    mean = [((a.astype(int) + b) / 2).round().astype(np.uint8) for a, b in zip(ir, vis)]
    stretched = [cv2.normalize(frame, None, 0, 255, cv2.NORM_MINMAX) for frame in mean]
    assert video_metrics.flicker(stretched, ir, vis) > 5 * video_metrics.flicker(mean, ir, vis)


@pytest.fixture
def tno_video():
    folder = data_root() / "video_tno_nato_camp"
    names = sorted(path.name for path in (folder / "IR").iterdir())
    return tuple([cv2.imread(str(folder / kind / n), 0) for n in names] for kind in ("IR", "VIS"))


def literal_flicker(fused, ir, vis):
    """Block by block, with Python's own arithmetic."""
    total = count = 0
    rows, columns = fused[0].shape[0] // 8, fused[0].shape[1] // 8
    for i in range(1, len(fused)):
        for r in range(rows):
            for c in range(columns):
                block = (slice(8 * r, 8 * r + 8), slice(8 * c, 8 * c + 8))
                f, a, b = (
                    abs(sum(v[i][block].ravel().tolist()) - sum(v[i - 1][block].ravel().tolist()))
                    / 64
                    for v in (fused, ir, vis)
                )
                total += max(f - max(a, b), 0)
                count += 1
    return total / count


def test_flicker_agrees_with_a_literal_loop():
    rng = np.random.default_rng(8)
    videos = [
        [rng.integers(0, 256, (20, 35)).astype(np.uint8) for _ in range(4)] for _ in range(3)
    ]
    assert video_metrics.flicker(*videos) == pytest.approx(literal_flicker(*videos), rel=1e-12)


def test_the_meter_gives_frame_by_frame_what_flicker_averages():
    rng = np.random.default_rng(9)
    videos = [
        [rng.integers(0, 256, (24, 24)).astype(np.uint8) for _ in range(5)] for _ in range(3)
    ]
    meter = video_metrics.FlickerMeter()
    values = [meter.add(*frames) for frames in zip(*videos)]
    assert values[0] is None
    assert np.mean(values[1:]) == pytest.approx(video_metrics.flicker(*videos))
    meter.reset()
    assert meter.add(*[video[0] for video in videos]) is None
    with pytest.raises(FrameError, match="one image size"):
        meter.add(*[video[1][:16] for video in videos])


def literal_agreement(f, s):
    """Normalised gradient fields of two images, pixel by pixel; the weight is that of `s`."""
    gradients = []
    for image in (f, s):
        p = np.pad(cv2.GaussianBlur(image.astype(float), (0, 0), 1.0), 1, mode="reflect")
        x, y = np.zeros(image.shape), np.zeros(image.shape)
        for r, c in np.ndindex(*image.shape):
            w = p[r : r + 3, c : c + 3]
            x[r, c] = (w[:, 2] - w[:, 0]) @ (1, 2, 1) / 8
            y[r, c] = (w[2] - w[0]) @ (1, 2, 1) / 8
        gradients.append((x, y))
    (fx, fy), (sx, sy) = gradients
    above = below = 0.0
    for i in np.ndindex(*f.shape):
        dot = fx[i] * sx[i] + fy[i] * sy[i]
        cosine = dot**2 / ((fx[i] ** 2 + fy[i] ** 2 + 4) * (sx[i] ** 2 + sy[i] ** 2 + 4))
        weight = np.hypot(sx[i], sy[i])
        above += cosine * weight
        below += weight
    return above / below


def test_alignment_agrees_with_a_literal_loop():
    rng = np.random.default_rng(10)
    f, a, b = (
        cv2.GaussianBlur(rng.integers(0, 256, (40, 44)).astype(np.uint8), (0, 0), 1.5)
        for _ in range(3)
    )
    row = video_metrics.alignment(f, a, b)
    assert row["ir"] == pytest.approx(literal_agreement(f, a), rel=1e-9)
    assert row["vis"] == pytest.approx(literal_agreement(f, b), rel=1e-9)


def test_both_are_found_where_all_metrics_are():
    assert metrics.flicker is video_metrics.flicker
    assert metrics.alignment is video_metrics.alignment


def test_flicker_refuses_sequences_that_do_not_belong_together():
    frames = [blocks()] * 3
    with pytest.raises(FrameError, match="one length"):
        video_metrics.flicker(frames, frames[:2], frames)
    with pytest.raises(FrameError, match="two frames"):
        video_metrics.flicker(frames[:1], frames[:1], frames[:1])
