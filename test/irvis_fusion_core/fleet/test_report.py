"""The combined report: a row for each source, sums and means of all."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest

from irvis_fusion_core.fleet.job import Job, Result
from irvis_fusion_core.fleet.report import FleetReport, total_of


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("href", "src")]


def job(name):
    return Job(name, "none", {}, ".")


def facts(frames, qabf):
    return {
        "counts": {"frames": frames},
        "means": {"Qabf": {"mean": qabf, "count": frames}},
        "values": {"engine": "a <b>"},
    }


def test_means_of_all_are_the_means_of_all_frames():
    rng = np.random.default_rng(0)
    bags = [rng.random(count) for count in (1, 40, 7)]
    total = total_of(facts(len(bag), bag.mean()) for bag in bags)
    assert total["counts"] == {"frames": 48}
    assert total["means"]["Qabf"]["mean"] == pytest.approx(np.concatenate(bags).mean())
    assert total["means"]["Qabf"]["count"] == 48
    assert total_of([{}]) == {"counts": {}, "means": {}}


def test_a_report_has_every_source_and_its_end(tmp_path, capsys):
    names = ("one", "two & three", "broken", "not begun")
    sources = {name: f"/bags/{name}" for name in names}
    report = FleetReport("irvis_fusion x", sources, tmp_path, "report.html")
    (tmp_path / "two & three").mkdir()
    (tmp_path / "two & three" / "report.html").touch()
    report.add(job("one"), Result(0, facts=facts(10, 0.5), kept=True))
    report.add(job("two & three"), Result(0, facts=facts(30, 0.7), log="warning: x\n"))
    report.add(job("broken"), Result(1, "expected <all>, found none", host="vm"))
    report.write()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["complete"] is False
    states = ["done before", "done", "failed", "waiting"]
    assert [row["status"] for row in summary["runs"]] == states
    assert summary["runs"][2]["error"] == "expected <all>, found none"
    assert summary["total"]["counts"] == {"frames": 40}
    assert summary["total"]["means"]["Qabf"]["mean"] == pytest.approx(0.65)
    rows = list(csv.DictReader((tmp_path / "runs.csv").open(newline="")))
    assert [(row["name"], row["frames"], row["Qabf"]) for row in rows] == [
        ("one", "10", "0.5"),
        ("two & three", "30", "0.7"),
        ("broken", "", ""),
        ("not begun", "", ""),
    ]
    page = (tmp_path / "index.html").read_text()
    assert "expected &lt;all&gt;, found none" in page and "a &lt;b&gt;" in page
    assert "<b>" not in page and "0.65" in page
    assert Links(page).found == ["two%20%26%20three/report.html", "two%20%26%20three.log"]
    assert "broken: failed: expected <all>" in capsys.readouterr().err


@pytest.mark.parametrize(
    "statuses, expected",
    [((0, 0), 0), ((0, 2), 2), ((0, 1), 1), ((2, 1), 1), ((2, 130), 1), ((7, 0), 1)],
)
def test_the_exit_status_tells(statuses, expected):
    report = FleetReport("x", {str(n): "" for n in range(2)}, quiet=True)
    for number, status in enumerate(statuses):
        report.add(job(str(number)), Result(status))
    assert report.exit_status == expected


def test_quiet_prints_failures_only(capsys):
    report = FleetReport("x", {"a": "", "b": ""}, quiet=True)
    report.add(job("a"), Result(0))
    report.add(job("b"), Result(1, "expected a bag"))
    assert capsys.readouterr().err == "[2/2] b: failed: expected a bag\n"


def test_a_report_is_there_when_the_run_is_interrupted(tmp_path, monkeypatch):
    def states():
        summary = json.loads((tmp_path / "summary.json").read_text())
        return [row["status"] for row in summary["runs"]]

    def interrupted(jobs, count, scheduler, done):
        assert (
            json.loads((tmp_path / "summary.json").read_text())["runs"][0]["status"] == "waiting"
        )
        done(jobs[0], Result(0))
        raise KeyboardInterrupt

    monkeypatch.setattr("irvis_fusion_core.fleet.report.run_jobs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        FleetReport("x", {"a": "", "b": ""}, tmp_path).run([job("a"), job("b")], 1, None)
    assert states() == ["done", "waiting"]
