"""Named terms, which of them are active, and what a batch without a teacher does."""

import pytest

torch = pytest.importorskip("torch")

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.pixel_student import PixelStudent
from irvis_fusion_core.network.student import create_student_model, luminance
from training.loop.distillation import DistillationTask, active_terms
from training.losses import source_terms as losses
from training.losses import teacher_terms as teacher_losses


def make_batch(count=2, height=48, width=40, with_teacher=(True, True), channels=3):
    torch.manual_seed(1)
    small = torch.rand(count, 5, 6, 5)
    big = torch.nn.functional.interpolate(small, (height, width), mode="bicubic") * 255.0
    big = big.clamp(0, 255).round()
    return {
        "ir": big[:, :1].byte(),
        "ir_aligned": big[:, :1].byte(),
        "vis": big[:, 1 : 1 + channels].byte(),
        "vis_clean": big[:, 1 : 1 + channels].byte(),
        "teacher": big[:, 4:5],
        "variance": torch.zeros(count, 1, height, width),
        "has_teacher": torch.tensor(with_teacher),
        "index": torch.arange(count),
    }


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    return create_student_model("nano").eval()


def test_the_image_is_the_one_that_the_node_publishes(student):
    batch = make_batch()
    # No channel is clipped.
    batch["vis"], batch["ir"] = batch["vis"] // 8 + 100, batch["ir"] // 4 + 90
    found = DistillationTask(student, {"pix": 1.0}, leak=0.0).eval()(batch)
    ir, vis = (batch[k].permute(0, 2, 3, 1) for k in ("ir", "vis"))
    published = luminance(PixelStudent(student)(ir, vis).permute(0, 3, 1, 2).float())
    # Luminance first and then rounding, or three rounded channels and then luminance.
    assert float((found["output"] - published).abs().max()) <= 1.5
    assert torch.equal(found["output"], found["output"].round())


def test_terms_are_the_functions_and_the_loss_their_weighted_sum(student):
    batch = make_batch()
    weights = {
        "pix": 2.0,
        "ssim": 0.5,
        "grad": 3.0,
        "src_ssim": 1.0,
        "src_base": 4.0,
        "src_vif": 0,
    }
    found = DistillationTask(student, weights).eval()(batch)
    fused, teacher = found["output"], batch["teacher"]
    ir, y = batch["ir"].float(), luminance(batch["vis"].float()).round()
    expected = {
        "pix": teacher_losses.pixel_l1(fused, teacher),
        "ssim": teacher_losses.structure(fused, teacher),
        "grad": teacher_losses.gradient(fused, teacher),
        "src_ssim": losses.structure(fused, ir, y).mean(),
        "src_base": losses.base(fused, ir, y).mean(),
    }
    assert set(found["terms"]) == set(expected)
    found["terms"] = {name: term.detach() for name, term in found["terms"].items()}
    for name, value in expected.items():
        assert float(found["terms"][name]) == pytest.approx(float(value), rel=1e-4), name
    total = sum(weights[name] * float(value) for name, value in expected.items())
    assert float(found["loss"].detach()) == pytest.approx(total, rel=1e-4)


def test_losses_refer_to_the_clean_images_in_place(student):
    batch = make_batch()
    batch["ir"], batch["vis"] = batch["ir"].roll(7, 3), batch["vis"] // 2
    found = DistillationTask(student, {"src_base": 1.0}).eval()(batch)
    y = luminance(batch["vis_clean"].float()).round()
    expected = losses.base(found["output"], batch["ir_aligned"].float(), y).mean()
    assert float(found["terms"]["src_base"].detach()) == pytest.approx(float(expected), rel=1e-4)


def test_costly_terms_see_a_window_that_the_images_draw(student):
    batch, weights = make_batch(), {"src_ssim": 1.0, "src_base": 1.0}
    whole = DistillationTask(student, weights).eval()(batch)
    task = DistillationTask(student, weights, window=24).eval()
    first, again = (task(batch)["terms"] for _ in "ab")
    assert torch.equal(first["src_ssim"], again["src_ssim"])
    assert torch.equal(first["src_base"], whole["terms"]["src_base"])
    ir, y = batch["ir"].float(), luminance(batch["vis"].float()).round()
    of_windows = [
        float(losses.structure(*(p[..., a : a + 24, b : b + 24] for p in planes)).mean())
        for planes in [(whole["output"], ir, y)]
        for a in range(25)
        for b in range(17)
    ]
    assert any(value == pytest.approx(float(first["src_ssim"].detach())) for value in of_windows)


