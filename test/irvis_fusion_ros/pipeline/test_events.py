"""Event counts against collections.Counter; no ROS needed."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from irvis_fusion_ros.pipeline.events import KINDS_KEPT, Event, EventCounter


@given(st.lists(st.sampled_from("abcd")))
def test_events_are_counted_and_new_once_a_kind(kinds):
    counter = EventCounter()
    new = [kind for number, kind in enumerate(kinds) if counter.add(kind, str(number))]
    assert new == list(dict.fromkeys(kinds))
    assert counter.counts() == Counter(kinds)
    assert counter.total() == len(kinds)
    latest = {kind: str(number) for number, kind in enumerate(kinds)}
    assert counter.events() == {k: Event(n, latest[k]) for k, n in Counter(kinds).items()}
    for kind in new:
        assert counter.describe()[kind] == f"{kinds.count(kind)} ({latest[kind]})"


def test_endless_kinds_do_not_fill_the_memory():
    counter = EventCounter()
    new = sum(counter.add(f"kind {number}") for number in range(1000))
    assert new == KINDS_KEPT + 1  # and "other"
    assert counter.total() == 1000
