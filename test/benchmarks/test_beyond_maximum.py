"""The masks pick what they are meant to, and the measures know perfect from lost, on drawn pairs.

References are closed forms: a perfect fusion keeps 1.0, a flat one 0, an average half.
"""

import cv2
import numpy as np
import pytest

from benchmarks.beyond_maximum import __main__ as command
from benchmarks.beyond_maximum import int8, masks, measures
from benchmarks.beyond_maximum.people import is_warm, once_each, people
from benchmarks.beyond_maximum.report import Crops, Table
from benchmarks.beyond_maximum.sections import (
    ADDED_NOISE,
    DARK_NOISE,
    dazzle,
    flicker,
    render,
    with_noise,
)
from benchmarks.shared.fusions import in_colour
from benchmarks.shared.pairs import Pair
from irvis_fusion_core import metrics
from irvis_fusion_core.detectors.detection import PERSON, Box, Detection
from irvis_fusion_core.image_files import write_image


def lettering():
    """Dark and middle-grey lettering before a wall that glows evenly in IR."""
    luma = np.full((120, 200), 90, np.uint8)
    cv2.putText(luma, "STOP", (30, 75), cv2.FONT_HERSHEY_SIMPLEX, 1.8, 20, 4)
    return np.full_like(luma, 200), luma


def person_in_glare():
    """Somebody warm before a lamp that has blown out all of the visible image's middle."""
    ir = np.full((240, 320), 60, np.uint8)
    cv2.rectangle(ir, (150, 90), (170, 150), 190, -1)
    luma = np.full_like(ir, 40)
    cv2.circle(luma, (160, 120), 42, 255, -1)
    return ir, luma


def as_pair(ir, luma, name="msrs/val/1"):
    return Pair(name, ir, np.dstack([luma] * 3), luma)


