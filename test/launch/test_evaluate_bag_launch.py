"""launch/evaluate_bag.launch.py: its command line here, the launch itself where ROS has it."""

import pytest

from irvis_fusion_ros.commands.evaluate_bag import _parser


@pytest.fixture
def parsed(launch_file):
    """What the command makes of the launch arguments."""

    def parse(**given):
        module = launch_file("evaluate_bag")
        values = {name: default for name, default, _ in module.launch_arguments()}
        values.update(given)
        command = module.make_command(values.__getitem__)
        assert command[1:3] == ["-m", "irvis_fusion_ros.commands.evaluate_bag"]
        return _parser().parse_args(command[3:])

    return parse


def test_only_what_was_given_is_passed_on(parsed):
    options = parsed(bag="a", output="b")
    assert vars(options) == vars(_parser().parse_args(["a", "--output", "b"]))


def test_lists_and_further_arguments_are_taken_apart(parsed):
    options = parsed(
        bag="a",
        output="b",
        configs="day.yaml, night.yaml",
        models="nano",
        live="True",
        ir="/ir",
        arguments="--metrics EN,Qabf -p 'model:=my model.onnx'",
    )
    assert options.config == ["day.yaml", "night.yaml"]
    assert options.model == ["nano"]
    assert (options.live, options.ir_topic, options.metrics) == (True, "/ir", ["EN", "Qabf"])
    assert options.param == ["model:=my model.onnx"]


def test_a_failed_evaluation_fails_the_launch(tmp_path, launch_run):
    arguments = f"bag:={tmp_path}/none", f"output:={tmp_path}/report"
    status, log, _ = launch_run("evaluate_bag.launch.py", *arguments)
    assert status == 1
    assert "the evaluation failed with exit status 1" in log
