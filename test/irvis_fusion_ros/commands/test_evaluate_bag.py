"""The command as a user runs it: reports, repeatability, comparison, and what is refused."""

import csv
import json
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from bag_recording import MS, START_NS, needs_rosbags
from evaluation_scene import HEIGHT, WIDTH, MaximumEngine, scene, write_bag

from irvis_fusion_core import metrics
from irvis_fusion_ros.commands.evaluate_bag import main
from irvis_fusion_ros.evaluation.recording import digest
from irvis_fusion_ros.evaluation.tables import read_columns, read_rows

for library in ("jinja2", "matplotlib", "PIL"):
    pytest.importorskip(library, reason="makes reports: pip install '.[evaluate]'")
pytestmark = needs_rosbags
FILES = {"report.html", "summary.json", "frames.csv", "references.csv", "timing.csv", "fused.gif"}
QUICK = ["--quiet", "--jobs", "1", "--detector", "none", "-p", "thermal.method:=none"]


@pytest.fixture
def maximum(monkeypatch):
    """Let every engine be the maximum; returns the engines that were opened."""
    opened = []

    def open_fusion(settings, progress):
        opened.append(MaximumEngine())
        return opened[-1]

    monkeypatch.setattr("irvis_fusion_ros.bags.replay.offline_fusion.open_fusion", open_fusion)
    return opened


@pytest.fixture
def bag(tmp_path):
    return write_bag(tmp_path / "bag")


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def run(bag, folder, *arguments):
    return main([str(bag), "--output", str(folder), *QUICK, *arguments])


class Page(HTMLParser):
    """Checks that every tag is closed, and collects what a browser would load."""

    VOID = {"meta", "img", "br", "path", "rect", "circle"}

    def __init__(self, text):
        super().__init__()
        self.open, self.loaded, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        values = dict(attributes)
        self.loaded += [values[name] for name in ("src", "href") if name in values]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data


def test_a_report_lies_there_whole_and_loads_nothing(bag, tmp_path, maximum):
    assert run(bag, tmp_path / "report") == 0
    assert {p.name for p in (tmp_path / "report").iterdir()} == FILES
    page = Page((tmp_path / "report" / "report.html").read_text())
    assert page.loaded and all(address.startswith("data:image/") for address in page.loaded)
    for words in ("Against the trivial fusions", "visible alone", "maximum", "flicker", "skew",
                  "Worst frames", "Best frames", "Versions", "numpy"):  # fmt: skip
        assert words in page.text
    assert "Incomplete" not in page.text


def test_scores_and_digests_are_those_of_the_fused_images(bag, tmp_path, maximum):
    run(bag, tmp_path / "report", "-p", "limit_flicker:=false")
    rows = list(csv.DictReader((tmp_path / "report" / "frames.csv").open()))
    assert [row["outcome"] for row in rows] == ["fused"] * 12
    before = None
    for number, row in enumerate(rows):
        ir, vis = scene(number)
        fused = np.maximum(vis, ir[..., None])
        planes = [
            metrics.luminance(p) for p in (fused[..., ::-1].copy(), ir, vis[..., ::-1].copy())
        ]
        assert int(row["vis_stamp_ns"]) == START_NS + number * 33 * MS
        for name in ("EN", "Qabf", "VIF", "SSIM", "SSIM255", "CC"):
            expected = metrics.score_pair(*planes, names=[name])[name]
            assert float(row[name]) == pytest.approx(expected, rel=1e-5)
        assert row["MS_SSIM"] == ""  # these images are too small for it
        if before is not None:
            expected = metrics.flicker(*zip(before, planes))
            assert float(row["flicker"]) == pytest.approx(expected, rel=1e-5, abs=1e-9)
        before = planes
    assert rows[0]["flicker"] == ""
    means = summary_of(tmp_path / "report")["rows"]["default"]["metrics"]
    column = read_columns(str(tmp_path / "report" / "frames.csv"), ["Qabf"])["Qabf"]
    assert means["Qabf"]["mean"] == pytest.approx(column.mean())
    assert means["Qabf"]["p95"] == pytest.approx(np.percentile(column, 95))