def test_maximum_loses_lettering_and_a_perfect_fusion_keeps_it():
    ir, luma = lettering()
    mask = masks.hot_background_mask(ir, luma)
    assert mask.sum() > 1000
    for measure in (measures.edges_kept, measures.correlation, measures.texture_ratio):
        assert measure(luma, luma, mask) == pytest.approx(1.0)
        assert measure(np.maximum(ir, luma), luma, mask) == 0.0
    lighter = cv2.add(luma, 100)  # brightness is free, contrast counts
    assert measures.edges_kept(lighter, luma, mask) == pytest.approx(1.0)
    half = (ir // 2 + luma // 2).astype(np.uint8)
    assert measures.edges_kept(half, luma, mask) == pytest.approx(0.5)
    assert measures.texture_ratio(half, luma, mask) == pytest.approx(0.5)
    assert measures.correlation(half, luma, mask) == pytest.approx(1.0)
    negative = 255 - luma
    assert measures.edges_kept(negative, luma, mask) == 0.0
    assert measures.correlation(negative, luma, mask) == pytest.approx(-1.0)


def test_edges_that_the_source_has_not_lower_the_correlation_only():
    rows, columns = np.indices((60, 60))
    source, both = (2 * columns).astype(np.uint8), (2 * columns + 2 * rows).astype(np.uint8)
    inner = np.zeros(source.shape, bool)
    inner[10:-10, 10:-10] = True
    assert measures.edges_kept(both, source, inner) == pytest.approx(1.0, abs=1e-5)
    assert measures.correlation(both, source, inner) == pytest.approx(np.sqrt(0.5), abs=1e-5)


def test_edge_quality_over_the_whole_image_is_half_of_qabf():
    """Qabf weighs both sources; with one source twice it is the quality to that one."""
    chance = np.random.default_rng(0)
    source, fused = (
        cv2.GaussianBlur(chance.integers(0, 256, (60, 80), np.uint8), (5, 5), 0) for _ in range(2)
    )
    everywhere = np.ones(source.shape, bool)
    assert measures.edge_quality(fused, source, everywhere) == pytest.approx(
        metrics.qabf(fused, source, source)
    )


def test_no_hot_background_where_ir_has_the_texture_or_is_darker():
    ir, luma = lettering()
    assert not masks.hot_background_mask(np.full_like(ir, 15), luma).any()
    assert not masks.hot_background_mask(cv2.add(luma, 100), luma).any()
    assert not masks.hot_background_mask(ir, np.full_like(luma, 90)).any()


def test_maximum_buries_somebody_in_glare():
    ir, luma = person_in_glare()
    mask = masks.glare_mask(ir, luma)
    rows, columns = np.nonzero(mask)
    assert 80 < rows.min() < 95 and 145 < rows.max() < 160
    assert 140 < columns.min() < 155 and 165 < columns.max() < 180
    things, area = masks.warm_objects(ir), masks.saturated_areas(luma)
    assert len(things) == 1
    maximum = np.maximum(ir, luma)
    assert measures.edges_kept(maximum, ir, mask) == 0.0
    assert measures.edges_kept(ir, ir, mask) == pytest.approx(1.0)
    assert measures.contrast(maximum, things, area) == (0.0, 1)
    assert measures.contrast(ir, things, area) == (130.0, 1)
    level, count = measures.contrast(ir, things, np.zeros_like(area))
    assert np.isnan(level) and count == 0


def test_lamps_own_outline_and_empty_glare_are_no_glare_mask():
    ir, luma = person_in_glare()
    assert not masks.glare_mask(luma, luma).any()  # IR has the lamp's outline only
    assert not masks.glare_mask(ir, np.full_like(luma, 230)).any()
    assert np.isnan(measures.edges_kept(ir, ir, np.zeros(ir.shape, bool)))


def test_lamps_are_told_from_sky():
    luma = np.full((200, 300), 40, np.uint8)
    luma[:20, :100] = 255  # reaches the upper border
    luma[120:, :] = 255  # larger than any lamp
    cv2.rectangle(luma, (180, 50), (220, 90), 255, -1)
    rows, columns = np.nonzero(masks.lamp_areas(luma))
    assert (rows.min(), rows.max()) == (50, 90) and (columns.min(), columns.max()) == (180, 220)


def test_rendered_lamp_blows_out_its_disc_and_leaves_the_distance_alone():
    vis = np.full((240, 320, 3), 30, np.uint8)
    lit = render(vis, 160.0, 120.0, 14.0)
    assert lit[120, 160].tolist() == [255, 255, 255]
    assert (lit >= vis).all()  # light only adds
    assert lit[5, 5].max() < 60


def test_glare_is_rendered_onto_what_is_warm_and_repeats():
    ir, _ = person_in_glare()
    vis = np.full((*ir.shape, 3), 40, np.uint8)
    lit, area = dazzle("a", ir, vis)
    again, _ = dazzle("a", ir, vis)
    other, _ = dazzle("b", ir, vis)
    assert np.array_equal(lit, again) and not np.array_equal(lit, other)
    rows, columns = np.nonzero(area)
    assert abs(rows.mean() - 120) < 12 and abs(columns.mean() - 160) < 12
    assert dazzle("a", np.full_like(ir, 60), vis) is None


def test_noise_is_measured_where_it_is_flat_only():
    ramp = np.tile(np.linspace(20, 50, 300), (200, 1))
    chance = np.random.default_rng(3)
    noisy = np.rint(ramp + chance.normal(0, 3, ramp.shape)).astype(np.uint8)
    everywhere = np.ones(ramp.shape, bool)
    assert measures.noise_sigma(noisy, everywhere) == pytest.approx(3.0, rel=0.03)
    assert measures.noise_sigma(np.full_like(noisy, 9), everywhere) == 0.0
    noisy[90:110] = 200
    mask = masks.flat_dark_mask(noisy, np.full_like(noisy, 30))
    assert mask[40:60].mean() > 0.5 and not mask[86:94].any() and not mask[106:114].any()
    assert not masks.flat_dark_mask(noisy, np.full_like(noisy, 90)).any()  # not dark
    assert not masks.flat_dark_mask(noisy, np.zeros_like(noisy)).any()  # cut off at black


def test_added_noise_comes_out_whole_halved_or_not_at_all():
    ir, luma = np.full((120, 160), 50, np.uint8), np.full((120, 160), 20, np.uint8)
    fusions = {
        "maximum": lambda pair: np.maximum(pair.ir, pair.luma),
        "visible": lambda pair: pair.luma,
        "mean": lambda pair: ((pair.ir.astype(np.uint16) + pair.luma) // 2).astype(np.uint8),
    }
    table = DARK_NOISE.table([as_pair(ir, luma)], fusions, Crops(), "t")
    column = list(table.columns).index("added noise let through")
    assert table.rows["maximum"][column] == pytest.approx(1.0)
    assert table.rows["visible"][column] == 0.0
    assert table.rows["mean"][column] == pytest.approx(0.5, abs=0.02)
    assert "1 of 1" in table.note


def test_added_noise_is_white_of_its_size_and_the_same_each_time():
    grey = np.full((200, 300), 120, np.uint8)
    noise = with_noise(grey, "a").astype(int) - grey
    assert noise.std() == pytest.approx(ADDED_NOISE, rel=0.02) and abs(noise.mean()) < 0.1
    beside = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    assert abs(beside) < 0.02
    np.testing.assert_array_equal(with_noise(grey, "a"), with_noise(grey, "a"))
    assert (with_noise(grey, "a") != with_noise(grey, "b")).any()


def test_flicker_of_sources_is_none_and_of_a_pumping_fusion_its_amplitude():
    frames = [as_pair(np.full((64, 64), 60, np.uint8), np.full((64, 64), 30, np.uint8))] * 4
    calls = iter(range(99))
    fusions = {
        "visible": lambda pair: pair.luma,
        "pumping": lambda pair: cv2.add(pair.ir, 10 * (next(calls) % 2)),
    }
    rows = flicker(frames, fusions, Crops(), "t").rows
    assert rows["visible"] == [0.0, 0.0, 0.0]
    assert rows["pumping"] == [10.0, 10.0, 10.0]


def test_a_limited_fusion_has_a_second_row_that_does_not_pump():
    frames = [as_pair(np.full((64, 64), 60, np.uint8), np.full((64, 64), 30, np.uint8))] * 4
    calls = iter(range(99))
    fusions = {"pumping": lambda pair: cv2.add(pair.vis, 10.0 * (next(calls) % 2) * np.ones(4))}
    rows = flicker(frames, fusions, Crops(), "t", limit=["pumping"]).rows
    assert list(rows) == ["pumping", "pumping, limit_flicker"]
    assert rows["pumping"] == [10.0, 10.0, 10.0]
    assert max(rows["pumping, limit_flicker"]) < 0.5


def test_finds_are_judged_by_warmth_and_counted_once():
    ir = np.full((300, 400), 30, np.uint8)
    cv2.rectangle(ir, (185, 100), (215, 200), 180, -1)
    on = Detection(Box(165, 85, 70, 130), 1.0, PERSON)
    beside = Detection(Box(40, 85, 70, 130), 0.9, PERSON)
    assert is_warm(ir, on) and not is_warm(ir, beside)
    assert not is_warm(np.full_like(ir, 200), on)  # warm all over is no person
    assert not is_warm(ir, Detection(Box(900, 900, 70, 130), 1.0, PERSON))
    again = Detection(Box(168, 88, 70, 130), 0.5, PERSON)
    assert once_each([again, beside, on]) == [on, beside]
    assert once_each([]) == []


def test_trivial_fusions_get_the_visible_colours():
    vis = np.zeros((8, 8, 3), np.uint8)
    vis[...] = (90, 120, 150)
    luma = metrics.luminance(vis)
    coloured = in_colour("maximum", luma, vis)
    assert np.abs(coloured.astype(int) - vis).max() <= 2
    assert np.ptp(in_colour("IR", luma, vis)) == 0


def test_nobody_in_an_empty_street():
    empty = as_pair(np.full((200, 200), 20, np.uint8), np.full((200, 200), 9, np.uint8))
    table = people([empty], {"visible": lambda pair: pair.vis}, Crops(), "t")
    assert table.rows["visible"][:3] == [0, 0, 0] and np.isnan(table.rows["visible"][3])
    assert "| visible | 0 | 0 | 0 | – | – |" in table.markdown()


def test_a_number_that_is_not_there_is_a_dash():
    text = Table("T", {"a": ".2f", "n": "d"}, {"x": [float("nan"), 3]}, "note").markdown()
    assert "| x | – | 3 |" in text and text.endswith("note")


def test_day_and_night_are_told_apart_and_limits_spread(tmp_path):
    grey = np.full((16, 16), 99, np.uint8)
    for stem in ("1D", "2N", "3D", "4N", "5D", "6D"):
        for side in ("IR", "VIS"):
            write_image(str(tmp_path / "msrs" / "val" / side / f"{stem}.png"), grey)
    for stem, level in (("dusk", 100), ("noon", 200)):
        write_image(str(tmp_path / "roadscene" / "val" / "IR" / f"{stem}.png"), grey)
        lit = np.full_like(grey, level)
        write_image(str(tmp_path / "roadscene" / "val" / "VIS" / f"{stem}.png"), lit)

    def names(kind, limit=None):
        pairs = command.spread(tmp_path, ("msrs/val", "roadscene/val"), kind, limit)
        return [pair.name.split("/")[-1] for pair in pairs]

    assert names("night") == ["2N", "4N"]
    assert names("day") == ["1D", "3D", "5D", "6D", "noon"]
    assert names("any", 2) == ["1D", "6D", "dusk", "noon"]


def test_int8_loss_is_the_difference_and_the_worst_has_a_name():
    figures = {"a": (0.6, 0.5, 0.7), "b": (0.8, 0.5, 0.7), "c": (0.4, 0.5, 0.7)}
    found, worst_pair = int8.summary(figures)
    assert worst_pair == "b"
    reference, quantized, maximum, mean, worst = found
    assert (reference, quantized, maximum) == pytest.approx((0.6, 0.5, 0.7))
    assert (mean, worst) == pytest.approx((0.1, 0.3))


def test_command_prints_its_tables_and_writes_crops(tmp_path, capsys):
    ir, luma = person_in_glare()
    for part in ("msrs/val", "roadscene/val"):
        for side, image in (("IR", ir), ("VIS", luma)):
            write_image(str(tmp_path / "data" / part / side / "1D.png"), image)
    out = tmp_path / "out"
    command.main(
        ["--data", str(tmp_path / "data"), "--only", "a", "--parts", "val", "--images", str(out)]
    )
    printed = capsys.readouterr().out
    assert "a. lamps and reflections, val" in printed
    assert "| IR | 1.000 |" in printed and "| maximum | 0.000 |" in printed
    assert "2 of 2 images" in printed
    assert cv2.imread(str(out / "a_lamps_and_reflections_val.png")) is not None
