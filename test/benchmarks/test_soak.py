"""The figures of the soak, against lines and counts that are known."""

import os
import threading

import pytest

from benchmarks.soak.samples import Sample, draw, percentiles, report, resources, slope


def samples(growth_mb=0.0):
    """Twelve faults in twelve minutes; memory falls steeply at first, then grows as asked for."""
    return [
        Sample(
            minute=float(minute),
            fault="a fault",
            rss_mb=100.0 + growth_mb * minute + (50.0 if minute < 2 else 0.0),
            threads=15,
            files=23,
            p50_periods=0.1,
            p99_periods=0.2 if minute < 6 else 0.4,
            published=26,
            ends={"fused": 20, "passed: a": 2, "passed: b": 1, "dropped: c": 2, "lost: d": 1},
            failure="broken" if minute == 5 else "",
        )
        for minute in range(12)
    ]


@pytest.mark.parametrize("growth_mb", [0.0, 0.25, -0.1])
def test_the_slope_is_that_after_the_first_quarter(growth_mb):
    assert slope(samples(growth_mb)) == pytest.approx(growth_mb, abs=1e-9)


def test_the_report_counts_frames_and_failures():
    text = report(samples(0.25))
    for line in (
        "| length | 11 minutes, 12 faults |",
        "| faults that broke something | 1 |",
        "| visible frames published around the faults | 312 |",
        "|   of them fused, passed, dropped, lost | 240, 36, 24, 12 |",
        "|   of them without account | 0 |",
        "| growth of memory after a quarter, a half, three quarters of the time "
        "| +0.25, +0.25, +0.25 MB a minute |",
        "| p99 without fault, first and last quarter | 0.20, 0.40 frame periods |",
    ):
        assert line in text


def test_latencies_are_told_in_frame_periods():
    assert percentiles([0.1] * 10, 15.0) == pytest.approx((1.5, 1.5))


def test_resources_are_those_of_the_process():
    before = resources(os.getpid())
    end = threading.Event()
    others = [threading.Thread(target=end.wait) for _ in range(3)]
    ballast = bytearray(os.urandom(1)) * (64 * 2**20)
    with open(os.devnull) as _:
        for thread in others:
            thread.start()
        after = resources(os.getpid())
    end.set()
    assert 55 < after[0] - before[0] < 90 and len(ballast) == 64 * 2**20
    assert after[1] - before[1] == 3 and after[2] - before[2] == 1


def test_the_plot_is_an_image(tmp_path):
    pytest.importorskip("matplotlib")
    cv2 = pytest.importorskip("cv2")
    draw(samples(), tmp_path / "soak.png")
    assert cv2.imread(str(tmp_path / "soak.png")).std() > 1
    assert (tmp_path / "soak.png").stat().st_size < 60_000
