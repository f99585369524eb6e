"""One run of `evaluate_bag`, from the options to the report, also where it ends early."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from irvis_fusion_core.command_line import show_progress
from irvis_fusion_core.detectors import open_detector, read_annotations
from irvis_fusion_core.errors import ConfigurationError, FusionError
from irvis_fusion_core.image_files import IMAGE_SUFFIXES
from irvis_fusion_ros.bags.bag import BagError
from irvis_fusion_ros.bags.bag_topics import FusionTopics
from irvis_fusion_ros.bags.replay.offline_advice import why_nothing_fused
from irvis_fusion_ros.bags.replay.offline_fusion import OfflineFusion
from irvis_fusion_ros.evaluation.bag_facts import BagFacts, read_facts
from irvis_fusion_ros.evaluation.configurations import Configuration
from irvis_fusion_ros.evaluation.detection_check import DetectionCheck
from irvis_fusion_ros.evaluation.image_store import Animation, write_bytes
from irvis_fusion_ros.evaluation.measure import SCORE_COLUMNS, Sampling, Scorer
from irvis_fusion_ros.evaluation.recording import Recording, in_step
from irvis_fusion_ros.evaluation.report.page import PAGE, write_page
from irvis_fusion_ros.evaluation.report.page_parts import Extra
from irvis_fusion_ros.evaluation.summary import plain, summarise, versions
from irvis_fusion_ros.evaluation.tables import unwritable

EVENT_CHARACTERS = 600
"""Encodings and formats come from outside, and may be megabytes long."""
SUMMARY, FILM = "summary.json", "fused.gif"


class Plan(NamedTuple):
    """What a run is asked to do; the command's options describe each."""

    bag: str
    topics: FusionTopics
    output: str
    configurations: List[Configuration]
    metrics: Optional[Sequence[str]] = None
    measured_frames: int = 300
    rank_by: str = "Qabf"
    jobs: int = 1
    detector: str = "hog"
    min_score: float = 0.25
    detector_frames: int = 100
    annotations: Optional[str] = None
    class_names: Sequence[str] = ()
    frame_names: Optional[str] = None
    gif: bool = True
    live: bool = False
    live_rate: float = 1.0
    quiet: bool = False
    command: str = "evaluate_bag"


