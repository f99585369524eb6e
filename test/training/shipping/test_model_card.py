"""The card says what the files say, and asks for the rest."""

import hashlib
import json

import pytest

pytest.importorskip("torch")

from irvis_fusion_core import create_student_model
from irvis_fusion_core.errors import ConfigurationError
from training.shipping.model_card import CardFacts, missing_answers, model_card


@pytest.fixture
def facts(tmp_path):
    (tmp_path / "yard_fp32.onnx").write_bytes(b"a model")
    return CardFacts(
        name="yard",
        model=create_student_model("nano"),
        checkpoint=tmp_path / "best_model.pth",
        files=[(tmp_path / "yard_fp32.onnx", "at most 1 grey level")],
    )


def test_card_holds_what_the_files_say(facts):
    card = model_card(facts)
    parameters = sum(p.numel() for p in facts.model.parameters())
    assert f"{parameters:,} parameters" in card and "`nano`" in card
    assert hashlib.sha256(b"a model").hexdigest() in card
    assert "`best_model.pth`" in card and "drawn from" not in card


def test_open_questions_become_fewer_as_files_are_given(facts, tmp_path):
    evaluation, config = tmp_path / "summary.json", tmp_path / "run.yaml"
    evaluation.write_text(
        json.dumps(
            {
                "data_root": "data/test",
                "pairs": 7,
                "conventions": "8-bit luminance.",
                "model": {"file": "best_model.pth"},
                "means": {"fused": {"Qabf": 0.71234, "psnr_teacher": None}},
                "not_computed": {"lpips_teacher": "no weights"},
            }
        )
    )
    config.write_text("lr: 0.0001\n")
    before = missing_answers(model_card(facts))
    full = facts._replace(evaluation=evaluation, run_config=config, calibration_pairs=12)
    card = model_card(full)
    assert len(missing_answers(card)) == len(before) - 1  # the run's configuration
    assert "| fused | 0.712 | – |" in card and "7 pairs of `test`" in card
    assert "lr: 0.0001" in card and "12 real pairs" in card
    assert "lpips_teacher: not computed, no weights" in card


def test_files_that_say_something_else_are_named(facts, tmp_path):
    other = tmp_path / "other.json"
    for text in ("{}", "[1]", "not json", '{"means": {}}'):
        other.write_text(text)
        with pytest.raises(ConfigurationError, match="summary.json of training.eval in .*other"):
            model_card(facts._replace(evaluation=other))
    with pytest.raises(ConfigurationError, match="none.yaml"):
        model_card(facts._replace(run_config=tmp_path / "none.yaml"))
