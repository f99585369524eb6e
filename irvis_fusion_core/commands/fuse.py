"""Fuse two images, two folders or two videos.

examples::

  irvis_fusion fuse --ir ir.png --vis vis.png --output fused.png
  irvis_fusion fuse --ir IR/ --vis VIS/ --output fused/ --side-by-side
  irvis_fusion fuse --ir ir.mp4 --vis vis.mp4 --output fused.mp4 --model small

Folders are matched by file name, videos by the times of their frames, as in the node. Thermal
images are rescaled as in the node, and brought to the visible grid by --registration. The fused
video changes from frame to frame no more than the cameras' do, as in the node.
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
from irvis_fusion_core.bounded_file import PARAMETER_BYTES, parse_yaml, read_text
from irvis_fusion_core.command_line import command
from irvis_fusion_core.errors import ConfigurationError, FileContentError, FrameError
from irvis_fusion_core.file_formats.video_files import Video, path_for_opencv
from irvis_fusion_core.flicker_limiter import FlickerLimiter
from irvis_fusion_core.image_files import IMAGE_SUFFIXES, FilePair
from irvis_fusion_core.protocols import Registration
from irvis_fusion_core.registration import fill_uncovered, make_registration
from irvis_fusion_core.streams.pairing import LatestIr
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_core.thermal import ThermalRescale
from irvis_fusion_core.thermal.palettes import PALETTES, grey_of

# Both are in every OpenCV wheel.
_VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v", ".mov": "mp4v"}


class _Item(NamedTuple):
    """One pair: the thermal image as stored, the visible one in BGR."""

    name: str
    raw: np.ndarray
    vis: np.ndarray
    stamp_s: float | None = None  # of the thermal image


class _Pairs(NamedTuple):
    """The pairs, their number (0: unknown), and their rate."""

    items: Iterator[_Item]
    total: int
    rate_hz: float


@command
def main(arguments: list[str]) -> int:
    parser = command_line.make_parser(__doc__, "fuse")
    add = parser.add_argument
    add("--ir", required=True, help="thermal image, folder or video")
    add("--vis", required=True, help="visible image, folder or video")
    add("--output", required=True, help="image, folder or video to write")
    help_text = "resize the thermal image (default), none, or a parameter file of the node"
    add("--registration", default="resize", metavar="resize|none|FILE", help=help_text)
    help_text = "how the thermal camera colours its images (default: auto, each is recognised)"
    add("--palette", default="auto", choices=PALETTES, help=help_text)
    add("--side-by-side", action="store_true", help="write visible | thermal | fused in one image")
    add("--quiet", action="store_true", help="no progress bar, no summary")
    command_line.add_engine_options(parser)
    options = parser.parse_args(arguments)
    kind = _kind(options.ir, options.vis)
    _check_output(kind, options.output, options.ir, options.vis)
    pairs = _open_pairs(kind, options.ir, options.vis, options.palette)
    registration = _open_registration(options.registration)
    with command_line.open_fusion(options) as fusion:
        frames, seconds = _fuse_all(fusion, registration, pairs, kind, options)
        description = fusion.describe()
    if not options.quiet:
        model = os.path.basename(description["model"])
        print(
            f"{frames} fused into {options.output} by {description['engine']} with {model}, "
            f"{1e3 * seconds / frames:.1f} ms each",
            file=sys.stderr,
        )
    return 0


def _fuse_all(
    fusion: Any, registration: Registration, pairs: _Pairs, kind: str, options: Any
) -> tuple[int, float]:
    """Fuse and write every pair; return their number, and the seconds spent fusing."""
    rescale, limiter = ThermalRescale(), FlickerLimiter()
    video: cv2.VideoWriter | None = None
    frames, seconds = 0, 0.0
    try:
        items = command_line.show_progress(pairs.items, pairs.total, options.quiet)
        for name, raw, vis, stamp_s in items:
            if kind != "video":  # images of a folder need not be a sequence
                rescale.reset()
            ir, coverage = registration.warp(rescale(raw, stamp_s), vis.shape[:2])
            if coverage is not None:
                ir = fill_uncovered(ir, cv2.cvtColor(vis, cv2.COLOR_BGR2GRAY), coverage)
            if frames == 0:
                fusion.warm_up(*vis.shape[:2])
            started = time.perf_counter()
            try:
                fused = fusion.fuse_frame(ir, vis, order="bgr")
            except FrameError as error:
                raise FrameError(f"{name}: {error}") from error
            seconds += time.perf_counter() - started
            if stamp_s is not None:
                limiter.limit(fused, ir, vis, stamp_s, "bgr")
            if coverage is not None:  # beyond the thermal image the visible one stands exactly
                cv2.copyTo(vis, cv2.compare(coverage, 0, cv2.CMP_EQ), fused)
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
            f"expected --ir and --vis of one kind, found {kinds[0]} and {kinds[1]}"
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


def _open_pairs(kind: str, ir: str, vis: str, palette: str) -> _Pairs:
    if kind == "video":
        thermal = Video(ir, thermal=True, to_grey=lambda bgr: grey_of(bgr, palette).grey)
        visible = Video(vis)
        return _Pairs(_paired_by_time(thermal, visible), visible.frames, visible.rate_hz)
    if kind == "folder":
        files = image_files.match_by_stem(ir, vis)
    else:
        files = [FilePair(os.path.splitext(os.path.basename(vis))[0], ir, vis)]
    items = (
        _Item(
            each.stem,
            image_files.read_thermal(each.ir, palette),
            image_files.read_visible(each.vis),
        )
        for each in files
    )
    return _Pairs(items, len(files), 0.0)


def _paired_by_time(ir: Video, vis: Video) -> Iterator[_Item]:
    """Pair each visible frame with the nearest thermal one, by the node's default policy."""
    pairing, thermal_ns, ended, number, alone = LatestIr(), 0, False, 0, 0
    thermal = iter(ir)
    for stamp_ns, image in vis:
        while not ended and thermal_ns < stamp_ns:
            frame = next(thermal, None)
            if frame is None:
                ended = True
            else:
                thermal_ns = frame[0]
                pairing.add_ir(thermal_ns, (thermal_ns / NS_PER_S, frame[1]))
        (pair,) = pairing.add_vis(stamp_ns, image)
        if pair.ir is not None:
            stamp_s, raw = pair.ir
            yield _Item(f"frame {number}", raw, image, stamp_s)
        alone += pair.ir is None
        number += 1
    for first, other, over in (
        (ir, vis, ended and alone > 0),
        (vis, ir, next(thermal, None) is not None),
    ):
        if over:
            text = f"{first.path} ends before {other.path}, after {number - alone} frames"
            print(f"irvis_fusion fuse: {text}", file=sys.stderr)
    if alone:
        text = f"{alone} of {number} frames of {vis.path} are left out: no thermal frame near them"
        print(f"irvis_fusion fuse: {text}", file=sys.stderr)


