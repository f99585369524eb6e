"""One run of `evaluate_bag`, from the options to the report, even if it ends early."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from irvis_fusion_core.atomic_file import write_file
from irvis_fusion_core.command_line import say
from irvis_fusion_core.detectors import open_detector, read_annotations
from irvis_fusion_core.errors import ConfigurationError, FusionError
from irvis_fusion_core.image_files import images_by_stem
from irvis_fusion_ros.bags.bag_error import BagError, IncompleteBagError
from irvis_fusion_ros.bags.bag_topics import FusionTopics
from irvis_fusion_ros.bags.replay.offline_advice import why_nothing_fused
from irvis_fusion_ros.bags.replay.offline_fusion import OfflineFusion
from irvis_fusion_ros.evaluation.bag_facts import BagFacts, read_facts
from irvis_fusion_ros.evaluation.configurations import Configuration
from irvis_fusion_ros.evaluation.detection_check import DetectionCheck
from irvis_fusion_ros.evaluation.image_store import FILM_FRAMES, Animation
from irvis_fusion_ros.evaluation.measure import SCORE_COLUMNS, Sampling, Scorer
from irvis_fusion_ros.evaluation.recording import Recording, Step, in_step
from irvis_fusion_ros.evaluation.report.page import PAGE, require_libraries, write_page
from irvis_fusion_ros.evaluation.summary import plain, summarise, versions
from irvis_fusion_ros.evaluation.tables import writing

EVENT_CHARACTERS = 600
"""Encodings and formats come from outside, and may be megabytes long."""
RANKED = "Qabf"
"""Ranks the frames where it is measured; else the first metric does."""
LEAST_SCORE = 0.02
"""Of detections that the average precision takes."""
SUMMARY, FILM = "summary.json", "fused.gif"


class Plan(NamedTuple):
    """The options of a run; the command's help describes each."""

    bag: str
    topics: FusionTopics
    output: str
    configurations: list[Configuration]
    metrics: Sequence[str] | None
    measured_frames: int
    rank_by: str | None
    jobs: int
    detector: str
    min_score: float
    detector_frames: int
    annotations: str | None
    class_names: Sequence[str]
    frame_names: str | None
    gif: bool
    live: bool
    live_rate: float
    quiet: bool
    allow_partial: bool
    command: str


