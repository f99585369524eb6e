"""RealtimeFusion: the public way to fuse a pair."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from irvis_fusion_core import model_zoo
from irvis_fusion_core.backends import Backend, BackendOptions, choose_backend, open_backend
from irvis_fusion_core.backends.cuda_device import find_gpu
from irvis_fusion_core.backends.model_file import WEIGHTS, read_model_file
from irvis_fusion_core.errors import ConfigurationError, EngineError, EngineUnavailableError
from irvis_fusion_core.frames import normalize_ir
from irvis_fusion_core.thermal import ThermalOptions, ThermalRescale

# The board's name, on ARM only.
_BOARD = "/proc/device-tree/model"
_SMALL_BOARDS = ("Orin Nano", "Xavier NX")

AS_IN_THE_NODE = ThermalOptions()
"""How the node rescales thermal frames by default."""


class RealtimeFusion:
    """Fuses pairs of frames on the best engine available, one after the other.

        with RealtimeFusion() as fusion:
            fused = fusion.fuse_frame(ir, vis)

    Use it from one thread at a time. The first frame of each size is late, because the engine
    prepares for the size (TensorRT builds for minutes, once); `warm_up` does that in advance.

    Args:
        model: "auto" (base on a GPU, small on small Jetsons, nano on a CPU), a shipped variant
            (nano, small, base), the path of an exported .onnx, or that of trained weights
            (.safetensors, .pth), which torch runs.
        backend: "auto", or a name of `irvis_fusion_core.backends.backend_names()`.
        precision: fp32, fp16 or int8 select a file of a shipped model, bf16 is for OpenVINO; None
            is fp16 on a GPU and fp32 on a CPU.
        thermal: how thermal frames become 8 bits, by default as in the node (`ThermalRescale`);
            None takes uint8 frames as they are, for callers that have rescaled them.
        options: fields of `BackendOptions`: threads, device, cache_dir, cuda_graph, progress...

    Raises:
        ModelError, EngineUnavailableError, EngineError, ConfigurationError: as `Backend.open`.
    """

    def __init__(
        self,
        model: str = "auto",
        backend: str = "auto",
        *,
        precision: str | None = None,
        thermal: ThermalOptions | None = AS_IN_THE_NODE,
        **options: Any,
    ) -> None:
        self._rescale = None if thermal is None else ThermalRescale(thermal)
        model = os.fspath(model)
        # Checked before anything is opened.
        device = BackendOptions(precision=precision, **options).device
        self._passed_over: list[str] = []
        on_gpu = _runs_on_gpu(backend, device)
        if on_gpu and backend == "auto" and device is None:
            # If the engine on the GPU does not open, the CPU gets a smaller model.
            try:
                on_cuda = {**options, "device": "cuda"}
                self.backend = _open(model, backend, precision, True, on_cuda)
                return
            except (EngineUnavailableError, EngineError) as error:
                self._passed_over.append(f"the GPU: {error}")
            on_gpu, options = False, {**options, "device": "cpu"}
        self.backend = _open(model, backend, precision, on_gpu, options)

    def fuse_frame(
        self,
        ir_frame: np.ndarray,
        vis_frame: np.ndarray,
        order: str = "rgb",
        stamp_s: float | None = None,
        *,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Fuse one pair.

        Args:
            ir_frame: uint8 [height, width], [height, width, 1] or [height, width, 3], any strides;
                with `thermal` also uint16 counts or float temperatures [height, width].
            vis_frame: uint8 [height, width, 3] of the same size, any strides.
            order: channel order of the frames given and returned, "rgb" or "bgr".
            stamp_s: time of the thermal frame, seconds. With it the limits of `thermal` are steady
                over a video; without it every frame is rescaled alone.
            out: where to write the result, uint8 of the size of `vis_frame`, C-contiguous; None
                makes a new array.

        Returns:
            uint8 [height, width, 3] in `order`, fused luminance with the visible frame's colour:
            `out`, or an array that the caller owns.

        Raises:
            FrameError: another type, layout or size of frame or of `out`.
            ConfigurationError: another `order`.
            EngineError: the engine failed, or was closed.
        """
        if self._rescale is not None:
            if getattr(ir_frame, "dtype", np.uint8) == np.uint8:
                ir_frame = normalize_ir(ir_frame, order)  # three equal channels become one
            if stamp_s is None:
                self._rescale.reset()
            ir_frame = self._rescale(ir_frame, stamp_s)
        return self.backend.fuse(ir_frame, vis_frame, order, out)

    def warm_up(self, height: int, width: int) -> None:
        """Prepare the engine for frames of this size, in pixels. May take minutes."""
        self.backend.warm_up(height, width)

    def describe(self) -> dict[str, Any]:
        """Return engine, device, model and precision, and why better ones were passed over."""
        description = self.backend.describe()
        description["passed_over"] = self._passed_over + list(description["passed_over"])
        return description

    def close(self) -> None:
        """Free everything that the engine holds. May be called again."""
        self.backend.close()

    def __enter__(self) -> RealtimeFusion:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def automatic_variant(on_gpu: bool) -> str:
    """Return the variant that `model="auto"` stands for on this machine."""
    if not on_gpu:
        return "nano"
    try:
        with open(_BOARD, encoding="utf-8", errors="replace") as stream:
            board = stream.read()
    except OSError:  # no device tree: not a Jetson
        board = ""
    return "small" if any(name in board for name in _SMALL_BOARDS) else "base"


