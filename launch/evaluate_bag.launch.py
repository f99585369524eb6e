r"""Replay a bag and write a report; `ros2 launch irvis_fusion evaluate_bag.launch.py --show-args`.

Example::

    ros2 launch irvis_fusion evaluate_bag.launch.py \\
        bag:=recording output:=report configs:=day.yaml,night.yaml live:=true
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration

from launch import Action, LaunchContext, LaunchDescription


def launch_arguments() -> list[tuple[str, str | None, str]]:
    """Return the arguments: name, default (None: has to be given), description."""
    return [
        ("bag", None, "The bag: a folder, or a .db3 or .mcap file."),
        ("output", None, "Folder of the report."),
        ("ir", "", "Topic of the thermal images; empty guesses it."),
        ("vis", "", "Topic of the visible images; empty guesses it."),
        ("configs", "", "Parameter files of the node to compare, separated by commas."),
        ("models", "", "Models to compare, separated by commas: nano, small, base, .onnx files."),
        ("detector", "hog", "hog, none, or a YOLO-style .onnx file."),
        ("annotations", "", "COCO .json or folder of YOLO .txt files."),
        ("live", "false", "Also play the bag through the running node over DDS."),
        ("arguments", "", "Further arguments of `irvis_fusion evaluate_bag`, as on a shell."),
    ]


def make_command(value: Callable[[str], str]) -> list[str]:
    """Return the command line; `value(name)` is an argument's value."""
    command = [sys.executable, "-m", "irvis_fusion_ros.commands.evaluate_bag"]
    command += [value("bag"), "--output", value("output"), "--detector", value("detector")]
    for option, name in (
        ("--ir-topic", "ir"),
        ("--vis-topic", "vis"),
        ("--annotations", "annotations"),
    ):
        if value(name):
            command += [option, value(name)]
    for option, name in (("--config", "configs"), ("--model", "models")):
        for part in filter(None, value(name).split(",")):
            command += [option, part.strip()]
    if value("live").lower() in ("true", "1"):
        command.append("--live")
    return command + shlex.split(value("arguments"))


def make_actions(context: LaunchContext) -> list[Action]:
    """Return the actions once the arguments are known."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    evaluation = ExecuteProcess(cmd=make_command(value), output="screen")
    ended = OnProcessExit(target_action=evaluation, on_exit=end_launch)
    return [RegisterEventHandler(ended), evaluation]


def end_launch(event: ProcessExited, context: LaunchContext) -> EmitEvent:
    """Return the action that ends the launch; raise, so that it fails, where it has to."""
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f"the evaluation failed with exit status {event.returncode}")
    return EmitEvent(event=Shutdown(reason="the report is written"))


def generate_launch_description() -> LaunchDescription:
    """Return the launch description."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in launch_arguments()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=make_actions)])
