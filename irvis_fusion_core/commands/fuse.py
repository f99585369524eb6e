"""Fuse two images, two folders or two videos.

examples::

  irvis_fusion fuse --ir ir.png --vis vis.png --output fused.png
  irvis_fusion fuse --ir IR/ --vis VIS/ --output fused/ --side-by-side
  irvis_fusion fuse --ir ir.mp4 --vis vis.mp4 --output fused.mp4 --model small

Folders are matched by file name. 16-bit thermal images are rescaled to 8 bits. The images must
be registered.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.command_line import (
    add_engine_options,
    command,
    make_parser,
    open_fusion,
    show_progress,
)
from irvis_fusion_core.errors import ConfigurationError, FrameError
from irvis_fusion_core.image_files import (
    IMAGE_SUFFIXES,
    FilePair,
    match_by_stem,
    read_thermal,
    read_visible,
    write_image,
)
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
    parser = make_parser(__doc__, "fuse")
    parser.add_argument("--ir", required=True, help="thermal image, folder or video")
    parser.add_argument("--vis", required=True, help="visible image, folder or video")
    parser.add_argument("--output", required=True, help="image, folder or video to write")
    parser.add_argument(
        "--side-by-side", action="store_true", help="write visible | thermal | fused in one image"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    add_engine_options(parser)
    options = parser.parse_args(arguments)
    kind = _kind(options.ir, options.vis)
    _check_output(kind, options.output, options.ir, options.vis)
    pairs = _open_pairs(kind, options.ir, options.vis)
    with open_fusion(options) as fusion:
        frames, seconds = _fuse_all(fusion, pairs, kind, options)
        description = fusion.describe()
    if not options.quiet:
        print(
            "%d fused into %s by %s with %s, %.1f ms each"
            % (
                frames,
                options.output,
                description["engine"],
                os.path.basename(description["model"]),
                1e3 * seconds / frames,
            ),
            file=sys.stderr,
        )
    return 0


def _fuse_all(fusion: Any, pairs: _Pairs, kind: str, options: Any) -> tuple[int, float]:
    """Fuse and write every pair; return their number, and the seconds spent fusing."""
    rescale = ThermalRescale()
    video: _VideoFile | None = None
    frames, seconds = 0, 0.0
    try:
        for name, raw, vis in show_progress(pairs.items, pairs.total, options.quiet):
            if kind != "video":  # images of a folder need not be a sequence
                rescale.reset()
            ir = raw if raw.dtype == np.uint8 else rescale(raw)
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
                    video = _VideoFile(options.output, fused.shape[:2], pairs.rate_hz)
                video.write(fused)
            else:
                target = options.output
                if kind == "folder":
                    target = os.path.join(options.output, name + ".png")
                write_image(target, fused)
            frames += 1
    finally:
        if video is not None:
            video.close()
    if frames == 0:
        raise FrameError(f"expected frames in {options.ir} and {options.vis}, found none")
    return frames, seconds


def _kind(ir: str, vis: str) -> str:
    kinds = []
    for path in (ir, vis):
        if os.path.isdir(path):
            kinds.append("folder")
        elif not os.path.isfile(path):
            raise FrameError(f"expected an image, folder or video at {path}, found nothing there")
        else:
            is_image = path.lower().endswith(IMAGE_SUFFIXES)
            kinds.append("image" if is_image else "video")
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
    suffix = os.path.splitext(output)[1].lower()
    if kind == "image" and suffix not in IMAGE_SUFFIXES:
        raise ConfigurationError(
            "expected --output to end in one of {} as the inputs are images, found {}".format(
                ", ".join(IMAGE_SUFFIXES), output
            )
        )
    if kind == "video" and suffix not in _VIDEO_CODECS:
        raise ConfigurationError(
            "expected --output to end in one of {} as the inputs are videos, found {}".format(
                ", ".join(_VIDEO_CODECS), output
            )
        )
    if kind == "folder" and os.path.isfile(output):
        raise ConfigurationError(f"expected --output to be a folder, found the file {output}")


def _open_pairs(kind: str, ir: str, vis: str) -> _Pairs:
    if kind == "video":
        return _read_videos(ir, vis)
    if kind == "folder":
        files = match_by_stem(ir, vis)
    else:
        files = [FilePair(os.path.splitext(os.path.basename(vis))[0], ir, vis)]
    items = ((each.stem, read_thermal(each.ir), read_visible(each.vis)) for each in files)
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
                print(
                    "irvis_fusion fuse: {} ends before {}, after {} frames".format(
                        *((vis_path, ir_path) if ir_there else (ir_path, vis_path)), number
                    ),
                    file=sys.stderr,
                )
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


class _VideoFile:
    """A video being written."""

    def __init__(self, path: str, size: tuple[int, int], rate_hz: float) -> None:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        codec = _VIDEO_CODECS[os.path.splitext(path)[1].lower()]
        fourcc = cv2.VideoWriter_fourcc(*codec)
        self._writer = cv2.VideoWriter(path, fourcc, rate_hz, (size[1], size[0]))
        if not self._writer.isOpened():
            raise FrameError(
                f"expected to write a video to {path}, found that OpenCV cannot; "
                "is the place writable? .avi works in every build"
            )

    def write(self, frame: np.ndarray) -> None:
        self._writer.write(frame)

    def close(self) -> None:
        self._writer.release()


if __name__ == "__main__":
    sys.exit(main())
