"""The worker with an engine that the test steers; no ROS needed."""

import sys
import threading
import time
import types

from irvis_fusion_ros.node import worker as worker_module
from irvis_fusion_ros.node.engine_state import FAILED, READY, EngineState
from irvis_fusion_ros.node.worker import FusionWorker


class Harness:
    """A worker with an engine that the test steers."""

    def __init__(self, open_engine=None, process=None, **options):
        self.states = []
        self.failed = []
        self.done = []
        self.closed = threading.Semaphore(0)
        self.event = threading.Event()
        self.threads = set()
        self.state = EngineState(self._on_state)
        options = {"retry_s": 0.01, "stall_s": 0.05, **options}
        self.worker = FusionWorker(
            self.state,
            open_engine or (lambda: self),
            process or self._process,
            options.pop("on_failure", self._on_failure),
            **options,
        )

    def accepts(self, now_s):
        return self.state.state == READY and self.worker.mailbox.accepts(now_s)

    def close(self):
        self.threads.add(threading.get_ident())
        self.closed.release()

    def wait_for_state(self, state):
        while state not in self.states:
            assert self.event.wait(5.0)
            self.event.clear()

    def _on_failure(self, delivery, error):
        self.failed.append((delivery.job, str(error)))

    def _process(self, engine, delivery):
        self.threads.add(threading.get_ident())
        self.done.append(delivery.job)
        self.event.set()

    def _on_state(self, state, reason):
        self.states.append(state)
        self.event.set()


def test_jobs_run_on_one_thread_that_also_closes_the_engine():
    harness = Harness()
    harness.worker.start()
    harness.wait_for_state(READY)
    assert harness.accepts(0.0)
    harness.worker.mailbox.put(1)
    while harness.done != [1]:
        assert harness.event.wait(5.0)
        harness.event.clear()
    assert harness.worker.stop()
    assert harness.closed.acquire(timeout=5.0)
    assert len(harness.threads) == 1
    assert threading.get_ident() not in harness.threads
    assert not harness.accepts(0.0)


def test_engine_that_does_not_open_is_tried_again():
    attempts = []

    def open_engine():
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("no model")
        return harness

    harness = Harness(open_engine)
    harness.worker.start()
    harness.wait_for_state(READY)
    assert harness.worker.stop()
    assert len(attempts) == 3
    assert harness.states.count(FAILED) == 2


def test_engine_that_fails_in_a_row_is_opened_again_and_no_job_is_lost():
    def process(engine, delivery):
        try:
            if harness.worker.openings == 1:
                raise RuntimeError("device lost")
            harness.done.append(delivery.job)
        finally:
            taken.release()

    taken = threading.Semaphore(0)
    harness = Harness(process=process)
    harness.worker.start()
    harness.wait_for_state(READY)
    for number in range(worker_module.FAILURES_BEFORE_REOPENING):
        harness.worker.mailbox.put(number)
        assert taken.acquire(timeout=5.0)
    harness.wait_for_state(FAILED)
    while harness.worker.openings < 2 or harness.state.state != READY:
        assert harness.event.wait(5.0)
        harness.event.clear()
    harness.worker.mailbox.put(7)
    assert taken.acquire(timeout=5.0)
    assert harness.worker.stop()
    assert [job for job, _ in harness.failed] == [0, 1, 2]
    assert all(text == "device lost" for _, text in harness.failed)
    assert harness.done == [7]


def test_a_library_that_exits_does_not_end_the_worker():
    def process(engine, delivery):
        if delivery.job < 3:
            sys.exit("the library gives up")
        harness._process(engine, delivery)

    openings = []

    def open_engine():
        openings.append(len(openings))
        if len(openings) == 1:
            sys.exit("no licence")
        return harness

    harness = Harness(open_engine, process)
    harness.worker.start()
    for job in range(3):
        harness.wait_for_state(READY)
        harness.worker.mailbox.put(job, 1, hold=True)
        assert wait_until(lambda job=job: len(harness.failed) == job + 1)
    assert wait_until(lambda: len(openings) == 3)
    harness.worker.mailbox.put(3, 1, hold=True)
    assert wait_until(lambda: harness.done == [3])
    assert harness.failed == [(job, "the library gives up") for job in range(3)]
    assert harness.worker.stop()


def wait_until(condition):
    end_s = time.monotonic() + 10.0
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.005)
    return condition()


def test_stuck_worker_gives_its_jobs_back_in_order():
    begun, release = threading.Event(), threading.Event()

    def process(engine, delivery):
        begun.set()
        assert release.wait(10.0)

    harness = Harness(process=process)
    harness.worker.start()
    harness.wait_for_state(READY)
    harness.worker.mailbox.put(0)
    assert begun.wait(5.0)
    for number in (1, 2, 3):
        harness.worker.mailbox.put(number)
    assert harness.accepts(time.monotonic() - 10.0)
    assert not harness.accepts(time.monotonic() + 10.0)
    assert harness.worker.mailbox.give_back() == [0, 1, 2, 3]
    # Nobody waits for frame 0 any more: what comes meanwhile is not put behind it.
    assert not harness.accepts(time.monotonic() - 10.0)
    release.set()
    while not harness.accepts(0.0):
        assert harness.worker.is_busy
        time.sleep(0.001)
    assert harness.worker.stop()


