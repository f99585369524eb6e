"""One table: the YAML files, the documentation and the validation agree with it."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.registration import MODES
from irvis_fusion_core.streams.pairing import POLICIES
from irvis_fusion_core.thermal import METHODS
from irvis_fusion_ros.parameters import declaration as parameters
from irvis_fusion_ros.parameters.node_table import SECTIONS, TABLE
from irvis_fusion_ros.pipeline.stages import make_stages

ROOT = str(Path(__file__).resolve().parents[3])


def read_yaml(name):
    """Return the parameters of a file in config/."""
    yaml = pytest.importorskip("yaml", reason="needs PyYAML to read config/")
    with open(os.path.join(ROOT, "config", name), encoding="utf-8") as file:
        tree = yaml.safe_load(file)
    return parameters.flatten(tree["/**"]["ros__parameters"])


def test_every_default_is_allowed_by_its_own_entry():
    for spec in TABLE:
        assert parameters.why_invalid(spec, spec.default) is None, spec.name
        assert spec.section in dict(SECTIONS)
        assert spec.description.endswith(".")
    assert len({spec.name for spec in TABLE}) == len(TABLE)


def test_defaults_build_the_stages():
    make_stages(parameters.defaults())


def test_choices_are_those_of_the_core():
    from irvis_fusion_core.backends import backend_names

    assert set(parameters.spec_of("thermal.method").choices) == set(METHODS)
    assert set(parameters.spec_of("registration.mode").choices) <= set(MODES)
    assert set(parameters.spec_of("pairing").choices) == {*POLICIES, "message_filters"}
    assert set(parameters.spec_of("backend").choices) == {"auto", *backend_names()}


def test_fusion_yaml_is_what_the_table_writes():
    with open(os.path.join(ROOT, "config", "fusion.yaml"), encoding="utf-8") as file:
        assert file.read() == parameters.yaml_text()
    assert read_yaml("fusion.yaml") == parameters.defaults()


@pytest.mark.parametrize("name", ["boson.yaml", "lepton.yaml", "jetson.yaml"])
def test_camera_files_hold_known_parameters_with_allowed_values(name):
    values = parameters.check_all(read_yaml(name))
    make_stages(values)
    assert values != parameters.defaults()


def test_node_documentation_holds_the_generated_table():
    with open(os.path.join(ROOT, "docs", "node.md"), encoding="utf-8") as file:
        assert parameters.markdown() in file.read()


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("max_ir_age_s", 0.0, "0.001"),
        ("max_ir_age_s", math.nan, "finite"),
        ("max_ir_age_s", "1", "a number"),
        ("pairing", "guess", "latest_ir"),
        ("enabled", 1, "true or false"),
        ("threads", 1.5, "whole"),
        ("threads", True, "whole"),
        ("registration.homography", [1.0] * 8, "9 numbers"),
        ("registration.homography", [math.inf] * 9, "finite"),
        ("registration.homography", "eye", "list"),
    ],
)
def test_wrong_values_are_refused_with_a_reason(name, value, word):
    reason = parameters.why_refused({name: value}, configured=False)
    assert reason is not None and name in reason and word in reason
    with pytest.raises(ConfigurationError, match=name):
        parameters.check_all({name: value})


def test_whole_numbers_are_taken_for_floats():
    assert parameters.check_all({"max_ir_age_s": 1})["max_ir_age_s"] == 1.0
    assert type(parameters.check_all({"max_ir_age_s": 1})["max_ir_age_s"]) is float
    eye = [1, 0, 0, 0, 1, 0, 0, 0, 1]
    found = parameters.check_all({"registration.homography": eye})["registration.homography"]
    assert found == eye and all(type(item) is float for item in found)


def test_unknown_names_are_refused_from_files_and_left_alone_at_run_time():
    with pytest.raises(ConfigurationError, match="no_such"):
        parameters.check_all({"no_such": 1})
    assert parameters.why_refused({"use_sim_time": True}, configured=True) is None


def test_only_live_parameters_change_while_configured():
    for spec in TABLE:
        changes = {spec.name: spec.default}
        assert parameters.why_refused(changes, configured=False) is None
        reason = parameters.why_refused(changes, configured=True)
        assert (reason is None) == spec.live
        assert spec.live or "cleanup" in reason


def test_command_prints_both_forms(capsys):
    assert parameters.main(["--yaml"]) == 0
    assert capsys.readouterr().out == parameters.yaml_text()
    assert parameters.main(["--markdown"]) == 0
    assert capsys.readouterr().out == parameters.markdown()


@pytest.mark.parametrize("counts", [(3000, 9000), (27000, 32000)], ids=["14 bit", "centikelvin"])
def test_boson_file_suits_raw_and_radiometric_frames(counts):
    stages = make_stages(parameters.check_all(read_yaml("boson.yaml")))
    raw = np.linspace(*counts, 512 * 640).reshape(512, 640).astype(np.uint16)
    grey = stages.thermal(raw, 1.0)
    assert grey.min() == 0 and grey.max() == 255


def test_the_readme_holds_the_generated_table():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        assert parameters.markdown().strip() in file.read()
