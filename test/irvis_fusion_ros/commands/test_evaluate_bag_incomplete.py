"""The report of a bag that holds fewer or more messages than it states."""

import json

import pytest
from bag_recording import needs_rosbags
from evaluation_scene import MaximumEngine, write_bag

from irvis_fusion_ros.bags.bag import read_messages
from irvis_fusion_ros.commands.evaluate_bag import main

for library in ("jinja2", "matplotlib", "PIL"):
    pytest.importorskip(library, reason="makes reports: pip install '.[evaluate]'")
pytestmark = needs_rosbags
QUICK = ["--quiet", "--jobs", "1", "--detector", "none", "--metrics", "EN", "--no-gif"]


@pytest.mark.parametrize("stated", [9, 400])
def test_a_bag_that_is_incomplete_by_its_counts_is_reported_with_both(
    tmp_path, monkeypatch, capsys, stated
):
    opened = "irvis_fusion_ros.bags.replay.offline_fusion.open_fusion"
    monkeypatch.setattr(opened, lambda settings, progress: MaximumEngine())
    bag = write_bag(tmp_path / "bag")
    metadata = tmp_path / "bag" / "metadata.yaml"
    count = len(list(read_messages(bag, ["/vis/image_raw"])))
    text = metadata.read_text()
    assert text.count(f"message_count: {count}\n") >= 2
    metadata.write_text(text.replace(f"message_count: {count}\n", f"message_count: {stated}\n"))
    numbers = {"read": count, "stated": stated}
    for option, status in ((), 2), (("--allow-partial",), 0):
        assert main([str(bag), "--output", str(tmp_path / "report"), *QUICK, *option]) == status
        said = capsys.readouterr().err
        assert f"/vis/image_raw: {count} read, {stated} by metadata.yaml" in said
        found = json.loads((tmp_path / "report" / "summary.json").read_text())
        assert not found["complete"] and found["bag"]["incomplete"]["/vis/image_raw"] == numbers
        assert found["configurations"]["default"]["frames"] == count
        page = (tmp_path / "report" / "report.html").read_text()
        assert "Incomplete" in page and f"{count} messages read, {stated} stated" in page