def test_frozen_batch_norms_keep_their_statistics():
    student = create_student_model("nano")
    before = [buffer.clone() for buffer in student.buffers()]
    task = DistillationTask(student, {"src_base": 1.0}, freeze_norm=True).train()
    task(make_batch())["loss"].backward()
    assert all(torch.equal(a, b) for a, b in zip(before, student.buffers()))
    assert student.head_mix[1].weight.grad is not None and student.training
    DistillationTask(student, {"src_base": 1.0}).train()(make_batch())
    assert not all(torch.equal(a, b) for a, b in zip(before, student.buffers()))


def test_rows_without_a_teacher_are_left_out_of_its_terms(student):
    task = DistillationTask(student, {"pix": 1.0, "src_ssim": 1.0}).eval()
    mixed, alone = make_batch(with_teacher=(False, True)), make_batch()
    for key in alone:
        alone[key] = alone[key][1:]
    assert float(task(mixed)["terms"]["pix"]) == pytest.approx(float(task(alone)["terms"]["pix"]))
    none = task(make_batch(with_teacher=(False, False)))
    assert set(none["terms"]) == {"src_ssim"} and none["teacher"] is None
    only = DistillationTask(student, {"pix": 1.0}).eval()(make_batch(with_teacher=(False, False)))
    assert float(only["loss"]) == 0.0


def test_a_larger_student_is_a_teacher(student):
    torch.manual_seed(3)
    teacher = create_student_model("small").eval()
    task = DistillationTask(student, {"pix": 1.0, "feat": 1.0}, teacher=teacher).eval()
    batch = make_batch(with_teacher=(False, True))
    found = task(batch)
    made = DistillationTask(teacher, {"src_ssim": 1.0}, leak=0.0).eval()(batch)["output"]
    assert torch.equal(found["teacher"][0], made[0])
    assert torch.equal(found["teacher"][1], batch["teacher"][1])
    found["loss"].backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in task.adapters.parameters())
    # Neither saved nor trained with the student.
    assert not any("teacher" in name for name in task.state_dict())


def test_the_chroma_that_is_judged_is_the_published_one(student):
    batch = make_batch()
    batch["vis"], batch["ir"] = batch["vis"] // 8 + 100, batch["ir"] // 4 + 90
    batch["vis_clean"] = batch["vis"]
    term = DistillationTask(student, {"src_colour": 1.0}).eval()(batch)["terms"]["src_colour"]
    ir, vis = (batch[k].permute(0, 2, 3, 1) for k in ("ir", "vis"))
    published = PixelStudent(student)(ir, vis).permute(0, 3, 1, 2).float()
    fused = luminance(published)
    expected = losses.colour(published - fused, fused, batch["vis"].float())
    assert float(term.detach()) == pytest.approx(float(expected), abs=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_students_learn_too(channels):
    student = create_student_model("nano", channels, channels)
    task = DistillationTask(student, {"src_ssim": 1.0, "src_colour": 1.0})
    task(make_batch(channels=channels))["loss"].backward()
    assert student.controls.weight.grad.abs().sum() > 0


def test_terms_join_by_stages():
    weights = {"pix": 1.0, "ssim": 1.0, "perc": 0.1, "src_base": 2.0}
    assert active_terms(weights, 9, 10) == ["pix", "src_base"]
    assert active_terms(weights, 10, 10) == ["pix", "ssim", "src_base"]
    assert active_terms(weights, 20, 10) == list(weights)
    assert active_terms(weights, 0, 0) == list(weights)
    # Nothing to warm up with.
    assert active_terms({"src_ssim": 1.0}, 0, 10) == ["src_ssim"]


def test_a_clipped_image_keeps_a_gradient(student):
    raw = torch.tensor([[[[-20.0, 100.4, 300.0]]]], requires_grad=True)
    task = DistillationTask(student, {"pix": 1.0}, leak=0.01)
    pixels = task._pixels(raw)
    assert pixels.tolist() == [[[[0.0, 100.0, 255.0]]]]
    pixels.sum().backward()
    assert raw.grad[0, 0, 0].tolist() == pytest.approx([0.01, 1.0, 0.01])


@pytest.mark.parametrize(
    "weights, words",
    [
        ({"sharp": 1.0}, "sharp"),
        ({"pix": -1.0}, "lambda_pix"),
        ({"pix": 0.0}, "all of them 0"),
        ({"perc": 1.0}, "open_backbone"),
        ({"feat": 1.0}, "--teacher_checkpoint"),
        ({"det": 1.0}, "--detector"),
    ],
)
def test_impossible_weights_are_refused(student, weights, words):
    with pytest.raises(ConfigurationError, match=words):
        DistillationTask(student, weights)
