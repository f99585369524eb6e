"""A fault as a row of the table, and how it is run against a node."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, NamedTuple

from faults.scene import FRAMES, RATE_HZ, Scene

LOAD_PASSES = {"overrun", "engine_stuck", "ir_stale", "ir_late", "ir_missing", "ir_too_old"}
"""Why a frame may pass on a busy machine: the engine or the thermal camera got no time."""


@dataclass(frozen=True)
class Fault:
    """One fault: what is done to the streams, and what must come of it.

    Attributes:
        vis, ir, info: Alters one message in `every` of the stream; see `Scene.play`.
        act: Called with the scene before each frame, with the frame's index.
        once: Called with the scene in the middle of the frames.
        dropped: Causes for which altered visible frames are dropped; all others must come out.
        passed: Reasons for which frames must have passed unfused; more may come of load.
        may_pass: Further reasons that are allowed.
        says: Kinds of event that /diagnostics must count.
        fuses: Whether fusion must come back afterwards without help.
        sizes: Whether images change their size, so that memory may grow.
        quick: Whether it is part of `make test`.
    """

    name: str
    vis: Callable[..., Any] | None = None
    ir: Callable[..., Any] | None = None
    info: Callable[..., Any] | None = None
    act: Callable[..., Any] | None = None
    once: Callable[..., Any] | None = None
    dropped: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    may_pass: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    fuses: bool = True
    sizes: bool = False
    quick: bool = False
    every: int = 3
    count: int = FRAMES
    rate_hz: float = RATE_HZ


@dataclass(frozen=True)
class Group:
    """Faults that one node suffers one after another, and how that node is started.

    Attributes:
        ends: Whether the node is ended and started again by its faults.
        pixels: Whether what is fused must be the maximum with a thermal frame that was sent.
    """

    name: str
    faults: tuple[Fault, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    script: tuple[str, ...] | None = None
    compressed: tuple[str, ...] = ()
    ends: bool = False
    pixels: bool = True

    def start(self, folder):
        """Return a scene in which the node of this group fuses.

        `{folder}` in the environment is a folder of the scene.
        """
        scene = Scene(folder, self.compressed)
        try:
            transports = {camera + "_transport": "compressed" for camera in self.compressed}
            environment = {k: v.format(folder=folder) for k, v in self.environment.items()}
            script = None if self.script is None else list(self.script)
            scene.start_node({**transports, **self.parameters}, environment, script)
        except BaseException:
            scene.close()
            raise
        return scene


class Outcome(NamedTuple):
    """What became of the visible frames of one fault."""

    group: str
    fault: str
    published: int
    ends: Counter


def run(group, fault, scene):
    """Run a fault against the node of a scene; assert what must come of it.

    Raises:
        AssertionError: A frame is not accounted for, came out twice or disordered, or was changed;
            or the node ended, did not recover, or said nothing.
    """
    scene.total, scene.published, scene.altered, scene.exact = Counter(), 0, 0, True
    scene.stamp = scene.now
    # What a strange thermal image becomes is not known here.
    scene.ledger.knows_pixels = fault.ir is None and group.pixels
    scene.begin()
    events = scene.events()

    def act(scene, index):
        if fault.act is not None:
            fault.act(scene, index)
        if fault.once is not None and index == fault.count // 2:
            fault.once(scene)

    scene.play(fault.count, fault.rate_hz, fault.vis, fault.ir, fault.info, fault.every, act)
    scene.stamp = scene.now
    scene.recover(fault.fuses)
    scene.account()
    scene.fusion.check_running()
    check_causes(fault, scene)
    now = scene.events()
    for kind in fault.says:
        # After 32 kinds the node counts new ones as `other`: a soak comes to that.
        grown = any(now.get(each, 0) > events.get(each, 0) for each in (kind, "other"))
        assert grown, f"{kind} is not told: {now}"
    assert "Traceback" not in scene.fusion.log(), scene.told()
    return Outcome(group.name, fault.name, scene.published, scene.total)


def check_causes(fault, scene):
    """Assert why frames were dropped and passed."""
    told = f"{scene.total}; {scene.told()}"
    dropped = {end[9:] for end in scene.total if end.startswith("dropped: ")}
    passed = {end[8:] for end in scene.total if end.startswith("passed: ")}
    assert dropped == set(fault.dropped), told
    if fault.dropped and not any(end.startswith("lost: ") for end in scene.total):
        found = sum(n for end, n in scene.total.items() if end.startswith("dropped: "))
        assert found == scene.altered > 0, told
    assert set(fault.passed) <= passed, told
    assert passed <= {*fault.passed, *fault.may_pass, *LOAD_PASSES}, told