def _open(
    model: str, backend: str, precision: str | None, on_gpu: bool, options: dict[str, Any]
) -> Backend:
    path, precision = _choose_file(model, backend, precision, on_gpu)
    if path.endswith(WEIGHTS):
        if backend not in ("auto", "torch"):
            raise ConfigurationError(
                f"expected an exported .onnx for {backend}, found weights, {path}; export first: "
                f"irvis_fusion export --checkpoint {path} --output model.onnx; or leave out the "
                "backend, and torch runs them"
            )
        backend = "torch"
    chosen = dict(options, precision=precision)
    if path.endswith(".onnx"):
        # Frames in this order need no swap of channels.
        chosen.setdefault("vis_order", read_model_file(path).vis_order)
    return open_backend(backend, path, BackendOptions(**chosen))


def _choose_file(
    model: str, backend: str, precision: str | None, on_gpu: bool
) -> tuple[str, str | None]:
    """Return the file to open, and the precision to ask of the engine."""
    if model == "auto":
        model = automatic_variant(on_gpu)
    if model_zoo.is_path(model):
        return model_zoo.path(model), precision
    precision = BackendOptions(precision=precision).precision  # "half" is fp16
    file_precision = precision or ("fp16" if on_gpu else "fp32")
    if file_precision == "bf16":  # calculated from the fp32 file
        file_precision = "fp32"
    if file_precision == "fp32" and "fp32" not in model_zoo.precisions(model):
        # The big model ships without it; engines calculate the fp16 file in fp32 and bf16 too.
        file_precision = "fp16"
    # The fp16 file is enough: an engine without fp16 arithmetic may calculate it in fp32. Only
    # torch runs from the weights and needs to be told.
    asked = None if precision == "fp16" and backend != "torch" else precision
    return model_zoo.path(model, file_precision), asked


def _runs_on_gpu(backend: str, device: str | None) -> bool:
    """Return whether this choice uses a CUDA device."""
    kind = None if device is None else device.lower().partition(":")[0]
    if kind not in (None, "cuda", "tensorrt") or backend == "openvino":
        return False
    index = BackendOptions(device=device).cuda_index() if kind == "cuda" else 0
    if find_gpu(index or 0)[0] is None:
        return False  # known in milliseconds, before anything heavy is imported
    try:
        return choose_backend(backend, device or "cuda") is not None
    except EngineUnavailableError:
        return False
