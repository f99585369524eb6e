"""The node's executor: rclpy's, without its work for each image.

rclpy's executor builds its wait set at each turn out of every topic, service, timer and event of
the node, makes a task of each message, and wakes itself after it. In the node at 30 Hz that takes
more processor time than all else that runs on the executor's thread.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

from rclpy.executors import ShutdownException, SingleThreadedExecutor, TimeoutException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.waitable import NumberOfEntities

from irvis_fusion_core.streams.stamps import NS_PER_S

OTHER_KINDS = ("guard_condition", "timer", "client", "service")


class LoneExecutor(SingleThreadedExecutor):
    """Spins on the thread that made it, and keeps its wait set until its entities change.

    Serialized messages (of subscriptions with `raw=True`) go to their callbacks at once. Whatever
    else is ready is served by rclpy, as ever. Only other threads wake this executor.
    """

    def __init__(self) -> None:
        super().__init__()
        own = threading.get_ident()
        wake = self._guard.trigger
        self._changed = True  # what is to be waited for
        self._held = ExitStack()  # nothing is destroyed while it is waited for

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
        wait_set = self._wait_set
        wait_set.clear_entities()
        for add, handle in self._entities:
            add(handle)
        for waitable in self._waitables:
            waitable.add_to_wait_set(wait_set)
        wait_set.wait(-1 if timeout_sec is None else round(timeout_sec * NS_PER_S))
        guards = wait_set.get_ready_entities("guard_condition")
        for guard in self._guards:
            if guard.handle.pointer in guards:  # the wait has reset it
                guard._executor_triggered = True
        ready = wait_set.get_ready_entities("subscription")
        others = len(ready)
        for pointer, subscription, with_info in self._serialized:
            if pointer in ready:
                others -= 1
                with subscription.handle:
                    taken = subscription.handle.take_message(subscription.msg_type, True)
                if taken is not None:
                    subscription.callback(*(taken if with_info else taken[:1]))
                if self._changed:  # what is ready still, is so at the next turn
                    break
        if (
            others
            or self._changed
            or any(wait_set.get_ready_entities(kind) for kind in OTHER_KINDS)
            or any(waitable.is_ready(wait_set) for waitable in self._waitables)
        ):
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
        """Make a wait set for all that the nodes have now."""
        self._held.close()
        self._changed = False
        nodes = self.get_nodes()
        kinds = ("subscriptions", "guards", "timers", "clients", "services", "waitables")
        found = {kind: [each for node in nodes for each in getattr(node, kind)] for kind in kinds}
        self._guards = [*found["guards"], self._guard, self._sigint_gc]
        self._waitables = found["waitables"]
        numbers = NumberOfEntities(
            len(found["subscriptions"]),
            len(self._guards),
            *(len(found[kind]) for kind in ("timers", "clients", "services")),
        )
        for waitable in self._waitables:
            self._held.enter_context(waitable)
            numbers += waitable.get_num_entities()
        self._held.enter_context(self._context.handle)
        wait_set = self._wait_set = rclpy_implementation.WaitSet(
            numbers.num_subscriptions,
            numbers.num_guard_conditions,
            numbers.num_timers,
            numbers.num_clients,
            numbers.num_services,
            numbers.num_events,
            self._context.handle,
        )
        adders = {
            wait_set.add_subscription: found["subscriptions"],
            wait_set.add_guard_condition: self._guards,
            wait_set.add_timer: found["timers"],
            wait_set.add_client: found["clients"],
            wait_set.add_service: found["services"],
        }
        self._entities: list[tuple[Any, Any]] = []
        for add, entities in adders.items():
            for entity in entities:
                self._held.enter_context(entity.handle)
                self._entities.append((add, entity.handle))
        self._serialized = [
            (each.handle.pointer, each, takes_info(each))
            for each in found["subscriptions"]
            if each.raw
        ]


def takes_info(subscription: Any) -> bool:
    """Return whether a callback takes the message's info, too; before Jazzy none does."""
    kind = getattr(subscription, "_callback_type", None)
    return getattr(kind, "name", "") == "WithMessageInfo"
