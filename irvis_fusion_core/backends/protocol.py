"""The contract between a fuser and an engine."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from irvis_fusion_core import errors
from irvis_fusion_core.backends.model_file import VIS_ORDERS, ModelFile, read_model_file
from irvis_fusion_core.errors import ConfigurationError, EngineUnavailableError, expect_one_of
from irvis_fusion_core.frames import check_out, normalize_pair

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
        expect_one_of("vis_order", self.vis_order, VIS_ORDERS)
        expect_one_of("cuda_memory", self.cuda_memory, CUDA_MEMORIES)
        if self.precision is not None:
            precision = _PRECISION_NAMES.get(self.precision, self.precision)
            expect_one_of("precision", precision, ("fp32", "fp16", "bf16", "int8"))
            object.__setattr__(self, "precision", precision)
        if self.device is not None and (not isinstance(self.device, str) or not self.device):
            expected = "None, 'cpu', 'cuda:0' or the like"
            raise ConfigurationError(f"expected device to be {expected}, found {self.device!r}")

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
            raise EngineUnavailableError(f"expected {self.name} to run here, but {self.reason}")
        return self


class Backend(ABC):
    """One model opened on one engine. Use it from one thread at a time.

    A subclass sets `name`, implements `_find`, `_compile`, `_run` and `_describe`, and may
    implement `_release` (free one compiled size) and `_close`.
    """

    name = ""
    reuses_result = False  # the next frame overwrites what `_run` returns: the caller gets a copy
    failures: tuple[type[BaseException], ...] = ()  # errors of the engine: they become EngineError

    def __init__(self, model: ModelFile, options: BackendOptions) -> None:
        self.version = self.probe(options.device).require().version
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
        backend = cls(read_model_file(model_path), options or BackendOptions())
        if backend.model.fixed_size is not None:
            backend._compile_for(*backend.model.fixed_size)
        return backend

    def fuse(
        self,
        ir: np.ndarray,
        vis: np.ndarray,
        order: str | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Fuse one pair as `RealtimeFusion.fuse_frame`; `order` None is `options.vis_order`."""
        order = self.options.vis_order if order is None else order
        ir, vis = normalize_pair(ir, vis, order)
        if out is not None:
            check_out(out, vis.shape)
        height, width = vis.shape[:2]
        compiled = self._compiled.get((height, width))
        if compiled is None:
            compiled = self._compile_for(height, width)
        self._compiled.move_to_end((height, width))
        swaps = order != self.model.vis_order
        if swaps:
            if self._swapped.shape != vis.shape:
                self._swapped = np.empty_like(vis)
            vis = cv2.cvtColor(vis, cv2.COLOR_RGB2BGR, dst=self._swapped)
        with self._engine_errors(f"fuse {width}x{height} frames with"):
            fused = self._run(compiled, ir, vis)
        if swaps:
            fused = cv2.cvtColor(fused, cv2.COLOR_RGB2BGR, dst=out)
        elif out is not None:
            np.copyto(out, fused)
        elif self.reuses_result:
            fused = fused.copy()
        return fused if out is None else out

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
            "engine": f"{self.name} {self.version}",
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
        """Return the engine's version and a line on it, or raise EngineUnavailableError."""

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
        return

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

    @contextlib.contextmanager
    def _engine_errors(self, action: str) -> Iterator[None]:
        """Turn the engine's `failures` into EngineError."""
        try:
            yield
        except errors.FusionError:
            raise
        except self.failures as error:
            raise errors.EngineError(self._failure(action, str(error))) from error

    def _failure(self, action: str, found: str) -> str:
        return (
            f"expected {self.name} {self.version} to {action} {self.model.path}, found: {found}; "
            "check the file with `irvis_fusion doctor`, export it again, try another backend, or "
            "a smaller frame if memory ran out"
        )

    def _compile_for(self, height: int, width: int) -> Any:
        """Compile the network for a size; drop the least recently used ones."""
        if self._closed:
            raise errors.EngineError(
                f"expected an open {self.name} backend, found it closed; open it again"
            )
        fixed = self.model.fixed_size
        if fixed is not None and fixed != (height, width):
            raise errors.FrameError(
                f"expected frames of {fixed[1]}x{fixed[0]} (width x height), the only size of "
                f"{self.model.path}, found {width}x{height}; resize them or export it for any size"
            )
        # Make room first: two engines of a large size may not fit the device together.
        while len(self._compiled) >= self.options.max_sizes:
            self._release(self._compiled.popitem(last=False)[1])
        with self._engine_errors(f"prepare {width}x{height} frames for"):
            self._compiled[height, width] = self._compile(height, width)
        return self._compiled[height, width]