def _open_registration(given: str) -> Registration:
    """Return the registration of a mode without options, or of a parameter file of the node."""
    if given in ("resize", "none"):
        return make_registration(given)
    try:
        (node,) = parse_yaml(read_text(given, PARAMETER_BYTES)).values()
        parameters, prefix = node["ros__parameters"], "registration."
        options = dict(parameters.get("registration", {}))
        options.update(
            {n[len(prefix) :]: parameters[n] for n in parameters if n.startswith(prefix)}
        )
        if not options:
            raise KeyError("registration")
    except (FileContentError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            "expected --registration to be resize, none, or a parameter file with parameters of "
            f"registration, found {given!r} ({error}); `irvis_fusion calibrate` writes one"
        ) from error
    mode = options.pop("mode", "homography")
    if mode not in ("resize", "none", "homography"):
        raise ConfigurationError(
            f"expected registration.mode resize, none or homography in {given}, found {mode!r}; "
            "`irvis_fusion fuse_bag` applies the other modes to a bag"
        )
    names = ("homography", "calibrated_ir_size", "calibrated_vis_size", "soft_edge_px")
    kept = {name: options[name] for name in names if name in options and np.any(options[name])}
    return make_registration(mode, **kept)


def _create_video(path: str, frame: np.ndarray, rate_hz: float) -> cv2.VideoWriter:
    """Open a video of frames like this one for writing."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    codec = _VIDEO_CODECS[os.path.splitext(path)[1].lower()]
    size = (frame.shape[1], frame.shape[0])
    video = cv2.VideoWriter(path_for_opencv(path), cv2.VideoWriter_fourcc(*codec), rate_hz, size)
    if not video.isOpened():
        raise FrameError(
            f"expected to write a video to {path}, found that OpenCV cannot; "
            "is the place writable? .avi works in every build"
        )
    return video


if __name__ == "__main__":
    sys.exit(main())
