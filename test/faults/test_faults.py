"""Each fault of the table against a running node: every frame is accounted for, and it recovers.

`make test` runs the few that are marked quick, `make faults` all, with the table of
docs/reliability.md.
"""

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy: source ROS, or pip install '.[ros]'")

from faults.campaign import run
from faults.outcomes import BEGIN, END
from faults.table import ROWS


class Running:
    """The node that suffers the faults of one group after another; another one after a failure."""

    def __init__(self, folders):
        """Start with none."""
        self.folders, self.scene, self.key = folders, None, None
        self.outcomes = []

    def suffer(self, group, fault, key):
        """Run a fault, against the running node where it is one of `key`."""
        if self.scene is None or self.key != key:
            self.end()
            self.scene = group.start(self.folders.mktemp("faults"))
            self.key = key
        try:
            self.outcomes.append(run(group, fault, self.scene))
        except BaseException:
            scene, self.scene = self.scene, None
            scene.close()
            raise

    def end(self):
        """End the node as Ctrl-C does."""
        if self.scene is not None:
            scene, self.scene = self.scene, None
            try:
                running = scene.fusion.exit_status is None
                assert scene.fusion.stop() == 0 or not running
            finally:
                scene.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The node under test; writes the outcomes into the file FAULTS_OUTCOMES at the end."""
    node = Running(tmp_path_factory)
    yield node
    try:
        node.end()
    finally:
        path = os.environ.get("FAULTS_OUTCOMES")
        if path and node.outcomes:
            with open(path, "w", encoding="utf-8") as file:
                json.dump([outcome._asdict() for outcome in node.outcomes], file, indent=1)


def test_the_page_has_an_outcome_of_every_fault():
    """The table of the page is made by `make faults`; add a row's outcome by running it."""
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    found = []
    for line in page.partition(BEGIN)[2].partition(END)[0].splitlines():
        if line.startswith("### "):
            group = line[4:]
        elif line.startswith("| ") and not line.startswith("| fault "):
            found.append((group, line.split(" | ")[0][2:]))
    assert found == [(g.name[0].upper() + g.name[1:], f.name) for g, f in ROWS]
    assert len(found) >= 60


def rows(chosen):
    return [pytest.param(g, f, id=f"{g.name}: {f.name}") for g, f in ROWS if chosen(g, f)]


@pytest.mark.parametrize("group, fault", rows(lambda g, f: f.quick))
def test_quick_fault(group, fault, running):
    running.suffer(group, fault, (group.parameters, group.script, group.compressed))


@pytest.mark.faults
@pytest.mark.parametrize("group, fault", rows(lambda g, f: True))
def test_fault(group, fault, running):
    running.suffer(group, fault, group.name)
