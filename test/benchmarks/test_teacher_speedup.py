"""The benchmark's sums; it is also run, on small networks and a small image."""

import argparse

import pytest

torch = pytest.importorskip("torch")

from benchmarks import teacher_speedup
from benchmarks.teacher_speedup import Cost, image_cost
from training.teachers import conditional


def test_what_is_done_once_counts_once():
    assert image_cost(Cost(5.0, 4.0), Cost(1.0, 1.0), 5) == Cost(21.0, 16.0)
    assert image_cost(Cost(2.0, 1.5), Cost(0.0, 0.0), 100) == Cost(200.0, 150.0)


def test_rows_are_ratios_of_one_run(zoo):
    options = argparse.Namespace(
        teacher=["ddfm", "mask_difuser", "conditional", "optimised"],
        detector=[],
        teacher_size="small",
        model="nano",
        backends=["torch"],
        size=(64, 64),
        threads=1,
        device="cpu",
    )
    found = teacher_speedup.rows(options)
    assert [(row["teacher"], row["steps"]) for row in found] == [
        ("ddfm", 100),
        ("mask_difuser", 5),
        ("conditional", conditional.DEFAULT_STEPS),
        ("optimised", 100),
    ]
    for row in found:
        assert row["times_faster"] == pytest.approx(row["teacher_cpu_s"] / row["student_cpu_s"])
        assert row["teacher_wall_s"] > 0.0