def test_two_runs_write_the_same_tables(bag, tmp_path, maximum):
    for name in ("one", "two"):
        run(bag, tmp_path / name, "--detector", "hog")
    for file in ("frames.csv", "references.csv", "fused.gif"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_configurations_are_compared_in_one_run(bag, tmp_path, maximum):
    for name, text in (("day", "pairing: latest_ir"), ("night", "enabled: false")):
        (tmp_path / f"{name}.yaml").write_text(f"/**:\n  ros__parameters:\n    {text}\n")
    files = [a for name in ("day", "night") for a in ("--config", str(tmp_path / f"{name}.yaml"))]
    assert run(bag, tmp_path / "report", *files) == 0
    found = summary_of(tmp_path / "report")
    assert list(found["configurations"]) == ["day", "night"]
    assert found["configurations"]["day"]["outcomes"] == {"fused": 12}
    assert found["configurations"]["night"]["not_fused"] == {"passed: disabled": 12}
    references = ["visible alone", "IR alone", "mean", "maximum"]
    assert list(found["rows"]) == ["day", "night", *references]
    # This engine is the maximum of each colour; of grey images it is the reference itself.
    assert found["rows"]["maximum"]["measured"] == 12
    page = Page((tmp_path / "report" / "report.html").read_text())
    assert "day: Worst frames by Qabf" in page.text
    assert len(list(read_rows(str(tmp_path / "report" / "frames.csv")))) == 24


def test_a_learned_registration_shows_its_field_and_edge_distances(bag, tmp_path, maximum):
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "report"
    assert run(bag, folder, "-p", "registration.mode:=learned", "--no-gif") == 0
    (found,) = summary_of(folder)["registration"].values()
    assert found["moved_px"]["count"] == found["moved_p95_px"]["count"] > 0
    assert set(found) == {"moved_px", "moved_p95_px", "edge_px", "base_edge_px"}
    page = Page((folder / "report.html").read_text())
    assert "Learned registration" in page.text
    assert 'alt="field"' in (folder / "report.html").read_text()
    assert run(bag, folder, "--no-gif") == 0
    assert summary_of(folder)["registration"] == {}
    assert "Learned registration" not in (folder / "report.html").read_text()


def test_names_from_outside_are_text_on_the_page(bag, tmp_path, maximum):
    name = '"><script>alert(1)<&{{ bag }}'
    (tmp_path / f"{name.replace('/', '')}.yaml").write_text("/**:\n  ros__parameters: {}\n")
    config = str(next(tmp_path.glob("*.yaml")))
    assert run(bag, tmp_path / "report", "--metrics", "Qabf", "--config", config) == 0
    text = (tmp_path / "report" / "report.html").read_text()
    assert "<script" not in text
    page = Page(text)
    assert name in page.text and all(a.startswith("data:image/") for a in page.loaded)


@pytest.mark.parametrize("library", ["jinja2", "matplotlib", "PIL"])
def test_a_missing_library_is_named_before_the_replay(
    bag, tmp_path, maximum, capsys, monkeypatch, library
):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == library else found(name)
    )
    assert run(bag, tmp_path / "report") == 1
    said = capsys.readouterr().err
    assert f"no {library}" in said and "pip install '.[evaluate]'" in said
    assert maximum == [] and not (tmp_path / "report").exists()


def test_models_are_compared_and_told_by_name(bag, tmp_path, maximum):
    assert run(bag, tmp_path / "report", "--model", "nano", "--model", "small") == 0
    found = summary_of(tmp_path / "report")["configurations"]
    assert {name: c["changed"]["model"] for name, c in found.items()} == {
        "nano": "nano",
        "small": "small",
    }


