"""The report of the command, laid out by a real browser."""

import shutil
import subprocess

import cv2
import pytest
from bag_recording import needs_rosbags
from evaluation_scene import MaximumEngine, write_bag
from real_data import data_root

from irvis_fusion_ros.commands.evaluate_bag import main

for library in ("jinja2", "matplotlib", "PIL"):
    pytest.importorskip(library, reason="makes reports: pip install '.[evaluate]'")
pytestmark = needs_rosbags
QUICK = ["--quiet", "--jobs", "1", "--detector", "none", "-p", "thermal.method:=none"]


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    pytest.skip("needs a headless browser: apt install chromium")


def laid_out(program, report, tmp_path):
    """Screenshot of a report in a real browser, after checks of what the browser made of it."""
    probe = (
        "<script>window.onload=()=>{const d=document.documentElement;"
        "const broken=[...document.images].filter(i=>!i.naturalWidth).length;"
        "document.title=[d.scrollWidth<=d.clientWidth,broken,document.images.length,"
        "document.querySelectorAll('svg g.line').length,d.scrollHeight].join()}</script>"
    )
    text = (report / "report.html").read_text()
    (tmp_path / "probe.html").write_text(text.replace("</body>", probe + "</body>"))
    shot = tmp_path / "shot.png"
    dumped = subprocess.run(
        [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         "--window-size=1240,2400", f"--user-data-dir={tmp_path / 'profile'}",
         f"--screenshot={shot}", "--dump-dom", f"file://{tmp_path / 'probe.html'}"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=240, check=True,
    ).stdout  # fmt: skip
    title = dumped.partition("<title>")[2].partition("</title>")[0]
    fits, broken, images, lines, height = title.split(",")
    assert (fits, broken) == ("true", "0")  # nothing sticks out, every image is there
    image = cv2.imread(str(shot), 0)
    assert image.shape == (2400, 1240)
    assert image.std() > 10 and (image > 200).mean() > 0.4  # neither empty nor black
    return int(images), int(lines), int(height)


def test_the_report_in_a_browser(tmp_path, monkeypatch):
    program = browser()
    monkeypatch.setattr(
        "irvis_fusion_ros.bags.replay.offline_fusion.open_fusion",
        lambda settings, progress: MaximumEngine(),
    )
    bag = write_bag(tmp_path / "bag")
    arguments = ["--output", str(tmp_path / "report"), *QUICK, "--metrics", "Qabf,EN"]
    assert main([str(bag), *arguments]) == 0
    images, lines, height = laid_out(program, tmp_path / "report", tmp_path)
    assert images >= 10 and lines >= 10 and height > 2000


@pytest.mark.slow
def test_the_report_of_real_pairs_in_a_browser(tmp_path):
    pairs = data_root() / "msrs" / "val"
    pytest.importorskip("openvino", reason="fuses with the shipped model on OpenVINO")
    from irvis_fusion_ros.commands.make_bag import main as make_bag

    program = browser()
    bag, report = tmp_path / "msrs", tmp_path / "report"
    assert make_bag(["--pairs", str(pairs), "--output", str(bag), "--quiet"]) == 0
    assert main([str(bag), "--output", str(report), "--quiet", "--measured-frames", "8",
                 "--detector-frames", "3"]) == 0  # fmt: skip
    images, lines, height = laid_out(program, report, tmp_path)
    assert images >= 15 and lines >= 15 and height > 3000