class Evaluation:
    """Replays the bag, writes the tables, and makes the report.

    A truncated bag, Ctrl-C or a failing engine end the replay early. Then the report contains the
    frames until then and is marked as incomplete, and the error is raised again.
    """

    def __init__(self, plan: Plan) -> None:
        """Check everything that can be checked before the engines are opened.

        Raises:
            FusionError: An impossible option, a missing library, a bag or annotations that cannot
                be read, or an output that cannot be written.
        """
        self._plan = plan
        require_libraries()
        self._scorer = Scorer(plan.metrics, plan.jobs)
        measured = plan.metrics or SCORE_COLUMNS
        self._rank_by = plan.rank_by or (RANKED if RANKED in measured else measured[0])
        if self._rank_by not in SCORE_COLUMNS or self._rank_by not in measured:
            raise ConfigurationError(
                "expected --rank-by to be one of the measured metrics, "
                f"{', '.join(measured)}, found {self._rank_by!r}"
            )
        self._facts = read_facts(plan.bag, plan.topics)
        self._detection = _make_detection(plan, self._facts)
        self._sampling = Sampling(self._facts.vis_frames, plan.measured_frames)
        _prepare_folder(plan.output)

    def run(self, show_progress: Callable[[Iterator[Step], int], Iterator[Step]]) -> str:
        """Replay, measure and report; return the path of the page.

        `show_progress` yields the steps, whose number is given, and shows how many are done.

        Raises:
            FusionError: As above, or the bag ended early, or contained no pairs.
        """
        plan, facts = self._plan, self._facts
        failure: FusionError | KeyboardInterrupt | None = None
        live: dict[str, Any] = {}
        incomplete: list[IncompleteBagError] = []
        with contextlib.ExitStack() as stack:
            stack.callback(self._scorer.close)
            recording = Recording(
                plan.output,
                [c.name for c in plan.configurations],
                self._scorer,
                self._sampling,
                self._detection,
                Animation(facts.vis_frames, facts.vis_rate_hz, FILM_FRAMES if plan.gif else 0),
                self._rank_by,
                facts.apart_s,
            )
            with contextlib.closing(recording):
                fusions = [stack.enter_context(self._open(c)) for c in plan.configurations]
                try:
                    steps = in_step(plan.bag, plan.topics, fusions, incomplete.append)
                    for step in show_progress(steps, facts.vis_frames):
                        recording.add(step)
                    if incomplete and not plan.allow_partial:
                        raise incomplete[0]
                    for error in incomplete[:1]:
                        print(f"warning: {error}", file=sys.stderr)
                    self._check_fused(fusions)
                except (FusionError, KeyboardInterrupt) as error:
                    failure = error
            results = [_result_of(fusion) for fusion in fusions]
        if failure is None and plan.live:
            from irvis_fusion_ros.evaluation.live.live_run import play_all

            try:
                live = play_all(plan)
            except (FusionError, KeyboardInterrupt) as error:
                failure = error
        page = self._write(recording, results, live, failure, incomplete)
        if isinstance(failure, FusionError):
            failure.args = (f"{failure} (the report until then: {page})",)
        if failure is not None:
            raise failure
        return page

    def _open(self, configuration: Configuration) -> OfflineFusion:
        fusion = OfflineFusion(configuration.settings, progress=say)
        if self._facts.vis_size is not None:
            # So no frame's time includes the warm-up. Unusable sizes are reported when fused.
            with contextlib.suppress(FusionError):
                fusion.engine.warm_up(*self._facts.vis_size)
        return fusion

    def _check_fused(self, fusions: Sequence[OfflineFusion]) -> None:
        if any(fusion.counts().get("fused") for fusion in fusions):
            return
        first, topics = fusions[0], self._plan.topics
        raise BagError(
            f"expected pairs of {topics.ir} and {topics.vis} in {self._plan.bag}, found none to "
            f"fuse: {why_nothing_fused(first.counts(), first.skews, first.settings)}"
        )

    def _write(
        self,
        recording: Recording,
        results: Sequence[dict[str, Any]],
        live: dict[str, Any],
        failure: BaseException | None,
        incomplete: Sequence[IncompleteBagError],
    ) -> str:
        plan, detection = self._plan, self._detection
        found = summarise(plan.output, list(recording.extremes))
        for configuration, result in zip(plan.configurations, results):
            found["configurations"][configuration.name].update(
                path=configuration.path,
                changed=configuration.changed,
                settings=configuration.settings.to_mapping(),
                **result,
            )
        error = failure or next(iter(incomplete), None)
        # Where nothing is missing by number, a file is damaged or cut off.
        counts = {
            name: dict(zip(("read", "stated"), pair))
            for each in incomplete[:1]
            for name, pair in each.differences.items()
        }
        why = f"at most {plan.measured_frames}, --measured-frames"
        summary = {
            "complete": error is None,
            "error": None if error is None else str(error) or type(error).__name__,
            "bag": {
                **self._facts.as_dict(),
                "duration_s": recording.seconds,
                "incomplete": counts if incomplete else None,
            },
            "measured": {"stride": self._sampling.stride, "why": why},
            **found,
            "detection": None if detection is None else detection.summary(),
            "live": live or None,
            "versions": versions(),
            "command": plan.command,
        }
        film = Path(plan.output, FILM)
        content = film.read_bytes() if recording.animation.write(str(film)) else None
        text = json.dumps(plain(summary), indent=2, ensure_ascii=False)
        path = os.path.join(plan.output, SUMMARY)
        with writing(path):
            write_file(path, text + "\n")
        examples = [] if detection is None else detection.examples()
        return write_page(summary, recording, content, examples)


def _result_of(fusion: OfflineFusion) -> dict[str, Any]:
    """Return the entries of summary.json that the replay itself knows."""
    return {
        "engine": fusion.engine.describe(),
        "events": {
            kind: {"times": event.times, "text": event.text[:EVENT_CHARACTERS]}
            for kind, event in fusion.events.items()
        },
        "thermal_frames_dropped": {
            kind: count
            for kind, count in sorted(fusion.counts().items())
            # A superseded frame may have been fused before a newer one replaced it.
            if count
            and kind.startswith(("ir_dropped.", "cleared."))
            and not kind.endswith(".superseded")
        },
    }


def _make_detection(plan: Plan, facts: BagFacts) -> DetectionCheck | None:
    if plan.detector == "none" and plan.annotations:
        raise ConfigurationError("expected a detector for --annotations, found --detector none")
    if plan.detector == "none":
        return None
    annotations = None
    file = None if plan.detector == "hog" else plan.detector
    # The average precision needs the doubtful detections as well.
    lowest = min(plan.min_score, LEAST_SCORE) if plan.annotations else plan.min_score
    detector = open_detector(file, lowest, plan.class_names)
    if plan.annotations:
        names = plan.class_names or detector.labels
        annotations = read_annotations(plan.annotations, names, _frame_names(plan.frame_names))
    most = plan.detector_frames
    least = plan.min_score if file else -math.inf
    return DetectionCheck(detector, annotations, facts.vis_frames, most, facts.apart_s, least)


def _prepare_folder(folder: str) -> None:
    """Make the folder, check that it can be written, and remove an older run's files."""
    with writing(folder):
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for name in (PAGE, SUMMARY, FILM):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(folder, name))


def _frame_names(path: str | None) -> list[str] | None:
    """Return the names of the visible frames: a folder's images, or the lines of a file."""
    if path is None:
        return None
    try:
        if os.path.isdir(path):
            return sorted(os.path.basename(image) for image in images_by_stem(path).values())
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"expected the visible frames' names, a text file or a folder of images, at {path}, "
            f"found: {error}"
        ) from error
