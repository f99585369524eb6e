"""The shipped network on real pairs: it finds known displacements, and leaves the rest alone."""

import cv2
import numpy as np
import pytest
from real_data import real_pairs

from irvis_fusion_core import metrics, model_zoo
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.protocols import OnlineAligner, Refiner
from irvis_fusion_core.registration import make_registration
from irvis_fusion_core.registration.learned.field_network import working_size
from irvis_fusion_core.registration.learned.learned_registration import pixel_maps

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def road():
    """(IR, visible luminance) of a few scenes that nothing was trained on."""
    pairs = list(real_pairs("roadscene/val"))[:6]
    return [(ir, metrics.luminance(vis)) for _, ir, vis in pairs]


def learned(base="none", **options):
    options = {"learned_smoothing_s": 0.0, "learned_in_background": False, **options}
    return make_registration("learned", learned_base=base, **options)


def shifted(ir, x, y):
    """The image moved by (x, y), its border repeated."""
    matrix = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    size = (ir.shape[1], ir.shape[0])
    return cv2.warpAffine(ir, matrix, size, borderMode=cv2.BORDER_REPLICATE)


def test_a_shifted_thermal_image_is_brought_back(road):
    registration = learned()
    errors = {"before": [], "after": []}
    for ir, vis in road:
        moved, _ = registration.refine(shifted(ir, 10, -4), None, vis, 0.0)
        inner = (slice(32, -32),) * 2
        for name, image in (("before", shifted(ir, 10, -4)), ("after", moved)):
            errors[name].append(np.abs(image[inner].astype(float) - ir[inner]).mean())
    assert np.mean(errors["after"]) < 0.6 * np.mean(errors["before"])


def test_a_registered_pair_stays_as_it_is(road):
    registration = learned()
    moved = []
    for ir, vis in road:
        registration.refine(ir, None, vis, 0.0)
        moved.append(np.median(np.hypot(*registration.field)))
    assert np.median(moved) <= 0.3


@pytest.mark.parametrize("kind", ["flat", "noise", "dark"])
def test_without_evidence_the_base_stays(road, kind):
    ir, vis = road[0]
    random = np.random.default_rng(0)
    seen = {
        "flat": (np.full_like(ir, 90), vis),
        "noise": (random.integers(0, 256, ir.shape, dtype=np.uint8), vis),
        "dark": (ir, random.normal(3, 1.5, vis.shape).clip(0, 255).astype(np.uint8)),
    }[kind]
    registration = learned()
    registration.refine(seen[0], None, seen[1], 0.0)
    assert np.percentile(np.hypot(*registration.field), 95) < 1.0


def test_coverage_moves_with_the_image_and_limits_the_field(road):
    ir, vis = road[0]
    h = np.diag([0.6, 0.6, 1.0])
    h[:2, 2] = (0.2 * ir.shape[1], 0.2 * ir.shape[0])
    registration = learned("homography", homography=h.ravel().tolist())
    warped, coverage = registration.warp(shifted(ir, 12, 0), vis.shape)
    refined, moved = registration.refine(warped, coverage, vis, 0.0)
    assert refined.shape == moved.shape == vis.shape and moved.dtype == np.uint8
    rows, columns = registration.field.shape[1:]
    # Far outside the thermal image nothing is displaced.
    assert not registration.field[:, : rows // 10].any()
    assert not registration.field[:, :, : columns // 10].any()


def test_a_field_moves_pixels_as_its_closed_form_does():
    """A linear field over a linear image: remap gives the image at x + d."""
    x = np.tile(np.arange(80, dtype=np.float32), (60, 1))
    field = np.zeros((2, 15, 20), np.float32)
    field[0] = 3.0
    moved = cv2.remap((2 * x).astype(np.uint8), *pixel_maps(field, x.shape), cv2.INTER_LINEAR)
    np.testing.assert_allclose(moved[:, 4:70], 2 * (x + 3.0)[:, 4:70], atol=1)


@pytest.mark.parametrize(
    "size, wanted", [((480, 640), (240, 320)), ((1024, 1280), (256, 320)), ((96, 120), (48, 64))]
)
def test_the_network_sees_at_most_320_pixels(size, wanted):
    assert working_size(size) == wanted


def test_it_refines_and_offers_pairs_to_its_base(road):
    ir, vis = road[0]
    registration = learned("online", online_base="resize", online_in_background=False)
    assert isinstance(registration, Refiner) and isinstance(registration, OnlineAligner)
    assert registration.offer(ir, vis, 0.0)
    assert registration.describe()["mode"] == "learned"
    assert registration.describe()["base"] == "online"
    assert not learned("resize").offer(ir, vis, 0.0)
    assert not isinstance(make_registration("resize"), Refiner)


def test_the_report_says_what_moves(road):
    ir, vis = road[0]
    registration = learned()
    registration.refine(shifted(ir, 10, 0), None, vis, 0.0)
    found = registration.describe()
    assert 0.0 < float(found["confident_cells"]) <= 1.0
    assert float(found["displacement_p95_px"]) >= float(found["displacement_median_px"]) > 2.0


def test_the_base_is_used_while_the_network_is_compiled(road):
    ir, vis = road[0]
    registration = learned(learned_in_background=True)
    moved = shifted(ir, 10, 0)
    first, _ = registration.refine(moved, None, vis, 0.0)
    assert first is moved and registration.field is None
    registration._compiling.join(60.0)
    second, _ = registration.refine(moved, None, vis, 0.1)
    assert second is not moved and registration.field is not None


def test_a_file_that_is_no_network_leaves_the_base_and_says_so(road, tmp_path):
    ir, vis = road[0]
    path = tmp_path / "none.onnx"
    path.write_bytes(b"no network")
    registration = learned(learned_model=str(path))
    image, _ = registration.refine(ir, None, vis, 0.0)
    assert image is ir and "none.onnx" in registration.describe()["failure"]


def test_a_fault_while_it_is_compiled_is_told_and_not_met_again(road, monkeypatch):
    ir, vis = road[0]
    registration = learned(learned_in_background=True)
    asked = []

    def prepare(size):
        asked.append(size)
        raise RuntimeError("no memory")

    monkeypatch.setattr(registration.network, "prepare", prepare)
    for now_s in (0.0, 0.1, 0.2):
        assert registration.refine(ir, None, vis, now_s)[0] is ir
        registration._compiling.join(60.0)
    assert registration.describe()["failure"] == "RuntimeError: no memory"
    assert asked == [ir.shape]


def test_a_network_with_weights_in_another_file_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(model_zoo.registration_path())
    path = str(tmp_path / "split.onnx")
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(ConfigurationError, match="learned.*keeps weights in 'w.bin'"):
        learned(learned_model=path)


@pytest.mark.parametrize(
    "options",
    [{"learned_smoothing_s": -1.0}, {"learned_model": "/nowhere.onnx"}, {"learned_x": 1}],
)
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(ConfigurationError, match="learned"):
        learned(**options)