def test_only_some_frames_are_measured_but_all_are_told(bag, tmp_path, maximum):
    run(bag, tmp_path / "report", "--measured-frames", "3", "--metrics", "Qabf,EN")
    columns = read_columns(str(tmp_path / "report" / "frames.csv"), ["Qabf", "VIF", "flicker"])
    assert np.flatnonzero(np.isfinite(columns["Qabf"])).tolist() == [0, 4, 8]
    assert np.isnan(columns["VIF"]).all()
    assert np.isfinite(columns["flicker"]).sum() == 11
    page = (tmp_path / "report" / "report.html").read_text()
    assert "every 4th frame" in page


def test_frames_that_were_not_fused_have_their_causes(tmp_path, maximum):
    bag = write_bag(tmp_path / "bag", ir_ms=400)
    assert run(bag, tmp_path / "report", "-p", "max_ir_age_s:=0.1") == 1
    found = summary_of(tmp_path / "report")
    assert not found["complete"]
    (cause,) = found["configurations"]["default"]["not_fused"]
    assert cause.startswith("passed: ir_")
    assert "max_ir_age_s" in found["error"]


def test_no_pairs_say_the_skew_and_keep_what_there_is(tmp_path, maximum, capsys):
    bag = write_bag(tmp_path / "bag", ir_ms=80)
    assert run(bag, tmp_path / "report", "-p", "pairing:=pair", "-p", "slop_s:=0.005") == 1
    said = capsys.readouterr().err
    assert "slop_s" in said and "found none to fuse" in said and "report.html" in said
    assert "Incomplete" in (tmp_path / "report" / "report.html").read_text()
    assert len(list(read_rows(str(tmp_path / "report" / "frames.csv")))) == 12


def test_mixed_resolutions_are_measured_each_at_its_own(tmp_path, maximum):
    bag = write_bag(tmp_path / "bag", sizes=6)
    assert run(bag, tmp_path / "report") == 0
    found = summary_of(tmp_path / "report")["configurations"]["default"]
    assert found["outcomes"] == {"fused": 12}
    assert "vis: size changed" in found["events"]
    flicker = read_columns(str(tmp_path / "report" / "frames.csv"), ["flicker"])["flicker"]
    assert np.flatnonzero(np.isnan(flicker)).tolist() == [0, 6]


def test_a_truncated_bag_leaves_a_marked_report(bag, tmp_path, monkeypatch, capsys):
    from irvis_fusion_ros.bags.bag import BagError
    from irvis_fusion_ros.bags.replay import offline_fusion

    monkeypatch.setattr(offline_fusion, "open_fusion", lambda *_: MaximumEngine())
    whole = offline_fusion.read_messages

    def cut_off(*arguments):
        for number, message in enumerate(whole(*arguments)):
            if number == 12:
                raise BagError("expected a readable bag, found that it ends here")
            yield message

    monkeypatch.setattr(offline_fusion, "read_messages", cut_off)
    assert run(bag, tmp_path / "report") == 1
    assert "ends here" in capsys.readouterr().err
    found = summary_of(tmp_path / "report")
    assert not found["complete"] and "ends here" in found["error"]
    assert found["configurations"]["default"]["frames"] == 6
    assert "Incomplete" in (tmp_path / "report" / "report.html").read_text()


