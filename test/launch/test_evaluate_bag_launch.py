"""launch/evaluate_bag.launch.py by the real `launch`, where ROS has it."""

import importlib.util
import os

import pytest

pytest.importorskip("launch.actions", reason="needs ROS's launch: source a ROS installation")

from irvis_fusion_ros.commands.evaluate_bag import _parser

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = os.path.join(HERE, "..", "..", "launch", "evaluate_bag.launch.py")


def launch_file():
    spec = importlib.util.spec_from_file_location("evaluate_bag_launch", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed(**given):
    """What the command makes of the launch arguments."""
    module = launch_file()
    values = {name: default for name, default, _ in module.launch_arguments()}
    values.update(given)
    command = module.make_command(values.__getitem__)
    assert command[1:3] == ["-m", "irvis_fusion_ros.commands.evaluate_bag"]
    return _parser().parse_args(command[3:])


def test_only_what_was_given_is_passed_on():
    options = parsed(bag="a", output="b")
    assert vars(options) == vars(_parser().parse_args(["a", "--output", "b"]))


def test_lists_and_further_arguments_are_taken_apart():
    options = parsed(
        bag="a",
        output="b",
        configs="day.yaml, night.yaml",
        models="nano",
        live="true",
        ir="/ir",
        arguments="--metrics EN,Qabf -p 'model:=my model.onnx'",
    )
    assert options.config == ["day.yaml", "night.yaml"]
    assert options.model == ["nano"]
    assert (options.live, options.ir_topic, options.metrics) == (True, "/ir", "EN,Qabf")
    assert options.param == ["model:=my model.onnx"]


def test_the_description_starts_one_process():
    from launch.actions import ExecuteProcess

    from launch import LaunchContext

    context = LaunchContext()
    module = launch_file()
    for name, default, _ in module.launch_arguments():
        context.launch_configurations[name] = default or "given"
    actions = module.make_actions(context)
    assert len([a for a in actions if isinstance(a, ExecuteProcess)]) == 1
    assert module.generate_launch_description().entities
