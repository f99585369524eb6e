"""PyTorch: the student itself, from its weights, on CUDA (half precision, CUDA graph) or the CPU.

It runs the network that the ONNX file was exported from: for `<variant>_<precision>.onnx` the
weights are those in `<variant>.safetensors` in the same folder.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from irvis_fusion_core import errors
from irvis_fusion_core.backends.cuda_device import find_gpu
from irvis_fusion_core.backends.model_file import CHANNELS, PRECISIONS, WEIGHTS, ModelFile
from irvis_fusion_core.backends.protocol import Backend, BackendOptions
from irvis_fusion_core.optional_packages import import_engine

# Before a capture, so that cuDNN has chosen its algorithms and the allocator its blocks:
# https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
_RUNS_BEFORE_CAPTURE = 3


class _CompiledSize(NamedTuple):
    """Buffers of one frame size on CUDA, and the recorded work of a frame (or None)."""

    network: Any
    pinned: dict[str, Any]  # page-locked host tensors: ir, vis, fused
    on_device: dict[str, Any]
    graph: Any


class TorchBackend(Backend):
    """Runs `PixelStudent`. On CUDA in fp16 unless fp32 is asked for; on a CPU in fp32."""

    name = "torch"
    failures = (RuntimeError,)

    def __init__(self, model: ModelFile, options: BackendOptions) -> None:
        # The luminance weights follow the order of the frames: no swap is needed.
        super().__init__(model._replace(vis_order=options.vis_order), options)
        import torch

        from irvis_fusion_core.network.checkpoint import load_checkpoint

        self._device = torch.device(_device_name(options))
        self.reuses_result = self._device.type == "cuda"
        self._precision = self._choose_precision()
        self._weights = weights_beside(model)
        if options.threads:
            torch.set_num_threads(options.threads)  # torch has one number for the process
        student = load_checkpoint(self._weights).eval()
        self.model = self.model._replace(variant=student.variant)
        fold_batch_norms(student)
        if self._precision == "fp16":
            student = student.half()
        self._student: Any = student.to(self._device)
        self._stream: Any = None
        self._done: Any = None
        if self._device.type == "cuda":
            self._stream = torch.cuda.Stream(self._device)
            self._done = torch.cuda.Event(blocking=True)  # waits without spinning on a core

    @classmethod
    def open(cls, model_path: str, options: BackendOptions | None = None) -> Backend:
        """Open an .onnx with its .safetensors in the same folder, or weights alone."""
        options = options or BackendOptions()
        path = os.fspath(model_path)
        if not path.endswith(WEIGHTS):
            return super().open(path, options)
        # The weights tell the variant, when they are loaded.
        model = ModelFile(path, "", "", "fp32", options.vis_order, "height", "width")
        return cls(model, options)

    @classmethod
    def _find(cls, device: str | None) -> tuple[str, str]:
        kind = None if device is None else device.lower().partition(":")[0]
        if kind == "cuda":
            # First, because importing torch takes seconds.
            gpu, reason = find_gpu(BackendOptions(device=device).cuda_index() or 0)
            if gpu is None:
                raise errors.EngineUnavailableError(reason)
        torch = import_engine("torch")
        version = torch.__version__
        if kind not in (None, "cpu", "cuda"):
            raise errors.EngineUnavailableError(
                f"torch is used on cpu or cuda only, and device {device!r} was asked for"
            )
        if kind == "cuda" and not torch.cuda.is_available():
            raise errors.EngineUnavailableError(
                f"torch {version} cannot use the GPU; install the build for this CUDA version"
            )
        return version, f"torch {version} is installed"

    def _choose_precision(self) -> str:
        on_cuda = self._device.type == "cuda"
        allowed = ("fp16", "fp32") if on_cuda else ("fp32",)
        wanted = self.options.precision or allowed[0]
        if wanted not in allowed:
            raise errors.ConfigurationError(
                f"expected precision {' or '.join(allowed)} for torch on {self._device.type}, "
                f"found {wanted}; leave it out, or choose another backend"
            )
        return wanted

    def _compile(self, height: int, width: int) -> _CompiledSize:
        import torch

        from irvis_fusion_core.network.pixel_student import PixelStudent

        network = PixelStudent(self._student, self.options.vis_order, (height, width))
        network = network.eval().to(self._device)
        if self._device.type == "cpu":
            return _CompiledSize(network, {}, {}, None)
        pinned, on_device = {}, {}
        for name, channels in CHANNELS.items():
            shape = (1, height, width, channels)
            pinned[name] = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)
            on_device[name] = torch.zeros(shape, dtype=torch.uint8, device=self._device)
        compiled = _CompiledSize(network, pinned, on_device, None)
        with torch.inference_mode(), torch.cuda.device(self._device):
            with torch.cuda.stream(self._stream):
                for _ in range(_RUNS_BEFORE_CAPTURE):
                    _enqueue(compiled)
            self._stream.synchronize()
            if not self.options.cuda_graph:
                return compiled
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                _enqueue(compiled)
        return compiled._replace(graph=graph)

    def _run(self, compiled: _CompiledSize, ir: np.ndarray, vis: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            if self._device.type == "cpu":
                pair = (torch.from_numpy(frame[np.newaxis]) for frame in (ir, vis))
                return compiled.network(*pair)[0].contiguous().numpy()
            compiled.pinned["ir"].numpy()[0] = ir
            compiled.pinned["vis"].numpy()[0] = vis
            with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
                if compiled.graph is None:
                    _enqueue(compiled)
                else:
                    compiled.graph.replay()
                self._done.record(self._stream)
            self._done.synchronize()
            return compiled.pinned["fused"].numpy()[0]

    def _close(self) -> None:
        self._student = self._stream = self._done = None
        if self._device.type == "cuda":
            import torch

            torch.cuda.empty_cache()

    def _describe(self) -> dict[str, Any]:
        return {
            "device": str(self._device),
            "precision": self._precision,
            "weights": self._weights,
            "cuda_graph": self._device.type == "cuda" and self.options.cuda_graph,
        }


def _enqueue(compiled: _CompiledSize) -> None:
    """Enqueue one frame's copies and kernels on the current stream."""
    host, device = compiled.pinned, compiled.on_device
    device["ir"].copy_(host["ir"], non_blocking=True)
    device["vis"].copy_(host["vis"], non_blocking=True)
    device["fused"].copy_(compiled.network(device["ir"], device["vis"]))
    host["fused"].copy_(device["fused"], non_blocking=True)


