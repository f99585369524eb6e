"""Keeps exceptions within rclpy from costing more than the message at which they are raised.

rclpy raises in services of its own, for example at a parameter type that does not exist, and never
answers the client. Where taking a message raises, it never ends the turn of what it took from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.node import Node

from irvis_fusion_ros.node.guard import Guard


def refusal(error: Exception) -> SetParametersResult:
    """Return the answer to a request at which `error` was raised."""
    return SetParametersResult(successful=False, reason=f"{type(error).__name__}: {error}")


def guard_services(node: Node, guard: Guard) -> None:
    """Let the services that `node` has now answer where their callbacks raise.

    Parameters are refused with the reason; any other answer is an empty one, which says false.
    """
    for service in node.services:
        name = service.srv_name.rpartition("/")[2]
        service.callback = partial(_answer, guard, name, service.callback)


def release_stuck(node: Node) -> None:
    """End the turn of what rclpy left in it. Call it between two turns of the executor.

    Whatever has this callback group is served again; without it, a request that cannot be read
    stops the timers.
    """
    topics = [*node.subscriptions, *node.services, *node.clients]
    entities: list[Any] = [*topics, *node.timers, *node.waitables]
    for entity in entities:
        group = entity.callback_group
        active = getattr(group, "_active_entity", None)
        if active is not None and active is entity:
            entity._executor_event = False
            group.ending_execution(entity)


def _answer(
    guard: Guard, name: str, callback: Callable[[Any, Any], Any], request: Any, response: Any
) -> Any:
    try:
        return callback(request, response)
    except Exception as error:  # noqa: BLE001 - counted, named and told to the client
        guard.caught(f"the service {name}", error)
        if isinstance(request, SetParameters.Request):
            # Those before the one that raised have their results.
            missing = len(request.parameters) - len(response.results)
            return SetParameters.Response(results=[*response.results, *[refusal(error)] * missing])
        if isinstance(request, SetParametersAtomically.Request):
            return SetParametersAtomically.Response(result=refusal(error))
        return type(response)()
