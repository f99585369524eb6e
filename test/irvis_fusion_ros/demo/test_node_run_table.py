"""The demo's arithmetic against known records."""

import pytest

from irvis_fusion_ros.demo.node_run import make_stream, make_table

MS = 1_000_000


def records(latencies_ms, people=None):
    """Frames each 10 ms, and their arrivals; None is a frame that never came."""
    published = [{"stamp_ns": 10 * MS * i, "people": people} for i in range(len(latencies_ms))]
    arrivals = [
        {"stamp_ns": frame["stamp_ns"], "arrived_ns": frame["stamp_ns"] + int(ms * MS)}
        for frame, ms in zip(published, latencies_ms)
        if ms is not None
    ]
    return published, {"arrivals": arrivals, "detections": []}


def test_latency_rate_and_missing_frames_are_counted_within_the_window():
    published, record = records([999, 999, *[2.0] * 98, 7.0, None, 999])
    stream = make_stream(published, record, (20 * MS, 1020 * MS))
    assert (stream.published, stream.arrived, stream.missing) == (100, 99, 1)
    assert stream.rate_hz == pytest.approx(99.0)
    assert stream.p50_ms == pytest.approx(2.0)
    assert 2.0 < stream.p99_ms <= 7.0


def test_a_frame_that_arrives_twice_counts_once_and_foreign_stamps_do_not():
    published, record = records([1.0, 1.0])
    record["arrivals"] += [record["arrivals"][0], {"stamp_ns": 5, "arrived_ns": 6}]
    assert make_stream(published, record, (0, 20 * MS)).arrived == 2


def test_people_are_found_of_those_that_were_there():
    person, other = [10, 10, 40, 100], [200, 10, 40, 100]
    published, record = records([1.0, 1.0], people=[person, other])
    record["detections"] = [
        {"stamp_ns": 0, "people": [[12, 8, 42, 104]]},
        {"stamp_ns": 10 * MS, "people": [person, other]},
        {"stamp_ns": 77, "people": [person]},  # of no frame in the window
    ]
    assert make_stream(published, record, (0, 20 * MS)).people == "3 of 4 (75 %)"
    for frame in published:
        frame["people"] = None
    assert make_stream(published, record, (0, 20 * MS)).people == "1.50 an image"


def test_nothing_received_is_a_table_too():
    published, record = records([None, None])
    rows = make_table({"fused": make_stream(published, record, (0, 20 * MS))})
    assert rows[1][:5] == ["fused", "0.0", "2", "0", "2"]
