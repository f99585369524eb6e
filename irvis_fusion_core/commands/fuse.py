"""Fuse two images, two folders or two videos.

examples::

  irvis_fusion fuse --ir ir.png --vis vis.png --output fused.png
  irvis_fusion fuse --ir IR/ --vis VIS/ --output fused/ --side-by-side
  irvis_fusion fuse --ir ir.mp4 --vis vis.mp4 --output fused.mp4 --model small

Folders are matched by file name. Thermal images are rescaled as in the node. The images must be
registered.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np

from irvis_fusion_core import command_line, image_files
from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import ConfigurationError, FrameError
from irvis_fusion_core.image_files import IMAGE_SUFFIXES, FilePair
from irvis_fusion_core.thermal import ThermalRescale

# Both are in every OpenCV wheel.
_VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v", ".mov": "mp4v"}


class _Pairs(NamedTuple):
    """The pairs, their number (0: unknown), and their rate."""

    items: Iterator[tuple[str, np.ndarray, np.ndarray]]  # name, thermal as stored, visible BGR
    total: int
    rate_hz: float


@command
def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = command_line.make_parser(__doc__, "fuse")
    add = parser.add_argument
    add("--ir", required=True, help="thermal image, folder or video")
    add("--vis", required=True, help="visible image, folder or video")
    add("--output", required=True, help="image, folder or video to write")
    add("--side-by-side", action="store_true", help="write visible | thermal | fused in one image")
    add("--quiet", action="store_true", help="no progress bar, no summary")
    command_line.add_engine_options(parser)
    options = parser.parse_args(arguments)
    kind = _kind(options.ir, options.vis)
    _check_output(kind, options.output, options.ir, options.vis)
    pairs = _open_pairs(kind, options.ir, options.vis)
    with command_line.open_fusion(options) as fusion:
        frames, seconds = _fuse_all(fusion, pairs, kind, options)
        description = fusion.describe()
    if not options.quiet:
        model = os.path.basename(description["model"])
        print(
            f"{frames} fused into {options.output} by {description['engine']} with {model}, "
            f"{1e3 * seconds / frames:.1f} ms each",
            file=sys.stderr,
        )
    return 0


def _fuse_all(fusion: Any, pairs: _Pairs, kind: str, options: Any) -> tuple[int, float]:
    """Fuse and write every pair; return their number, and the seconds spent fusing."""
    rescale = ThermalRescale()
    video: cv2.VideoWriter | None = None
    frames, seconds = 0, 0.0
    try:
        for name, raw, vis in command_line.show_progress(pairs.items, pairs.total, options.quiet):
            if kind != "video":  # images of a folder need not be a sequence
                rescale.reset()
            ir = rescale(raw)
            if frames == 0:
                fusion.warm_up(*vis.shape[:2])
            started = time.perf_counter()
            try:
                fused = fusion.fuse_frame(ir, vis, order="bgr")
            except FrameError as error:
                raise FrameError(f"{name}: {error}") from error
            seconds += time.perf_counter() - started
            if options.side_by_side:
                fused = np.hstack([vis, cv2.cvtColor(ir, cv2.COLOR_GRAY2BGR), fused])
            if kind == "video":
                if video is None:
                    video = _create_video(options.output, fused, pairs.rate_hz)
                video.write(fused)
            else:
                in_folder = os.path.join(options.output, name + ".png")
                image_files.write_image(in_folder if kind == "folder" else options.output, fused)
            frames += 1
    finally:
        if video is not None:
            video.release()
    if frames == 0:
        raise FrameError(f"expected frames in {options.ir} and {options.vis}, found none")
    return frames, seconds


def _kind(ir: str, vis: str) -> str:
    kinds = []
    for path in (ir, vis):
        if not os.path.exists(path):
            raise FrameError(f"expected an image, folder or video at {path}, found nothing there")
        image_or_video = "image" if path.lower().endswith(IMAGE_SUFFIXES) else "video"
        kinds.append("folder" if os.path.isdir(path) else image_or_video)
    if kinds[0] != kinds[1]:
        raise ConfigurationError(
            f"expected --ir and --vis of one kind, found a {kinds[0]} and a {kinds[1]}"
        )
    return kinds[0]


def _check_output(kind: str, output: str, ir: str, vis: str) -> None:
    """Refuse outputs that cannot be written, before fusing."""
    if os.path.abspath(output) in (os.path.abspath(ir), os.path.abspath(vis)):
        raise ConfigurationError(
            f"expected --output to differ from the inputs, found {output}, one of them"
        )
    allowed = {"image": IMAGE_SUFFIXES, "video": tuple(_VIDEO_CODECS)}.get(kind)
    if allowed and os.path.splitext(output)[1].lower() not in allowed:
        raise ConfigurationError(
            f"expected --output to end in one of {', '.join(allowed)} as the inputs are {kind}s, "
            f"found {output}"
        )
    if kind == "folder" and os.path.isfile(output):
        raise ConfigurationError(f"expected --output to be a folder, found the file {output}")


def _open_pairs(kind: str, ir: str, vis: str) -> _Pairs:
    if kind == "video":
        return _read_videos(ir, vis)
    if kind == "folder":
        files = image_files.match_by_stem(ir, vis)
    else:
        files = [FilePair(os.path.splitext(os.path.basename(vis))[0], ir, vis)]
    items = (
        (each.stem, image_files.read_thermal(each.ir), image_files.read_visible(each.vis))
        for each in files
    )
    return _Pairs(items, len(files), 0.0)


def _read_videos(ir_path: str, vis_path: str) -> _Pairs:
    ir, vis = _open_video(ir_path), _open_video(vis_path)
    counts = [int(video.get(cv2.CAP_PROP_FRAME_COUNT)) for video in (ir, vis)]
    rate_hz = vis.get(cv2.CAP_PROP_FPS)
    if not 0.1 <= rate_hz <= 1000.0:  # some containers lack it
        rate_hz = 30.0

    def frames() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        number = 0
        while True:
            (ir_there, ir_frame), (vis_there, vis_frame) = ir.read(), vis.read()
            if ir_there != vis_there:
                first, other = (vis_path, ir_path) if ir_there else (ir_path, vis_path)
                text = f"irvis_fusion fuse: {first} ends before {other}, after {number} frames"
                print(text, file=sys.stderr)
            if not (ir_there and vis_there):
                break
            yield "frame %d" % number, cv2.cvtColor(ir_frame, cv2.COLOR_BGR2GRAY), vis_frame
            number += 1
        ir.release()
        vis.release()

    return _Pairs(frames(), max(0, min(counts)), rate_hz)


def _open_video(path: str) -> Any:
    video = cv2.VideoCapture(path)
    if not video.isOpened():
        raise FrameError(
            f"expected a video in {path}, found nothing that OpenCV can read; is it truncated, or "
            "in a format that this build of OpenCV lacks?"
        )
    return video


def _create_video(path: str, frame: np.ndarray, rate_hz: float) -> cv2.VideoWriter:
    """Open a video of frames like this one for writing."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    codec = _VIDEO_CODECS[os.path.splitext(path)[1].lower()]
    size = (frame.shape[1], frame.shape[0])
    video = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*codec), rate_hz, size)
    if not video.isOpened():
        raise FrameError(
            f"expected to write a video to {path}, found that OpenCV cannot; "
            "is the place writable? .avi works in every build"
        )
    return video


if __name__ == "__main__":
    sys.exit(main())