class Evaluation:
    """Walks the bag, writes the tables, and makes the report of them.

    What ends the walk early (a truncated bag, Ctrl-C, an engine that fails) ends it with a report
    of what there is, marked as incomplete, and is raised again.
    """

    def __init__(self, plan: Plan) -> None:
        """Check everything that can be checked before the engines are opened.

        Raises:
            FusionError: an impossible option, a bag or annotations that cannot be read, or an
                output that cannot be written.
        """
        self.plan = plan
        if plan.rank_by not in SCORE_COLUMNS or (
            plan.metrics and plan.rank_by not in plan.metrics
        ):
            raise ConfigurationError(
                "expected --rank-by to be one of the metrics that are measured, "
                f"{', '.join(plan.metrics or SCORE_COLUMNS)}, found {plan.rank_by!r}"
            )
        self._facts: BagFacts = read_facts(plan.bag, plan.topics)
        self._scorer = Scorer(plan.metrics, plan.jobs)
        self._detection = self._make_detection()
        _prepare_folder(plan.output)
        self._live: Dict[str, Any] = {}

    def run(self) -> str:
        """Do it; the path of the page.

        Raises:
            FusionError: as above, or the bag ended early, or held no pairs.
        """
        plan, facts = self.plan, self._facts
        sampling = Sampling(facts.vis_frames, plan.measured_frames)
        animation = Animation(facts.vis_frames, facts.vis_rate_hz, 36 if plan.gif else 0)
        recording = Recording(
            plan.output,
            plan.configurations,
            self._scorer,
            sampling,
            self._detection,
            animation,
            plan.rank_by,
            facts.apart_s,
        )
        with contextlib.ExitStack() as stack:
            stack.callback(self._scorer.close)
            with contextlib.closing(recording):
                fusions = [stack.enter_context(self._open(c)) for c in plan.configurations]
                failure: Optional[BaseException] = None
                try:
                    steps = in_step(plan.bag, plan.topics, fusions)
                    for step in show_progress(steps, facts.vis_frames, plan.quiet):
                        recording.add(step)
                    self._refuse_nothing(fusions)
                except (FusionError, KeyboardInterrupt) as error:
                    failure = error
            engines = [fusion.engine.describe() for fusion in fusions]
            events = [dict(fusion.events) for fusion in fusions]
            counts = [fusion.counts() for fusion in fusions]
        if failure is None and plan.live:
            try:
                self._play_live()
            except (FusionError, KeyboardInterrupt) as error:
                failure = error
        page = self._write(recording, sampling, engines, events, counts, failure)
        if failure is not None:
            if isinstance(failure, FusionError):
                failure.args = (f"{failure} (what there is until then: {page})",)
            raise failure
        return page

    def _open(self, configuration: Configuration) -> OfflineFusion:
        fusion = OfflineFusion(configuration.settings, progress=_say)
        if self._facts.vis_size is not None:
            # Ahead, so that no frame's time holds it. What is too small is told when it is fused.
            with contextlib.suppress(FusionError):
                fusion.engine.warm_up(*self._facts.vis_size)
        return fusion

    def _refuse_nothing(self, fusions: Sequence[OfflineFusion]) -> None:
        if any(fusion.counts().get("fused") for fusion in fusions):
            return
        first = fusions[0]
        why = why_nothing_fused(first.counts(), first.skews, first.settings)
        raise BagError(
            f"expected pairs of {self.plan.topics.ir} and {self.plan.topics.vis} in "
            f"{self.plan.bag}, found none to fuse: {why}"
        )

    def _make_detection(self) -> Optional[DetectionCheck]:
        plan = self.plan
        if plan.detector == "none":
            if plan.annotations:
                raise ConfigurationError(
                    "expected a detector for --annotations, found --detector none"
                )
            return None
        annotations = None
        detector = open_detector(None if plan.detector == "hog" else plan.detector, plan.min_score)
        if plan.annotations:
            names = plan.class_names or detector.labels
            annotations = read_annotations(plan.annotations, names, _names(plan.frame_names))
        frames, apart_s = self._facts.vis_frames, self._facts.apart_s
        return DetectionCheck(detector, annotations, frames, plan.detector_frames, apart_s)

    def _play_live(self) -> None:
        from irvis_fusion_ros.evaluation.live.live_run import play_all

        self._live = play_all(self.plan)

    def _write(
        self,
        recording: Recording,
        sampling: Sampling,
        engines: Sequence[Any],
        events: Sequence[Any],
        counts: Sequence[Any],
        failure: Optional[BaseException],
    ) -> str:
        plan = self.plan
        found = summarise(plan.output, recording.names)
        for index, configuration in enumerate(plan.configurations):
            of = found["configurations"][configuration.name]
            # "superseded" is also what was used, and gave way to the next.
            thermal = {
                kind: count
                for kind, count in sorted(counts[index].items())
                if kind.startswith(("ir_dropped.", "cleared."))
                and not kind.endswith(".superseded")
                and count
            }
            of.update(
                path=configuration.path,
                changed=configuration.changed,
                settings=configuration.settings.to_mapping(),
                engine=engines[index],
                events={
                    k: {"times": e.times, "text": e.text[:EVENT_CHARACTERS]}
                    for k, e in events[index].items()
                },
                thermal_frames_dropped=thermal,
            )
        why = f"at most {plan.measured_frames} of them, --measured-frames"
        summary = {
            "complete": failure is None,
            "error": None if failure is None else str(failure) or type(failure).__name__,
            "bag": {**self._facts.as_dict(), "duration_s": recording.seconds},
            "measured": {"stride": sampling.stride, "why": why},
            **found,
            "detection": None if self._detection is None else self._detection.summary(),
            "live": self._live or None,
            "versions": versions(),
            "command": plan.command,
        }
        film = os.path.join(plan.output, FILM)
        has_film = recording.animation.write(film)
        text = json.dumps(plain(summary), indent=2, ensure_ascii=False)
        write_bytes(os.path.join(plan.output, SUMMARY), (text + "\n").encode("utf-8"))
        extra = Extra(
            film=_read(film) if has_film else None,
            film_names=recording.animation.names,
            best={name: each.best() for name, each in recording.extremes.items()},
            worst={name: each.worst() for name, each in recording.extremes.items()},
            examples=[] if self._detection is None else self._detection.examples(),
            rank_by=plan.rank_by,
        )
        return write_page(plan.output, summary, extra)


def _prepare_folder(folder: str) -> None:
    """Make the folder, see that it can be written to, and remove what an older run left."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for name in (PAGE, SUMMARY, FILM):
            with contextlib.suppress(FileNotFoundError):
                os.remove(os.path.join(folder, name))
    except OSError as error:
        raise unwritable(folder, error) from error


def _names(path: Optional[str]) -> Optional[List[str]]:
    """Names of the visible frames in order: of a folder's images, or the lines of a file."""
    if path is None:
        return None
    try:
        if os.path.isdir(path):
            files = sorted(os.listdir(path))
            return [n for n in files if os.path.splitext(n)[1].lower() in IMAGE_SUFFIXES]
        with open(path, encoding="utf-8") as stream:
            return [line.strip() for line in stream if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"expected the visible frames' names, a text file or a folder of images, at {path}, "
            f"found: {error}"
        ) from error


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def _say(text: str) -> None:
    print(text, file=sys.stderr)