def _device_name(options: BackendOptions) -> str:
    if options.device is not None:
        return options.device.lower()
    if find_gpu(0)[0] is None:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def weights_beside(model: ModelFile) -> str:
    """Return the .safetensors of a model: of the file's name, or of its variant.

    Raises:
        ModelError: there is no such file.
    """
    if model.path.endswith(WEIGHTS):
        if os.path.isfile(model.path):
            return model.path
        raise errors.ModelError(
            f"expected weights at {model.path!r}, found no such file; "
            f"give the path of a file that ends in {' or '.join(WEIGHTS)}"
        )
    folder, name = os.path.split(model.path)
    stem = os.path.splitext(name)[0]
    for precision in PRECISIONS:
        if stem.endswith("_" + precision):
            stem = stem[: -len(precision) - 1]
    candidates = [os.path.join(folder, base + ".safetensors") for base in (stem, model.variant)]
    for path in candidates:
        if os.path.isfile(path):
            return path
    raise errors.ModelError(
        f"expected the weights of {model.path} in its folder as {' or '.join(candidates)}, found "
        "none; put the checkpoint there, or choose a backend that runs the ONNX file"
    )


def fold_batch_norms(module: Any) -> None:
    """Fold each batch norm that follows a convolution in a Sequential into it, in place.

    The export does the same to the ONNX file; arXiv:1712.05877, section 3.2.
    """
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for child in module.children():
        fold_batch_norms(child)
    if not isinstance(module, torch.nn.Sequential):
        return
    for i in range(len(module) - 1):
        convolution, norm = module[i], module[i + 1]
        if isinstance(convolution, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
            module[i] = fuse_conv_bn_eval(convolution, norm)
            module[i + 1] = torch.nn.Identity()
