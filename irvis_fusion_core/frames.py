"""Checks frames and brings them into the layout of the engines.

Engines take `ir` uint8 [height, width, 1] and `vis` uint8 [height, width, 3], C-contiguous. Users
give thermal frames as grey or as three equal channels, and arrays with any strides.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from irvis_fusion_core.errors import ConfigurationError, FrameError

_GREY_CODES = {"rgb": cv2.COLOR_RGB2GRAY, "bgr": cv2.COLOR_BGR2GRAY}


def normalize_pair(ir: Any, vis: Any, order: str = "rgb") -> tuple[np.ndarray, np.ndarray]:
    """Check a pair and bring it into the engines' layout, copying only where needed.

    Args:
        ir: uint8 [height, width], [height, width, 1] or [height, width, 3]; three channels
            become luminance, which leaves equal ones unchanged.
        vis: uint8 [height, width, 3] of the same height and width.
        order: the channel order of both, "rgb" or "bgr".

    Returns:
        ir uint8 [height, width, 1] and vis uint8 [height, width, 3], C-contiguous, in `order`.

    Raises:
        FrameError: no array, an empty one, another dtype, rank or number of channels, or two
            different sizes.
        ConfigurationError: `order` is neither rgb nor bgr.
    """
    if (  # as a camera pipeline gives it: nothing to convert
        isinstance(ir, np.ndarray)
        and isinstance(vis, np.ndarray)
        and ir.dtype == vis.dtype == np.uint8
        and vis.shape == (*ir.shape, 3)
        and vis.ndim == 3
        and vis.size > 0
        and ir.flags.c_contiguous
        and vis.flags.c_contiguous
        and order in _GREY_CODES
    ):
        return ir[:, :, np.newaxis], vis
    grey_code(order)
    ir = normalize_ir(ir, order)
    _check_array("vis", vis, (3,), (3,))
    if ir.shape[:2] != vis.shape[:2]:
        raise FrameError(
            "expected ir and vis of one size, found %dx%d and %dx%d (width x height); register ir "
            "to vis first (irvis_fusion_core.registration), or resize it if both lenses see the "
            "same" % (ir.shape[1], ir.shape[0], vis.shape[1], vis.shape[0])
        )
    return ir, np.ascontiguousarray(vis)


def check_out(out: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise FrameError unless a fused frame of `shape` can be written to `out` as it lies."""
    if (
        out.shape != shape
        or out.dtype != np.uint8
        or not (out.flags.c_contiguous and out.flags.writeable)
    ):
        raise FrameError(
            f"expected out to be a writable, C-contiguous uint8 array {list(shape)}, found"
            f" {out.dtype} {list(out.shape)} with strides {list(out.strides)}; leave it out"
            " for a new array"
        )


def normalize_ir(ir: Any, order: str = "rgb") -> np.ndarray:
    """Return `ir` as uint8 [height, width, 1], C-contiguous; see `normalize_pair`."""
    _check_array("ir", ir, (2, 3), (1, 3))
    if ir.ndim == 2:
        ir = ir[:, :, np.newaxis]
    if ir.shape[2] == 3:
        return cv2.cvtColor(np.ascontiguousarray(ir), grey_code(order))[:, :, np.newaxis]
    return np.ascontiguousarray(ir)


def swap_order(frame: np.ndarray) -> np.ndarray:
    """Return a copy of uint8 [height, width, 3] with RGB and BGR swapped."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)


def in_order(fused: np.ndarray, order: str, wanted: str) -> np.ndarray:
    """Return uint8 [height, width, 3] of `order` in the order `wanted`, C-contiguous.

    Raises:
        FrameError: Another array.
        ConfigurationError: `order` is neither rgb nor bgr.
    """
    _check_array("fused", fused, (3,), (3,))
    if order == wanted:
        return np.ascontiguousarray(fused)
    grey_code(order)
    return swap_order(fused)


def grey_code(order: str) -> int:
    """Return OpenCV's code for `order` to grey; ConfigurationError unless it is rgb or bgr."""
    if order not in _GREY_CODES:
        raise ConfigurationError(f"expected order to be rgb or bgr, found {order!r}")
    return _GREY_CODES[order]


_MAKE_COLOUR = "make a colour image of it: cv2.cvtColor(vis, cv2.COLOR_GRAY2RGB)"


def _check_array(name: str, frame: Any, ranks: tuple[int, ...], channels: tuple[int, ...]) -> None:
    """Raise FrameError unless the frame is a uint8 array of such a rank and channels."""
    problem = ""
    if frame is None:
        problem = (
            "None; cv2.imread and VideoCapture.read give that when they fail: check that the file "
            "or camera is there"
        )
    elif not isinstance(frame, np.ndarray):
        problem = f"{type(frame).__name__}; convert it with numpy.asarray"
    elif frame.dtype != np.uint8:
        problem = _describe_dtype(name, frame)
    elif frame.ndim not in ranks:
        one = "give one frame at a time, height and width first"
        problem = f"shape {list(frame.shape)}; {_MAKE_COLOUR if frame.ndim == 2 else one}"
    elif frame.size == 0:
        problem = f"an empty one of shape {list(frame.shape)}; check the camera's or crop's size"
    elif frame.ndim == 3 and frame.shape[2] not in channels:
        advice = {1: _MAKE_COLOUR, 4: f"drop the alpha channel: {name}[..., :3]"}.get(
            frame.shape[2], "give height x width x channels, not channels first"
        )
        problem = f"{frame.shape[2]} channels (shape {list(frame.shape)}); {advice}"
    if problem:
        layout = "[height, width, 3]" if ranks == (3,) else "[height, width(, 1 or 3)]"
        raise FrameError(f"expected {name} to be a uint8 array {layout}, found {problem}")


def _describe_dtype(name: str, frame: np.ndarray) -> str:
    """Return the dtype, and the conversion to use."""
    if np.issubdtype(frame.dtype, np.floating):
        bad = int(frame.size - np.count_nonzero(np.isfinite(frame)))
        if bad:
            by = " (irvis_fusion_core.thermal does)" if name == "ir" else ""
            text = f"{frame.dtype} with {bad} values that are NaN or infinite; "
            return f"{text}mask them before converting{by}"
    advice = "scale it to 0..255 and convert: numpy.clip(vis, 0, 255).astype(numpy.uint8)"
    if name == "ir":
        advice = "irvis_fusion_core.thermal turns raw counts and temperatures into 8 bits"
    return f"{frame.dtype}; {advice}"
