"""Factors of terms by training folder: their form, whose images they reach, and no others."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import luminance
from training.data.dataset import parse_root
from training.loop.distillation import DistillationTask
from training.losses import source_terms as losses
from training.losses.emphasis import factors_of, parse_emphasis
from training.options import make_parser
from training.train import make_task

ROOTS = [parse_root(text) for text in ("data/a=0.5", "data/b", "c:d=2")]


def test_a_factor_belongs_to_its_folder_and_its_term():
    found = parse_emphasis(["data/a:src_ssim=3", "data/a/:src_qabf=0", "c:d:src_vif=1e-1"], ROOTS)
    assert found == [{"ssim": 3.0, "qabf": 0.0}, {}, {"vif": 0.1}]
    assert parse_emphasis([], ROOTS) == [{}, {}, {}]
    factors = factors_of(found, torch.tensor([1, 0, 0, 2]))
    assert {name: row.tolist() for name, row in factors.items()} == {
        "ssim": [1, 3, 3, 1],
        "qabf": [1, 0, 0, 1],
        "vif": [1, 1, 1, pytest.approx(0.1)],
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ("data/a:src_ssim", "DIR:TERM=FACTOR"),
        ("src_ssim=2", "DIR:TERM=FACTOR"),
        ("data/a:src_ssim=-1", "0 or more"),
        ("data/a:src_ssim=nan", "0 or more"),
        ("data/a:src_ssim=inf", "0 or more"),
        ("data/a:ssim=2", "src_qabf.*found 'ssim'"),
        ("data/a:src_flicker=2", "found 'src_flicker'"),
        ("data/e:src_ssim=2", "data/a, data/b"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_emphasis([text], ROOTS)


def test_a_term_has_one_factor_for_a_folder():
    with pytest.raises(ConfigurationError, match="twice"):
        parse_emphasis(["data/a:src_ssim=2", "data/a:src_ssim=3"], ROOTS)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse_emphasis([text], ROOTS)
    except ConfigurationError:
        return
    assert sum(map(len, found)) == 1


def make_batch():
    torch.manual_seed(0)
    images = torch.randint(0, 256, (3, 4, 48, 48), dtype=torch.uint8)
    return {
        "ir": images[:, :1],
        "ir_aligned": images[:, :1],
        "vis": images[:, 1:],
        "has_teacher": torch.zeros(3, dtype=torch.bool),
        "root": torch.tensor([1, 0, 1]),
    }


def test_an_image_counts_by_its_folders_factor():
    options = make_parser().parse_args(["--train_root", "data/a"])
    student = make_task(options, False).student.eval()
    weights, batch = {"src_ssim": 2.0, "src_qabf": 1.0}, make_batch()
    plain = DistillationTask(student, weights)(batch)
    found = DistillationTask(student, weights, emphasis=[{"ssim": 4.0}, {"ssim": 0.0}])(batch)
    ir, fused = batch["ir"].float(), found["output"]
    each = losses.structure(fused, ir, luminance(batch["vis"].float()).round())
    assert float(found["terms"]["src_ssim"].detach()) == pytest.approx(
        4.0 / 3.0 * float(each[1].detach()), rel=1e-5
    )
    assert torch.equal(found["terms"]["src_qabf"], plain["terms"]["src_qabf"])
    # Empty factors change nothing, and ask nothing of the batch.
    del batch["root"]
    same = DistillationTask(student, weights, emphasis=[{}, {}])(batch)
    assert torch.equal(same["loss"], plain["loss"])


def test_the_option_reaches_the_task():
    options = make_parser().parse_args(
        ["--train_root", "data/a=2", "--train_root", "data/b"]
        + ["--emphasis", f"{Path('data/b')}:src_vif=5"]
    )
    assert make_task(options, False).emphasis == [{}, {"vif": 5.0}]
