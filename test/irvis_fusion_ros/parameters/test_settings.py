"""One table: settings, YAML files, documentation and validation agree with it."""

import dataclasses
import math
import os
from pathlib import Path

import numpy as np
import pytest

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.registration import MODES
from irvis_fusion_core.streams.pairing import POLICIES
from irvis_fusion_core.thermal import METHODS
from irvis_fusion_ros.parameters import generated_files
from irvis_fusion_ros.parameters.node_settings import PairingSettings
from irvis_fusion_ros.parameters.settings import (
    SECTION_TITLES,
    TABLE,
    Settings,
    spec_of,
    why_refused,
)
from irvis_fusion_ros.parameters.settings_file import flatten
from irvis_fusion_ros.pipeline.current_stages import CurrentStages
from irvis_fusion_ros.pipeline.frames import IrFrame

ROOT = str(Path(__file__).resolve().parents[3])


def read_yaml(name):
    """Return the parameters of a file in config/."""
    yaml = pytest.importorskip("yaml", reason="needs PyYAML to read config/")
    with open(os.path.join(ROOT, "config", name), encoding="utf-8") as file:
        tree = yaml.safe_load(file)
    return flatten(tree["/**"]["ros__parameters"])


def test_every_default_is_allowed_by_its_own_entry():
    for spec in TABLE:
        assert spec.why_invalid(spec.default) is None, spec.name
        assert spec.section in SECTION_TITLES
        assert spec.description.endswith(".")
    assert len({spec.name for spec in TABLE}) == len(TABLE)


def test_defaults_build_the_stages():
    assert CurrentStages(Settings()).stages.problem == ""


def test_choices_are_those_of_the_core():
    from irvis_fusion_core.backends import backend_names

    assert set(spec_of("thermal.method").choices) == set(METHODS)
    assert set(spec_of("registration.mode").choices) <= set(MODES)
    assert set(spec_of("pairing").choices) == {*POLICIES, "message_filters"}
    assert set(spec_of("backend").choices) == {"auto", *backend_names()}


def test_fusion_yaml_is_what_the_table_writes():
    with open(os.path.join(ROOT, "config", "fusion.yaml"), encoding="utf-8") as file:
        assert file.read() == generated_files.yaml_text()
    assert read_yaml("fusion.yaml") == Settings().to_mapping()


@pytest.mark.parametrize("name", ["boson.yaml", "lepton.yaml", "jetson.yaml"])
def test_camera_files_hold_known_parameters_with_allowed_values(name):
    values = Settings.of(read_yaml(name))
    CurrentStages(values)
    assert values != Settings()


def test_the_documentation_is_what_the_table_writes():
    with open(os.path.join(ROOT, "docs", "parameters.md"), encoding="utf-8") as file:
        assert file.read() == generated_files.markdown()


def test_settings_are_read_by_section_and_by_ros_name():
    settings = Settings.of(
        {"pairing": "pair", "thermal.window_low": 3.0, "ir_qos.depth": 7, "threads": 2}
    )
    assert settings.pairing == PairingSettings(pairing="pair")
    assert settings.thermal.window_low == settings.value("thermal.window_low") == 3.0
    assert settings.topics.camera("ir") == ("raw", "auto", 7)
    assert settings.topics.camera("vis") == ("raw", "auto", 30)
    mapping = settings.to_mapping()
    assert list(mapping) == [spec.name for spec in TABLE]
    assert Settings.of(mapping) == settings


def test_a_change_makes_new_settings_and_leaves_the_old_ones():
    before = Settings()
    after = before.changed({"slop_s": 0.2, "registration.homography": [2.0] * 9})
    assert before == Settings() and after.pairing.slop_s == 0.2
    assert after.registration.homography == (2.0,) * 9
    same = [
        s.name
        for s in dataclasses.fields(Settings)
        if getattr(before, s.name) == getattr(after, s.name)
    ]
    assert same == [name for name in SECTION_TITLES if name not in ("pairing", "registration")]
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.pairing.slop_s = 0.2


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
    reason = why_refused({name: value}, configured=False)
    assert reason is not None and name in reason and word in reason
    with pytest.raises(ConfigurationError, match=name):
        Settings.of({name: value})


def test_whole_numbers_are_taken_for_floats():
    age_s = Settings.of({"max_ir_age_s": 1}).pairing.max_ir_age_s
    assert age_s == 1.0 and type(age_s) is float
    eye = [1, 0, 0, 0, 1, 0, 0, 0, 1]
    found = Settings.of({"registration.homography": eye}).registration.homography
    assert found == tuple(eye) and all(type(item) is float for item in found)


def test_unknown_names_are_refused_from_files_and_left_alone_at_run_time():
    with pytest.raises(ConfigurationError, match="no_such"):
        Settings.of({"no_such": 1})
    assert why_refused({"use_sim_time": True}, configured=True) is None


def test_only_live_parameters_change_while_configured():
    for spec in TABLE:
        changes = {spec.name: spec.default}
        assert why_refused(changes, configured=False) is None
        reason = why_refused(changes, configured=True)
        assert (reason is None) == spec.live
        assert spec.live or "cleanup" in reason


def test_command_prints_both_forms(capsys):
    assert generated_files.main(["--yaml"]) == 0
    assert capsys.readouterr().out == generated_files.yaml_text()
    assert generated_files.main(["--markdown"]) == 0
    assert capsys.readouterr().out == generated_files.markdown()


@pytest.mark.parametrize("counts", [(3000, 9000), (27000, 32000)], ids=["14 bit", "centikelvin"])
def test_boson_file_suits_raw_and_radiometric_frames(counts):
    stages = CurrentStages(Settings.of(read_yaml("boson.yaml"))).stages
    raw = np.linspace(*counts, 512 * 640).reshape(512, 640).astype(np.uint16)
    grey = stages.thermal(IrFrame(1, 1_000_000_000, raw))
    assert grey.min() == 0 and grey.max() == 255
