"""Annotated pairs: their parts, boxes, and images that training does not see."""

import pytest

pytest.importorskip("torch")

from pair_folders import write_pair_folder

from benchmarks.shared.labelled_pairs import part_of, read_labelled
from training.data.dataset import FusionDataset


@pytest.fixture
def data(tmp_path):
    """Two pairs of RoadScene, one of each part, and one of MSRS that is annotated."""
    stems = {"roadscene/train": ("FLIR_00010", "FLIR_01210"), "msrs/train": ("00010D", "00011D")}
    for name, found in stems.items():
        write_pair_folder(tmp_path / name, 2)
        for number, stem in enumerate(found):
            for side in ("IR", "VIS"):
                path = tmp_path / name / side / f"p{number}.png"
                path.rename(path.with_name(f"{stem}.png"))
    for folder, stem in (
        ("roadscene_boxes", "FLIR_00010"),
        ("roadscene_boxes", "FLIR_01210"),
        ("msrs_boxes", "00010D"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{stem}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    return tmp_path


def test_parts_and_boxes(data):
    parts = {
        part: [(row.pair.name, len(row.truth)) for row in read_labelled(data, part)]
        for part in ("train", "val", "all")
    }
    assert parts["train"] == [("roadscene/train/FLIR_00010", 1)]
    assert parts["val"] == [("roadscene/train/FLIR_01210", 1), ("msrs/train/00010D", 1)]
    assert len(parts["all"]) == 3
    box = next(read_labelled(data, "train")).truth[0].box
    assert tuple(box) == (16, 16, 32, 32)
    unboxed = [row.pair.name for row in read_labelled(data, "all", boxed=False)]
    assert unboxed == ["msrs/train/00011D"]


def test_validation_images_are_those_that_training_excludes(data):
    folders = [data / name for name in ("roadscene/train", "msrs/train")]
    boxes = [data / "roadscene_boxes", data / "msrs_boxes"]
    trained = FusionDataset(folders, boxes=boxes, exclude_validation=True)
    assert {pair.stem for pair in trained.pairs} == {"FLIR_00010", "00011D"}
    judged = {row.pair.name.rpartition("/")[2] for row in read_labelled(data, "val")}
    assert judged.isdisjoint(pair.stem for pair in trained.pairs)


@pytest.mark.parametrize("name, part", [("m3fd", "val"), ("msrs/val", "val"), ("kaist", "train")])
def test_folders_of_one_part(name, part):
    assert part_of(name, "1", annotated=False) == part
