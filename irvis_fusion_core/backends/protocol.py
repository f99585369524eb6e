"""The contract between a fuser and an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from irvis_fusion_core import errors
from irvis_fusion_core.backends.model_file import VIS_ORDERS, ModelFile, read_model_file
from irvis_fusion_core.errors import ConfigurationError, EngineUnavailableError

_PRECISION_NAMES = {"f32": "fp32", "f16": "fp16", "half": "fp16", "float32": "fp32"}
CUDA_MEMORIES = ("auto", "pycuda", "cuda_python", "torch")


@dataclass(frozen=True)
class BackendOptions:
    """The options of all backends; each uses its own.

    Args:
        threads: CPU threads of the engine; 0 leaves the number to the engine.
        device: where to run: None (the best available), "cpu", "cuda", "cuda:1"; OpenVINO also
            takes its own names ("GPU", "NPU"), ONNX Runtime its providers' ("tensorrt", "rocm").
        precision: None keeps the model's own. OpenVINO: fp32 or bf16; torch on CUDA: fp32 or
            fp16. ONNX Runtime and TensorRT take the precision from the ONNX file.
        vis_order: channel order, rgb or bgr, of the frames given to `fuse` and of its result.
        cache_dir: folder for TensorRT engines; None is `irvis_fusion/engines` under the user's
            cache folder.
        cuda_graph: record the work of a frame once and replay it, without launch gaps.
        cuda_memory: allocator on the GPU for TensorRT: auto, pycuda, cuda_python or torch.
        max_sizes: number of frame sizes that stay compiled.
        progress: called with a line of text during slow work.

    Raises:
        ConfigurationError: an option has an impossible value.
    """

    threads: int = 0
    device: str | None = None
    precision: str | None = None
    vis_order: str = "rgb"
    cache_dir: str | None = None
    cuda_graph: bool = True
    cuda_memory: str = "auto"
    max_sizes: int = 4
    progress: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        for name, value, least in (("threads", self.threads, 0), ("max_sizes", self.max_sizes, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigurationError(
                    f"expected {name} to be a whole number of at least {least}, found {value!r}"
                )
        _expect_one_of("vis_order", self.vis_order, VIS_ORDERS)
        _expect_one_of("cuda_memory", self.cuda_memory, CUDA_MEMORIES)
        if self.precision is not None:
            precision = _PRECISION_NAMES.get(self.precision, self.precision)
            _expect_one_of("precision", precision, ("fp32", "fp16", "bf16", "int8"))
            object.__setattr__(self, "precision", precision)
        if self.device is not None and (not isinstance(self.device, str) or not self.device):
            text = (
                f"expected device to be None, 'cpu', 'cuda:0' or the like, found {self.device!r}"
            )
            raise ConfigurationError(text)

    def cuda_index(self) -> int | None:
        """Return the number of the CUDA device of `device`: 0 for None, None for other devices."""
        if self.device is None:
            return 0
        kind, _, number = self.device.lower().partition(":")
        if kind != "cuda":
            return None
        if number and not number.isdigit():
            text = f"expected device to be 'cuda' or 'cuda:NUMBER', found {self.device!r}"
            raise ConfigurationError(text)
        return int(number or 0)


class Availability(NamedTuple):
    """Whether an engine can run on this machine, and if not, what to do about it."""

    name: str
    available: bool
    reason: str
    version: str | None = None

    def require(self) -> Availability:
        """Return this, or raise EngineUnavailableError where the engine cannot run."""
        if not self.available:
            raise EngineUnavailableError(
                f"expected the {self.name} engine to run here, but {self.reason}"
            )
        return self


class Backend(ABC):
    """One model opened on one engine. Use it from one thread at a time.

    A subclass sets `name`, implements `_find`, `_compile`, `_run` and `_describe`, and may
    implement `_release` (free one compiled size) and `_close`.
    """

    name = ""
    reuses_result = False  # the next frame overwrites what `_run` returns: the caller gets a copy

    def __init__(self, model: ModelFile, options: BackendOptions) -> None:
        self.model = model
        self.options = options
        self.passed_over: list[str] = []  # why "auto" did not take better backends
        self._compiled: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._swapped = np.empty((0, 0, 3), np.uint8)
        self._closed = False

    @classmethod
    def probe(cls, device: str | None = None) -> Availability:
        """Return whether this engine can run here, on `device` where one is named."""
        try:
            version, found = cls._find(device)
        except EngineUnavailableError as error:
            return Availability(cls.name, False, str(error))
        return Availability(cls.name, True, found, version)

    @classmethod
    def open(cls, model_path: str, options: BackendOptions | None = None) -> Backend:
        """Open the model at `model_path`.

        Raises:
            ModelError: the file is missing, truncated, or not an irvis_fusion model.
            EngineUnavailableError: the engine is not installed, or has no device here.
            ConfigurationError: an option that this engine cannot honour.
            EngineError: the engine refused the model.
        """
        return cls(read_model_file(model_path), options or BackendOptions())

    def fuse(self, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        """Fuse one pair.

        Args:
            ir: uint8 [height, width, 1], C-contiguous.
            vis: uint8 [height, width, 3] in `options.vis_order`, C-contiguous.

        Returns:
            uint8 [height, width, 3] in `options.vis_order`; the caller owns it.

        Raises:
            FrameError: wrong type, dtype, shape or layout, or a size the model cannot take.
            EngineError: the engine failed, or the backend is closed.
        """
        self._check_open()
        _check_frames(ir, vis)
        return self.fuse_checked(ir, vis, self.options.vis_order)

    def fuse_checked(self, ir: np.ndarray, vis: np.ndarray, order: str) -> np.ndarray:
        """Fuse a pair from `frames.normalize_pair` without checking type and layout again.

        `order`, "rgb" or "bgr", is the channel order of `vis` and of the result.
        """
        size = vis.shape[0], vis.shape[1]
        compiled = self._compiled.get(size)
        if compiled is None:
            self._check_open()
            self._check_size(*size)
            compiled = self._compile_for(*size)
        self._compiled.move_to_end(size)
        if order == self.model.vis_order:
            fused = self._run(compiled, ir, vis)
            return fused.copy() if self.reuses_result else fused
        if self._swapped.shape != vis.shape:
            self._swapped = np.empty_like(vis)
        swapped = cv2.cvtColor(vis, cv2.COLOR_RGB2BGR, dst=self._swapped)
        # The copy for the caller swaps back.
        return cv2.cvtColor(self._run(compiled, ir, swapped), cv2.COLOR_RGB2BGR)

    def warm_up(self, height: int, width: int) -> None:
        """Compile for a frame size and run it twice, so that the first frame is not late."""
        ir = np.zeros((height, width, 1), np.uint8)
        vis = np.zeros((height, width, 3), np.uint8)
        for _ in range(2):  # engines allocate on the first run and record on the second
            self.fuse(ir, vis)

    def close(self) -> None:
        """Free everything that the engine holds. May be called again."""
        if self._closed:
            return
        self._closed = True
        while self._compiled:
            self._release(self._compiled.popitem(last=False)[1])
        self._close()

    def describe(self) -> dict[str, Any]:
        """Return engine and version, model, precision, device and compiled sizes."""
        return {
            "backend": self.name,
            "model": self.model.path,
            "variant": self.model.variant,
            "precision": self.model.precision,
            "vis_order": self.options.vis_order,
            "threads": self.options.threads,
            "compiled_sizes": [f"{width}x{height}" for height, width in self._compiled],
            "passed_over": list(self.passed_over),
            **self._describe(),
        }

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    @classmethod
    @abstractmethod
    def _find(cls, device: str | None) -> tuple[str, str]:
        """Return the engine's version and a line on it.

        Raises:
            EngineUnavailableError: the reason why it cannot run on `device`.
        """

    @abstractmethod
    def _compile(self, height: int, width: int) -> Any:
        """Prepare the engine for one frame size; `_run` gets the result."""

    @abstractmethod
    def _run(self, compiled: Any, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        """Run the network on frames in the model's channel order; see `reuses_result`."""

    @abstractmethod
    def _describe(self) -> dict[str, Any]:
        """Return the engine's own part of `describe`."""

    def _release(self, compiled: Any) -> None:
        """Free one compiled size; most engines do that with the last reference."""
        del compiled

    def _close(self) -> None:
        """Free what all sizes share; most engines share nothing."""
        return

    def _require_model_precision(self) -> None:
        """Refuse a `precision` other than the model's, for engines that follow the ONNX file."""
        wanted = self.options.precision
        if wanted is not None and wanted != self.model.precision:
            raise ConfigurationError(
                f"expected precision {self.model.precision} for {self.model.path}, "
                f"because {self.name} takes the precision from the ONNX file, "
                f"found {wanted}; open the {wanted} file of this model instead"
            )

    def _compile_for(self, height: int, width: int) -> Any:
        """Compile the network for a size; drop the least recently used ones."""
        size = height, width
        # Make room first: two engines of a large size may not fit the device together.
        while len(self._compiled) >= self.options.max_sizes:
            self._release(self._compiled.popitem(last=False)[1])
        self._compiled[size] = self._compile(height, width)
        return self._compiled[size]

    def _check_open(self) -> None:
        if self._closed:
            raise errors.EngineError(
                f"expected an open {self.name} backend, found it closed; open it again"
            )

    def _check_size(self, height: int, width: int) -> None:
        fixed = self.model.fixed_size
        if fixed is not None and fixed != (height, width):
            raise errors.FrameError(
                f"expected frames of {fixed[1]}x{fixed[0]} (width x height), the only size of "
                f"{self.model.path}, found {width}x{height}; resize them or export the model "
                "with a dynamic size"
            )


def _check_frames(ir: np.ndarray, vis: np.ndarray) -> None:
    for name, frame, channels in (("ir", ir, 1), ("vis", vis, 3)):
        if (
            not isinstance(frame, np.ndarray)
            or frame.dtype != np.uint8
            or frame.ndim != 3
            or frame.shape[2] != channels
            or not frame.flags.c_contiguous
            or frame.size == 0
        ):
            raise errors.FrameError(
                f"expected {name} to be a C-contiguous uint8 array "
                f"[height, width, {channels}], found {_describe_array(frame)}; "
                "RealtimeFusion.fuse_frame converts others"
            )
    if ir.shape[:2] != vis.shape[:2]:
        raise errors.FrameError(
            f"expected ir and vis of one size, found {ir.shape[1]}x{ir.shape[0]} and "
            f"{vis.shape[1]}x{vis.shape[0]} (width x height); register ir to vis first"
        )


def _expect_one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        text = f"expected {name} to be one of {', '.join(allowed)}, found {value!r}"
        raise ConfigurationError(text)


def _describe_array(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    layout = "" if value.flags.c_contiguous else ", not C-contiguous"
    return f"{value.dtype} {list(value.shape)}{layout}"
