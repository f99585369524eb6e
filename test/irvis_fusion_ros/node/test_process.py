"""What the node's process answers to arguments and files that are not right."""

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from irvis_fusion_ros.node import process


def start(*arguments):
    """The exit status of a process that ends before it has made a node."""
    return process.run(lambda: pytest.fail("no node was to be made"), list(arguments))


def test_help_is_shown(capsys):
    with pytest.raises(SystemExit) as ended:
        start("--help")
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--params-file" in shown and "  registration.mode := 'resize'" in shown


@pytest.mark.parametrize(
    "arguments, suggestion",
    [
        (["--model", "small"], "--ros-args -p model:=VALUE"),
        (["--modle=small"], "--ros-args -p model:=VALUE"),
        (["--params-file", "x.yaml"], "--ros-args --params-file VALUE"),
        (["--qqq"], "--ros-args --param VALUE"),
    ],
)
def test_other_options_are_refused_with_a_suggestion(arguments, suggestion, capsys):
    with pytest.raises(SystemExit) as ended:
        start(*arguments)
    assert ended.value.code == 2
    assert suggestion in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, said",
    [
        (None, "expected a parameter file (YAML) at {path}, found: [Errno 2]"),
        (
            "/**: {ros__parameters: {model: [nano}}\n",
            "expected a parameter file (YAML) at {path}, found: while",
        ),
        ("/**:\n  ros__parameters:\n    model: [nano, 1]\n", "parse params file: '--params-file"),
    ],
    ids=["missing", "broken", "not of ROS"],
)
def test_a_file_that_cannot_be_read_is_a_sentence(text, said, tmp_path, capsys):
    path = tmp_path / "rig.yaml"
    if text is not None:
        path.write_text(text)
    assert start("--ros-args", "--params-file", str(path)) == 1
    error = capsys.readouterr().err
    assert error.startswith("fusion_node: ") and said.format(path=path) in error
    assert error.count("\n") == 1


def test_a_name_that_is_no_parameter_is_named_in_the_log(graph):
    from irvis_fusion_ros.running_node.child_process import ChildProcess
    from irvis_fusion_ros.running_node.environment import NODE_MODULE, make_environment

    path = graph.tmp_path / "rig.yaml"
    path.write_text("/**: {ros__parameters: {modle: nano, use_sim_time: false, slop_s: 0.02}}\n")
    arguments = ["-m", NODE_MODULE, "--ros-args", "--params-file", str(path)]
    log = graph.tmp_path / "node.log"
    with ChildProcess("node", arguments, make_environment(graph.domain), log_path=log) as node:
        graph.processes.append(node)
        graph.fusion = node
        said = "no parameter is named 'modle'; did you mean 'model'?; it is ignored"
        graph.wait_for(lambda: said in node.log(), what="the name")
        graph.wait_for(lambda: "engine ready" in node.log(), what="the node")
    assert "use_sim_time" not in node.log() and "slop_s" not in node.log()
