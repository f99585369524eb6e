"""Tensors as promised, the same whoever loads them, and several folders by share."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pair_folders import write_pair_folder
from torch.utils.data import DataLoader

from irvis_fusion_core.errors import ConfigurationError
from training.data.augmentation import Augmentation
from training.data.dataset import FusionDataset, Root, parse_root
from training.data.images import ImageStore
from training.data.listing import list_images
from training.data.sampling import Draw, EpochSampler
from training.errors import DataError


@pytest.fixture
def folder(tmp_path):
    return write_pair_folder(tmp_path / "data", 4, teacher=lambda ir, vis: vis)


def test_whole_images_are_those_on_disk(folder):
    item = FusionDataset([folder])[1]
    ir = cv2.imread(str(folder / "IR" / "p1.png"), 0)
    vis = cv2.imread(str(folder / "VIS" / "p1.png"))
    assert np.array_equal(item["ir"][0], ir) and item["ir"].dtype == torch.uint8
    assert np.array_equal(item["ir_aligned"], item["ir"])
    assert np.array_equal(item["vis"].permute(1, 2, 0), vis[:, :, ::-1])
    assert np.array_equal(item["teacher"][0], cv2.cvtColor(vis, cv2.COLOR_BGR2GRAY))
    assert item["has_teacher"] and not item["variance"].any() and int(item["index"]) == 1
    assert torch.equal(item["vis_clean"], item["vis"]) and not item["has_boxes"]
    assert item["boxes"].shape == (32, 5) and (item["boxes"][:, 0] == -1).all()
    grey = FusionDataset([folder], in_channels=1)[1]
    assert np.array_equal(grey["vis"][0], cv2.cvtColor(vis, cv2.COLOR_BGR2GRAY))


def test_an_ensemble_gives_mean_and_variance_or_a_sample(folder):
    planes = [np.full((64, 64), value, np.uint8) for value in (100, 120, 140)]
    for number, plane in enumerate(planes):
        cv2.imwrite(str(folder / "TEACHER_FUSED" / f"p0_{number}.png"), plane)
    (folder / "TEACHER_FUSED" / "p0.png").unlink()
    item = FusionDataset([folder])[0]
    assert float(item["teacher"].min()) == float(item["teacher"].max()) == 120.0
    assert float(item["variance"][0, 0, 0]) == pytest.approx((20 / 255) ** 2, rel=1e-5)
    # As `make_teacher_images` leaves it: their mean beside the samples.
    cv2.imwrite(str(folder / "TEACHER_FUSED" / "p0.png"), planes[1])
    assert torch.equal(FusionDataset([folder])[0]["variance"], item["variance"])
    plain = Augmentation(32, tone_prob=0.0)
    samples = FusionDataset([folder], plain, teacher_target="sample")
    seen = {float(samples[Draw(0, n)]["teacher"].mean()) for n in range(20)}
    assert seen == {100.0, 120.0, 140.0}
    np.save(folder / "TEACHER_FUSED" / "p0_var.npy", np.full((64, 64), 0.02, np.float32))
    for number in range(3):
        (folder / "TEACHER_FUSED" / f"p0_{number}.png").write_bytes(b"not needed")
    item = FusionDataset([folder])[0]
    assert float(item["teacher"].mean()) == 120.0
    assert float(item["variance"].mean()) == pytest.approx(0.02)


def test_any_number_of_workers_gives_the_same_samples(folder):
    dataset = FusionDataset([folder], Augmentation(32), seed=5)

    def batches(workers, cache_gb):
        dataset.read = ImageStore(int(cache_gb * 1e9))
        sampler = EpochSampler(dataset.groups, 2, seed=5)
        return list(DataLoader(dataset, 2, sampler=sampler, num_workers=workers))

    first, second = batches(0, 1.0), batches(2, 0.0)
    assert len(first) == 2
    for a, b in zip(first, second):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)
    other = FusionDataset([folder], Augmentation(32), seed=6)
    assert not torch.equal(other[Draw(0, 0)]["ir"], dataset[Draw(0, 0)]["ir"])


def test_folders_are_read_with_their_shares(folder, tmp_path):
    write_pair_folder(tmp_path / "more", 2)
    dataset = FusionDataset([f"{folder}=0.25", Root(tmp_path / "more", 0.75)])
    assert len(dataset) == 6 and dataset.has_teachers
    assert [(list(g.indices), g.share) for g in dataset.groups] == [
        ([0, 1, 2, 3], 0.25),
        ([4, 5], 0.75),
    ]
    assert not dataset[5]["has_teacher"] and not dataset[5]["teacher"].any()
    assert dataset.names([5]) == [str(tmp_path / "more" / "VIS" / "p1.png")]
    assert "4 pairs, 4 with teacher" in dataset.report()
    assert [p.stem for p in FusionDataset([folder], limit=2).pairs] == ["p0", "p2"]


def test_annotations_are_found_by_name_and_held_out_scenes_left_out(folder, tmp_path):
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    (boxes / "p1.txt").write_text("0 0.5 0.25 0.1 0.2\n2 0.1 0.1 0.05 0.05\n")
    (boxes / "p2.txt").write_text("")
    dataset = FusionDataset([folder], boxes=[boxes])
    assert [bool(dataset[i]["has_boxes"]) for i in range(4)] == [False, True, True, False]
    assert dataset[1]["boxes"][0].tolist() == pytest.approx([0, 0.5, 0.25, 0.1, 0.2])
    assert dataset[1]["boxes"][:, 0].tolist() == [0.0, 2.0] + 30 * [-1.0]
    (boxes / "p3.txt").write_text("0 0.5 2 0.1 0.2\n")
    with pytest.raises(DataError, match="0..1"):
        FusionDataset([folder], boxes=[boxes])
    with pytest.raises(DataError, match="elsewhere"):
        FusionDataset([folder], boxes=[tmp_path / "elsewhere"])
    for side in ("IR", "VIS"):
        (folder / side / "p0.png").rename(folder / side / "FLIR_01300.png")
    (folder / "TEACHER_FUSED" / "p0.png").unlink()
    stems = [pair.stem for pair in FusionDataset([folder], exclude_validation=True).pairs]
    assert stems == ["p1", "p2", "p3"]


def test_roots_with_equals_signs_and_wrong_shares(tmp_path):
    (tmp_path / "a=b").mkdir()
    assert parse_root(tmp_path / "a=b") == Root(tmp_path / "a=b", 1.0)
    assert parse_root("x/y=0.5").share == 0.5
    for wrong in ("x=much", "x=0", "x=-1", "x=nan"):
        with pytest.raises(ConfigurationError, match="share|SHARE"):
            parse_root(wrong)


def test_bad_files_stop_or_are_skipped(folder):
    (folder / "IR" / "p3.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="p3"):
        FusionDataset([folder])
    assert len(FusionDataset([folder], limit=2)) == 2  # p0 and p2: what is used is checked
    (folder / "VIS" / "p2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="p2"):
        FusionDataset([folder], limit=2)
    dataset = FusionDataset([folder], skip_bad=True)
    assert len(dataset) == 2 and "2 unreadable" in dataset.report()
    later = FusionDataset([folder], check=False)
    with pytest.raises(DataError, match=r"p3\.png"):
        later[3]


def test_the_store_keeps_no_more_than_its_limit(folder):
    paths = list_images(folder).pairs
    one = ImageStore(10**9)
    one(paths[0])
    store = ImageStore(int(one.used * 2.5))
    for pair in paths:
        store(pair)
    assert store.used == 2 * one.used
    (folder / "IR" / "p0.png").unlink()
    assert store(paths[0]).ir.shape == (64, 64)  # from memory


def test_masks_of_objects_come_with_the_crops_where_objects_are_known(folder):
    dataset = FusionDataset([folder])
    assert "objects" not in dataset[0]
    thermal = (0, 0.5, 0.5, 0.5, 0.5, 1, 0.9, 0.0)
    visible = (2, 0.25, 0.25, 0.25, 0.25, 0, 0.9, 0.0)
    dataset.objects = [np.array([row], np.float32) for row in 2 * (thermal, visible)]
    for item in (dataset[0], dataset[1]):
        assert item["objects"].shape == item["vehicles"].shape == item["ir"].shape
    assert float(dataset[0]["objects"][0, 32, 32]) == 1.0 and not dataset[0]["vehicles"].any()
    assert float(dataset[1]["vehicles"][0, 16, 16]) == 1.0 and not dataset[1]["objects"].any()
    other = FusionDataset([folder], Augmentation(32, flip_prob=1.0, resize_prob=0.0))
    other.objects = dataset.objects
    for draw in range(4):
        assert other[Draw(0, draw)]["objects"].dtype == torch.float32
