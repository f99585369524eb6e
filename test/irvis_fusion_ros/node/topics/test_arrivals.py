"""What arrived, what came twice and what is missing, against lists of what was published."""

from hypothesis import given
from hypothesis import strategies as st

from irvis_fusion_ros.messages.serialized_image import head_bytes
from irvis_fusion_ros.node.topics.arrivals import Arrivals

RAW = head_bytes(1, 2, "camera")


def info(publisher, number):
    return {
        "source_timestamp": 10**6 * (publisher + 1) + number,
        "publication_sequence_number": number,
    }


@given(st.integers(1, 300), st.lists(st.booleans(), max_size=60))
def test_what_is_missing_was_published_between_the_messages_that_arrived(start, turns):
    arrivals, arrived = Arrivals(), [start]
    assert arrivals.is_new(RAW, info(0, start))
    for number, is_lost in enumerate(turns, start + 1):
        if not is_lost:
            assert arrivals.is_new(RAW, info(0, number))
            arrived.append(number)
    assert arrivals.missing == arrived[-1] - arrived[0] + 1 - len(arrived)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_a_message_is_new_once(numbers):
    arrivals = Arrivals()
    taken = [number for number in numbers if arrivals.is_new(RAW, info(0, number))]
    assert taken == list(dict.fromkeys(numbers))


def test_a_camera_that_starts_again_has_lost_nothing():
    arrivals = Arrivals()
    for publisher, number in [(0, 5), (0, 6), (1, 1), (1, 2), (1, 4)]:
        assert arrivals.is_new(RAW, info(publisher, number))
    assert arrivals.missing == 1


def test_a_second_camera_is_no_gap():
    matched = [1]
    arrivals = Arrivals(lambda: matched[0])
    arrivals.is_new(RAW, info(0, 5))
    matched[0] = 2
    for publisher, number in [(1, 900), (0, 6), (1, 901), (0, 7), (1, 903), (0, 9)]:
        assert arrivals.is_new(RAW, info(publisher, number))
    assert arrivals.missing == 2


def test_equal_stamps_are_messages_of_their_own_unless_they_may_be_repeated():
    arrivals = Arrivals()
    unstamped = head_bytes(0, 0, "camera")
    assert arrivals.is_new(RAW, {}) and arrivals.is_new(RAW, {})
    assert not arrivals.is_new(RAW, {}, repeats=True)
    assert arrivals.is_new(unstamped, {}) and arrivals.is_new(unstamped, {}, repeats=True)
    assert arrivals.missing is None
