"""Arguments and records of the demo's processes."""

import json

import pytest

from irvis_fusion_core.commands.demo import make_demo_parser
from irvis_fusion_core.errors import EngineError
from irvis_fusion_ros.demo import node_run


def test_engine_options_become_parameters_of_the_node():
    options = make_demo_parser().parse_args(["--model", "small", "--threads", "2"])
    arguments = node_run.node_arguments(options)
    assert "model:=small" in arguments and "threads:=2" in arguments
    assert not any(argument.startswith("device:=") for argument in arguments)
    assert f"__ns:={node_run.NAMESPACE}" in arguments


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(EngineError, match="cameras"):
        node_run.load(str(tmp_path / "cameras"))
    (tmp_path / "vis").write_text(json.dumps({"arrivals": []}))
    assert node_run.load(str(tmp_path / "vis")) == {"arrivals": []}