def test_patience_follows_the_engine_and_is_not_shaken_by_one_stall():
    """Against the definition by hand: twice the ninth of ten, within its bounds."""
    worker = Harness(stall_s=1.0).worker
    worker._learn(30.0)  # a warm-up that builds
    for _ in range(3):
        worker._learn(0.1)
        assert worker.mailbox.patience_s == 1.0  # not known yet
    worker._learn(0.1)
    assert worker.mailbox.patience_s == 0.2
    for _ in range(58):
        worker._learn(0.001)
    assert worker.mailbox.patience_s == worker_module.SHORTEST_PATIENCE_S
    worker._learn(2.0)
    assert worker.mailbox.patience_s == worker_module.SHORTEST_PATIENCE_S
    for _ in range(worker_module.TIMES_KEPT):
        worker._learn(0.5)
    assert worker.mailbox.patience_s == 1.0


def test_frames_that_are_only_passed_on_say_nothing_of_the_engine():
    worked = threading.Semaphore(0)
    harness = Harness(
        process=lambda engine, delivery: worked.release(), runs_engine=lambda job: False
    )
    harness.worker.start()
    harness.wait_for_state(READY)
    for number in range(2 * worker_module.TIMES_NEEDED):
        harness.worker.mailbox.put(number)
        assert worked.acquire(timeout=5.0)
    assert harness.worker.mailbox.patience_s == 0.05
    assert harness.worker.stop()


def test_worker_lives_on_when_publishing_the_failed_frame_and_closing_fail():
    def process(engine, delivery):
        if delivery.job == 0:
            raise RuntimeError("device lost")
        harness._process(engine, delivery)

    def on_failure(delivery, error):
        raise OSError("cannot publish")

    class Engine:
        def close(self):
            raise OSError("cannot close")

    harness = Harness(Engine, process, on_failure=on_failure, stall_s=5)
    worker = harness.worker
    worker.start()
    harness.wait_for_state(READY)
    worker.mailbox.put(0)
    harness.wait_for_state(FAILED)
    while not (worker.openings == 2 and harness.state.state == READY):
        assert worker.is_busy
        harness.event.wait(0.05)
        harness.event.clear()
    worker.mailbox.put(1)
    while harness.done != [1]:
        assert worker.is_busy
        harness.event.wait(0.05)
        harness.event.clear()
    assert worker.stop()


def test_an_engine_that_keeps_failing_is_opened_again_after_longer_and_longer_waits(monkeypatch):
    """A steered clock: the waits are noted instead of waited for."""
    waits = []
    opened = []

    def process(engine, delivery):
        harness._process(engine, delivery)
        if delivery.job == "bad":
            raise RuntimeError("device lost")

    def open_engine():
        opened.append(len(waits))
        if len(opened) <= 3:
            raise OSError("no model")
        return harness

    harness = Harness(open_engine, process, retry_s=1.0, stall_s=5)
    worker = harness.worker
    stop = worker._stop
    monkeypatch.setattr(
        worker,
        "_stop",
        types.SimpleNamespace(wait=waits.append, is_set=stop.is_set, set=stop.set),
    )
    worker.start()

    def run(job):
        done = len(harness.done)
        worker.mailbox.put(job)
        while len(harness.done) == done:
            assert harness.event.wait(5.0)
            harness.event.clear()

    harness.wait_for_state(READY)
    assert waits == [1.0, 2.0, 4.0]
    for _ in range(worker_module.FAILURES_BEFORE_REOPENING * 3):
        run("bad")
    while len(waits) < 6:
        assert worker.is_busy
    assert waits[3:] == [8.0, 16.0, 16.0]
    for _ in range(worker_module.GOOD_JOBS):
        run("good")
    while worker.retries:
        assert worker.is_busy
    assert harness.state.reason == "again, opened 6 times"
    for _ in range(worker_module.FAILURES_BEFORE_REOPENING):
        run("bad")
    while len(waits) < 7:
        assert worker.is_busy
    assert waits[6] == 1.0
    assert worker.stop()


def test_frames_that_pass_in_between_do_not_hide_an_engine_that_always_fails():
    """A thermal camera of half the rate, and pairing: pair: every other frame has no partner."""
    worked = threading.Semaphore(0)

    def process(engine, delivery):
        if delivery.job == "pair":
            raise RuntimeError("device lost")
        worked.release()

    harness = Harness(
        process=process,
        on_failure=lambda delivery, error: worked.release(),
        runs_engine=lambda job: job == "pair",
    )
    harness.worker.start()
    harness.wait_for_state(READY)
    for job in ["pair", "passes"] * worker_module.FAILURES_BEFORE_REOPENING:
        harness.worker.mailbox.put(job)
        assert worked.acquire(timeout=5.0)
        if harness.worker.failures == worker_module.FAILURES_BEFORE_REOPENING:
            break
    harness.wait_for_state(FAILED)
    assert harness.worker.stop()
