"""The fusion node: infrared and visible topics in, one fused topic out.

A lifecycle node: this file has its states, its parameters and its service. What exists while it is
configured is made in `configured.py`. A visible frame goes from `FramePath.add_vis` through
`FramePath.process` to `FrameOutput`. One thread runs all callbacks (a
SingleThreadedExecutor), so nothing here is locked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Callable

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from irvis_fusion_core.protocols import Engine
from irvis_fusion_ros.node import process
from irvis_fusion_ros.node.configured import Configured
from irvis_fusion_ros.node.guard import Guard
from irvis_fusion_ros.node.rclpy_faults import guard_services, refusal, release_stuck
from irvis_fusion_ros.parameters import declaration
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings, spec_of, why_refused
from irvis_fusion_ros.pipeline.events import EXAMPLE_CHARACTERS, EventCounter
from irvis_fusion_ros.pipeline.pair_fuser import open_fusion

EngineFactory = Callable[[Settings, Callable[[str], None]], Engine]

CLOCK_JUMP_FORWARD_S = 2.0
"""A simulated clock that advances this far at once has jumped; slow clocks tick at 10 Hz."""


class FusionNode(LifecycleNode):
    """Fuses `ir/image_raw` into `vis/image_raw` and publishes `fused/image_raw`.

    `open_engine` is called on the worker's thread. `configured` holds the parts of a configured
    node, or None; `events` counts what was odd, by kind.
    """

    def __init__(self, open_engine: EngineFactory = open_fusion, **options: Any) -> None:
        """Declare the parameters; `options` are those of `rclpy.lifecycle.LifecycleNode`.

        Raises:
            ConfigurationError: A parameter override that its parameter cannot have.
        """
        super().__init__(declaration.NODE_NAME, **options)
        declaration.declare_all(self)
        self.live = LiveSettings(declaration.read_all(self))
        self.events = EventCounter()
        self.configured: Configured | None = None
        self.guard = Guard(self.note)
        guard_services(self, self.guard)
        self.open_engine = open_engine
        self._active = False
        self.add_on_set_parameters_callback(self.guard("the parameters", self._set_live, refusal))
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=Duration(seconds=CLOCK_JUMP_FORWARD_S),
                min_backward=Duration(nanoseconds=-1),
                on_clock_change=True,
            ),
            post_callback=self.guard("the clock's jump", self._on_clock_jump),
        )

    # --- lifecycle

    @property
    def state_label(self) -> str:
        """The name of the present lifecycle state."""
        return str(self._state_machine.current_state[1])

    def start(self) -> bool:
        """Configure and activate, as `autostart` asks; False when either failed."""
        done = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == done and self.trigger_activate() == done

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Create topics and service, and let the worker open the engine."""
        try:
            self.live.current = declaration.read_all(self)
            self.configured = Configured(self)
        except Exception as error:  # noqa: BLE001 - rclpy drops what a transition raises, unsaid
            self.get_logger().error(f"cannot configure: {type(error).__name__}: {error}")
            self._unconfigure()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras, at once or when somebody subscribes to us."""
        result = super().on_activate(state)
        self._active = True
        self.follow_demand()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe from the cameras; the engine stays open."""
        self._active = False
        if self.configured is not None:
            self.configured.retire()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the engine and remove what `on_configure` made."""
        self._active = False
        self._unconfigure()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As `on_cleanup`, from any state."""
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition that raised."""
        self.get_logger().error("a transition failed; back to unconfigured")
        return self.on_cleanup(state)

    def _unconfigure(self) -> None:
        if self.configured is not None:
            self.configured.close()
        self.configured = None

    # --- callbacks

    def on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Answer the service `~/enable`."""
        try:
            wanted = Parameter("enabled", Parameter.Type.BOOL, bool(request.data))
            result = self.set_parameters([wanted])[0]
        except Exception as error:  # noqa: BLE001 - a service has to answer
            self.guard.caught("the service ~/enable", error)
            result = refusal(error)
        response.success = result.successful
        response.message = result.reason or (
            "fusing" if request.data else "the visible image passes through"
        )
        return response

    def _set_live(self, wanted: Sequence[Parameter]) -> SetParametersResult:
        """Put all of `wanted` to use or none; any valid one is accepted while not configured."""
        values = {each.name: each.value for each in wanted if spec_of(each.name) is not None}
        if not values:  # a subscription that is being made declares its qos_overrides
            return SetParametersResult(successful=True)
        current = self.live.current
        reason = why_refused(values, self.configured is not None, current)
        if reason is None and self.configured is not None:
            reason = self.configured.exchange(current.changed(values))
            self.follow_demand()
        return SetParametersResult(successful=reason is None, reason=reason or "")

    def _on_clock_jump(self, jump: Any) -> None:
        if self.configured is not None:
            before_ns = self.get_clock().now().nanoseconds - jump.delta.nanoseconds
            if before_ns > 0:  # else this is the first message on /clock
                self.note("clock jump", "node time jumped; buffers were cleared")
            self.configured.path.clear("clock_jump")

    def follow_demand(self, event: Any = None) -> None:
        """Subscribe or unsubscribe as the subscribers of the fused topics ask for it."""
        if self.configured is not None:
            demand = not self.live.current.node.lazy or self.configured.publishers.wanted()
            self.configured.follow(self._active and demand)

    def recover(self, error: Exception) -> None:
        """Go on after rclpy raised outside our callbacks, where an entity may be stuck."""
        self.guard.caught("rclpy's executor", error)
        release_stuck(self)

    def note(self, kind: str, text: str) -> None:
        """Count an event, and log it when it is the first of its kind; from any thread."""
        if self.events.add(kind, text):
            shown = f"{kind}: {text[:EXAMPLE_CHARACTERS]}"
            self.get_logger().warning(shown + " (further ones are only counted)")
        else:
            self.get_logger().debug(f"{kind}: {text}")


def main(arguments: list[str] | None = None, open_engine: EngineFactory = open_fusion) -> int:
    """Run the node until SIGINT or SIGTERM; 0, or 1 when it could not be configured."""
    return process.run(lambda: FusionNode(open_engine), arguments)


if __name__ == "__main__":
    sys.exit(main())
