"""The node's executor: rclpy's, without its work for each image.

rclpy's executor builds its wait set at each turn out of every topic, service, timer and event of
the node, makes a task of each message, and wakes itself after it. In the node at 30 Hz that takes
more processor time than all else that runs on the executor's thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from rclpy.executors import ShutdownException, SingleThreadedExecutor, TimeoutException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.waitable import NumberOfEntities

from irvis_fusion_core.streams.stamps import NS_PER_S

SELDOM_S = 0.05
"""While messages come, services and events are looked at this often: they cost at every turn."""


class LoneExecutor(SingleThreadedExecutor):
    """Spins on the thread that made it, and keeps its wait sets until its entities change.

    Timers run, and serialized messages (of subscriptions with `raw=True`) go to their callbacks,
    at once. Whatever else is ready is served by rclpy, as ever. Only other threads wake this
    executor.
    """

    def __init__(self) -> None:
        super().__init__()
        own = threading.get_ident()
        wake = self._guard.trigger
        self._changed = True  # what is to be waited for
        self._held = ExitStack()  # nothing is destroyed while it is waited for
        self._has_taken = False  # a message, at the last turn
        self._all_seen_s = 0.0

        def on_change() -> None:
            self._changed = True
            if threading.get_ident() != own:
                wake()

        # Entities that come and go trigger it.
        setattr(self._guard, "trigger", on_change)  # noqa: B010 - for mypy, a method

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Let go of what is waited for, and shut down."""
        self._held.close()
        return bool(super().shutdown(timeout_sec))

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait, and run what is ready.

        Raises:
            Exception: Whatever a callback or taking a message raises.
        """
        if self._changed:
            self._gather()
        now_s = time.monotonic()
        if self._has_taken and now_s - self._all_seen_s < SELDOM_S:
            waited = self._often
            timeout_sec = SELDOM_S if timeout_sec is None else min(timeout_sec, SELDOM_S)
        else:
            waited, self._all_seen_s = self._all, now_s
        wait_set = waited.wait(timeout_sec)
        self._has_taken = False
        triggered = wait_set.get_ready_entities("guard_condition")
        for guard in self._guards if triggered else ():
            if guard.handle.pointer in triggered:  # the wait has reset it
                guard._executor_triggered = True
        timers = wait_set.get_ready_entities("timer")
        for timer in self._timers if timers else ():
            handle = timer.handle
            # Where a callback changes the entities, what is left is ready at the next turn, too.
            if handle.pointer in timers and not self._changed and handle.is_timer_ready():
                with handle:
                    handle.call_timer()
                timer.callback()
        ready = wait_set.get_ready_entities("subscription")
        others = len(ready)
        for pointer, subscription, with_info in self._serialized:
            if pointer in ready and not self._changed:
                others -= 1
                with subscription.handle:
                    taken = subscription.handle.take_message(subscription.msg_type, True)
                if taken is not None:
                    self._has_taken = True
                    subscription.callback(*(taken if with_info else taken[:1]))
        if others or triggered or waited.has_others():
            self._serve_others()

    def _serve_others(self) -> None:
        """Let rclpy run all that is ready now."""
        while True:
            try:
                task, _, _ = self.wait_for_ready_callbacks(0.0)
            except (TimeoutException, ShutdownException):
                return
            task()
            task.result()  # raises what the callback raised

    def _gather(self) -> None:
        """Make the wait sets for all that the nodes have now."""
        self._held.close()
        self._changed = False
        nodes = self.get_nodes()

        def of(kind: str) -> list[Any]:
            return [each for node in nodes for each in getattr(node, kind)]

        self._guards = [*of("guards"), self._guard, self._sigint_gc]
        self._timers, subscriptions = of("timers"), of("subscriptions")
        self._serialized = [
            (each.handle.pointer, each, takes_info(each)) for each in subscriptions if each.raw
        ]
        context: Any = self._context
        self._held.enter_context(context.handle)
        often = (subscriptions, self._guards, self._timers)
        self._often = Waited(context, self._held, *often)
        seldom = (of("clients"), of("services"), of("waitables"))
        self._all = Waited(context, self._held, *often, *seldom)


def make_executor() -> SingleThreadedExecutor:
    """Return the node's executor: rclpy's own where rclpy has not got the parts that ours uses."""
    timer = getattr(rclpy_implementation, "Timer", None)
    plain = SingleThreadedExecutor()
    parts = ("_guard", "_sigint_gc", "_context", "wait_for_ready_callbacks")
    if not (
        hasattr(rclpy_implementation, "WaitSet")
        and hasattr(timer, "call_timer")
        and all(hasattr(plain, part) for part in parts)
    ):
        return plain
    plain.shutdown()
    return LoneExecutor()


class Waited:
    """A wait set, and what is waited for."""

    def __init__(
        self,
        context: Any,
        held: ExitStack,
        subscriptions: Iterable[Any],
        guards: Iterable[Any],
        timers: Iterable[Any],
        clients: Iterable[Any] = (),
        services: Iterable[Any] = (),
        waitables: Iterable[Any] = (),
    ) -> None:
        """Hold everything in `held`, until that is closed."""
        entities = (subscriptions, guards, timers, clients, services)
        numbers = NumberOfEntities(*(len(list(each)) for each in entities))
        self._waitables = list(waitables)
        for waitable in self._waitables:
            held.enter_context(waitable)
            numbers += waitable.get_num_entities()
        self._wait_set = wait_set = rclpy_implementation.WaitSet(
            numbers.num_subscriptions,
            numbers.num_guard_conditions,
            numbers.num_timers,
            numbers.num_clients,
            numbers.num_services,
            numbers.num_events,
            context.handle,
        )
        adders = (
            wait_set.add_subscription,
            wait_set.add_guard_condition,
            wait_set.add_timer,
            wait_set.add_client,
            wait_set.add_service,
        )
        self._added = [(add, each.handle) for add, of in zip(adders, entities) for each in of]
        for _, handle in self._added:
            held.enter_context(handle)

    def wait(self, timeout_s: float | None) -> Any:
        """Wait until something is ready; return rclpy's wait set."""
        wait_set = self._wait_set
        wait_set.clear_entities()
        for add, handle in self._added:
            add(handle)
        for waitable in self._waitables:
            waitable.add_to_wait_set(wait_set)
        wait_set.wait(-1 if timeout_s is None else round(timeout_s * NS_PER_S))
        return wait_set

    def has_others(self) -> bool:
        """Return whether a client, a service or an event is ready."""
        wait_set = self._wait_set
        return bool(
            wait_set.get_ready_entities("service")
            or wait_set.get_ready_entities("client")
            or any(waitable.is_ready(wait_set) for waitable in self._waitables)
        )


def takes_info(subscription: Any) -> bool:
    """Return whether a callback takes the message's info, too; before Jazzy none does."""
    kind = getattr(subscription, "_callback_type", None)
    return getattr(kind, "name", "") == "WithMessageInfo"
