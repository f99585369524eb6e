"""Declare the parameter table on an rclpy node, and read the values back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.parameters.settings import TABLE, Settings, no_such_parameter, spec_of

if TYPE_CHECKING:
    from rclpy.node import Node

NODE_NAME = "fusion_node"
NOT_OURS = ("use_sim_time", "qos_overrides.", "start_type_description_service")
"""Parameters that every ROS node has; they have no meaning without a graph."""


def declare_all(node: Node) -> None:
    """Declare every parameter; check the values from launch files, YAML and the command line.

    Raises:
        ConfigurationError: a value that its parameter cannot have.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    for spec in TABLE:
        descriptor = ParameterDescriptor(
            name=spec.name, description=spec.description, additional_constraints=spec.constraints()
        )
        # Dynamic, so that `7` from a command line or a YAML file is accepted for `7.0`.
        descriptor.dynamic_typing = isinstance(spec.default, (float, tuple))
        low, high = spec.minimum, spec.maximum
        if type(spec.default) is float:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
            ]
        elif type(spec.default) is int:
            descriptor.integer_range = [
                IntegerRange(from_value=int(low), to_value=int(high), step=1)
            ]
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        try:
            node.declare_parameter(spec.name, default, descriptor)
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigurationError(f"parameter {spec.name}: {error}") from error
        reason = spec.why_invalid(node.get_parameter(spec.name).value)
        if reason:
            raise ConfigurationError(f"parameter {spec.name}: {reason}")
    for name in node._parameter_overrides:  # what files and the command line set
        if spec_of(name) is None and not name.startswith(NOT_OURS):
            node.get_logger().warning(no_such_parameter(name) + "; it is ignored")


def read_all(node: Node) -> Settings:
    """Return the current value of every parameter of `node`."""
    return Settings.of({spec.name: node.get_parameter(spec.name).value for spec in TABLE})