def test_a_bag_that_was_cut_off_on_disk_leaves_a_marked_report(tmp_path, maximum, capsys):
    bag = write_bag(tmp_path / "bag", frames=60)  # more than one chunk of the file
    (storage,) = (tmp_path / "bag").glob("*.mcap")
    with open(storage, "r+b") as stream:
        stream.truncate(storage.stat().st_size * 3 // 4)
    assert run(bag, tmp_path / "report") == 2
    assert "bag.mcap" in capsys.readouterr().err
    found = summary_of(tmp_path / "report")
    assert not found["complete"]
    assert 1 <= found["configurations"]["default"]["frames"] < 60
    assert "Incomplete" in (tmp_path / "report" / "report.html").read_text()


def test_an_engine_that_fails_leaves_a_marked_report(bag, tmp_path, monkeypatch, capsys):
    failing = MaximumEngine(fails_at=4)
    monkeypatch.setattr(
        "irvis_fusion_ros.bags.replay.offline_fusion.open_fusion", lambda *_: failing
    )
    assert run(bag, tmp_path / "report") == 1
    assert "on purpose" in capsys.readouterr().err
    assert summary_of(tmp_path / "report")["configurations"]["default"]["frames"] == 4


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--vis-topic", "/nowhere"], "/vis/image_raw (Image, 12)"),
        (["--vis-topic", "/chatter"], "std_msgs/msg/String"),
        (["--rank-by", "LPIPS"], "Qabf"),
        (["--metrics", "EN", "--rank-by", "VIF"], "EN"),
        (["--metrics", "FID", "--rank-by", "FID"], "FID"),
        (["--measured-frames", "-1"], "measured-frames"),
        (["-p", "pairing:=never"], "pairing"),
        (["--config", "missing.yaml"], "missing.yaml"),
        (["--detector", "missing.onnx"], "missing.onnx"),
        (["--annotations", "missing.json"], "none"),
        (["--detector", "hog", "--annotations", "missing.json"], "missing.json"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    bag, tmp_path, maximum, capsys, arguments, said
):
    assert run(bag, tmp_path / "report", *arguments) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "report" / "frames.csv").exists()
    assert maximum == []  # no engine was opened


def test_an_output_that_cannot_be_written_is_refused(bag, tmp_path, maximum, capsys):
    (tmp_path / "file").write_text("")
    assert run(bag, tmp_path / "file" / "report") == 1
    assert "--output" in capsys.readouterr().err
    assert maximum == []


def test_annotations_give_precision_and_recall(bag, tmp_path, maximum, monkeypatch):
    """A detector that finds every bright column, as wide as the walker."""
    from irvis_fusion_core.detectors import Detection
    from irvis_fusion_core.detectors.detection import Box

    class Bright:
        name, labels, min_overlap = "bright", ("person",), 0.5

        def find(self, image):
            mask = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) > 200).astype(np.uint8)
            left, top, width, height = cv2.boundingRect(mask)
            return [Detection(Box(left, top, width, height), 1.0, "person")] if width else []

    monkeypatch.setattr(
        "irvis_fusion_ros.evaluation.evaluation.open_detector", lambda *_: Bright()
    )
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "classes.txt").write_text("person\n")
    for number in range(0, 12, 2):
        x, y = (15 + number) / WIDTH, 35 / HEIGHT
        text = f"0 {x} {y} {10 / WIDTH} {30 / HEIGHT}\n"
        (labels / f"{START_NS + number * 33 * MS}.txt").write_text(text)
    arguments = ["--detector", "any.onnx", "--annotations", str(labels)]
    assert run(bag, tmp_path / "report", *arguments, "--metrics", "VIF") == 0
    check = summary_of(tmp_path / "report")["detection"]
    assert check["frames"] == 6 and check["annotated"]
    rows = check["rows"]
    assert rows["IR alone"]["recall"] == rows["IR alone"]["precision"] == 1.0
    assert rows["default"]["recall"] == 1.0
    assert rows["visible alone"]["recall"] == 0.0
    page = Page((tmp_path / "report" / "report.html").read_text())
    assert "precision" in page.text and "100.0 %" in page.text
    assert "By class" in page.text and "frames by VIF" in page.text
    assert "By class" in page.text and "1.000 to 1.000" in page.text


def test_a_digest_is_of_every_byte_and_of_the_layout():
    class Message:
        height, width, encoding, step, is_bigendian = 2, 3, "mono8", 3, 0
        data = bytes(6)

    first = digest(Message())
    assert len(first) == 16 and digest(None) is None
    for name, value in (("data", bytes(5) + b"1"), ("encoding", "8UC1"), ("width", 2)):
        other = Message()
        setattr(other, name, value)
        assert digest(other) != first
