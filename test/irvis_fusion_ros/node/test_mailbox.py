"""The mailbox against what has to hold of any sequence of its calls; no ROS needed."""

from hypothesis import given
from hypothesis import strategies as st

from irvis_fusion_ros.node.worker import Delivery, Mailbox


class Road:
    """A mailbox between two threads' worth of calls, and the gate behind both."""

    def __init__(self):
        self.out = []
        self.box = Mailbox(clock_s=lambda: 0.0)
        self._newest = -1
        self._number = 0
        self._delivery = None

    def put(self):
        self.box.put(self._number)
        self._number += 1

    def take(self):
        if self._delivery is None:
            self._delivery = self.box.take(0.0)

    def displaced_out(self):
        """The worker publishes first what its frame displaced."""
        for number in self._delivery.displaced if self._delivery else ():
            self._publish(number)

    def finish(self):
        if self._delivery is not None:
            self.displaced_out()
            self._publish(self._delivery.job)
            self._delivery = None
            self.box.done()

    def give_back(self):
        for number in self.box.give_back():
            self._publish(number)

    def _publish(self, number):
        if number > self._newest:  # the ordered exit, see test_frame_output
            self._newest = number
            self.out.append(number)

    @property
    def put_count(self):
        return self._number


ACTIONS = ["put", "put", "take", "displaced_out", "finish", "give_back"]


@given(st.lists(st.sampled_from(ACTIONS), max_size=80))
def test_every_frame_comes_out_once_and_in_order_whoever_publishes_it(actions):
    road = Road()
    for action in actions:
        getattr(road, action)()
    road.give_back()
    road.finish()
    assert road.out == list(range(road.put_count))


@given(st.lists(st.booleans(), max_size=40))
def test_newest_wins_and_the_displaced_wait_or_are_handed_back(holds):
    box, held, returned = Mailbox(), [], []
    for number, hold in enumerate(holds):
        displaced = box.put(number, hold=hold)
        if number:
            (held if hold else returned).append(number - 1)
        assert displaced == (number - 1 if number else None)
    delivery = box.take(0.0)
    if holds:
        assert delivery == Delivery(len(holds) - 1, held)
    assert sorted(held + returned) == list(range(max(0, len(holds) - 1)))
    assert box.displaced_count == max(0, len(holds) - 1)


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(0, 200))
def test_it_is_full_when_the_held_weigh_more_than_allowed(weights, allowed):
    box = Mailbox(held_bytes_max=allowed)
    for number, weight in enumerate(weights):
        box.put(number, weight)
    assert box.is_full == (sum(weights[:-1]) > allowed)
    box.give_back()
    assert not box.is_full


def test_time_at_work_counts_from_the_taking_until_it_is_done():
    now = [5.0]
    box = Mailbox(clock_s=lambda: now[0])
    assert box.busy_s(9.0) == 0.0
    box.put(1)
    box.take(0.0)
    now[0] = 7.0
    assert box.busy_s(6.5) == 1.5
    assert box.done() == 2.0
    assert box.busy_s(9.0) == 0.0


def test_a_job_is_given_back_once_and_nobody_waits_for_it_then():
    box = Mailbox()
    box.put(1)
    box.take(0.0)
    box.put(2)
    assert not box.given_up
    assert box.give_back() == [1, 2] and box.given_up
    assert box.give_back() == []
    assert box.given_up_count == 1
    box.done()
    assert not box.given_up


def test_closed_mailbox_hands_out_nothing():
    box = Mailbox()
    box.put(1)
    box.close()
    assert box.take(0.0) is None
